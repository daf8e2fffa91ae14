"""What many references name, asked one by one by HEAD, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.manifest import ACCEPTED
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.calls import ABSENT_CODES, manifest_call, told_digest
from reconciler.providers.registry.distribution.hands import answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference
    from reconciler.providers.registry.http.lane import Lane
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport


@dataclass(frozen=True, slots=True)
class Heads:
    """Asks one registry. `fetch` gives what a reference names, verified, None if it is certainly absent; it raises
    LianError."""

    transport: Transport
    fetch: Callable[[Reference], Awaitable[Manifest | None]]

    async def each(self, references: Collection[Reference]) -> dict[Reference, Sighting]:
        """Every reference gets an answer, Unknown if need be."""
        return await answers(self.transport, references, self._sighting)

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
