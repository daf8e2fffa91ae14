"""Numbers as documents hold them, which anybody may have written."""

from __future__ import annotations

MOST = 1 << 53
"""Integers beyond this are not exact in every JSON reader."""


def count(value: object) -> int:
    """How many, or how many bytes. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise ValueError("a count is out of bounds")
    return value


def seconds(value: object) -> float:
    """How long. Raises ValueError, also for what is no time at all."""
    return amount(value, "a number of seconds")


def amount(value: object, what: str = "a number") -> float:
    """How much. Raises ValueError, also for what is no number at all."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise ValueError(f"{what} is out of bounds")
    return float(value)
