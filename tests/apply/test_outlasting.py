"""A pass beside a prune: what it waits for, what it puts back, and what it does not call done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import Descriptor, Manifest
from reconciler.model.manifest import artifact as referring
from reconciler.model.problem import LianError, Problem
from reconciler.model.pruning import PRUNING_TAG, Announcement
from reconciler.model.reference import Repository
from reconciler.reconcile import Options, reconcile_once
from tests.commits import AMD64, APPLIED_TAG, ARM64, HOST, Commit, artifact
from tests.fakes import FakeRegistry, World
from tests.turns import LoopClock, TurnsLoop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

API = Repository(HOST, "shop/api")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An image of two platforms was built from the first commit, and another since; now the first is wanted again."""
    made = (replace(artifact("shop/api"), platforms=(AMD64, ARM64)),)
    first = Commit(made, {"shop/api/Dockerfile": b"FROM scratch\n", "shop/api/app": b"1"})
    world = World(first, tmp_path)
    for commit in (first, first.changed({"shop/api/app": b"2"})):
        world.source.commit = commit
        passed(world)
    world.source.commit = world.source.commit.changed({"shop/api/app": b"1"})
    world.registry.journal.clear()
    return world


def passed(world: World) -> tuple[str, str | None]:
    """How the one artifact ended; time passes by waiting."""
    world.clock.__class__ = LoopClock
    with asyncio.Runner(loop_factory=lambda: TurnsLoop(lambda: False)) as runner:
        (result,) = runner.run(reconcile_once(world.ports(), Options()))[1].results
    return result.status.value, result.problem.code if result.problem else None


def wanted(world: World) -> Digest:
    """The image that the pass is about to tag."""
    latest = world.registry.tags[API, "latest"]
    whole = {
        digest
        for (_, tag), digest in world.registry.tags.items()
        if tag.startswith("lian-") and len(tag) == 45 and "manifests" in world.registry.manifests[API, digest].document
    }
    (digest,) = whole - {latest}
    return digest


def announce(world: World, seconds: float, digests: set[Digest]) -> None:
    manifest, blobs = Announcement({}, frozenset(digests), world.clock() + seconds, "acme", "x").packed()
    world.registry.blobs |= {(API, digest): data for digest, data in blobs.items()}
    world.registry.put(API, manifest)
    world.registry.tags[API, PRUNING_TAG] = manifest.digest


class Pruned(FakeRegistry):
    """As soon as the applied document tells of the move, a prune takes these."""

    prey: frozenset[Digest]

    async def publish(self, repository: Repository, manifest: Manifest, **more: Any) -> Descriptor:
        described = await super().publish(repository, manifest, **more)
        if APPLIED_TAG in more.get("tags", ()) and "tag latest" in self.journal:
            for digest in self.prey:
                await self.delete(repository, digest)
            self.prey = frozenset()
        return described


@pytest.mark.parametrize("part", ["whole", "platform", "record", "all"])
def test_what_a_prune_takes_in_that_moment_is_put_back(world: World, part: str) -> None:
    digest = wanted(world)
    platforms = {Digest.parse(m["digest"]) for m in world.registry.manifests[API, digest].document["manifests"]}
    records = {d for (_, d), m in world.registry.manifests.items() if _subject(m) == digest}
    prey = {"whole": {digest}, "platform": platforms, "record": records, "all": {digest, *platforms, *records}}[part]
    world.registry.__class__ = Pruned
    pruned: Any = world.registry
    pruned.prey = frozenset(prey)
    assert passed(world) == ("done", None)
    assert pruned.prey == frozenset()
    assert world.registry.tags[API, "latest"] == digest
    assert list(world.registry._lacking(API, digest)) == []
    assert records <= {d for _, d in world.registry.manifests}
    assert passed(world) == ("none", None)


def _subject(manifest: Manifest) -> Digest | None:
    subject = manifest.document.get("subject")
    return Digest.parse(subject["digest"]) if subject else None


@pytest.mark.parametrize("threatened", ["whole", "platform", "record"])
def test_a_prune_that_threatens_any_part_is_waited_for(world: World, threatened: str) -> None:
    digest = wanted(world)
    named = {
        "whole": digest,
        "platform": Digest.parse(world.registry.manifests[API, digest].document["manifests"][0]["digest"]),
        "record": next(d for (_, d), m in world.registry.manifests.items() if _subject(m) == digest),
    }
    world.clock.__class__ = LoopClock
    announce(world, 30.0, {named[threatened]})
    reads = world.points.seen.count("heads")
    assert passed(world) == ("done", None)
    assert world.points.seen.count("heads") - reads > 30, "it has looked once a second"


def test_a_prune_of_something_else_is_not_waited_for(world: World) -> None:
    announce(world, 30.0, {Digest.of(b"something else")})
    reads = world.points.seen.count("heads")
    assert passed(world) == ("done", None)
    assert world.points.seen.count("heads") - reads < 30


def test_a_prune_that_never_ends_holds_the_artifact_back(world: World) -> None:
    announce(world, 10_000.0, {wanted(world)})
    assert passed(world) == ("held", "prune-busy")


class Gone(FakeRegistry):
    """A prune was here between the plan and the first tag."""

    prey: Digest

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        found = await super().referrers(repository, subject, artifact_type)
        if artifact_type is None and subject == self.prey:
            for digest in (subject, *(d.digest for d in found)):
                await self.delete(repository, digest)
            return ()
        return found


def test_an_image_that_was_pruned_before_is_not_tagged_without_its_records(world: World) -> None:
    """It is held back; the next pass builds it."""
    world.registry.__class__ = Gone
    gone: Any = world.registry
    gone.prey = wanted(world)
    assert passed(world) == ("held", "image-pruned")
    gone.prey = Digest.of(b"nothing")
    assert passed(world) == ("done", None)
    assert passed(world) == ("none", None)


class Odd(FakeRegistry):
    """Lists referrers that it does not have, or that are damaged."""

    code: str
    odd: Digest

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        found = await super().referrers(repository, subject, artifact_type)
        odd = Descriptor("application/vnd.oci.image.manifest.v1+json", self.odd, 7, "application/x")
        return found if artifact_type else [*found, odd]

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        if digest == self.odd:
            raise LianError(Problem(self.code, "planted by the test"))
        return await super().manifest(repository, digest)


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("manifest-unknown", "done"),
        ("registry-wrong-digest", "done"),
        ("content-too-large", "done"),
        ("registry-failing", "failed"),
    ],
)
def test_what_others_attached_and_cannot_be_read_stops_nobody(world: World, code: str, ends: str) -> None:
    """Unless it cannot be told whether it can be read."""
    world.registry.__class__ = Odd
    odd: Any = world.registry
    odd.code, odd.odd = code, Digest.of(b"odd")
    assert passed(world)[0] == ends


def test_of_very_many_referrers_the_newest_are_put_back(world: World) -> None:
    image = world.registry.manifests[API, wanted(world)]
    subject = Descriptor.of(image.media_type, image.data)
    for number in range(60):
        signature = referring("application/x", subject, (), {"number": str(number)})
        world.registry.blobs[API, Digest.of(b"{}")] = b"{}"
        world.registry.put(API, signature)
    before = world.points.seen.count("manifest")
    assert passed(world) == ("done", None)
    assert world.points.seen.count("manifest") - before < 60
