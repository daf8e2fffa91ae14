"""Patterns of rules: what takes what."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.globs import matcher
from reconciler.model.reference import Reference, Repository
from reconciler.plan.patterns import first_image, first_match, first_name, first_repository, takes_value

_DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("pattern", "image", "takes"),
    [
        ("docker.io/library/*", "python:3.12", True),
        ("docker.io/library/*", "python", True),
        ("docker.io/library/*", "bitnami/redis", False),
        ("docker.io/*", "python", True),
        ("docker.io/library/python", "python:3.12", True),
        ("docker.io/library/python", "pythonx", False),
        ("docker.io/library/python:3.*", "python:3.12", True),
        ("docker.io/library/python:3.*", "python:2", False),
        ("docker.io/library/python:3.*", f"python{_DIGEST}", False),
        ("docker.io/library/python:3.*", f"python:3.12{_DIGEST}", True),
        ("docker.io/library/python", f"python{_DIGEST}", True),
        ("docker.io/library/*", "index.docker.io/python", True),
        ("*", "quay.io/a/b", True),
        ("*:latest", "quay.io/a/b", True),
        ("*:latest", "quay.io/a/b:1", False),
        ("*:latest", f"quay.io/a/b{_DIGEST}", False),
        ("ghcr.io/acme/*", "ghcr.io/acme/team/api:1", True),
        ("ghcr.io/acme/*", "ghcr.io/acmex/api", False),
        ("ghcr.io/acme/*", "GHCR.io/acme/api", True),
        ("ghcr.io/acme/*", "ghcr.io:443/acme/api", True),
        ("ghcr.io/acme/*", "ghcr.io:8443/acme/api", False),
        ("*.example.org/*", "a.example.org/b", True),
        ("*.example.org/*", "evil.test/a.example.org/b", False),
        ("*.example.org/*", "example.org/b", False),
        ("registry?example.org/a", "registryxexample.org/a", True),
        ("reg.example.org/a.b", "reg.example.org/axb", False),
        ("reg:5000/a", "reg:5000/a:1", True),
        ("reg:*/a", "reg:5000/a:1", True),
        ("[::1]:5000/*", "[::1]:5000/a", True),
        ("localhost/*", "localhost/a", True),
        ("oci-layout/*", "quay.io/a/b", False),
    ],
)
def test_an_image(pattern: str, image: str, takes: bool) -> None:
    assert (first_image([pattern], Reference.parse(image)) == pattern) is takes


@pytest.mark.parametrize(
    ("pattern", "host", "takes"),
    [
        ("reg.example.org/shop/*", "reg.example.org", True),
        ("reg.example.org/shop/*", "other.example.org", False),
        ("oci-layout/shop/*", "oci-layout:/srv/a/b", True),
        ("oci-layout/web/*", "oci-layout:/srv/a/b", False),
        ("*", "oci-layout:/srv", True),
        ("reg.example.org/shop/*", "oci-layout:/srv/reg.example.org", False),
    ],
)
def test_a_repository(pattern: str, host: str, takes: bool) -> None:
    assert bool(first_repository([pattern], Repository(host, "shop/api"))) is takes


def test_names_are_the_same_in_either_case_and_tags_are_not() -> None:
    assert first_name(["*_token"], "NPM_TOKEN")
    assert first_name(["*_TOKEN"], "npm_token")
    assert not first_name(["*_TOKEN"], "NPM_TOKEN_URL")
    assert not first_match(["Dev*"], "dev-1")
    assert first_match(["v[0-9]*"], "v1.2") == "v[0-9]*"


def test_values_have_no_classes() -> None:
    assert takes_value("[a]*", "[a] text\nmore")
    assert not takes_value("[a]*", "a text")
    assert takes_value("https://*", "https://git.example.org/x")
    assert not takes_value("https://*", "xhttps://git.example.org/x")


def test_many_stars_take_no_time() -> None:
    image = Reference.parse("docker.io/library/" + "a" * 200)
    assert first_image(["docker.io/" + "*a" * 200 + "*b"], image) is None
    assert not takes_value("*a" * 400 + "b", "a" * 8000)


_SIGNS = st.text(alphabet="ab/*?[]!-", max_size=8)


@given(st.lists(_SIGNS, max_size=4), st.text(alphabet="ab/-", max_size=6))
def test_many_globs_at_once_are_each_by_itself(globs: list[str], text: str) -> None:
    assert matcher(globs)(text) is any(fnmatchcase(text, glob) for glob in globs)
    assert (first_match(globs, text) is not None) is any(fnmatchcase(text, glob) for glob in globs)
