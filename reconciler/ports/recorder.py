"""Port: who is told what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.event import Event


class Recorder(Protocol):
    """Told of every event, in order. It may show or keep them; it never changes an outcome."""

    def record(self, event: Event) -> None:
        """Returns soon; a notice that cannot be delivered is the recorder's own affair."""
        ...
