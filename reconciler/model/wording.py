"""What sentences say alike: numbers, and what somebody may have meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAMED = 3
"""How many are named for many, unless there is a reason for another number."""


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 artifact`, `2,000 artifacts`; with a plural that is not the noun and an s, `2 repositories`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def some(names: Sequence[object], shown: int = NAMED) -> str:
    """`a, b, c and 1,997 more`: the first few of them, in the order given."""
    more = len(names) - shown
    return ", ".join(map(str, names[:shown])) + (f" and {more:,} more" if more > 0 else "")


def together(names: Sequence[str], shown: int = NAMED) -> str:
    """`a`, `a and b`, `a, b, c and 1,997 more`: as the subject of one sentence."""
    *first, last = names if len(names) <= shown else (*names[:shown], f"{len(names) - shown:,} more")
    return f"{', '.join(first)} and {last}" if first else last


def built_from(revision: str) -> str:
    """What was built, in few words; a folder that lies in no repository has no revision."""
    return f"revision {short(revision)}" if revision else "a folder"


def short(value: str) -> str:
    """A commit or a digest as people know them, by twelve hex digits; the algorithm is left out."""
    return value.rpartition(":")[2][:12]


def meant(typed: str, known: Iterable[str], otherwise: str, *, likeness: float = 0.6) -> str:
    """`did you mean api?`, or what to say where nothing that is known is as much alike as that (0 to 1)."""
    near = nearest(typed, known, likeness=likeness)
    return f"did you mean {near}?" if near else otherwise


def nearest(typed: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """What of all that is known is most like it, if anything is as much alike as that (0 to 1)."""
    from difflib import get_close_matches  # for mistakes alone

    return next(iter(get_close_matches(typed, sorted(known), n=1, cutoff=likeness)), None)


def likest(typed: str, known: Iterable[str], *, likeness: float = 0.6) -> list[str]:
    """All that are as much alike as the nearest is, sorted; none where nothing is as much alike as that."""
    from difflib import SequenceMatcher, get_close_matches  # for mistakes alone

    names = sorted(known)
    near = get_close_matches(typed, names, n=max(len(names), 1), cutoff=likeness)
    measured = [(SequenceMatcher(None, name, typed).ratio(), name) for name in near]
    most = max((ratio for ratio, _ in measured), default=0.0)
    return sorted(name for ratio, name in measured if ratio == most)


def asked_back(names: Sequence[str], shown: int = NAMED) -> str:
    """`did you mean a?`, `did you mean a or b?`, `did you mean a, b, c or one of 9 more?`."""
    *first, last = names[:shown] if len(names) <= shown else (*names[:shown], f"one of {len(names) - shown:,} more")
    return f"did you mean {', '.join(first)} or {last}?" if first else f"did you mean {last}?"
