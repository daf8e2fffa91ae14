"""Styled lines: coloured on a terminal that wants colour, plain text everywhere else."""

from __future__ import annotations

import json
import os
import re
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Part: TypeAlias = "str | tuple[str, str | None]"
"""A text, or a text with a style."""

WIDTH = 80
"""Columns of what is no terminal, where lines have the same length everywhere."""
_NARROWEST, _WIDEST = 40, 120
"""Columns that are made use of: no eye follows lines that are longer."""
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


_MEASURE = re.compile(r"(?<=[0-9]) (?=(?:s|min|h|d|[KMGT]?i?B|cpu)\b)")
_JOINT = "\x00"
"""Stands for the space between a number and its unit while lines are broken: no printable text holds it."""
_OF_OTHER_WIDTH = re.compile("[^\x00-\u02ff\u2010-\u2027\u2190-\u2193]")
"""What may take two columns or none: most of what is not Latin, a dash, an ellipsis or an arrow."""
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that turn the direction of text, and lone surrogates, which no stream takes."""


def printable(text: str) -> str:
    """The text on one line, with what would steer a terminal written out: names and values are others' bytes."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def columns(stream: IO[str]) -> int:
    """How many a line may have: those of the terminal, as far as they are of use."""
    try:
        wide = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        wide = 0
    return min(max(wide, _NARROWEST), _WIDEST) if wide else WIDTH  # a terminal that was told no size has none


def cells(text: str) -> int:
    """The columns that it takes on a terminal: of many scripts' characters each takes two, or none (UAX #11)."""
    if text.isascii() or not _OF_OTHER_WIDTH.search(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """With spaces behind it, up to so many columns."""
    return text + " " * (width - cells(text))


class Writer:
    """Writes lines of (text, style) parts to a stream. `width` is how many columns a line should have at most."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self.colour = self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.width = columns(stream)

    def styled(self, text: str, style: str | None) -> str:
        """The text, printable, in a style of _CODES; without one where colour is not wanted."""
        text = printable(text)
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and self.colour and text else text

    def line(self, *parts: Part) -> None:
        """One line; a part is a text, or a text with a style."""
        rendered = (self.styled(part, None) if isinstance(part, str) else self.styled(*part) for part in parts)
        self.stream.write("".join(rendered) + "\n")

    def fits(self, *parts: Part) -> bool:
        """Whether one line can hold them."""
        return _taken(parts) <= self.width

    def wrapped(self, lead: Sequence[Part], text: str, style: str | None = None, *, indent: int) -> None:
        """The text after `lead`, on lines of at most `width` columns; those after the first begin at `indent`. No word
        is cut: a path or a digest stays whole, with less before it if it is too long for the indent, and a number stays
        with its unit. One word alone stays with its lead, but on a terminal: programs look for both."""
        if self.fits(*lead, text) or (not self.terminal and " " not in text.strip()):
            self.line(*lead, (text, style))
            return
        first, *rest = _broken(printable(text), self.width, _taken(lead), indent)
        if first and _is_blank(lead):
            lead = [self._before(first, _taken(lead))]
        self.line(*(lead if first else _ending(lead)), (first, style))
        for line in rest:
            self.line(self._before(line, indent), (line, style))

    def _before(self, line: str, indent: int) -> str:
        """The indent, or on a terminal as much of it as leaves room for a word that is too long behind it."""
        left = self.width - cells(line)
        return " " * (left if self.terminal and 0 <= left < indent else indent)


def _is_blank(lead: Sequence[Part]) -> bool:
    return all(not (part if isinstance(part, str) else part[0]).strip() for part in lead)


def _ending(lead: Sequence[Part]) -> tuple[Part, ...]:
    """Without the space before what did not fit behind it."""
    *parts, last = lead
    return (*parts, last.rstrip() if isinstance(last, str) else (last[0].rstrip(), last[1]))


def _taken(parts: Iterable[Part]) -> int:
    return sum(cells(printable(part if isinstance(part, str) else part[0])) for part in parts)


def _broken(text: str, width: int, taken: int, indent: int) -> Iterator[str]:
    """Lines of whole words: the first where so many columns are taken, the others behind the indent."""
    line, left = "", width - taken
    for word in _MEASURE.sub(_JOINT, text).split():
        needed = cells(word) + (1 if line else 0)
        if needed > left and (line or taken > indent):
            yield line.replace(_JOINT, " ")
            line, left, needed, taken = "", width - indent, cells(word), indent
        line += f" {word}" if line else word
        left -= needed
    yield line.replace(_JOINT, " ")


def notes(told: Iterable[str], stream: IO[str]) -> None:
    """Each on a line of its own, beside what was asked for."""
    writer = Writer(stream)
    for note in told:
        if writer.terminal:
            writer.wrapped((), note, "dim", indent=2)
        else:
            writer.line((note, "dim"))


def size(number: int) -> str:
    """Bytes, in the unit that leaves at most four digits: `37 B`, `1.2 KiB`, `980 MiB`."""
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def lasting(seconds: float) -> str:
    """In the largest unit that fits: `3 d`, `45 min`."""
    unit, length = next((u for u in _UNITS if seconds >= u[1]), _UNITS[-1])
    return f"{seconds / length:.0f} {unit}"


def roughly(seconds: float) -> str:
    """No more exactly than anybody can foresee: `under 1 s`, `4.2 s`, `35 s`, `4 min`, `2.5 h`."""
    if seconds < 0.95:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:,.1f} h"


def measured(seconds: float) -> str:
    """What has been: as `roughly`, and in milliseconds below a second."""
    return roughly(seconds) if seconds >= 0.95 else f"{1000 * seconds:.0f} ms"


def share(part: float, whole: float) -> str:
    """`56%`; `-` of nothing."""
    return f"{100 * part / whole:.0f}%" if whole else "-"


def as_json(document: Any) -> str:
    """One JSON document for people and programs, ending in a newline."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return "\n".join(_STEERING.sub(_escape, line) for line in text.split("\n")) + "\n"


def _escape(found: re.Match[str]) -> str:
    """As JSON writes a character by its number; JSON itself leaves control characters outside of ASCII alone."""
    return f"\\u{ord(found[0]):04x}"
