"""Tables of text; a table too wide for the terminal becomes a list of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from reconciler.cli.views.text import Writer, cells, padded

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLES = {"usable": "green", "yes": "green", "not usable": "red", "no": "red", "optional, not usable": "yellow"}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under their headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(tables: Iterable[Table], stream: IO[str]) -> None:
    """Each table under its title."""
    writer = Writer(stream)
    for number, table in enumerate(tables):
        if number:
            writer.line()
        writer.line((table.title, "bold"))
        widths = [max(map(cells, column)) for column in zip(table.columns, *table.rows, strict=True)]
        if sum(widths) + 2 * len(widths) <= writer.width:
            _grid(table, widths, writer)
        else:
            _list(table, writer)


def _grid(table: Table, widths: list[int], writer: Writer) -> None:
    writer.line("  ", ("  ".join(map(padded, table.columns, widths)).rstrip(), "dim"))
    for row in table.rows:
        *others, last = row
        aligned = [(f"{padded(cell, width)}  ", _STYLES.get(cell)) for cell, width in zip(others, widths, strict=False)]
        writer.line("  ", *aligned, (last, _STYLES.get(last)))


def _list(table: Table, writer: Writer) -> None:
    width = max(map(cells, table.columns[1:]))
    for first, *rest in table.rows:
        writer.line("  ", (first, "bold"))
        for column, cell in zip(table.columns[1:], rest, strict=True):
            if cell != "-":
                lead = ("    ", (f"{padded(column, width)}  ", "dim"))
                writer.wrapped(lead, cell, _STYLES.get(cell), indent=4 + width + 2)
