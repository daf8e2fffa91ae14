"""Which files are behind a changed context: where their listings are, and what they add to the reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.plan import Action, FileChange, FileSince, FileStatus, ReasonCode
from reconciler.model.record import nearest
from reconciler.plan.origins import record_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.identity.resolve import Resolution
    from reconciler.model.desired import Materials, SentFolder
    from reconciler.model.digest import Digest
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change, Reason
    from reconciler.model.reference import Repository
    from reconciler.model.tree import Entry

    Since: TypeAlias = Callable[[Change, Reason], str]
    """The commit that the old value of a change's reason is of; empty where nobody knows."""

_CONTEXTS = {ReasonCode.CONTEXT_CHANGED, ReasonCode.NAMED_CONTEXT_CHANGED}
_OF_FILES = {*_CONTEXTS, ReasonCode.DOCKERFILE_CHANGED}
ENOUGH = 20
"""Files of one reason whose history is looked at, the first by name."""
_EXPLAINED = {Action.BUILD, Action.HOLD}


@dataclass(frozen=True, slots=True)
class Listings:
    """What to compare: the layer `old` of a build record in `repository`, and the commit's folder `new`."""

    repository: Repository
    old: Digest
    new: SentFolder


def are_behind(change: Change) -> bool:
    """Whether files can be told that are behind it."""
    return any(reason.code in _OF_FILES for reason in change.reasons)


def listings_of(change: Change, resolution: Resolution, observed: Observed) -> dict[Reason, Listings]:
    """For each changed context of a build, or of what is held, the two listings, where a record kept the old one."""
    materials = resolution.desired.wanted[change.artifact].materials
    if materials is None or change.action not in _EXPLAINED:
        return {}
    records = observed.records_behind(change.image, change.tags)
    folders = {folder.root: folder for folder in (*materials.folders.values(), materials.context)}
    found: dict[Reason, Listings] = {}
    for reason in change.reasons:
        old = next((r.listings[reason.old] for r in records if reason.old and reason.old in r.listings), None)
        new = folders.get(reason.new or "")
        if reason.code in _CONTEXTS and old is not None and new is not None:
            found[reason] = Listings(change.image, old, new)
    return found


def with_files(change: Change, files: Mapping[Reason, tuple[FileChange, ...]], resolution: Resolution) -> Change:
    """The change with the files named behind its reasons; reasons without files stay as they are."""
    materials = resolution.desired.wanted[change.artifact].materials
    if materials is None:
        return change
    return replace(change, reasons=naming(change.reasons, files, materials.dockerfile_path))


def naming(
    reasons: Sequence[Reason], files: Mapping[Reason, tuple[FileChange, ...]], dockerfile: str
) -> tuple[Reason, ...]:
    """The reasons with the files behind them; `dockerfile` is the path of the new one."""
    itself = [reason for reason in reasons if reason.code is ReasonCode.DOCKERFILE_CHANGED]
    named = {**dict.fromkeys(itself, (FileChange(dockerfile),)), **files}
    told = (replace(reason, files=named.get(reason, reason.files)) for reason in reasons)
    return tuple(reason for reason in told if not (itself and _is_echo(reason, dockerfile)))


def folders_behind(
    reasons: Sequence[Reason], before: Materials, after: Materials
) -> dict[Reason, tuple[SentFolder, SentFolder]]:
    """For each changed context, the folder that it was and the one that it is, in two commits."""
    old, new = ({folder.root: folder for folder in (*m.folders.values(), m.context)} for m in (before, after))
    contexts = (reason for reason in reasons if reason.code in _CONTEXTS)
    pairs = ((reason, old.get(reason.old or ""), new.get(reason.new or "")) for reason in contexts)
    return {reason: (was, now) for reason, was, now in pairs if was is not None and now is not None}


def built_from(resolution: Resolution, observed: Observed) -> Since:
    """The commits of the records that reasons compare with."""
    fleet = resolution.desired.fleet.name

    def since(change: Change, reason: Reason) -> str:
        records = observed.records_behind(change.image, change.tags)
        record = record_before(reason, nearest(records, str(change.artifact), fleet))
        return record.revision if record else ""

    return since


def files_behind(changes: Iterable[Change], since: Since) -> frozenset[FileSince]:
    """The files of this repository that are named in reasons whose commit is not told yet: of each the first few."""
    pairs = ((change, reason) for change in changes for reason in change.reasons if _is_to_tell(reason))
    return frozenset(one for change, reason in pairs for one in _files(reason, since(change, reason)))


def with_commits(changes: Iterable[Change], since: Since, last: Mapping[FileSince, str]) -> tuple[Change, ...]:
    """The changes with the commit behind each reason: the newest that changed one of the files that were looked at.
    `last` has the commits of the files, the newest first."""
    order = {commit: number for number, commit in enumerate(dict.fromkeys(last.values()))}

    def told(change: Change, reason: Reason) -> Reason:
        if not _is_to_tell(reason):
            return reason
        found = {last[one] for one in _files(reason, since(change, reason)) if one in last}
        return replace(reason, commit=min(found, key=lambda one: order[one])) if found else reason

    def all_told(change: Change) -> Change:
        if not any(map(_is_to_tell, change.reasons)):
            return change
        return replace(change, reasons=tuple(told(change, reason) for reason in change.reasons))

    return tuple(map(all_told, changes))


def _is_to_tell(reason: Reason) -> bool:
    return bool(reason.files) and reason.origin is None and reason.commit is None


def _files(reason: Reason, since: str) -> Iterator[FileSince]:
    return (FileSince(file.path, since) for file in reason.files[:ENOUGH])


def _is_echo(reason: Reason, dockerfile: str) -> bool:
    """A Dockerfile inside its own context shows up twice; `dockerfile-changed` is the more telling of the two."""
    return reason.code is ReasonCode.CONTEXT_CHANGED and [file.path for file in reason.files] == [dockerfile]


def changed_files(old: Iterable[Entry], new: Iterable[Entry], folder: str = ".") -> tuple[FileChange, ...]:
    """What differs between two listings of a folder, sorted by path."""
    before, after = ({entry.path: entry for entry in listing} for listing in (old, new))
    prefix = "" if folder == "." else f"{folder}/"
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return tuple(FileChange(prefix + path, _status(before.get(path), after.get(path))) for path in paths)


def _status(before: Entry | None, after: Entry | None) -> FileStatus:
    if before is None:
        return FileStatus.ADDED
    return FileStatus.REMOVED if after is None else FileStatus.MODIFIED
