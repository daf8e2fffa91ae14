"""What to say of a glob that takes no artifact, and of what a person may have meant by it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.model.globs import is_plain, is_unclosed, matcher
from reconciler.model.problem import Problem
from reconciler.model.wording import asked_back, likest

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.desired import Desired


def unmatched(desired: Desired, glob: str, flag: str | None = None) -> Problem:
    """Of a glob over `workspace/artifact` that was given with a `flag`."""
    if any(map(matcher([glob]), map(str, desired.others))):
        message = f"no artifact that is chosen matches {glob!r}: there is such a one, and it is left out"
        hint = f"choose it too, or leave {flag} out" if flag else "choose it too"
        return Problem("selection-empty", message, flag, hint=hint)
    if is_unclosed(glob):
        message = f"no artifact matches {glob!r}: its [ is never closed"
        return Problem("selection-empty", message, flag, hint="close it: [abc] takes one of these letters")
    names = _names(desired)
    otherwise = f"choose one of the {len(names)} that `lian diff --detailed` lists"
    return Problem("selection-empty", f"no artifact matches {glob!r}", flag, hint=_meant(glob, names) or otherwise)


def unnamed(desired: Desired, typed: str) -> Problem:
    """Of the name of one artifact, with its workspace or without."""
    names = _names(desired)
    if any(map(matcher([typed if "/" in typed else f"*/{typed}"]), desired.unread)):
        hint = "mend what is told of its file"
        return Problem("selection-empty", f"what {typed} is cannot be read", hint=hint)
    otherwise = f"name one of the {len(names)} that `lian diff --detailed` lists"
    hint = _nearest(typed, names) or otherwise
    return Problem("selection-empty", f"no artifact is called {typed}", hint=hint)


def _names(desired: Desired) -> list[str]:
    return [*map(str, desired.wanted), *sorted(desired.unread)]


def _meant(glob: str, names: Collection[str]) -> str:
    """A workspace's name stands for all of it in people's minds."""
    workspaces = {name.partition("/")[0] for name in names}
    if glob.rstrip("/") in workspaces:
        return asked_back([f"{glob.rstrip('/')}/*"])
    if is_plain(glob):
        return _nearest(glob, names)
    near = likest(glob, {*names, *(f"{workspace}/*" for workspace in workspaces)})
    return asked_back(near) if near else ""


def _nearest(typed: str, names: Collection[str]) -> str:
    """Whoever leaves the workspace out means an artifact's own name, and so does who names one that there is."""
    workspace, sign, own = typed.rpartition("/")
    among = [name for name in names if not sign or name.partition("/")[0] == workspace]
    spelled: dict[str, list[str]] = defaultdict(list)
    for name in among or names:
        spelled[name.partition("/")[2] if among else name].append(name)
    near = [name for text in likest(own if among else typed, spelled) for name in sorted(spelled[text])]
    return asked_back(near) if near else ""
