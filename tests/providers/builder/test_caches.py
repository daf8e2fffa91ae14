"""Caches that real BuildKit writes and reads: on fresh builders, over HTTP and on disk, whole and broken."""

from __future__ import annotations

import asyncio
import shutil
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.cache import CacheMode
from reconciler.model.digest import Digest
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.ports.builder import CACHE_BROKEN, CACHE_SILENT, CACHE_STALLED, Built, CacheSource, CacheTarget
from reconciler.ports.publisher import PullFrom, PushTo, ReadLayout, WriteLayout
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from tests.providers.workshop import SHELL, hits_of, open_bench, write_context

if TYPE_CHECKING:
    from reconciler.ports.publisher import Destination, Origin
    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

STAGES = SHELL + (
    "RUN dd if=/dev/zero of=/made bs=1024 count=64\nFROM scratch\nCOPY --from=0 /made /made\nCOPY data /data\n"
)
ABSENT = Digest.of(b"nothing that is there")


@dataclass(frozen=True)
class Place:
    """Where a cache lies: a repository of a registry, or a layout on disk."""

    where: RegistryServer | Path

    @property
    def target(self) -> Destination:
        """Where a build writes it."""
        if isinstance(self.where, Path):
            return WriteLayout(self.where)
        return PushTo(Repository(self.where.host, "cache/ci/shop/api"), plain=True)

    @property
    def origin(self) -> Origin:
        """Where a build reads it."""
        if isinstance(self.where, Path):
            return ReadLayout(self.where)
        return PullFrom(Repository(self.where.host, "cache/ci/shop/api"), plain=True)

    def blobs(self) -> list[Path]:
        """Every file that holds content."""
        if isinstance(self.where, Path):
            return [path for path in (self.where / "blobs").rglob("*") if path.is_file()]
        return list((self.where.storage / "docker/registry/v2/blobs").rglob("data"))


@pytest.fixture(params=["registry", "layout"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "layout":
        return Place(tmp_path / "layout")
    return Place(request.getfixturevalue("registry_server"))


def built(tmp_path: Path, name: str, data: bytes, **changes: object) -> Built:
    """A build on a fresh builder."""
    context = write_context(tmp_path / f"context-{name}", STAGES, {"data": data})

    async def run() -> Built:
        async with open_bench(tmp_path / f"bench-{name}") as bench:
            request = replace(bench.request(context), **changes)  # type: ignore[arg-type]
            return (await bench.build(request))[0]

    return asyncio.run(run())


def written(tmp_path: Path, place: Place, mode: CacheMode = CacheMode.MAX) -> tuple[Built, CacheSource]:
    """A build that wrote its cache."""
    cold = built(tmp_path, "cold", b"one", cache_to=CacheTarget(place.target, "linux-amd64", mode))
    assert cold.cache.digest is not None, cold.cache.failure
    return cold, CacheSource(cold.cache.digest, place.origin)


def test_a_fresh_builder_takes_every_step_from_the_cache_and_makes_the_same_image(tmp_path: Path, place: Place) -> None:
    cold, source = written(tmp_path, place)
    assert (hits_of(cold), cold.pulled) == (0, 0)
    assert all(step.seconds > 0 for step in cold.steps)
    warm = built(tmp_path, "warm", b"one", cache_from=(source,))
    assert (hits_of(warm), warm.digest) == (len(cold.steps), cold.digest)
    assert [step.name for step in warm.steps if not step.hit] == []
    assert warm.pulled > 0


def test_one_changed_file_costs_its_own_step(tmp_path: Path, place: Place) -> None:
    _, source = written(tmp_path, place)
    changed = built(tmp_path, "changed", b"two", cache_from=(source,))
    assert [step.name for step in changed.steps if not step.hit] == ["[stage-1 2/2] COPY data /data"]
    assert changed.digest == built(tmp_path, "cold-two", b"two").digest


def test_the_least_cache_has_the_layers_of_the_result_alone(tmp_path: Path) -> None:
    sizes = {}
    for mode in (CacheMode.MIN, CacheMode.MAX):
        place = Place(tmp_path / mode)
        written(tmp_path / f"builds-{mode}", place, mode)
        sizes[mode] = sum(path.stat().st_size for path in place.blobs())
    busybox = Path(shutil.which("busybox") or "/bin/busybox").stat().st_size
    assert sizes[CacheMode.MIN] < busybox / 10 < sizes[CacheMode.MAX]  # a stage that the result only copies from


def test_a_cache_that_is_not_there_costs_nothing_but_time(tmp_path: Path, place: Place) -> None:
    _, source = written(tmp_path, place)
    gone = replace(source, digest=ABSENT)
    nowhere = CacheSource(ABSENT, PullFrom(Repository("127.0.0.1:1", "cache/ci/shop/api"), plain=True))
    cold = built(tmp_path, "without", b"one", cache_from=(gone, nowhere))
    assert hits_of(cold) == 0


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_layer_that_is_lost_or_damaged_is_told_as_such(tmp_path: Path, place: Place, harm: str) -> None:
    _, source = written(tmp_path, place)
    large = max(place.blobs(), key=lambda path: path.stat().st_size)
    if harm == "lost":
        large.unlink()
    else:
        large.write_bytes(b"\0" * large.stat().st_size)
    context = write_context(tmp_path / "context-broken", SHELL + "RUN echo new > /new\n", {"data": b"one"})

    async def tried() -> tuple[str, Built]:
        async with open_bench(tmp_path / "bench-broken") as bench:
            request = replace(bench.request(context), cache_from=(source,))
            try:
                await bench.build(request)
            except LianError as error:
                code = error.problems[0].code
            else:
                raise AssertionError("it did not need the layer")
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            again = replace(request, cache_from=(), destination=WriteLayout(tmp_path / "out"))
            return code, (await bench.build(again))[0]

    code, again = asyncio.run(tried())
    assert (code, hits_of(again)) == (CACHE_BROKEN, 0)


def test_a_cache_that_cannot_be_written_fails_no_build(tmp_path: Path) -> None:
    nowhere = PushTo(Repository("127.0.0.1:1", "cache/ci/shop/api"), plain=True)
    made = built(tmp_path, "told", b"one", cache_to=CacheTarget(nowhere, "linux-amd64"))
    assert made.digest is not None
    assert made.cache.digest is None
    assert "connection refused" in (made.cache.failure or "")


def test_a_cache_that_takes_too_long_to_write_is_given_up_and_the_image_is_there(tmp_path: Path) -> None:
    """A registry that accepts and never answers; the second build on the same builder takes what it has made."""
    context = write_context(tmp_path / "context", STAGES, {"data": b"one"})
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        nowhere = PushTo(Repository(f"127.0.0.1:{deaf.getsockname()[1]}", "cache/ci/shop/api"), plain=True)

        async def run() -> tuple[str, Built]:
            async with open_bench(tmp_path / "bench") as bench:
                buildctl = find_part("buildctl")
                assert buildctl is not None
                bench.builder = BuildctlBuilder(buildctl, keep_seconds=0.5)
                request = replace(bench.request(context), cache_to=CacheTarget(nowhere, "linux-amd64"))
                with pytest.raises(LianError) as raised:
                    await bench.build(request)
                again = replace(request, cache_to=None, destination=WriteLayout(tmp_path / "again"))
                return raised.value.problems[0].code, (await bench.build(again))[0]

        code, again = asyncio.run(run())
    assert code == CACHE_STALLED
    assert hits_of(again) == len(again.steps)


def test_a_cache_that_stops_answering_ends_the_build_long_before_its_deadline(tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", STAGES, {"data": b"one"})
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        nowhere = PullFrom(Repository(f"127.0.0.1:{deaf.getsockname()[1]}", "cache/ci/shop/api"), plain=True)

        async def run() -> str:
            async with open_bench(tmp_path / "bench") as bench:
                buildctl = find_part("buildctl")
                assert buildctl is not None
                bench.builder = BuildctlBuilder(buildctl, read_seconds=0.5)
                request = replace(bench.request(context), cache_from=(CacheSource(ABSENT, nowhere),))
                with pytest.raises(LianError) as raised:
                    await bench.build(request)
                return raised.value.problems[0].code

        assert asyncio.run(run()) == CACHE_SILENT
