"""The applied document in a pass: what it says before a tag is moved, and what is written then (ADR 031, 046, 048)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack, superseded
from reconciler.model.applied import Applied, AppliedTag, applied_at
from reconciler.model.observed import Found
from reconciler.model.problem import LianError
from reconciler.observe.ask import known_heads, read_applied
from reconciler.ports.publisher import NOT_MOVED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports

TRIES = 5
"""How often the document is written when others write it in the same moment."""


@dataclass(slots=True)
class Witness:
    """The applied documents of the fleet, as one pass reads and writes them."""

    ports: Ports
    desired: Desired
    allow_older: bool = False
    _documents: dict[tuple[Repository, Digest], Applied | None] = field(default_factory=dict)
    _lineage: dict[str, bool | None] = field(default_factory=dict)

    def tag(self, repository: Repository) -> str:
        """The one under which the document lies."""
        return applied_at(repository, self.desired.fleet.name).name

    async def read(self, repository: Repository, head: Sighting) -> Applied | None:
        """The document that its tag names now; read once for each digest. Raises LianError."""
        if not isinstance(head, Found):
            return None
        key = (repository, head.digest)
        if key not in self._documents:
            where = applied_at(repository, self.desired.fleet.name, head.digest)
            self._documents[key] = await read_applied(self.ports.registry, where)
        return self._documents[key]

    async def newer(self, applied: Applied, tag: str) -> str | None:
        """The commit, newer than this pass's, that was applied here; None if there is none or that does not matter."""
        known = await self._known(applied, [tag])
        return None if self.allow_older else applied.newer_than(self.desired.history, tag, known)

    async def descends(self, revision: str) -> bool | None:
        """Whether a commit comes after this pass's; None where the desired repo cannot tell."""
        if revision == self.desired.revision:
            return False
        if revision not in self._lineage:
            self._lineage[revision] = await self.ports.source.descends(revision)
        return self._lineage[revision]

    async def announce(self, repository: Repository, head: Sighting, targets: Mapping[str, Digest]) -> bool:
        """Before these tags are moved: have the document, which `head` is a fresh look at, name where to, if it names
        another place now. A pass that is cut off after a move leaves no tag that looks like another's doing. True if
        the document was written: what another wrote in that moment may be lost with it. Raises LianError."""
        for left in reversed(range(TRIES)):
            applied = await self.read(repository, head)
            if applied is None:
                return False
            ours = {tag: digest for tag, digest in targets.items() if not await self.newer(applied, tag)}
            announced = applied.about_to_move(ours)
            if announced == applied:
                return False
            try:
                await self._put(repository, announced)
            except LianError as error:
                if not left or not is_not_moved(error):
                    raise
                head = await self._look(repository)
            else:
                return True
        return False

    async def testify(self, artifact: Artifact, digest: Digest, moved: Sequence[str]) -> None:
        """After these tags were moved: write so, but for those that have to go back. Raises HeldBack for these,
        LianError."""
        repository = artifact.image
        entry = AppliedTag(digest, str(artifact.name), self.desired.revision, self.desired.history.time)
        placed = dict.fromkeys(moved, digest)
        undone: dict[str, str] = {}
        for left in reversed(range(TRIES)):
            try:
                before = await self._give_back(repository, placed, undone)
                kept = [tag for tag in moved if tag not in undone]
                await self._write(repository, before, dict.fromkeys(kept, entry))
                break
            except LianError as error:  # whoever wrote in the same moment is read and written on
                if not left or not is_not_moved(error):
                    raise
        if undone:
            raise HeldBack([superseded(f"{repository}:{tag}", revision) for tag, revision in undone.items()])

    async def _look(self, repository: Repository) -> Sighting:
        tag = self.tag(repository)
        return (await known_heads(self.ports.registry, repository, [tag]))[tag]

    async def _known(self, applied: Applied, tags: Collection[str]) -> dict[str, bool | None]:
        """Where the document's commits stand, as far as the desired repo tells."""
        return {revision: await self.descends(revision) for revision in applied.revisions(tags)}

    async def _write(self, repository: Repository, before: Applied | None, entries: Mapping[str, AppliedTag]) -> None:
        """The document with these entries; it stays a newer commit's if it is one's, and a commit's if what was built
        is a folder: of which commits came last, a folder says nothing. Raises LianError."""
        if not entries:
            return
        history = self.desired.history
        before = before or Applied(self.desired.fleet.name, history)
        overtaken = before.stands_after(history, await self._known(before, entries)) and not self.allow_older
        kept = overtaken or not history.revision
        await self._put(repository, before.moved(before.history if kept else history, entries))

    async def _put(self, repository: Repository, applied: Applied) -> None:
        manifest, blobs = applied.packed()
        await self.ports.publisher.publish(repository, manifest, tags=[self.tag(repository)], blobs=blobs)

    async def _give_back(
        self, repository: Repository, placed: dict[str, Digest], undone: dict[str, str]
    ) -> Applied | None:
        """Put back what a newer commit's pass pointed a tag at between our look and our move: its document tells, and
        it may have ended. `placed` and `undone` are kept up: where the tags were put, and which of them went back, with
        the newer commit. The document as it is now. Raises LianError."""
        while True:
            applied = await self.read(repository, await self._look(repository))
            if applied is None or self.allow_older:
                return applied
            known = await self._known(applied, placed)
            lasts = {tag: applied.overtaking(self.desired.history, tag, known) for tag in placed}
            back = {tag: last for tag, last in lasts.items() if last and last.digest != placed[tag]}
            if not back:
                return applied
            for tag, last in back.items():
                undone[tag] = last.revision
                manifest = await self.ports.registry.manifest(repository, last.digest)
                await self.ports.publisher.publish(repository, manifest, tags=[tag])
                placed[tag] = last.digest


def is_not_moved(error: LianError) -> bool:
    """True if a tag that was moved read back as something else: to be looked at again."""
    return not isinstance(error, HeldBack) and error.problems[0].code == NOT_MOVED
