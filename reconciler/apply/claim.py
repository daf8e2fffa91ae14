"""A prune's hold on one repository, and what it announces there (ADR 032 and 047).

Tags are the only registers that all registries have, and none of them can be compared and swapped. So whoever claims a
repository writes a tag of its own first and lists the tags then: of two prunes at least one sees the other, and whoever
does steps back. Only who is alone writes the one tag that those who push look at.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.pruning import CLAIM_PREFIX, PRUNING_TAG, Announcement
from reconciler.model.reference import Reference
from reconciler.observe.ask import read_announcement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType
    from typing import Self

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Removing

LEAST_SECONDS, MOST_SECONDS = 20.0, 55.0
"""How far ahead an announcement's end lies: the slower the list of tags, the further."""
MARGIN_SECONDS = 5.0
"""So long before its end nothing more is removed: clocks differ, and a request takes its time."""
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 90.0
"""How long another prune is waited for. One that was killed has its claim for MOST_SECONDS at most."""


class Unready(LianError):
    """What is here could not be found out, or belongs to another prune now: nothing may be removed."""


@dataclass(slots=True)
class Claim:
    """An async context manager. `known` is the announcement that is taken up here: that of an interrupted prune."""

    ports: Removing
    repository: Repository
    fleet: str
    known: Digest | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    problems: list[Problem] = field(default_factory=list)
    """Of what could not be cleared away at the end."""
    until: float = 0.0
    listing: float = 0.0
    """Seconds that the last list of tags took."""
    unfinished: Announcement | None = None
    """What was announced and has not been carried out yet."""
    _documents: dict[str, list[Digest]] = field(default_factory=dict)
    """Tag -> what this prune, or one that is over, has put there; what it names now last."""

    async def __aenter__(self) -> Self:
        """Raises Unready, also as `prune-busy`, and LianError if nothing can be written."""
        try:
            await self._take()
        except BaseException:
            await to_its_end(self._clear_all())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Withdraw. Of what was announced and not carried out a note stays, which threatens nobody: the next prune
        takes it up. What goes wrong here is in `problems`."""
        await to_its_end(self._give_back())

    async def sweep(self, tags: Mapping[str, Digest]) -> None:
        """Clear away what prunes that are over have left under these tags; for this nothing has to be claimed. Raises
        Unready, LianError."""
        await self._others(tags)
        for tag in sorted(self._documents):
            await self._clear(tag)

    async def announce(self, tags: Mapping[str, Digest], digests: Collection[Digest]) -> Mapping[str, Digest]:
        """Say what will be removed, and look again: all tags as they are after that. Raises Unready, LianError."""
        if self.seconds_left < LEAST_SECONDS / 2:
            await self._renew()
        self.unfinished = Announcement(tags, frozenset(digests), self.until, self.fleet, self.id)
        await self._put(PRUNING_TAG, self.unfinished)
        fresh = await self._listed()
        if self._tag not in fresh or await self._others(fresh):
            raise Unready(_busy(self.repository))
        return fresh

    def carried_out(self) -> None:
        """Nothing is left of what was announced."""
        self.unfinished = None

    @property
    def seconds_left(self) -> float:
        """In which something may still be removed."""
        return self.until - MARGIN_SECONDS - self.ports.clock()

    @property
    def _tag(self) -> str:
        return CLAIM_PREFIX + self.id

    async def _take(self) -> None:
        deadline = self.ports.clock() + PATIENCE_SECONDS
        while True:
            await self._renew()
            if not await self._others(await self._listed()):
                return
            await self._clear(self._tag)
            if self.ports.clock() > deadline:
                raise Unready(_busy(self.repository))
            await asyncio.sleep(POLL_SECONDS * (1 + int(self.id[:2], 16) / 256))  # not in step with the other

    async def _renew(self) -> None:
        ahead = min(2 * self.listing + LEAST_SECONDS, MOST_SECONDS)
        self.until = self.ports.clock() + ahead
        await self._put(self._tag, Announcement(until=self.until, fleet=self.fleet, by=self.id))

    async def _put(self, tag: str, announcement: Announcement) -> None:
        manifest, blobs = announcement.packed()
        self._documents.setdefault(tag, []).append(manifest.digest)
        await self.ports.publisher.publish(self.repository, manifest, tags=[tag], blobs=blobs)

    async def _listed(self) -> Mapping[str, Digest]:
        start = self.ports.clock()
        try:
            return await self.ports.inventory.tags_of(self.repository)
        except LianError as error:
            raise Unready(error.problems) from error
        finally:
            self.listing = self.ports.clock() - start

    async def _others(self, tags: Mapping[str, Digest]) -> bool:
        """True if another prune is at work. What one that is over has left is cleared away at the end."""
        at_work = False
        for tag, digest in tags.items():
            if tag == self._tag or not (tag == PRUNING_TAG or tag.startswith(CLAIM_PREFIX)):
                continue
            try:
                other = await read_announcement(self.ports.registry, self.repository, tag)
            except LianError as error:
                raise Unready(error.problems) from error
            if other is None or other.by == self.id:
                continue
            if other.until > self.ports.clock():
                at_work = True
            elif tag == PRUNING_TAG and other.digests and digest != self.known:
                raise Unready(_left(self.repository))  # what it left is in no plan yet
            elif other.packed()[0].digest == digest:  # so this digest names nothing but that document
                self._documents.setdefault(tag, []).insert(0, digest)
        return at_work

    async def _give_back(self) -> None:
        try:
            if self.unfinished is not None:
                rest = self.unfinished
                await self._put(PRUNING_TAG, Announcement(rest.tags, rest.digests, 0.0, self.fleet, self.id))
                await self._clear(PRUNING_TAG, but=self._documents[PRUNING_TAG].pop())
        except LianError as error:  # then the announcement stands until its time is over
            self.problems += error.problems
            self._documents.pop(PRUNING_TAG, None)
        await self._clear_all()

    async def _clear_all(self) -> None:
        try:
            for tag in sorted(self._documents):  # the announcement first
                await self._clear(tag)
        except LianError as error:
            self.problems += error.problems

    async def _clear(self, tag: str, but: Digest | None = None) -> None:
        """What was put under the tag goes, and the tag with it. Raises LianError."""
        put = [digest for digest in dict.fromkeys(self._documents.pop(tag, [])) if digest != but]
        for digest in put:
            await self.ports.remover.delete(self.repository, digest)
        reference = Reference(self.repository, tag)
        head = (await self.ports.registry.heads([reference]))[reference]
        if isinstance(head, Unknown):
            raise LianError(head.problem)
        if isinstance(head, Found) and head.digest in put:  # some registries keep the tags of what is deleted
            await self.ports.remover.untag(self.repository, tag)


def _busy(repository: Repository) -> Problem:
    return Problem(
        "prune-busy",
        f"another prune is at work in {repository}",
        hint="run again when it is done; if it was killed, within a minute",
        next=Next.RETRY,
    )


def _left(repository: Repository) -> Problem:
    return Problem(
        "prune-left-over",
        f"another prune was interrupted in {repository} after this one was planned",
        hint="run again: what it left is then part of the plan",
        next=Next.RETRY,
    )
