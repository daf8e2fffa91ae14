"""`lian sign`: what is in sync gets what it lacks, and nothing else is signed, on fakes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.attestation import SIGNATURE_PREDICATE
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import Descriptor
from reconciler.model.policy import Policy
from reconciler.model.problem import LianError
from reconciler.model.provenance import PROVENANCE_PREDICATE, provenance_of
from reconciler.model.record import ARTIFACT_TYPE, RECORD_LAYER
from reconciler.observe.ask import read_records
from reconciler.plan.select import Selection
from reconciler.reconcile import Options
from reconciler.signing.once import sign_once
from tests.apply.test_attesting import (
    ALL,
    FULL,
    PLAIN,
    WITH_SBOM,
    ends,
    found_on,
    image_of,
    kinds,
    platforms_of_record,
    run,
    signatures,
    signing,
    with_copy,
    world_of,
)
from tests.commits import AMD64, ARM64, FLEET
from tests.fakes import World, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Outcome


def sign(world: World, *only: str) -> Outcome:
    return asyncio.run(sign_once(world.ports(), Options(Selection(only))))


def refusal(world: World) -> str:
    with pytest.raises(LianError) as error:
        sign(world)
    return error.value.problems[0].code


def built_before(folder: Path, *names: str, policy: Any = FULL, **more: Any) -> World:
    """Images from the time before the fleet signed."""
    world = world_of(folder, *names, sign=None, **more)
    run(world)
    signing(world, policy)
    world.builder.built.clear()
    return world


@pytest.mark.parametrize("platforms", [(AMD64,), (AMD64, ARM64)], ids=["one", "two"])
def test_what_is_in_sync_gets_what_a_build_would_have_given_it(tmp_path: Path, platforms: Any) -> None:
    world = built_before(tmp_path, platforms=platforms)
    assert ends(sign(world)) == {"shop/api": ("none", "done")}
    repository, digest = image_of(world)
    found = found_on(world, repository, digest)
    assert kinds(found) == ALL
    (record,) = asyncio.run(read_records(world.registry, repository, digest))
    (said,) = found.of(PROVENANCE_PREDICATE)
    assert said.statement.predicate == provenance_of(record, FLEET, None).to_json()
    for one in platforms_of_record(world, repository, digest).values():
        assert SIGNATURE_PREDICATE in kinds(found_on(world, repository, one))
    assert (world.builder.built, world.compute.out) == ([], {})
    assert ends(run(world)) == {"shop/api": ("none", "none")}


def test_signing_twice_writes_once(tmp_path: Path) -> None:
    world = built_before(tmp_path)
    sign(world)
    count = signatures(world)
    assert ends(sign(world)) == {"shop/api": ("none", "none")}
    assert signatures(world) == count


def test_what_a_pass_signed_lacks_nothing(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=WITH_SBOM)
    run(world)
    count = signatures(world)
    assert ends(sign(world)) == {"shop/api": ("none", "none")}
    assert signatures(world) == count


def test_provenance_that_was_not_asked_for_before_is_added(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=PLAIN)
    run(world)
    signing(world, FULL)
    assert ends(sign(world)) == {"shop/api": ("none", "done")}
    assert signatures(world) == 2
    assert kinds(found_on(world, *image_of(world))) == ALL


def test_what_is_not_in_sync_is_left(tmp_path: Path) -> None:
    world = built_before(tmp_path, "shop/a", "shop/b")
    world.source.commit = world.source.commit.changed({"shop/a/app": b"new"})
    outcome = sign(world)
    assert ends(outcome) == {"shop/a": ("none", "held"), "shop/b": ("none", "done")}
    told = outcome.results[0].problem
    assert told is not None
    assert told.code == "not-in-sync"
    assert found_on(world, *image_of(world)).vouched == ()
    assert world.builder.built == []


def test_what_is_held_is_left(tmp_path: Path) -> None:
    world = built_before(tmp_path)
    world.registry.unreadable.add("latest")
    assert ends(sign(world)) == {"shop/api": ("hold", "held")}
    assert signatures(world) == 0


def test_only_what_is_chosen_is_signed(tmp_path: Path) -> None:
    world = built_before(tmp_path, "shop/a", "web/b")
    assert ends(sign(world, "web/*")) == {"web/b": ("none", "done")}
    assert found_on(world, *image_of(world)).vouched == ()


def test_a_fleet_that_signs_nothing_says_so(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=None)
    run(world)
    assert refusal(world) == "signing-off"


def test_without_the_key_nothing_is_written(tmp_path: Path) -> None:
    world = built_before(tmp_path)
    before = list(world.registry.journal)
    world.points.faults["prepare"] = problem("signing-key-locked")
    assert refusal(world) == "signing-key-locked"
    assert world.registry.journal == before


def without_record(world: World) -> None:
    records = [key for key, m in world.registry.manifests.items() if m.document.get("artifactType") == ARTIFACT_TYPE]
    for key in records:
        del world.registry.manifests[key]


def of_another_fleet(world: World) -> None:
    change_record(world, b'"fleet":"acme"', b'"fleet":"evil"')


def with_a_time_that_is_none(world: World) -> None:
    change_record(world, b'"started":"2001-', b'"started":"MMI-')


def of_other_inputs(world: World) -> None:
    change_record(world, b'"key":"', b'"key":"0')


def change_record(world: World, old: bytes, new: bytes) -> None:
    """As somebody may who can push: another record in the place of the one that lian wrote."""
    for key, manifest in list(world.registry.manifests.items()):
        document = manifest.document
        if document.get("artifactType") != ARTIFACT_TYPE:
            continue
        del world.registry.manifests[key]
        layer = next(layer for layer in document["layers"] if layer["mediaType"] == RECORD_LAYER)
        data = world.registry.blobs[key[0], Digest.parse(layer["digest"])]
        assert old in data
        changed = data.replace(old, new)
        world.registry.blobs[key[0], Digest.of(changed)] = changed
        layer.update(Descriptor.of(RECORD_LAYER, changed).to_json())
        world.registry.put(key[0], replace(manifest, data=canonical(document)))


@pytest.mark.parametrize(
    ("plant", "code"),
    [
        (without_record, "record-missing"),
        (of_another_fleet, "record-missing"),
        (of_other_inputs, "record-missing"),
        (with_a_time_that_is_none, "image-unreadable"),
    ],
)
def test_what_no_record_of_the_fleet_ties_to_the_commit_is_not_signed(tmp_path: Path, plant: Any, code: str) -> None:
    world = built_before(tmp_path)
    plant(world)
    outcome = sign(world)
    assert ends(outcome) == {"shop/api": ("none", "failed")}
    told = outcome.results[0].problem
    assert told is not None
    assert told.code == code
    assert SIGNATURE_PREDICATE not in kinds(found_on(world, *image_of(world)))


def test_what_cannot_be_read_is_not_taken_for_unsigned(tmp_path: Path) -> None:
    world = built_before(tmp_path)
    world.registry.unreadable.add("signatures")
    assert ends(sign(world)) == {"shop/api": ("none", "failed")}
    assert signatures(world) == 0


def test_a_signed_image_may_be_copied_then(tmp_path: Path) -> None:
    world = built_before(tmp_path)
    sign(world)
    with_copy(world, "shop/copy")
    assert world.source.commit.policy == Policy(sign=FULL)
    assert ends(run(world))["shop/copy"] == ("retag", "done")
    assert kinds(found_on(world, *image_of(world, 1))) == ALL
