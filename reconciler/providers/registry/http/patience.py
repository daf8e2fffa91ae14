"""Telling that a host lets everyone wait: whoever looks at a silent terminal should know for what."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Patience:
    """What is asked of one host, and since when it has said nothing. `tell` is called once, when that has been for
    `seconds`; there is one timer, however many requests there are. Used from one event loop."""

    def __init__(self, tell: Callable[[], None], seconds: float = 5.0) -> None:
        self._tell, self._seconds = tell, seconds
        self._open = 0
        self._since: float | None = None
        """When the host was asked what it has not answered yet, or answered last; None while nobody waits."""
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def asked(self) -> None:
        """A request is on its way, or waits because the host wants it to."""
        self._open += 1
        if self._told or self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        if self._since is None:
            self._since = loop.time()
        self._timer = loop.call_at(self._since + self._seconds, self._look)

    def over(self, *, answered: bool) -> None:
        """A request has ended; after one without an answer there may be another try, and the waiting goes on."""
        self._open -= 1
        if answered and not self._told:
            self._since = asyncio.get_running_loop().time() if self._open else None

    def _look(self) -> None:
        self._timer = None
        if not self._open or self._since is None:
            return
        loop = asyncio.get_running_loop()
        if (due := self._since + self._seconds) > loop.time():
            self._timer = loop.call_at(due, self._look)
        else:
            self._told = True
            self._tell()
