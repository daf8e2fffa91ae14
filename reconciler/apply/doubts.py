"""Registries that may be gone: asked before another runner is rented for what could not be pushed to them (ADR 076)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.observe.ask import known_heads

if TYPE_CHECKING:
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports

MOMENT_SECONDS = 10.0
"""How long one that does not answer is waited for, once in a pass."""


@dataclass(slots=True)
class Doubts:
    """Of one pass, by host. Builds that ask the same one at once wait for one another: what one has found out holds for
    all."""

    ports: Ports
    _hosts: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)
    """Those of them that were given their moment."""
    _asking: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def suspect(self, image: Repository) -> None:
        """A build for it has failed, and that its registry is gone may be why."""
        self._hosts.add(image.host)

    async def settle(self, image: Repository, tag: str) -> None:
        """If its registry is suspected, ask it for this tag: suspected no more where it answers. Raises LianError."""
        if image.host not in self._hosts:
            return
        async with self._asking[image.host]:
            if image.host not in self._hosts:
                return  # it has answered whoever was waited for
            try:
                await known_heads(self.ports.registry, image, [tag])
            except LianError:
                if image.host in self._gone:
                    raise
                self._gone.add(image.host)
                await self.ports.pause(MOMENT_SECONDS)
                await known_heads(self.ports.registry, image, [tag])
            self._gone.discard(image.host)
            self._hosts.discard(image.host)
