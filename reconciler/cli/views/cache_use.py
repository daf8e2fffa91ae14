"""What the cache did for builds, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.views.text import size
from reconciler.model.cache import CacheMode
from reconciler.model.cache_use import LookStatus
from reconciler.model.mount_use import MountsEnd
from reconciler.model.wording import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.cli.views.text import Writer
    from reconciler.model.cache_use import CacheUse
    from reconciler.model.problem import Problem

SHOWN_STEPS = 8
"""Steps of a build that are listed as having run."""
_WORDS = {
    LookStatus.ABSENT: "nothing is there yet",
    LookStatus.UNREADABLE: "it could not be read",
    LookStatus.FOREIGN: "it is no cache",
    LookStatus.TOO_LARGE: "it is too large",
    LookStatus.STALE: "it is not fresh enough",
    LookStatus.UNFINISHED: "the build that wrote it has not ended, or not well",
    LookStatus.BROKEN: "it lacks what it promises",
    LookStatus.SET_ASIDE: "the build failed on another one, and was done again without any",
}
_QUIET = {LookStatus.READ, LookStatus.ABSENT}


def in_short(uses: Collection[CacheUse]) -> str:
    """`3 of 7 steps cached, 12 s saved`; empty where no cache was given to a build: what it found on its builder then,
    others of the same pass had just made."""
    used = [use for use in uses if use.steps and _aided(use)]
    if not used:
        return ""
    hits, steps, saved = (sum(each) for each in zip(*((u.hits, len(u.steps), u.saved) for u in used), strict=True))
    return f"{hits} of {count(steps, 'step')} cached{_saved(saved)}"


def in_sum(uses: Collection[CacheUse]) -> str:
    """The same of a whole pass, with what was read and written; empty where nothing is kept."""
    layers = [use for use in uses if use.mode is not CacheMode.OFF]
    restored, saved = (sum(each) for each in zip((0, 0), *map(_moved, uses), strict=True))
    mounts = f"cache mounts {size(restored)} read, {size(saved)} written" if restored or saved else ""
    if not layers:
        return mounts
    read, written = (size(sum(each)) for each in zip(*((u.pulled, u.pushed) for u in layers), strict=True))
    told = in_short(layers)
    told = f"{told}, {read} read, {written} written" if told else f"none was read, {written} written"
    return f"{told}; {mounts}" if mounts else told


def _aided(use: CacheUse) -> bool:
    return any(look.status is LookStatus.READ for look in use.looked)


def _moved(use: CacheUse) -> tuple[int, int]:
    return use.mounts.restored.bytes, use.mounts.saved.bytes


def complaints(use: CacheUse) -> Iterator[str]:
    """What did not go as it should: the build is good all the same."""
    quiet = _QUIET | ({LookStatus.STALE} if _aided(use) else set())
    for look in use.looked:
        if look.status not in quiet:
            yield f"{look.reference} was not used: {_WORDS[look.status]}{_cause(look.cause)}"
    for problem in _problems(use):
        yield f"{problem.message} [{problem.code}]{_cause(problem.cause)}"


def _problems(use: CacheUse) -> list[Problem]:
    return [*([use.problem] if use.problem else []), *use.mounts.problems]


def story(platform: str, use: CacheUse, writer: Writer) -> None:
    """All of it, for one build: what was found where, what had to run, what was written."""
    writer.line(("cache", "bold"), f"  {platform}: {in_sum([use]) or 'off'}")
    for look in use.looked:
        if look.status is LookStatus.READ:
            writer.wrapped(["  ", ("read ", "dim")], look.reference, indent=4)
        elif look.status is not LookStatus.ABSENT or not _aided(use):
            style = "dim" if look.status is LookStatus.ABSENT else "yellow"
            text = f"{look.reference}: {_WORDS[look.status]}{_cause(look.cause)}"
            writer.wrapped(["  ", ("not read ", style)], text, indent=4)
    ran = [step for step in use.steps if not step.hit]
    for step in ran[:SHOWN_STEPS]:
        writer.wrapped(["  ", ("ran ", "dim")], f"{step.name} ({step.seconds or 0.0:.1f} s)", indent=4)
    if len(ran) > SHOWN_STEPS:
        writer.line(f"  and {len(ran) - SHOWN_STEPS} more that ran")
    if use.written:
        writer.wrapped(["  ", ("written ", "dim")], use.written, indent=4)
    for way, moved in (("before", use.mounts.restored), ("after", use.mounts.saved)):
        if moved.end is not MountsEnd.NONE:
            left = f", {moved.dropped:,} left out" if moved.dropped else ""
            brought = f": {count(moved.mounts, 'folder')}, {size(moved.bytes)} in {moved.seconds:.1f} s{left}"
            text = f"{moved.end.value}{brought if moved.mounts else ''}"
            writer.wrapped(["  ", (f"cache mounts {way} ", "dim")], text, indent=4)
    for problem in _problems(use):
        writer.wrapped(["  "], f"{problem.message} [{problem.code}]{_cause(problem.cause)}", "yellow", indent=4)


def _saved(seconds: float) -> str:
    if seconds < 0.05:
        return ""
    if seconds < 120:
        return f", {seconds:.1f} s saved"
    return f", {int(seconds // 60)} min {int(seconds % 60)} s saved"


def _cause(cause: str | None) -> str:
    return f" ({cause})" if cause else ""
