"""The way to a builder ends when it is told to, whatever either side does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.providers.compute.docker.engine import Engine
from reconciler.providers.compute.docker.relay import Relay
from tests.servers.scripted_docker import ScriptedDocker

if TYPE_CHECKING:
    from pathlib import Path

MUCH = bytes(8 << 20)
"""More than all buffers in between hold."""


@pytest.fixture
def scripted(tmp_path: Path) -> ScriptedDocker:
    docker = ScriptedDocker(tmp_path / "docker")
    docker.containers["runner"] = {"Labels": {}}
    return docker


@pytest.mark.parametrize("side", ["the builder", "the client"])
def test_who_does_not_read_holds_nobody(scripted: ScriptedDocker, side: str, tmp_path: Path) -> None:
    """A builder that is stopped, or a client that is."""
    scripted.hanging, scripted.flood = ("dial-stdio", b"") if side == "the builder" else ("\0", MUCH)

    async def run() -> None:
        async with scripted.running():
            relay = Relay(Engine(scripted.socket), "runner", lambda _: None)
            await relay.serve(tmp_path / "sock")
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))
            writer.write(MUCH)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(writer.drain())), 0.5)
            await asyncio.wait_for(relay.close(), 5)
            writer.transport.abort()

    asyncio.run(run())
