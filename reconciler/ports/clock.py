"""Port: the time of day, and letting some of it pass."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> float:
        """Unix seconds."""
        ...


class Pause(Protocol):
    """Lets time pass."""

    async def __call__(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...
