"""What many references name, asked one by one by HEAD, a few at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.manifest import ACCEPTED
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.calls import ABSENT_CODES, manifest_call, told_digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference
    from reconciler.providers.registry.lane import Lane
    from reconciler.providers.registry.reply import Reply
    from reconciler.providers.registry.transport import Transport


@dataclass(slots=True)
class _Round:
    """References that are asked together, by so many `hands`; each hand has a connection of its own. `left` counts
    those that no hand has been made for, or gone on to."""

    queue: Iterator[Reference]
    left: int
    hands: int = 0
    answers: dict[Reference, Sighting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heads:
    """Asks one registry. `fetch` gives what a reference names, verified, None if it is certainly absent; it raises
    LianError."""

    transport: Transport
    fetch: Callable[[Reference], Awaitable[Manifest | None]]

    async def each(self, references: Collection[Reference]) -> dict[Reference, Sighting]:
        """Every reference gets an answer, Unknown if need be."""
        wanted = dict.fromkeys(references)
        now = _Round(iter(wanted), len(wanted))
        async with asyncio.TaskGroup() as group:
            self._fill(now, group)
        return now.answers

    def _fill(self, now: _Round, group: asyncio.TaskGroup) -> None:
        """As many hands as the registry bears, each made for one reference."""
        while now.left and now.hands < self.transport.at_once:
            now.hands += 1
            now.left -= 1
            group.create_task(self._work(now, group))

    async def _work(self, now: _Round, group: asyncio.TaskGroup) -> None:
        async with self.transport.lane() as lane:
            for reference in now.queue:
                now.answers[reference] = await self._sighting(lane, reference)
                if not self._goes_on(now, group):
                    return

    def _goes_on(self, now: _Round, group: asyncio.TaskGroup) -> bool:
        """Whether this hand takes another reference: not if none is left, or if the registry bears fewer hands."""
        if now.left and now.hands <= self.transport.at_once:
            now.left -= 1
            self._fill(now, group)
            return True
        now.hands -= 1
        return False

    async def _sighting(self, lane: Lane | None, reference: Reference) -> Sighting:
        try:
            quick = await self._quick(lane, reference) if lane else None
            return quick or await self._patient(reference)
        except LianError as error:
            return Unknown(error.problems[0])

    async def _quick(self, lane: Lane, reference: Reference) -> Sighting | None:
        """The plain cases, on the lane: there, or absent with a reason."""
        reply = await self.transport.quick(lane, manifest_call("HEAD", reference))
        if reply is not None and reply.status == 404:
            reply = await self.transport.quick(lane, manifest_call("GET", reference))
            absent = reply is not None and reply.status == 404 and ABSENT_CODES.intersection(reply.codes)
            return ABSENT if absent else None
        return self._seen(reference, reply) if reply is not None else None

    async def _patient(self, reference: Reference) -> Sighting:
        """Every other case: patience, authentication, redirects, registries that say too little on HEAD."""
        reply = await self.transport.send(manifest_call("HEAD", reference))
        if reply.status == 200 and (seen := self._seen(reference, reply)):
            return seen
        found = await self.fetch(reference)
        if found is None:
            return ABSENT
        digest = reference.digest or found.digest
        return Found(digest, found.media_type, len(found.data))

    def _seen(self, reference: Reference, reply: Reply) -> Sighting | None:
        """What a HEAD says; None if it says too little, and the bytes must be looked at."""
        digest = told_digest(reply)
        if digest is None or reply.media_type not in ACCEPTED:
            return None
        if reference.digest and digest.algorithm != reference.digest.algorithm:
            return None
        if reference.digest and digest != reference.digest:
            what = f"{reference.repository.path} {reference.name}"
            return Unknown(problems.wrong_digest(self.transport.endpoint.host, what, f"it says {digest}"))
        size = reply.headers.get("content-length", "")
        return Found(digest, reply.media_type, int(size) if size.isascii() and size.isdigit() else 0)
