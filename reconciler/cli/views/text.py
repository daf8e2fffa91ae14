"""Styled lines: coloured on a terminal that wants colour, plain text everywhere else."""

from __future__ import annotations

import json
import os
from typing import IO, Any

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


class Writer:
    """Writes lines of (text, style) parts to a stream."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def styled(self, text: str, style: str | None) -> str:
        """The text in a style of _CODES, or as it is where colour is not wanted."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and self.colour and text else text

    def line(self, *parts: str | tuple[str, str | None]) -> None:
        """One line; a part is a text, or a text with a style."""
        rendered = (part if isinstance(part, str) else self.styled(*part) for part in parts)
        self.stream.write("".join(rendered) + "\n")


def count(number: int, noun: str) -> str:
    """`1 artifact`, `2 artifacts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def as_json(document: Any) -> str:
    """One JSON document for people and programs, ending in a newline."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
