"""Nothing stands on what its parent no longer is, and nothing is built because of a parent that came out the same."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.audit.why import why_once
from reconciler.model.artifact import ParentImage
from reconciler.model.outcome import Status
from reconciler.model.plan import Action
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import AMD64, Commit
from tests.fakes import World
from tests.plan.fleets import edited

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName

FAILS = b"RUN false\n"


def alone(commit: Commit) -> Commit:
    """On one platform, where what a tag names is what children stand on."""
    return replace(commit, artifacts=tuple(replace(one, platforms=(AMD64,)) for one in commit.artifacts))


def latest(world: World) -> dict[ArtifactName, Digest | None]:
    named = ((one.name, one.image) for one in world.source.commit.artifacts)
    return {name: world.registry.tags.get((image, "latest")) for name, image in named}


async def stood_on(world: World, name: ArtifactName) -> dict[ArtifactName, str]:
    """Parent -> the digest of it that the image's own record tells."""
    (artifact,) = (one for one in world.source.commit.artifacts if one.name == name)
    record = (await why_once(world.ports(), str(name))).record
    assert record is not None
    told = record.platforms[AMD64].inputs.get("contexts", {})
    return {c.artifact: told[n]["image"] for n, c in artifact.contexts.items() if isinstance(c, ParentImage)}


@settings(max_examples=60)
@given(edited(roots=("scratch",)), st.sets(st.integers(0, 6), max_size=2))
def test_a_child_stands_on_what_its_parent_is_and_is_built_only_for_that(
    pair: tuple[Commit, Commit], failing: set[int]
) -> None:
    before, now = map(alone, pair)
    broken = [one.name for number, one in enumerate(now.artifacts) if number in failing]
    files = dict(now.files)
    for name in broken:
        files[f"{name}/Dockerfile"] += FAILS
    now = replace(now, files=files)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_check(World(before, Path(folder)), now, set(broken)))


async def _check(world: World, now: Commit, broken: set[ArtifactName]) -> None:
    await reconcile_once(world.ports(), Options())
    old, files, start = latest(world), world.source.commit.files, len(world.builder.built)
    world.source.commit = now
    _, outcome = await reconcile_once(world.ports(), Options())
    new, ends = latest(world), {result.artifact: result.status for result in outcome.results}
    built = {text.partition(" ")[0] for text in world.builder.built[start:]}
    for artifact in now.artifacts:
        name = artifact.name
        mine = any(now.files[path] != data for path, data in files.items() if path.startswith(f"{name}/"))
        moved = any(old[parent] != new[parent] for parent in artifact.parents)
        if ends[name] in {Status.DONE, Status.NONE}:
            assert (str(name) in built) == (mine or moved)
            assert await stood_on(world, name) == {parent: str(new[parent]) for parent in artifact.parents}
        else:
            assert name in broken or any(ends[parent] not in {Status.DONE, Status.NONE} for parent in artifact.parents)
            assert new[name] == old[name]
    if not broken:
        again = (await plan_once(world.ports(), Options())).plan
        assert {change.action for change in again.changes} == {Action.NONE}
