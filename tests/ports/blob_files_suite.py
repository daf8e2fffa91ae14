"""What lian needs of large content in registries, as tests that every adapter must pass on every kind of server."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.ports.blob_files import BlobFiles
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry

KIND, LAYER = "application/vnd.lian.test.v1", "application/vnd.lian.test.layer.v1"
SIZES = (0, 1, 1000, 4 << 20, (4 << 20) + 1, (13 << 20) + 7)
"""Around what is sent and read at a time."""


@dataclass(frozen=True)
class FilesPlace:
    """A registry under test. `divides` False is for one that gives no parts of what is large."""

    host: str
    open: Callable[[], AbstractAsyncContextManager[tuple[Registry, Publisher, BlobFiles]]]
    lose: Callable[[Repository, Digest], None] | None = None
    """Takes a blob away behind the registry's back."""

    def run(self, use: Callable[[Registry, Publisher, BlobFiles], Awaitable[None]]) -> None:
        """Open, use, close."""

        async def whole() -> None:
            async with self.open() as (registry, publisher, files):
                await use(registry, publisher, files)

        asyncio.run(whole())

    def repository(self, path: str = "cache/ci/shop/api") -> Repository:
        """A repository on it."""
        return Repository(self.host, path)


def code(error: pytest.ExceptionInfo[LianError]) -> str:
    """Of the one problem in an error."""
    (problem,) = error.value.problems
    return problem.code


class BlobFilesSuite:
    """The promises of the port BlobFiles."""

    @pytest.mark.parametrize("size", SIZES)
    def test_what_is_stored_comes_back(self, files_place: FilesPlace, tmp_path: Path, size: int) -> None:
        async def use(registry: Registry, publisher: Publisher, files: BlobFiles) -> None:
            repository, source, into = files_place.repository(), tmp_path / "in", tmp_path / "out"
            source.write_bytes(os.urandom(size))
            for _ in range(2):
                blob = await files.store(repository, source, LAYER)
            assert blob == Descriptor.of(LAYER, source.read_bytes())
            await files.fetch(repository, blob, into)
            assert into.read_bytes() == source.read_bytes()
            manifest = artifact(KIND, None, (blob,), {})
            await publisher.publish(repository, manifest, tags=["kept"], blobs={Digest.of(EMPTY_BLOB): EMPTY_BLOB})
            assert await registry.missing(repository, manifest.digest) == ()
            assert Reference(repository, "kept") in await registry.heads([Reference(repository, "kept")])

        files_place.run(use)

    def test_what_is_not_there_leaves_nothing(self, files_place: FilesPlace, tmp_path: Path) -> None:
        async def use(_: Registry, __: Publisher, files: BlobFiles) -> None:
            for path in ("cache/ci/shop/api", "not/there"):
                with pytest.raises(LianError) as error:
                    blob = Descriptor.of(LAYER, b"nothing")
                    await files.fetch(files_place.repository(path), blob, tmp_path / "out")
                assert code(error) == "blob-unknown"
                assert not (tmp_path / "out").exists()

        files_place.run(use)

    @pytest.mark.parametrize("size", [1000, (5 << 20) + 1])
    def test_no_more_than_was_told_is_written(self, files_place: FilesPlace, tmp_path: Path, size: int) -> None:
        async def use(_: Registry, __: Publisher, files: BlobFiles) -> None:
            repository, source, into = files_place.repository(), tmp_path / "in", tmp_path / "out"
            source.write_bytes(os.urandom(size))
            blob = await files.store(repository, source, LAYER)
            for wrong in (1, size - 1, size + 1, 10 * size):
                with pytest.raises(LianError) as error:
                    await files.fetch(repository, replace(blob, size=wrong), into)
                assert code(error) in {"registry-wrong-digest", "registry-damaged", "registry-not-oci"}
                assert not into.exists()

        files_place.run(use)

    def test_a_file_that_is_there_is_not_overwritten(self, files_place: FilesPlace, tmp_path: Path) -> None:
        async def use(_: Registry, __: Publisher, files: BlobFiles) -> None:
            source, into = tmp_path / "in", tmp_path / "out"
            source.write_bytes(b"content")
            into.write_bytes(b"mine")
            blob = await files.store(files_place.repository(), source, LAYER)
            with pytest.raises(LianError):
                await files.fetch(files_place.repository(), blob, into)
            assert into.read_bytes() == b"mine"
            with pytest.raises(LianError):
                await files.fetch(files_place.repository(), blob, tmp_path / "no" / "folder")
            with pytest.raises(LianError):
                await files.store(files_place.repository(), tmp_path / "absent", LAYER)

        files_place.run(use)

    def test_many_at_a_time(self, files_place: FilesPlace, tmp_path: Path) -> None:
        async def use(_: Registry, __: Publisher, files: BlobFiles) -> None:
            async def one(number: int) -> None:
                source, into = tmp_path / f"in-{number}", tmp_path / f"out-{number}"
                source.write_bytes(bytes([number % 3]) * ((5 << 20) + number % 3))
                repository = files_place.repository(f"cache/ci/shop/a{number % 2}")
                await files.fetch(repository, await files.store(repository, source, LAYER), into)
                assert into.read_bytes() == source.read_bytes()

            await asyncio.gather(*map(one, range(6)))

        files_place.run(use)

    def test_a_cancellation_leaves_nothing(self, files_place: FilesPlace, tmp_path: Path) -> None:
        async def use(_: Registry, __: Publisher, files: BlobFiles) -> None:
            source, into = tmp_path / "in", tmp_path / "out"
            source.write_bytes(os.urandom(40 << 20))
            blob = await files.store(files_place.repository(), source, LAYER)
            task = asyncio.create_task(files.fetch(files_place.repository(), blob, into))
            await asyncio.sleep(0.03)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.2)
            assert not into.exists()

        files_place.run(use)
