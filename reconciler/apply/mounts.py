"""The cache mounts of one artifact's builds: restored before a build, saved after it (ADR 055).

BuildKit exports no cache mounts, so a fresh builder begins without them. Where the artifact's policy says so they lie
in the registry between builds, in the slots of the rule (reconciler.cache.rules) and nowhere else. Nothing here fails a
build: whatever goes wrong makes it slower, and is told.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.mount_moves import Build, Lying, Restoring, Saving, Spoilt, lying, within
from reconciler.cache import mounts as forms
from reconciler.cache import rules
from reconciler.cache.home import place_of
from reconciler.cache.notes import is_fresh
from reconciler.finishing import to_its_end
from reconciler.model.cache import MAX_MOUNTS
from reconciler.model.mount_use import MountsEnd, MountsMoved
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.archives import BROKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from reconciler.cache.rules import Slot
    from reconciler.model.artifact import Artifact
    from reconciler.model.cache import BuildMode, CacheMount
    from reconciler.model.desired import Desired, Materials
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference
    from reconciler.model.tier import Tier
    from reconciler.ports.builder import Built
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner


RESTORE_SECONDS = SAVE_SECONDS = 600.0
"""How long cache mounts may keep a build waiting, before it and after it; then it goes on without them."""


def kept(materials: Materials, platform: Platform) -> tuple[CacheMount, ...]:
    """The cache mounts that an artifact's builds for a platform keep, those of its checks included: MAX_MOUNTS of
    them."""
    needs = (materials.needs.get(platform), materials.check_needs.get(platform))
    return tuple(dict.fromkeys(mount for each in needs if each is not None for mount in each.mounts))[:MAX_MOUNTS]


def ran(builds: Iterable[Built]) -> bool:
    """True if a step with a mount ran; else what it keeps is as it was."""
    return any(not step.hit and "--mount" in step.name for built in builds for step in built.steps)


@dataclass(slots=True)
class CacheMounts:
    """The cache mounts of one artifact on one runner. `freshness` says how fresh its builds are asked to be; what was
    saved by others is not restored, for a step would take the old for the new."""

    ports: Ports
    desired: Desired
    artifact: Artifact
    mode: BuildMode
    runner: Runner
    tier: Tier
    freshness: str = ""
    _refused: dict[Platform, set[CacheMount]] = field(default_factory=dict)
    """Those of which what is saved is no good."""
    _apart: dict[Platform, str] = field(default_factory=dict)
    """Where a restore left mounts by halves on the runner: what makes the builds' own others."""

    def namespace(self, platform: Platform) -> str | None:
        """For `BuildRequest.mount_namespace` of each of the artifact's builds, once `restore` has ended; None if
        nothing is kept."""
        return self._build(platform).namespace if self.artifact.cache.mounts else None

    async def restore(self, platform: Platform, mounts: Sequence[CacheMount]) -> MountsMoved:
        """Before a build: what was saved last, into mounts that are empty. Raises nothing but a cancellation."""
        if not self.artifact.cache.mounts or not mounts:
            return MountsMoved()
        began, problems, moved = time.monotonic(), list[Problem](), MountsMoved()
        until = asyncio.get_running_loop().time() + RESTORE_SECONDS
        try:
            async with within(until):
                tool = await self.ports.archives.tool()
                slots = rules.mounts_read(self.mode, *self._of(platform))
                found = await self._first([self._at(slot) for slot in slots], problems)
            if found is not None:
                build, refused = self._build(platform), self._refused.setdefault(platform, set())
                async with self._workplace() as folder:
                    restoring = Restoring(self.ports, build, tool, folder, problems, until=until, refused=refused)
                    moved = await restoring.run(found, mounts)
        except LianError as error:
            if isinstance(error, Spoilt):
                self._apart[platform] = f".{secrets.token_hex(4)}"
            problems += error.problems
        return self._told(moved, MountsEnd.ABSENT, began, problems)

    async def save(self, platform: Platform, mounts: Sequence[CacheMount], builds: Iterable[Built]) -> MountsMoved:
        """After a build of a commit that went well: what its mounts hold now. `builds` are all solves of the artifact
        for this platform. Raises nothing but a cancellation."""
        if not self.artifact.cache.mounts or not mounts or not ran(builds) or not self.desired.committed:
            return MountsMoved()
        began, problems, moved = time.monotonic(), list[Problem](), MountsMoved()
        until = asyncio.get_running_loop().time() + SAVE_SECONDS
        try:
            async with within(until):
                tool = await self.ports.archives.tool()
                place = self._at(rules.mounts_written(self.mode, *self._of(platform)))
                async with self._workplace() as folder:
                    saving = Saving(
                        self.ports,
                        self._build(platform),
                        tool,
                        folder,
                        problems,
                        fleet=self.desired.fleet.name,
                        revision=self.desired.revision,
                        freshness=self.freshness,
                        refused=frozenset(self._refused.get(platform, ())),
                    )
                    moved = await saving.run(place, mounts)
        except LianError as error:
            problems += error.problems
        return self._told(moved, MountsEnd.NONE, began, problems)

    def _build(self, platform: Platform) -> Build:
        name = self.artifact.name
        namespace = forms.namespace(name, platform) + self._apart.get(platform, "")
        return Build(name, platform, self.runner, self.tier, namespace)

    def _told(self, moved: MountsMoved, otherwise: MountsEnd, began: float, problems: list[Problem]) -> MountsMoved:
        end = otherwise if moved.end is MountsEnd.NONE else moved.end
        told = tuple(dict.fromkeys(problem.of(str(self.artifact.name)) for problem in problems))
        seconds = time.monotonic() - began
        return replace(moved, end=MountsEnd.FAILED if told else end, seconds=seconds, problems=told)

    def _of(self, platform: Platform) -> tuple[str, str, Platform]:
        return self.artifact.name.workspace, self.artifact.name.artifact, platform

    def _at(self, slot: Slot) -> Reference:
        """Raises LianError."""
        return place_of(self.desired, self.artifact, slot)

    async def _first(self, references: Sequence[Reference], problems: list[Problem]) -> Lying | None:
        """The first that holds saved mounts that are fresh enough; what is in the way of one is a problem."""
        heads = await self.ports.registry.heads(references)
        for reference in references:
            try:
                found = await lying(self.ports.registry, reference, heads[reference])
            except LianError as error:
                problems += error.problems
            except ValueError as error:
                problems.append(_strange(reference, str(error)))
            else:
                if found is not None and is_fresh(found.manifest, self.freshness):
                    return found
        return None

    @asynccontextmanager
    async def _workplace(self) -> AsyncIterator[Path]:
        """A folder of one's own. Raises LianError for what the file system refuses."""
        folder = self.runner.scratch / "mounts" / secrets.token_hex(8)
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            message = f"cache mounts cannot be kept: {folder} cannot be written"
            raise LianError(Problem("cache-unusable", message, cause=error.strerror, next=Next.RETRY)) from error
        finally:
            await to_its_end(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def _strange(reference: Reference, cause: str) -> Problem:
    hint = "the build goes on without it; the next one that runs saves them anew"
    return Problem(BROKEN, f"what lies at {reference} is no saved cache mounts", cause=cause, hint=hint)
