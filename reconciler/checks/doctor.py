"""`lian doctor`: every part as it is found here, and which commands work with what there is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.checks.parts import COMMANDS, PARTS, PartStatus, probe
from reconciler.checks.probes import Located, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """Whether a command works; `lacking` names the unusable parts that it needs."""

    name: str
    lacking: tuple[str, ...]

    @property
    def works(self) -> bool:
        """Whether all it needs is usable."""
        return not self.lacking

    def to_json(self) -> dict[str, Any]:
        """One entry of a doctor document's `commands`."""
        return {"name": self.name, "works": self.works, "lacking": list(self.lacking)}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: each part, and what follows for each command."""

    parts: tuple[PartStatus, ...]
    commands: tuple[CommandStatus, ...]

    @property
    def exit_status(self) -> int:
        """0 when all that `reconcile` needs is usable, else 1: an error in the environment."""
        return 0 if all(command.works for command in self.commands if command.name == "reconcile") else 1

    def to_json(self) -> dict[str, Any]:
        """The document of schemas/json/doctor.json."""
        return {
            "kind": "doctor",
            "version": 1,
            "parts": [part.to_json() for part in self.parts],
            "commands": [command.to_json() for command in self.commands],
        }


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under their headings, for a view to lay out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def examine(find: Callable[[str], Located], cache: Path) -> Report:
    """Look at every part. `find` locates a program by name; `cache` is the folder that builds use for scratch."""
    around = Surroundings.here(find, cache)
    with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:  # most of the time is spent waiting for `--version`
        return report_on(pool.map(lambda part: probe(part, around), PARTS))


def report_on(parts: Iterable[PartStatus]) -> Report:
    """What the state of the parts means for each command."""
    seen = tuple(parts)
    return Report(seen, tuple(CommandStatus(name, _lacking(name, seen)) for name in COMMANDS))


def rows(report: Report) -> tuple[Table, ...]:
    """The report as tables: parts, commands, and what to do about the parts that will not do."""
    tables = [
        Table(
            "parts",
            ("part", "state", "version", "where", "needed by"),
            tuple(
                (part.name, _state(part), part.version or "-", part.path or "-", ", ".join(part.needed_by) or "-")
                for part in report.parts
            ),
        ),
        Table(
            "commands",
            ("command", "works", "lacks"),
            tuple((c.name, "yes" if c.works else "no", ", ".join(c.lacking) or "-") for c in report.commands),
        ),
    ]
    wanting = tuple((p.name, p.why, p.without, p.hint) for p in report.parts if p.why is not None)
    return (*tables, Table("what to do", ("part", "why", "without it", "try"), wanting)) if wanting else tuple(tables)


def _lacking(command: str, parts: tuple[PartStatus, ...]) -> tuple[str, ...]:
    return tuple(part.name for part in parts if command in part.needed_by and not part.usable)


def _state(part: PartStatus) -> str:
    if part.usable:
        return "usable"
    return "not usable" if part.needed_by else "optional, not usable"
