"""lian.lock as a commit holds it, and what it pins of each artifact (ADR 070)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.model.artifact import BaseImage, Place
from reconciler.model.json_places import JsonFault
from reconciler.model.lock import NAME, Lock
from reconciler.model.moving import Part, PartKind, context_parts, needed_parts, parts_of
from reconciler.model.problem import LianError, Problem, redact
from reconciler.model.tree import SYMLINK
from reconciler.model.wording import count, some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from reconciler.desired.tree import CommitTree
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Materials, Needs
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference

_REMEDY = "mend it, or take it from an older commit, or delete it and run `lian lock`"
MAX_BYTES = 16 << 20
"""A lock of a hundred thousand entries is smaller."""


def parse_lock(data: bytes) -> Lock:
    """Raises LianError `lock-invalid`, at its place."""
    if len(data) > MAX_BYTES:
        raise LianError(_invalid("it is too large to be one"))
    try:
        return Lock.parse(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LianError(_invalid("it is no UTF-8 text")) from error
    except JsonFault as fault:
        place = Place(NAME, fault.line, fault.column)
        raise LianError(_invalid(str(fault), fault.hint).at(place)) from fault


def linked() -> Problem:
    """Why a lock that is a symbolic link is not read."""
    return _invalid("it is a symbolic link", "put the file itself in its place")


def _invalid(cause: str, hint: str | None = None) -> Problem:
    message = f"{NAME} cannot be read, so what it pins is not known"
    return Problem("lock-invalid", message, NAME, cause=cause, hint=hint or _REMEDY)


_REMEDIES = {PartKind.URL: "a --checksum", PartKind.GIT: "a commit in its place"}


@dataclass(slots=True)
class _Pins:
    """What a lock pins of the artifacts that it is shown, and which of its entries that takes."""

    lock: Lock
    lacking: set[Part] = field(default_factory=set)
    """Parts that can move, and that it does not pin."""
    _used: set[Part] = field(default_factory=set)
    _needs: dict[int, tuple[Mapping[Platform, Needs], Mapping[Platform, Needs]]] = field(default_factory=dict)
    """By the identity of what thousands of artifacts share: that, which keeps it alive, and the same pinned."""

    @property
    def left(self) -> list[Part]:
        """Entries that none of them uses."""
        return sorted(set(self.lock.pins) - self._used)

    def pinned(self, artifact: Artifact, materials: Materials | None) -> tuple[Artifact, Materials | None]:
        """See Pinning."""
        self._take(context_parts(artifact, materials))
        if materials is None:
            return artifact, None
        needs, checks = self._each_platform(materials.needs), self._each_platform(materials.check_needs)
        return self._with_contexts(artifact), replace(materials, needs=needs, check_needs=checks)

    def _take(self, parts: Iterable[Part]) -> None:
        for part in parts:
            (self.lacking if self.lock.pin(part) is None else self._used).add(part)

    def _with_contexts(self, artifact: Artifact) -> Artifact:
        """Named contexts that are images, by digest."""
        pinned = {
            name: BaseImage(self._image(context.reference))
            for name, context in artifact.contexts.items()
            if isinstance(context, BaseImage) and context.reference in self.lock.images
        }
        return replace(artifact, contexts={**artifact.contexts, **pinned}) if pinned else artifact

    def _each_platform(self, needs: Mapping[Platform, Needs]) -> Mapping[Platform, Needs]:
        if not needs:
            return needs
        known = self._needs.get(id(needs))
        if known is None:
            self._take(needed_parts(needs))
            found = {platform: self._each(each) for platform, each in needs.items()}
            known = self._needs[id(needs)] = (needs, found)
        return known[1]

    def _each(self, needs: Needs) -> Needs:
        images = {name: self._image(reference) for name, reference in needs.images.items()}
        fetched = (replace(source, pin=self.lock.pin(source.part)) for source in needs.fetched)
        frontend = needs.frontend and self._image(needs.frontend)
        return replace(needs, images=images, fetched=tuple(fetched), frontend=frontend)

    def _image(self, reference: Reference) -> Reference:
        digest = None if reference.digest else self.lock.images.get(reference)
        return reference._replace(digest=digest) if digest else reference


@dataclass(slots=True)
class Pinning:
    """What a lock does to the artifacts of a commit, and what becomes of its entries. `lock` is None where there is
    none, or where `problem` says why it cannot be read."""

    lock: Lock | None = None
    problem: Problem | None = None
    told: bool = True
    """Whether anything is said of what a lock would pin."""
    holds_some: bool = False
    """Whether an artifact is held for `problem`."""
    _pins: _Pins | None = field(init=False)

    def __post_init__(self) -> None:
        self._pins = None if self.lock is None else _Pins(self.lock)

    @classmethod
    def read(cls, tree: CommitTree) -> Pinning:
        """From the commit. Raises LianError for a repository that cannot be read."""
        node = tree.at(NAME)
        if node is None:
            return cls()
        if node.mode == SYMLINK:
            return cls(problem=linked())
        if not node.is_file:
            return cls(problem=_invalid("it is a folder"))
        data = tree.read(node.id)
        try:
            return cls(parse_lock(data))
        except LianError as error:
            return cls(problem=error.problems[0])

    def holds(self, artifact: Artifact, materials: Materials | None) -> tuple[Problem, ...]:
        """Why nothing can be decided of an artifact: something of it may be pinned, and nobody knows to what."""
        if self.problem is None or not parts_of(artifact, materials):
            return ()
        self.holds_some = True
        return (self.problem,)

    def pinned(self, artifact: Artifact, materials: Materials | None) -> tuple[Artifact, Materials | None]:
        """The artifact with all that the lock pins, by digest."""
        return self._pins.pinned(artifact, materials) if self._pins else (artifact, materials)

    def notes(self, materials: Materials) -> Iterator[str]:
        """What a Dockerfile fetches unpinned, where there is no lock that could tell of it; the rest of a sentence that
        begins with the Dockerfile's path."""
        if self.lock is not None or self.problem is not None or not self.told:
            return
        told = {
            (source.line, source.location, source.part.kind)
            for needs in (*materials.needs.values(), *materials.check_needs.values())
            for source in needs.fetched
        }
        for line, location, kind in sorted(told):
            yield f"adds {redact(location)} (line {line}), which nothing pins: `lian lock` does, or {_REMEDIES[kind]}"

    def lacking(self) -> Iterator[str]:
        """What is used and not pinned, in a sentence."""
        if self._pins and (lacking := self._pins.lacking):
            verb = "is" if len(lacking) == 1 else "are"
            yield f"{count(len(lacking), 'moving part')} {verb} not in {NAME}: {_listed(sorted(lacking))}"

    def unused(self) -> Iterator[str]:
        """What is pinned and not used, in a sentence. Only where all that the commit uses is known."""
        if self._pins and (left := self._pins.left):
            entries = count(len(left), "entry", "entries")
            yield f"{NAME} has {entries} that nothing uses: {_listed(left)} (`lian lock` removes them)"


def _listed(parts: Collection[Part]) -> str:
    return some([redact(str(part)) for part in parts])
