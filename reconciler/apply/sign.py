"""`lian sign`: what was built before the fleet signed, or could not be signed then.

A person asks for it, and answers for what the registry holds: nobody has watched these images since they were built.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.apply.attesting import Attester, Recorded
from reconciler.identity.resolve import Keyed
from reconciler.model.manifest import Descriptor, platforms_of
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import LianError, Next, Problem
from reconciler.observe.ask import read_records

if TYPE_CHECKING:
    from reconciler.apply.work import Work
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.plan import Change
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports

IMAGES_AT_ONCE = 8


async def sign_in_sync(work: Work, ports: Ports) -> Outcome:
    """Attach to the images that are in sync what they lack of signatures and provenance; `done` says that something
    lacked. What is not in sync is held. SBOMs are made by builds alone. Raises LianError `signing-off`, and of the key.
    """
    desired = work.resolution.desired
    if desired.fleet.policy.sign is None:
        hint = "set `policy.sign.key` in lian.ncl, and commit it"
        raise LianError(Problem("signing-off", "the fleet signs nothing", file="lian.ncl", hint=hint))
    attester = Attester(ports, desired)
    await attester.prepare()
    signing, gate = _Signing(work, ports, attester), asyncio.Semaphore(IMAGES_AT_ONCE)

    async def one(change: Change) -> Result:
        async with gate:
            return await signing.result(change)

    results = await asyncio.gather(*(one(change) for change in work.plan.changes))
    return Outcome(work.plan.revision, tuple(results), work.plan.problems)


@dataclass(frozen=True, slots=True)
class _Signing:
    work: Work
    ports: Ports
    attester: Attester

    async def result(self, change: Change) -> Result:
        """One artifact's end."""
        start = time.monotonic()
        if change.action is Action.HOLD:
            problem = change.holds[0] if change.holds else None
            return Result(change.artifact, change.action, Status.HELD, problem=problem)
        in_sync = all(reason.code is ReasonCode.IN_SYNC for reason in change.reasons) and not change.left
        if change.action is not Action.NONE or change.digest is None or not in_sync:
            return Result(change.artifact, Action.NONE, Status.HELD, problem=_not_in_sync(change))
        try:
            image = await self._recorded(change, change.digest)
            if not await self.attester.complete(change.image, image):
                return Result(change.artifact, Action.NONE, Status.NONE, change.digest)
        except LianError as error:
            problem = error.problems[0].of(str(change.artifact))
            return Result(change.artifact, Action.NONE, Status.FAILED, problem=problem)
        except ValueError as error:  # what a registry holds need not be what it should
            return Result(change.artifact, Action.NONE, Status.FAILED, problem=_unreadable(change, error))
        return Result(change.artifact, Action.NONE, Status.DONE, change.digest, time.monotonic() - start)

    async def _recorded(self, change: Change, digest: Digest) -> Recorded:
        """The image with the record that says it is what the commit asks for; without one it is not signed. Raises
        LianError."""
        identity = self.work.resolution.identities[change.artifact]
        assert isinstance(identity, Keyed), "it is in sync"
        registry, fleet = self.ports.registry, self.work.resolution.desired.fleet.name
        manifest = await registry.manifest(change.image, digest)
        parts = await self._parts(change.image, manifest)
        held = {part.digest for part in parts}
        for record in await read_records(registry, change.image, digest):
            ours = record.fleet in {"", fleet}
            if ours and (record.key, record.digest, _named(record)) == (identity.key, digest, held):
                return Recorded(Descriptor.of(manifest.media_type, manifest.data), parts, record)
        message = f"no build record of this fleet says that {change.image}@{digest.short} is what the commit asks for"
        hint = f"delete the content tag {identity.tag()}: the next pass builds the image again, and signs it"
        raise LianError(Problem("record-missing", message, hint=hint, next=Next.PERSON))

    async def _parts(self, repository: Repository, manifest: Manifest) -> tuple[Descriptor, ...]:
        """The manifests of the platforms. Raises LianError."""
        if "manifests" not in manifest.document:
            return (Descriptor.of(manifest.media_type, manifest.data),)
        registry = self.ports.registry
        children = [await registry.manifest(repository, digest) for digest in platforms_of(manifest).values()]
        return tuple(Descriptor.of(child.media_type, child.data) for child in children)


def _named(record: BuildRecord) -> set[Digest]:
    return {build.digest for build in record.platforms.values()}


def _unreadable(change: Change, error: ValueError) -> Problem:
    return Problem(
        "image-unreadable",
        f"what {change.image} holds of the image cannot be understood",
        artifact=str(change.artifact),
        cause=str(error),
        hint="run `lian verify` to see what is wrong with it",
    )


def _not_in_sync(change: Change) -> Problem:
    return Problem(
        "not-in-sync",
        "not signed, because it is not in sync",
        artifact=str(change.artifact),
        hint="run `lian reconcile --once` first: it signs what it builds",
        next=Next.RETRY,
    )
