"""Port: what says "look again"."""

from __future__ import annotations

from typing import Protocol


class Trigger(Protocol):
    """Something outside that may have changed."""

    async def wait(self) -> None:
        """Returns when there may be something new; a missed or doubled signal does no harm."""
        ...
