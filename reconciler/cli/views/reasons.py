"""One sentence for each reason code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.plan import Action, FileStatus
from reconciler.model.plan import ReasonCode as Code
from reconciler.model.wording import short, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.plan import Change, Moved, Reason
    from reconciler.model.reference import Repository

FILES_SHOWN = 3
SHORT_COMMIT = 7
_LETTERS = {FileStatus.ADDED: "+", FileStatus.REMOVED: "-", FileStatus.MODIFIED: ""}


def sentences(change: Change, *, detailed: bool = False) -> tuple[str, ...]:
    """Why, each thing once, and for a copy where it comes from; `detailed` gives whole digests and all files, and what
    is absent tag by tag."""
    where = "the registry" if change.source is None else place(change.image)
    copied = (f"copied from {place(change.source)}",) if change.source and change.action is Action.RETAG else ()
    absent = [reason.subject for reason in change.reasons if reason.code is Code.ABSENT and reason.subject]
    lost = iter([_not_there(tags, where) for tags in ([[one] for one in absent] if detailed else [absent]) if tags])
    told = (
        next(lost, None)
        if reason.code is Code.ABSENT and reason.subject
        else sentence(reason, detailed=detailed, conditional=change.conditional)
        for reason in change.reasons
    )
    return (*copied, *dict.fromkeys(each for each in told if each))


def _not_there(tags: Sequence[str], where: str) -> str:
    return f"{together(tags)} {'is' if len(tags) == 1 else 'are'} not in {where}"


def place(repository: Repository) -> str:
    """A repository's name; without its host in a folder, whose path would only be in the way."""
    return repository.path if repository.layout else str(repository)


def sentence(reason: Reason, *, detailed: bool = False, conditional: bool = True) -> str:
    """Why, in a person's words; `detailed` gives whole digests and all files.

    `conditional` is the change's: an unbuilt parent is a reason only if nothing else makes the build due.
    """
    old, new = (_value(value, detailed) for value in (reason.old, reason.new))
    subject = reason.subject or ""
    if reason.code in _HELD:
        return f"held, because {_holding(reason)} ({reason.new})"
    if reason.code in _SAID:
        return _SAID[reason.code].format(subject=subject, old=old)
    match reason.code:
        case Code.ABSENT:
            return f"{subject} is not in the registry" if subject else "not in the registry"
        case Code.CONTEXT_CHANGED:
            return f"context changed: {_files(reason, detailed)}"
        case Code.NAMED_CONTEXT_CHANGED:
            return f"context {subject} changed: {_files(reason, detailed)}"
        case Code.DOCKERFILE_CHANGED:
            return f"Dockerfile changed: {_files(reason, detailed)}"
        case Code.PARENT_CHANGED if reason.new is None:
            return f"rebuild unless {subject} comes out identical" if conditional else f"{subject} is built first"
        case Code.TAG_DIFFERS:
            return _differs(reason, detailed)
        case Code.PLATFORM_MISSING:
            return f"platform {subject} is " + ("no longer wanted" if reason.new is None else "not in the image")
        case Code.EXPIRED if subject == "fresh":
            return "a new window of its max_age has begun"
        case Code.MAX_AGE_CHANGED if subject == "fresh":
            return f"its max_age {_aged(reason)}"
        case _:
            what = f"{_WHAT[reason.code]}{f' {subject}' if subject not in {'', 'max_age', 'source_date_epoch'} else ''}"
            return f"{what}: {old} → {new}" if reason.old or reason.new else f"{what} changed"


def _aged(reason: Reason) -> str:
    """Where the numbers of windows are known alone."""
    if reason.old is None:
        return "is new"
    return "was taken away" if reason.new is None else "was changed"


def _differs(reason: Reason, detailed: bool) -> str:
    """Of a tag, or of those of several artifacts."""
    if reason.subject is None:
        return "tags point at other images"
    end = f", wanted {_value(reason.new, detailed)}" if reason.new else ", which has no build record"
    return f"tag {reason.subject} points at {_value(reason.old, detailed)}{end}"


_HELD = {Code.UNKNOWN, Code.INVALID, Code.UNSUPPORTED}
_SAID = {
    Code.IN_SYNC: "in sync",
    Code.FORCED: "forced",
    Code.RETAGGED: "tag {subject} was moved to {old} by someone else",
    Code.FOREIGN: "tag {subject} points at {old}, which lian did not make",
    Code.BROKEN: "a part of the image is missing: {old}",
    Code.ORPHANED: "{subject} is no longer wanted",
    Code.SUPERSEDED: "held, because a newer commit was applied: {old}",
    Code.LIMITED: "held, because this pass makes no more builds",
    Code.STALE: "held, because the plan does not say this",
    Code.IMMUTABLE: "held, because tag {subject} must not move",
}
_WHAT = {
    Code.ARGS_CHANGED: "arg",
    Code.LABELS_CHANGED: "label",
    Code.TARGET_CHANGED: "target",
    Code.BASE_MOVED: "base",
    Code.FETCHED_MOVED: "fetched",
    Code.FRONTEND_MOVED: "frontend",
    Code.PARENT_CHANGED: "parent",
    Code.SECRET_CHANGED: "secret",
    Code.BUILDER_CHANGED: "builder pin",
    Code.EPOCH_CHANGED: "source_date_epoch",
    Code.EXPIRED: "freshness",
    Code.MAX_AGE_CHANGED: "max_age",
}


_WHY = {
    "mostly-vanished": "most of what was applied before is gone",
    "lock-invalid": "lian.lock cannot be read",
    "policy-unknown": "the policy cannot be read",
    "policy-violation": "it breaks a rule",
    "directive-unread": "a directive that may declare it cannot be read",
    "registry-proposed": "its registry is not asked before this is merged",
    "git-proposed": "the repository that it is built from is not asked before this is merged",
}
"""Code of a problem -> what holds, where its reason's code alone would say something else."""


def _holding(reason: Reason) -> str:
    """What holds; a subject is what the artifact stands on, and is held itself."""
    who = reason.subject or "it"
    if reason.subject is None and reason.new in _WHY:
        return _WHY[reason.new]
    match reason.code:
        case Code.INVALID:
            return f"{who} is invalid"
        case Code.UNSUPPORTED:
            return f"{who} cannot be built as it is asked for"
        case _ if reason.new == "parent-unread":
            return f"{who} is in no directive that can be read"
        case _ if reason.subject:
            return f"{who} is held"
        case _:
            return "something could not be read"


def _value(value: str | None, detailed: bool) -> str:
    if value is None:
        return "(none)"
    bare = value.removeprefix("sha256:")
    if not detailed and len(bare) in {40, 64} and all(c in "0123456789abcdef" for c in bare):
        return short(bare)
    return value if detailed or len(value) <= 60 else value[:59] + "…"


def _files(reason: Reason, detailed: bool) -> str:
    return _named(reason, detailed) + _behind(reason, detailed)


def _behind(reason: Reason, detailed: bool) -> str:
    """The commits that are the cause, where they are known."""
    if reason.origin:
        return f" ({_moved(reason.origin, detailed)})"
    if reason.commit is None:
        return ""
    return f", in {reason.commit if detailed else reason.commit[:SHORT_COMMIT]}"


def _moved(origin: Moved, detailed: bool) -> str:
    """Which commits of which repository."""
    old, new = (_value(commit, detailed) for commit in (origin.old, origin.new))
    commits = new if origin.old in {None, origin.new} else f"{old} → {new}"
    rev = "" if origin.rev == origin.new else f" {origin.rev}"
    return f"{origin.url}{rev} at {commits}"


def _named(reason: Reason, detailed: bool) -> str:
    if not reason.files:
        return f"{_value(reason.old, detailed)} → {_value(reason.new, detailed)}"
    shown = reason.files if detailed else reason.files[:FILES_SHOWN]
    more = len(reason.files) - len(shown)
    return ", ".join(f"{_LETTERS[file.status]}{file.path}" for file in shown) + (f" and {more} more" if more else "")
