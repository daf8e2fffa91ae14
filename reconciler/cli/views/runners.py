"""What is rented."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views.problems import blocks
from reconciler.cli.views.tables import Table
from reconciler.cli.views.tables import show as show_tables
from reconciler.cli.views.text import Writer, lasting
from reconciler.model.wording import count
from reconciler.ports.compute import Keeper

if TYPE_CHECKING:
    from reconciler.ports.compute import Outstanding
    from reconciler.upkeep.runners import RunnerList

_KEEPERS = {
    Keeper.ALIVE: "a pass on this machine",
    Keeper.GONE: "nobody: its pass is gone",
    Keeper.ELSEWHERE: "a pass elsewhere",
}
COLUMNS = ("lease", "on", "state", "age", "ends in", "cost", "held by", "builds")


def show(told: RunnerList, stream: IO[str]) -> None:
    """What was returned, a row for each runner, what could not be found out, then a line of counts."""
    writer = Writer(stream)
    for name in told.swept:
        writer.line(("returned ", "green"), name)
    if told.runners:
        show_tables([Table("runners", COLUMNS, tuple(_row(one, told) for one in told.runners))], stream)
    blocks(told.problems, writer, word="unknown", style="yellow")
    where = f"fleet {told.fleet}" if told.fleet is not None else "this machine alone"
    gone = sum(one.keeper is Keeper.GONE for one in told.runners)
    parts = [count(len(told.runners), "runner") + (" known" if told.problems else "")]
    parts += [f"{len(told.swept)} returned"] if told.swept else []
    writer.line((where, "dim"), ": ", (", ".join(parts), "bold"))
    if gone:
        writer.line("  ", (f"`lian runners sweep`, or the next pass, returns {gone}", "dim"))


def _row(one: Outstanding, told: RunnerList) -> tuple[str, ...]:
    lease, cost, moment = one.lease, told.cost(one), told.moment
    return (
        one.name,
        one.provider or "?",
        one.state or "nothing there",
        "?" if lease is None else lasting(max(0.0, moment - lease.created)),
        "?" if lease is None else _left(lease.deadline - moment),
        "-" if cost is None else f"{cost:.4f} {told.ladder.currency or ''}".rstrip(),
        _KEEPERS[one.keeper],
        "?" if lease is None else lease.purpose or "-",
    )


def _left(seconds: float) -> str:
    return lasting(seconds) if seconds > 0 else "over"
