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
    evaluation: str | None = None
    """Which evaluator reads directives, and what confines it here."""

    @property
    def converges(self) -> bool:
        """Whether all that `reconcile` needs is usable."""
        return all(command.works for command in self.commands if command.name == "reconcile")

    def to_json(self) -> dict[str, Any]:
        """The document of schemas/json/doctor.json."""
        return {
            "kind": "doctor",
            "version": 1,
            "parts": [part.to_json() for part in self.parts],
            "commands": [command.to_json() for command in self.commands],
            "evaluation": self.evaluation,
        }


def examine(find: Callable[[str], Located], cache: Path) -> Report:
    """Look at every part. `find` locates a program by name; `cache` is the folder that builds use for scratch."""
    around = Surroundings.here(find, cache)
    with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:  # most of the time is spent waiting for `--version`
        return report_on(pool.map(lambda part: probe(part, around), PARTS))


def report_on(parts: Iterable[PartStatus]) -> Report:
    """What the state of the parts means for each command."""
    seen = tuple(parts)
    return Report(seen, tuple(CommandStatus(name, _lacking(name, seen)) for name in COMMANDS))


def _lacking(command: str, parts: tuple[PartStatus, ...]) -> tuple[str, ...]:
    return tuple(part.name for part in parts if command in part.needed_by and not part.usable)
