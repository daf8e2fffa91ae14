"""References and repositories, against the grammar of the distribution specification and docker's way of writing."""

from __future__ import annotations

import pytest
from hypothesis import given

from reconciler.model.digest import Digest
from reconciler.model.reference import Reference, Repository
from tests import strategies as some

_D = "sha256:" + "a" * 64


@given(some.repositories)
def test_a_repository_parses_as_it_prints(repository: Repository) -> None:
    assert Repository.parse(str(repository), "other.example") == repository


@given(some.references)
def test_a_reference_parses_as_it_prints(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12", "docker.io/library/python:3.12"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/library/python:3", "docker.io/library/python:3"),
        ("registry-1.docker.io/python", "docker.io/library/python:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x/y:1", "localhost:5000/x/y:1"),
        ("h:5000/x", "h:5000/x:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        (f"python@{_D}", f"docker.io/library/python@{_D}"),
        (f"ghcr.io/a/b:1@{_D}", f"ghcr.io/a/b:1@{_D}"),
    ],
)
def test_docker_users_are_understood(text: str, meant: str) -> None:
    assert str(Reference.parse(text)) == meant


@pytest.mark.parametrize(
    ("text", "offending"),
    [
        ("", "''"),
        (":1", "''"),
        ("Python", "'Python'"),
        ("ghcr.io/UPPER/x", "'UPPER/x'"),
        ("a//b", "'a//b'"),
        ("/a", "'/a'"),
        ("a/", "'a/'"),
        ("a..b", "'a..b'"),
        ("-h.example/a", "'-h.example'"),
        ("h:notaport/a", "'h:notaport'"),
        ("https://ghcr.io/a", "'https:'"),
        ("alpine:", "''"),
        ("ghcr.io/a:", "''"),
        ("alpine:-1", "'-1'"),
        ("alpine:" + "1" * 129, "'" + "1" * 129 + "'"),
        ("alpine@", "''"),
        ("alpine@sha256:1", "'sha256:1'"),
        ("alpine:1@md5:" + "0" * 32, "'md5:"),
        ("a b", "'a b'"),
        ("alpine\n", "'alpine\\\\n'"),
        ("h.example/" + "a" * 256, "256"),
    ],
)
def test_the_error_names_the_offending_part(text: str, offending: str) -> None:
    with pytest.raises(ValueError, match=offending.replace("[", "\\[")):
        Reference.parse(text)


@given(some.references)
def test_the_digest_decides_what_is_asked_for(reference: Reference) -> None:
    assert reference.name == (str(reference.digest) if reference.digest else reference.tag)


def test_a_layout_on_disk_is_a_host_of_its_own() -> None:
    repository = Repository.parse("shop/api", "oci-layout:.lian/registry")
    assert (repository.layout, str(repository)) == (".lian/registry", "oci-layout:.lian/registry/shop/api")
    assert Repository.parse("ghcr.io/shop/api", "oci-layout:x").layout is None


def test_a_pinned_reference_keeps_its_digest() -> None:
    assert Reference.parse(f"alpine:3@{_D}").digest == Digest.parse(_D)
