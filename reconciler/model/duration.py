"""Durations as directives, settings and flags write them: a whole number of minutes, hours, days or weeks."""

from __future__ import annotations

import re

_FORM = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[mhdw])")
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def seconds(text: str) -> int:
    """`90m`, `12h`, `30d`, `8w` in seconds. Raises ValueError, also for no time at all."""
    match = _FORM.fullmatch(text)
    if not match or int(match["number"]) == 0:
        raise ValueError(f"not a duration: {text[:140]!r}; a whole number of at least 1 and m, h, d or w")
    return int(match["number"]) * _SECONDS[match["unit"]]


def written(amount: int) -> str:
    """So many seconds as `seconds` reads them, in the largest of days, hours and minutes that gives a whole number.
    Raises ValueError for what is no whole number of minutes."""
    unit = next((unit for unit in "dhm" if amount % _SECONDS[unit] == 0), None)
    if unit is None or amount <= 0:
        raise ValueError(f"not a whole number of minutes: {amount} seconds")
    return f"{amount // _SECONDS[unit]}{unit}"
