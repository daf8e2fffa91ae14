"""A build request as words: nothing of a value is lost or read as something else."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.model.tier import Tier
from reconciler.ports.builder import BuildRequest, PinnedImage, WriteFolder
from reconciler.ports.publisher import PullFrom, PushTo, ReadLayout, WriteLayout
from reconciler.providers.builder.arguments import (
    MAX_WORD,
    RESERVED_ARGS,
    build_words,
    csv_record,
    familiar,
    output_fields,
)
from reconciler.providers.builder.credentials import hosts_of
from tests.providers.workshop import PLATFORM

if TYPE_CHECKING:
    from random import Random

DIGEST = Digest("sha256", "ab" * 32)
REQUEST = BuildRequest(
    artifact="shop/api",
    platform=PLATFORM,
    context=Path("/c"),
    dockerfile=Path("/d/sub/Dockerfile.api"),
    log=Path("/log"),
    tier=Tier(2, 4.0, 30),
    destination=PushTo(Repository("registry.example", "shop/api"), plain=False),
)

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0="), min_size=1, max_size=20).filter(
    lambda key: key not in RESERVED_ARGS
)


def words(request: BuildRequest) -> list[str]:
    return build_words("unix:///s", request, Path("/meta"))


def options(request: BuildRequest) -> dict[str, str]:
    """The frontend's options as buildctl reads them: split at the first `=`, later ones win."""
    given_words = words(request)
    pairs = [given_words[at + 1] for at, word in enumerate(given_words) if word == "--opt"]
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def after(request: BuildRequest, flag: str) -> list[str]:
    given_words = words(request)
    return [given_words[at + 1] for at, word in enumerate(given_words) if word == flag]


def test_a_whole_request() -> None:
    request = replace(REQUEST, target="runtime", args={"V": "1"}, labels={"a": "b"})
    assert words(request) == [
        *("--addr", "unix:///s", "build", "--progress=rawjson", "--frontend=dockerfile.v0"),
        *("--metadata-file", "/meta", "--local", "context=/c", "--local", "dockerfile=/d/sub"),
        *("--opt", "cmdline=builtin", "--opt", "filename=Dockerfile.api", "--opt", "platform=linux/amd64"),
        *("--opt", "target=runtime", "--opt", "build-arg:V=1", "--opt", "build-arg:SOURCE_DATE_EPOCH=0"),
        *("--opt", "label:a=b", "--opt", "memory=4294967296", "--opt", "cpuperiod=100000"),
        *("--opt", "cpuquota=200000", "--opt", "memswap=4294967296", "--output"),
        '"type=image","name=registry.example/shop/api","push=true","push-by-digest=true",'
        '"oci-mediatypes=true","rewrite-timestamp=true","compression=gzip"',
    ]


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, VALUES, max_size=4))
def test_arguments_and_labels_arrive_as_they_are(args: dict[str, str], labels: dict[str, str]) -> None:
    found = options(replace(REQUEST, args=args, labels=labels))
    wanted = {"SOURCE_DATE_EPOCH": "0", **args}
    assert {k.removeprefix("build-arg:"): v for k, v in found.items() if k.startswith("build-arg:")} == wanted
    assert {k.removeprefix("label:"): v for k, v in found.items() if k.startswith("label:")} == labels


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=40))
def test_an_output_path_survives_the_csv(name: str) -> None:
    record = csv_record(output_fields(WriteLayout(Path("/out") / name)))
    (fields,) = csv.reader([record], strict=True)
    assert dict(field.split("=", 1) for field in fields)["dest"] == str(Path("/out") / name)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.randoms())
def test_the_order_of_a_mapping_changes_nothing(args: dict[str, str], random: Random) -> None:
    shuffled = list(args.items())
    random.shuffle(shuffled)
    assert words(replace(REQUEST, args=args)) == words(replace(REQUEST, args=dict(shuffled)))


def test_a_scanner_is_named_by_its_digest_alone() -> None:
    scanner = Reference.parse(f"[::1]:5000/tools/syft:1@sha256:{'5c' * 32}")
    found = options(replace(REQUEST, scanner=scanner))
    assert found["attest:sbom"] == f"generator=[::1]:5000/tools/syft@sha256:{'5c' * 32}"
    assert "attest:sbom" not in options(REQUEST)
    assert hosts_of(replace(REQUEST, scanner=scanner)) == hosts_of(REQUEST) | {"[::1]:5000"}


def test_cache_mounts_are_kept_apart_by_a_namespace_and_only_then() -> None:
    found = options(replace(REQUEST, mount_namespace="lian.shop.api.linux-amd64"))
    assert found["build-arg:BUILDKIT_CACHE_MOUNT_NS"] == "lian.shop.api.linux-amd64"
    assert "build-arg:BUILDKIT_CACHE_MOUNT_NS" not in options(REQUEST)


def test_files_go_into_a_folder() -> None:
    request = replace(REQUEST, destination=WriteFolder(Path("/o,ut")))
    assert after(request, "--output") == ['"type=local","dest=/o,ut"']
    assert hosts_of(request) == frozenset()


def test_a_check_has_no_output() -> None:
    assert after(replace(REQUEST, destination=None), "--output") == []


@pytest.mark.parametrize(
    ("host", "plain", "insecure"),
    [
        ("registry.example", False, False),
        ("registry.example:5000", True, True),
        ("127.0.0.1:5000", True, False),
        ("127.1.2.3", True, False),
        ("localhost:5000", True, False),
        ("localhost", True, False),
        ("[::1]:5000", True, False),
        ("[fd00::1]:5000", True, True),
        ("127.example.com", True, True),
    ],
)
def test_plain_http_is_asked_for_where_buildkit_does_not_choose_it(host: str, plain: bool, insecure: bool) -> None:
    fields = output_fields(PushTo(Repository(host, "a/b"), plain))
    assert (fields.get("registry.insecure") == "true") is insecure


def test_contexts_of_each_kind() -> None:
    contexts: dict[str, Path | PinnedImage] = {
        "libs": Path("/with=sign"),
        "base": PinnedImage(DIGEST, ReadLayout(Path("/layout"))),
        "python:3.12": PinnedImage(DIGEST, PullFrom(Repository("docker.io", "library/python"), plain=False)),
    }
    request = replace(REQUEST, contexts=contexts)
    found = options(request)
    assert found["context:base"] == f"oci-layout://layout0@{DIGEST}"
    assert found["context:libs"] == "local:context1"
    assert found["context:python:3.12"] == f"docker-image://docker.io/library/python@{DIGEST}"
    assert after(request, "--oci-layout") == ["layout0=/layout"]
    assert after(request, "--local") == ["context=/c", "dockerfile=/d/sub", "context1=/with=sign"]


@pytest.mark.parametrize(
    ("written", "looked_up"),
    [
        ("base", "base"),
        ("python:latest", "python"),
        ("python:3.12", "python:3.12"),
        ("library/python", "python"),
        ("docker.io/library/python:latest", "python"),
        ("index.docker.io/library/python", "python"),
        ("docker.io/python", "python"),
        ("docker.io/bitnami/redis:7", "bitnami/redis:7"),
        ("library/a/b", "library/a/b"),
        ("registry-1.docker.io/library/python", "registry-1.docker.io/library/python"),
        ("localhost/a:latest", "localhost/a"),
        ("ghcr.io/o/i:latest", "ghcr.io/o/i"),
        ("host:5000/i", "host:5000/i"),
        (f"python:3@{DIGEST}", f"python:3@{DIGEST}"),
    ],
)
def test_names_are_given_as_buildkit_looks_them_up(written: str, looked_up: str) -> None:
    assert familiar(written) == looked_up


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"args": {"SOURCE_DATE_EPOCH": "1"}}, "argument-reserved"),
        ({"args": {"BUILDKIT_SYNTAX": "x"}}, "argument-reserved"),
        ({"args": {"BUILDKIT_MULTI_PLATFORM": "1"}}, "argument-reserved"),
        ({"args": {"BUILDKIT_CACHE_MOUNT_NS": "1"}}, "argument-reserved"),
        ({"args": {"A=B": "1"}}, "argument-invalid"),
        ({"labels": {"": "1"}}, "argument-invalid"),
        ({"args": {"A": "\0"}}, "argument-invalid"),
        ({"args": {"A": "\ud800"}}, "argument-invalid"),
        ({"labels": {"a": "x" * MAX_WORD}}, "argument-too-long"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_starts(changes: dict[str, dict[str, str]], code: str) -> None:
    with pytest.raises(LianError) as raised:
        words(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert raised.value.problems[0].code == code
