"""Port: the time of day."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> float:
        """Unix seconds."""
        ...
