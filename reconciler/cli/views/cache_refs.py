"""Which caches a build reads and writes: one reference a line, whole."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views.text import Writer

if TYPE_CHECKING:
    from reconciler.cache.refs import Refs


def show(told: Refs, stream: IO[str]) -> None:
    """Platform by platform, in the order in which they are looked at; then what was asked for."""
    writer = Writer(stream)
    builder = "CI" if str(told.mode) == "ci" else f"a {told.mode}"
    mounts = ", with cache mounts" if told.policy.mounts else ""
    writer.line((str(told.artifact), "bold"), f", built by {builder}, mode {told.policy.mode}{mounts}")
    for each in told.platforms:
        writer.line("  ", (str(each.platform), "bold"))
        for reference in each.reads:
            writer.line("    ", ("reads   ", "dim"), str(reference))
        for reference in each.writes:
            writer.line("    ", ("writes  ", "dim"), str(reference))
    for reference in told.admitted_imports:
        writer.line("  ", ("--cache-from may read ", "dim"), str(reference))
    if told.admitted_export is not None:
        writer.line("  ", ("--cache-to may write ", "dim"), str(told.admitted_export))
