"""Reads Nickel's error text: headlines, places, notes; and which file it blames.

Nickel colours its own structure and takes colour codes out of what a program says in messages, so places are read from
the coloured text: a contract's message cannot forge one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEADLINE = re.compile(
    r"^\x1b\[0m\x1b\[1m\x1b\[38;5;[0-9]+m(error|warning|note)\x1b\[0m\x1b\[1m: ?(.*?)\x1b\[0m$", re.M | re.S
)
_PLACE = re.compile(r"^ *\x1b\[0m\x1b\[36m┌─\x1b\[0m (.+):([0-9]+):([0-9]+)$", re.M)
_NOTE = re.compile(r"^ *\x1b\[0m\x1b\[36m=\x1b\[0m (.*(?:\n {4,}.*)*)$", re.M)
_PRIMARY = re.compile(r"\x1b\[31m[^\x1b\n]*\^")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place that a diagnostic names; `primary` where Nickel points with `^^^`. Line and column from 1."""

    file: str
    line: int
    column: int
    primary: bool


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error: its headline, the indented lines under it, its places and its notes."""

    headline: str
    detail: str
    spots: tuple[Spot, ...]
    notes: tuple[str, ...]


def read(text: str) -> tuple[Diagnostic, ...]:
    """Every error in the text, in order; warnings are left out."""
    heads = list(_HEADLINE.finditer(text))
    found = []
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=False):
        if head[1] != "error":
            continue
        body = text[head.end() : end]
        headline, *detail = (line.strip() for line in _COLOUR.sub("", head[2]).split("\n"))
        notes = tuple(_COLOUR.sub("", note).strip() for note in _NOTE.findall(body))
        found.append(Diagnostic(headline, "\n".join(detail).strip(), _spots(body), notes))
    return tuple(found)


def _spots(body: str) -> tuple[Spot, ...]:
    marks = list(_PLACE.finditer(body))
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    return tuple(
        Spot(mark[1], int(mark[2]), int(mark[3]), _PRIMARY.search(body, mark.end(), end) is not None)
        for mark, end in zip(marks, ends, strict=True)
    )


def blamed(text: str, ours: Callable[[str], str | None], among: Sequence[str]) -> str | None:
    """The file of `among` that the error most likely is about; `ours` turns a place's file into a repo path."""
    candidates = set(among)
    spots = [spot for diagnostic in read(text) for spot in diagnostic.spots]
    for spot in sorted(spots, key=lambda spot: not spot.primary):
        path = ours(spot.file)
        if path in candidates:
            return path
    return None
