"""What this machine has: parts, commands, and what to do about the parts that will not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.views.tables import Table

if TYPE_CHECKING:
    from reconciler.checks.doctor import Report
    from reconciler.checks.parts import PartStatus


def tables(report: Report) -> tuple[Table, ...]:
    """The report as tables; the last one only where something is to be done."""
    parts = tuple(
        (part.name, _state(part), part.version or "-", part.path or "-", ", ".join(part.needed_by) or "-")
        for part in report.parts
    )
    commands = tuple((c.name, "yes" if c.works else "no", ", ".join(c.lacking) or "-") for c in report.commands)
    wanting = tuple((p.name, p.why, p.without, p.hint) for p in report.parts if p.why is not None)
    found = (
        Table("parts", ("part", "state", "version", "where", "needed by"), parts),
        Table("commands", ("command", "works", "lacks"), commands),
    )
    return (*found, Table("what to do", ("part", "why", "without it", "try"), wanting)) if wanting else found


def _state(part: PartStatus) -> str:
    if part.usable:
        return "usable"
    return "not usable" if part.needed_by else "optional, not usable"
