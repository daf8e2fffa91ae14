"""`lian lock` from the commit to the file: what it uses, what that is pinned to, what has to be asked.

Nothing is written unless all that was asked for is known (ADR 070): a lock of half a commit would look like a whole
one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.identity.held import missing_base, unread_base
from reconciler.model.lock import NAME, Lock
from reconciler.model.lock_report import LockAction, LockChange, LockReport
from reconciler.model.moving import PartKind, parts_of
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference
from reconciler.model.wording import asked_back, likest, some

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.desired import Desired
    from reconciler.model.moving import Part
    from reconciler.model.name import ArtifactName
    from reconciler.ports.bundle import Locking

_AT_ONCE = 8
"""Downloads at a time."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked for: `update` are globs of what moves, empty for all; None for nothing."""

    update: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Uses:
    """What a commit uses that can move, with who uses it. `unknown` are artifacts of which that is not known."""

    parts: Mapping[Part, tuple[ArtifactName, ...]]
    unknown: tuple[ArtifactName, ...]

    @classmethod
    def of(cls, desired: Desired) -> _Uses:
        found: dict[Part, list[ArtifactName]] = {}
        for name, wanted in sorted(desired.wanted.items()):
            for part in parts_of(wanted.artifact, wanted.materials):
                found.setdefault(part, []).append(name)
        unknown = tuple(name for name, wanted in sorted(desired.wanted.items()) if wanted.materials is None)
        return cls({part: tuple(names) for part, names in sorted(found.items())}, unknown)

    def unused(self, pins: Collection[Part], desired: Desired) -> list[Part]:
        """Entries that nothing uses; none while it is not known what all use."""
        return [] if self.unknown or desired.problems else sorted(part for part in pins if part not in self.parts)

    @property
    def note(self) -> tuple[str, ...]:
        """Of what is not known."""
        if not self.unknown:
            return ()
        return (f"what {some(self.unknown)} would use is not known, so no entry is taken for unused",)


async def lock_once(ports: Locking, options: Options) -> LockReport:
    """Bring the working tree's lian.lock up to the commit. Raises LianError if no commit or no lock can be read, if it
    cannot be written, and for a name in `update` that names nothing (`lock-name-unknown`)."""
    before = (await ports.locks.read() or Lock()).pins
    ports.git_refs.keep(_kept(before, options.update))
    desired = await ports.source.load()
    uses = _Uses.of(desired)
    moving = _named(options.update, {*uses.parts, *before})
    asked = [part for part in uses.parts if part not in before or part in moving]
    unused = uses.unused(before, desired)
    report = LockReport(desired.revision, problems=desired.problems)
    notes = (*desired.notes, *uses.note)
    found, unresolved = await _resolved(ports, asked, uses)
    if unresolved:
        return replace(report, unresolved=unresolved, kept=len(before), notes=notes)
    after = {part: pin for part, pin in before.items() if part not in unused} | found
    written = await ports.locks.write(Lock.of(after)) if after or before else False
    changes = [_change(part, before.get(part), after.get(part), uses) for part in sorted({*before, *after})]
    changed = tuple(change for change in changes if change is not None)
    kept = sum(before.get(part) == pin for part, pin in after.items())
    return replace(report, changes=changed, kept=kept, written=written, notes=notes)


async def check(ports: Locking) -> LockReport:
    """What the commit's own lock lacks, and what it has in vain; asks nobody what a part is now, writes nothing. Raises
    LianError if no commit can be read, or not its lock."""
    desired = await ports.source.load()
    uses = _Uses.of(desired)
    pins = (await ports.locks.committed() or Lock()).pins
    lacking = [LockChange(p, LockAction.LACKING, artifacts=who) for p, who in uses.parts.items() if p not in pins]
    unused = [LockChange(part, LockAction.UNUSED, old=pins[part]) for part in uses.unused(pins, desired)]
    changes = (*lacking, *unused)
    kept, notes = len(pins) - len(unused), (*desired.notes, *uses.note)
    mended = bool(changes) and await _is_mended(ports, changes)
    return LockReport(desired.revision, changes, kept, problems=desired.problems, mended=mended, notes=notes)


async def _is_mended(ports: Locking, changes: Collection[LockChange]) -> bool:
    """Whether the working tree's lock only has to be committed."""
    try:
        pins = (await ports.locks.read() or Lock()).pins
    except LianError:  # there is no such file here, or none that can be read: `lian lock` is what to try, and says why
        return False
    return all((change.part in pins) is (change.action is LockAction.LACKING) for change in changes)


def _kept(before: Mapping[Part, str], globs: tuple[str, ...] | None) -> dict[tuple[str, str], str]:
    """At which commits repositories are read: what a pinned commit needs is what will be built, not what the newest
    one needs."""
    moving = _matching(globs, before)
    return {(p.name, p.rev): pin for p, pin in before.items() if p.kind is PartKind.GIT and p not in moving}


def _named(globs: tuple[str, ...] | None, known: Collection[Part]) -> set[Part]:
    """The parts that are to move. Raises LianError for a glob that names nothing."""
    problems = [_unknown(glob, known) for glob in globs or () if not _matching((glob,), known)]
    if problems:
        raise LianError(problems)
    return _matching(globs, known)


def _matching(globs: tuple[str, ...] | None, known: Collection[Part]) -> set[Part]:
    """Those that one of the globs names: all where there are none, none where nothing is to move."""
    if not globs:
        return set() if globs is None else set(known)
    return {part for part in known if any(fnmatchcase(name, glob) for glob in globs for name in part.names)}


def _unknown(glob: str, known: Collection[Part]) -> Problem:
    """People leave out hosts and folders; what is meant is told by its whole name."""
    spelled = {text: part.name for part in known for name in part.names for text in (name.rpartition("/")[2], name)}
    near = sorted({part.name for part in known if any(name.endswith(f"/{glob}") for name in part.names)})
    near = near or sorted({spelled[text] for text in likest(glob, spelled)})
    hint = asked_back(near) if near else f"{NAME} and `lian lock --check` name them all"
    return Problem("lock-name-unknown", f"nothing that moves is called {glob}", "--update", hint=hint)


def _change(part: Part, old: str | None, new: str | None, uses: _Uses) -> LockChange | None:
    if old == new:
        return None
    action = LockAction.ADDED if old is None else LockAction.REMOVED if new is None else LockAction.MOVED
    return LockChange(part, action, old, new, uses.parts.get(part, ()))


async def _resolved(
    ports: Locking, parts: Collection[Part], uses: _Uses
) -> tuple[dict[Part, str], tuple[Problem, ...]]:
    """What each part is now, and why some are not known, said of the first that uses it. All are asked, so that all
    problems are told at once."""
    of = {kind: [part for part in parts if part.kind is kind] for kind in PartKind}
    asked = (
        _heads(ports, of[PartKind.IMAGE]),
        _contents(ports, of[PartKind.URL]),
        _commits(ports, of[PartKind.GIT]),
    )
    found = {part: pin for answer in await all_of(asked) for part, pin in answer.items()}
    pins = {part: pin for part, pin in found.items() if isinstance(pin, str)}
    problems = {part: problem for part, problem in found.items() if isinstance(problem, Problem)}
    return pins, tuple(problem.of(str(uses.parts[part][0])) for part, problem in sorted(problems.items()))


async def _heads(ports: Locking, images: Collection[Part]) -> dict[Part, str | Problem]:
    """Asked repository by repository, so that no registry answers from a list that is a little behind."""
    parts = {Reference.parse(part.name): part for part in images}
    apart: dict[object, list[Reference]] = {}
    for reference in parts:
        apart.setdefault(reference.repository, []).append(reference)
    answers = await all_of(ports.registry.heads(references) for references in apart.values())
    found: dict[Part, str | Problem] = {}
    for reference, head in (item for answer in answers for item in answer.items()):
        match head:
            case Found(digest):
                found[parts[reference]] = str(digest)
            case Absent():
                found[parts[reference]] = missing_base(reference)
            case Unknown(problem):
                found[parts[reference]] = unread_base(reference, problem)
    return found


async def _contents(ports: Locking, urls: Collection[Part]) -> dict[Part, str | Problem]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(part: Part) -> str | Problem:
        try:
            async with gate:
                return str(await ports.contents.digest(part.name))
        except LianError as error:
            return error.problems[0]

    return dict(zip(urls, await all_of(map(one, urls)), strict=True))


async def _commits(ports: Locking, repositories: Collection[Part]) -> dict[Part, str | Problem]:
    parts = {(part.name, part.rev): part for part in repositories}
    found = await ports.git_refs.commits(parts)
    return {parts[place]: commit for place, commit in found.items()}
