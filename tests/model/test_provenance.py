"""Provenance: made of a build record alone, the same each time, and as the specification has it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import canonical
from reconciler.model.desired import Origin
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.model.provenance import (
    Provenance,
    provenance_of,
    provenance_statement,
    repository_uri,
)
from reconciler.model.record import BuildRecord, PlatformBuild
from tests import strategies as some
from tests.strategies_documents import paths, replaced

BASE, PARENT = Digest("sha256", "e" * 64), Digest("sha256", "f" * 64)
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def platform_build(letter: str, **leaves: Any) -> PlatformBuild:
    inputs = {"platform": "linux/amd64", "context": "c" * 64, "dockerfile": "d" * 64, **leaves}
    return PlatformBuild(letter * 64, inputs, Digest("sha256", letter * 64))


RECORD = BuildRecord(
    artifact="shop/api",
    revision="a" * 40,
    key="b" * 64,
    digest=Digest("sha256", "1" * 64),
    platforms={
        AMD64: platform_build(
            "1",
            args={"VERSION": "1.4"},
            bases={"alpine:3.20": str(BASE)},
            contexts={"base": {"image": str(PARENT)}, "libs": {"folder": "9" * 64}},
        )
    },
    started="2026-01-01T00:00:59.500000Z",
    seconds=1.25,
    builder={"builder": "buildkit v0.33.1"},
    tier={"cpu": 2, "memory_gb": 4.0, "time_budget": 30},
)


def test_the_whole_predicate() -> None:
    assert provenance_of(RECORD, "acme", "https://user:token@git.example.org/acme/desired.git").to_json() == {
        "buildDefinition": {
            "buildType": "urn:lian:build-type:buildkit:1",
            "externalParameters": {
                "artifact": "shop/api",
                "revision": "a" * 40,
                "inputs": {"linux/amd64": RECORD.platforms[AMD64].inputs},
            },
            "internalParameters": {"key": "b" * 64, "tier": {"cpu": 2, "memory_gb": 4.0, "time_budget": 30}},
            "resolvedDependencies": [
                {
                    "uri": f"git+https://git.example.org/acme/desired.git@{'a' * 40}",
                    "digest": {"gitCommit": "a" * 40},
                },
                {"name": "context base", "digest": {"sha256": PARENT.hex}},
                {
                    "uri": f"pkg:oci/alpine@sha256%3A{BASE.hex}?repository_url=docker.io/library/alpine&tag=3.20",
                    "name": "alpine:3.20",
                    "digest": {"sha256": BASE.hex},
                },
            ],
        },
        "runDetails": {
            "builder": {"id": "urn:lian:fleet:acme", "version": {"builder": "buildkit v0.33.1"}},
            "metadata": {
                "invocationId": str(Digest.of(canonical(RECORD.to_json()))),
                "startedOn": "2026-01-01T00:00:59.500000Z",
                "finishedOn": "2026-01-01T00:01:00.750000Z",
            },
        },
    }


def test_the_statement_is_of_the_image() -> None:
    statement = provenance_statement(RECORD, "acme")
    assert statement.subjects == (RECORD.digest,)
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"


def test_of_several_platforms_each_manifest_is_a_subject_behind_the_index() -> None:
    record = replace(
        RECORD, digest=Digest("sha256", "0" * 64), platforms={ARM64: platform_build("2"), AMD64: platform_build("1")}
    )
    assert [subject.hex[0] for subject in provenance_statement(record, "acme").subjects] == ["0", "1", "2"]


def test_a_dependency_of_two_platforms_is_one() -> None:
    shared = {"bases": {"alpine:3.20": str(BASE)}}
    record = replace(RECORD, platforms={AMD64: platform_build("1", **shared), ARM64: platform_build("2", **shared)})
    assert [d.name for d in provenance_of(record, "acme").dependencies] == ["desired", "alpine:3.20"]


def test_without_a_url_the_commit_stands_by_its_digest_alone() -> None:
    assert provenance_of(RECORD, "acme").dependencies[0].to_json() == {
        "name": "desired",
        "digest": {"gitCommit": "a" * 40},
    }


def test_other_repositories_are_dependencies_at_the_commit_they_were_read_at() -> None:
    origins = {
        "": Origin("git@git.example.org:acme/site.git", "main", "7" * 40),
        "texts": Origin("https://git.example.org/texts.git", "v1", "8" * 40),
        "more": Origin("https://git.example.org/texts.git", "main", "8" * 40),
    }
    _, *told = provenance_of(replace(RECORD, origins=origins), "acme").dependencies
    assert [d.to_json() for d in told[:2]] == [
        {"uri": f"git+https://git.example.org/texts.git@{'8' * 40}", "digest": {"gitCommit": "8" * 40}},
        {"uri": f"git+ssh://git@git.example.org/acme/site.git@{'7' * 40}", "digest": {"gitCommit": "7" * 40}},
    ]


def test_of_a_folder_no_commit_is_told() -> None:
    provenance = provenance_of(replace(RECORD, revision=""), "acme", "https://git.example/shop.git")
    assert (provenance.external["revision"], provenance.external["origin"]) == (None, "folder")
    assert not [dependency for dependency in provenance.dependencies if dependency.algorithm == "gitCommit"]


@pytest.mark.parametrize("fleet", ["acme", "a b", "ä/ö", "urn:x"])
def test_a_fleet_names_the_builder_by_a_uri(fleet: str) -> None:
    builder = provenance_of(RECORD, fleet).builder
    assert builder.startswith("urn:lian:fleet:")
    assert builder.isascii()
    assert not set(builder.removeprefix("urn:lian:fleet:")) & set(" /:")


@given(st.permutations(["args", "bases", "contexts", "dockerfile", "context", "platform"]))
def test_the_same_record_gives_the_same_bytes(order: list[str]) -> None:
    inputs = RECORD.platforms[AMD64].inputs
    shuffled = {leaf: inputs[leaf] for leaf in order}
    record = replace(RECORD, platforms={AMD64: replace(RECORD.platforms[AMD64], inputs=shuffled)})
    assert provenance_statement(record, "acme").to_bytes() == provenance_statement(RECORD, "acme").to_bytes()


def test_another_record_gives_another_invocation() -> None:
    other = replace(RECORD, seconds=1.5)
    assert provenance_of(other, "acme").invocation != provenance_of(RECORD, "acme").invocation


@given(some.records.filter(lambda r: not any("bases" in p.inputs for p in r.platforms.values())), some.names)
def test_provenance_comes_back(record: BuildRecord, fleet: str) -> None:
    provenance = provenance_of(record, fleet)
    assert Provenance.from_json(json.loads(canonical(provenance.to_json()))) == provenance


@pytest.mark.parametrize("started", ["", "yesterday", "2026-01-01T00:00:59", "9999-12-31T23:59:59Z"])
def test_a_record_without_a_time_gives_none(started: str) -> None:
    with pytest.raises(ValueError):
        provenance_of(replace(RECORD, started=started, seconds=10.0), "acme")


def test_a_base_that_is_no_digest_gives_none() -> None:
    with pytest.raises(ValueError):
        provenance_of(replace(RECORD, platforms={AMD64: platform_build("1", bases={"alpine": "x"})}), "acme")


_WRONG = [None, 1, True, "x", [], ["x"], {}, {"x": 1}]


@given(st.data())
def test_damaged_provenance_is_refused_or_harmless(data: st.DataObject) -> None:
    document = provenance_of(RECORD, "acme").to_json()
    place = data.draw(st.sampled_from([path for path in paths(document) if path]))
    try:
        read = Provenance.from_json(replaced(document, place, data.draw(st.sampled_from(_WRONG))))
    except ValueError:
        return
    assert all(isinstance(text, str) for text in (read.builder, read.build_type, read.invocation, read.started))
    canonical(read.to_json())


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://git.example.org/a/b.git", "git+https://git.example.org/a/b.git"),
        ("https://me:secret@git.example.org:8443/a/b?token=x#y", "git+https://git.example.org:8443/a/b"),
        ("ssh://git:secret@git.example.org/a/b.git", "git+ssh://git@git.example.org/a/b.git"),
        ("git@git.example.org:a/b c.git", "git+ssh://git@git.example.org/a/b%20c.git"),
        ("git.example.org:a/b.git", "git+ssh://git.example.org/a/b.git"),
        ("git://git.example.org/a/b.git", "git://git.example.org/a/b.git"),
        ("/srv/desired", None),
        ("./desired", None),
        (".", None),
        ("file:///srv/desired", None),
        ("https://[half", None),
        ("https:///nothing", None),
    ],
)
def test_where_a_repo_lies_is_told_without_credentials(url: str, uri: str | None) -> None:
    assert repository_uri(url) == uri


@given(st.text())
def test_any_text_is_a_repo_or_none(url: str) -> None:
    uri = repository_uri(url)
    assert uri is None or "://" in uri
