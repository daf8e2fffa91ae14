"""Globs over names, for thousands of names: as fnmatch.fnmatchcase reads them (`*` takes slashes too)."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ANY = "*"
_KEPT = 4096
_SIGNS = frozenset("*?[")


def is_plain(glob: str) -> bool:
    """Whether it takes nothing but what is written the same."""
    return _SIGNS.isdisjoint(glob)


def is_unclosed(glob: str) -> bool:
    """Whether it begins a set of characters that has no end: such a `[` is taken as it is written."""
    at = glob.find("[")
    while at >= 0:
        begin = at + 1 + glob.startswith("!", at + 1)
        end = glob.find("]", begin + 1)  # one right at the beginning is a character of the set
        if end < 0:
            return True
        at = glob.find("[", end)
    return False


def matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """What tells whether one of the globs takes a text. Compiled once, however often it is asked for."""
    return _matcher(tuple(globs))


@lru_cache(maxsize=_KEPT)
def _matcher(globs: tuple[str, ...]) -> Callable[[str], bool]:
    if _ANY in globs:
        return lambda text: True
    plain = frozenset(filter(is_plain, globs))
    others = [glob for glob in globs if glob not in plain]
    if not others:
        return plain.__contains__
    takes = re.compile("|".join(map(translate, others))).match
    return lambda text: text in plain or takes(text) is not None
