"""Opening the adapters of this package in tests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from reconciler.providers.registry.distribution.publisher import DistributionPublisher
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.distribution.remover import DistributionRemover
from reconciler.providers.registry.http.docker_config import DockerConfig
from reconciler.providers.registry.http.retry import RetryPolicy, Timing
from reconciler.providers.registry.http.transport import Endpoint, Transport
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from reconciler.providers.registry.layout.remover import LayoutRemover
from tests.ports.registry_suite import Differences, Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from reconciler.providers.registry.http.dialect import Dialect


class Clock:
    """Time that passes only by sleeping; chance that always draws the most."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Returns at once."""
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def timing(self) -> Timing:
        """For a transport."""
        return Timing(lambda: self.now, self.sleep, lambda: 0.99)


def config(host: str = "", **entry: str) -> DockerConfig:
    """A Docker configuration with one entry."""
    return DockerConfig(None, {"auths": {host: entry}} if host else {}, {})


@contextlib.asynccontextmanager
async def transport(
    host: str,
    url: str | None = None,
    *,
    docker: DockerConfig | None = None,
    clock: Clock | None = None,
    policy: RetryPolicy | None = None,
    dialect: Dialect | None = None,
    **endpoint: Any,
) -> AsyncIterator[Transport]:
    """To one registry; without a clock, no waiting for anything."""
    made = Transport(
        Endpoint.of(host, url, **endpoint),
        docker or config(),
        dialect=dialect,
        timing=(clock or Clock()).timing,
        policy=policy or RetryPolicy(),
    )
    try:
        yield made
    finally:
        await made.aclose()


@contextlib.asynccontextmanager
async def opened(
    host: str, url: str | None = None, **how: Any
) -> AsyncIterator[tuple[DistributionRegistry, DistributionPublisher]]:
    """What reads and what publishes, over one transport."""
    async with transport(host, url, **how) as made:
        yield DistributionRegistry(made), DistributionPublisher(made)


@contextlib.asynccontextmanager
async def removing(host: str, url: str | None = None, **how: Any) -> AsyncIterator[DistributionRemover]:
    """What takes away."""
    async with transport(host, url, **how) as made:
        yield DistributionRemover(made)


def http_place(host: str, *, differs: Differences | None = None, **how: Any) -> Place:
    """A registry over HTTP."""
    return Place(host, lambda: opened(host, **how), lambda: removing(host, **how), differs or Differences())


def disk_place(root: Path) -> Place:
    """A registry on disk."""

    @contextlib.asynccontextmanager
    async def both() -> AsyncIterator[tuple[LayoutRegistry, LayoutPublisher]]:
        yield LayoutRegistry(root), LayoutPublisher(root)

    return Place(f"oci-layout:{root}", both, lambda: contextlib.nullcontext(LayoutRemover(root)))
