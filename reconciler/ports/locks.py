"""Port: lian.lock, as a commit has it and as the working tree has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.lock import Lock


class Locks(Protocol):
    """The lock of a desired repo."""

    async def committed(self) -> Lock | None:
        """That of the commit last loaded; None where it has none. Raises LianError `lock-invalid`."""
        ...

    async def read(self) -> Lock | None:
        """That of the working tree, committed or not; None where it has none. Raises LianError `lock-invalid`,
        `lock-unwritable` for a repo without a working tree of its own here."""
        ...

    async def write(self, lock: Lock) -> bool:
        """Put it into the working tree, whole or not at all; False if it was there already, byte for byte. Raises
        LianError `lock-unwritable`."""
        ...
