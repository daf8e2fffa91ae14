"""How a deployed policy differs from the rule."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cache.policy.findings import Kind
from reconciler.cli.views.text import Writer
from reconciler.model.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cache.policy.findings import Check, Finding
    from reconciler.cli.views.text import Part

PLACES_SHOWN = 3
_STYLES = {Kind.OPENS: "red", Kind.UNKNOWN: "yellow", Kind.LACKS: "yellow"}


def show(check: Check, stream: IO[str]) -> None:
    """Each finding as a block; those that differ in the place alone are one. Then a line of counts."""
    writer = Writer(stream)
    together: dict[tuple[object, ...], list[Finding]] = {}
    for one in check.findings:
        together.setdefault((one.kind, one.who, one.actions, one.because), []).append(one)
    for group in together.values():
        _block(group, writer)
    totals = [f"{sum(one.kind is kind for one in check.findings)} {kind}" for kind in Kind]
    verdict = ", ".join(totals) if check.findings else "deployed as it should be"
    writer.line((f"{check.provider} for revision {short(check.revision)}", "dim"), ": ", (verdict, "bold"))


def _block(group: Sequence[Finding], writer: Writer) -> None:
    one = group[0]
    lead: list[Part] = [(one.kind.value, _STYLES[one.kind]), ": "]
    if one.who is None:
        writer.wrapped(lead, one.because or "", "bold", indent=2)
        return
    verb = {Kind.OPENS: "can", Kind.LACKS: "cannot", Kind.UNKNOWN: "can perhaps"}[one.kind]
    actions = ", ".join(one.actions) or "do nothing"
    places = ", ".join(str(each.repositories) for each in group[:PLACES_SHOWN])
    more = f" and {count(len(group) - PLACES_SHOWN, 'place')} more" if len(group) > PLACES_SHOWN else ""
    writer.wrapped(lead, f"{one.who} {verb} {actions} in {places}{more}", "bold", indent=2)
    writer.wrapped(["  ", ("such as: ", "dim")], one.example or "", indent=4)
    writer.wrapped(["  ", ("because: ", "dim")], one.because or "", indent=4)
