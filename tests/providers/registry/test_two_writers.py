"""Two pipelines write the same content in the same moment: reproducible builds, equal records."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from reconciler.model.manifest import packed
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.providers.registry.http.retry import Timing
from tests.providers.registry.places import Clock, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.ports.publisher import Publisher
    from tests.servers.registry import RegistryServer

WRITERS, REPOSITORIES = 4, 15


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as made:
        yield made


class RealTime(Clock):
    """A registry that answers 500 in such a moment is asked again a moment later."""

    @property
    def timing(self) -> Timing:
        return Timing()


async def publish(host: str, name: str, text: bytes) -> None:
    """A small artifact."""
    async with opened(host) as (_, publisher):
        await put(publisher, host, name, text)


async def put(publisher: Publisher, host: str, name: str, text: bytes) -> None:
    """The same, as a pass does."""
    manifest, blobs = packed("application/x", "application/x", text)
    await publisher.publish(Repository(host, name), manifest, tags=["latest"], blobs=blobs)


def refusing(code: str) -> Callable[[faults.Answer], faults.Answer]:
    return faults.status(400, b'{"errors":[{"code":"%s"}]}' % code.encode())


@pytest.mark.parametrize("registry", ["registry_server", "distribution_v3_server", "ggcr_server"])
def test_what_many_write_at_once_is_there(registry: str, request: pytest.FixtureRequest) -> None:
    """Without a second try docker-registry refuses some of it."""
    real: RegistryServer = request.getfixturevalue(registry)

    async def all_at_once() -> None:
        async with contextlib.AsyncExitStack() as stack:
            writers = [
                (await stack.enter_async_context(opened(real.host, clock=RealTime())))[1] for _ in range(WRITERS)
            ]
            for number in range(REPOSITORIES):
                text = os.urandom(64)
                await asyncio.gather(*(put(writer, real.host, f"r/{number}", text) for writer in writers))

    asyncio.run(all_at_once())


@pytest.mark.parametrize("code", ["MANIFEST_BLOB_UNKNOWN", "DIGEST_INVALID"])
@pytest.mark.parametrize("times", [1, 4])
def test_a_part_that_is_being_written_is_waited_for(server: FaultyRegistry, code: str, times: int) -> None:
    server.fault("PUT", "/manifests/sha256", refusing(code), times=times)
    asyncio.run(publish(server.host, "app", b"text"))
    assert len(server.asked("PUT", "/manifests/sha256")) == times + 1


def test_a_part_that_never_comes_is_told(server: FaultyRegistry) -> None:
    server.fault("PUT", "/manifests/", refusing("MANIFEST_BLOB_UNKNOWN"))
    with pytest.raises(LianError, match="registry-refused") as raised:
        asyncio.run(publish(server.host, "app", b"text"))
    assert "MANIFEST_BLOB_UNKNOWN" in (raised.value.problems[0].cause or "")


@pytest.mark.parametrize("code", ["MANIFEST_INVALID", "TAG_INVALID", "UNSUPPORTED"])
def test_another_refusal_is_final(server: FaultyRegistry, code: str) -> None:
    server.fault("PUT", "/manifests/", refusing(code))
    with pytest.raises(LianError, match="registry-refused"):
        asyncio.run(publish(server.host, "app", b"text"))
    assert len(server.asked("PUT", "/manifests/")) == 1
