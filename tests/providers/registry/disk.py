"""A registry on disk under test, looked at as a whole, and cut off at any call that touches the disk."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.observed import Found
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from reconciler.providers.registry.layout.remover import LayoutRemover
from reconciler.providers.registry.layout.sweep import GRACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from reconciler.model.observed import Sighting
    from tests.ports.registry_suite import Image

# the children only write files and end by _exit or a signal: a fork is quick, and safe for that
FORK = multiprocessing.get_context("fork")
TAG_KEY = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Disk:
    """A registry on disk, used without an event loop of one's own."""

    root: Path

    def repository(self, path: str = "shop/api") -> Repository:
        return Repository(f"oci-layout:{self.root}", path)

    def folder(self, path: str = "shop/api") -> Path:
        return self.root / path

    def publish(self, image: Image, *tags: str, path: str = "shop/api") -> None:
        asyncio.run(
            LayoutPublisher(self.root).publish(self.repository(path), image.manifest, tags=tags, blobs=image.blobs)
        )

    def untag(self, tag: str) -> None:
        asyncio.run(LayoutRemover(self.root).untag(self.repository(), tag))

    def delete(self, digest: Digest, grace: float = GRACE) -> None:
        asyncio.run(LayoutRemover(self.root, grace).delete(self.repository(), digest))

    def blobs(self) -> set[str]:
        """The hex digests of all content."""
        return {path.name for path in (self.folder() / "blobs/sha256").iterdir()}

    def head(self, tag: str = "latest", digest: Digest | None = None) -> Sighting:
        reference = Reference(self.repository(), tag, digest)
        return asyncio.run(LayoutRegistry(self.root).heads([reference]))[reference]

    def index(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder() / "index.json").read_bytes())
        return document


def check_whole(disk: Disk) -> dict[str, Digest]:
    """Every tag names a manifest that is there, with all its blobs, all with the right bytes."""

    async def use() -> dict[str, Digest]:
        registry, repository = LayoutRegistry(disk.root), disk.repository()
        if not disk.folder().exists() or not (disk.folder() / "oci-layout").exists():
            return {}
        tags = [e["annotations"][TAG_KEY] for e in disk.index()["manifests"] if TAG_KEY in e.get("annotations", {})]
        assert len(tags) == len(set(tags))
        seen = await registry.heads([Reference(repository, tag) for tag in tags])
        named = {}
        for reference, sighting in seen.items():
            assert isinstance(sighting, Found), sighting
            document = (await registry.manifest(repository, sighting.digest)).document
            for part in [*document.get("layers", ()), *([document["config"]] if "config" in document else ())]:
                assert len(await registry.blob(repository, Digest.parse(part["digest"]), 1 << 20)) == part["size"]
            named[str(reference.tag)] = sighting.digest
        return named

    return asyncio.run(use())


CALLS = ("open", "write", "fsync", "replace", "link", "mkdir", "unlink", "close")


def counted(action: Callable[[], object], limit: int, at_limit: Callable[[], None]) -> int:
    """Run `action` in this process, calling `at_limit` before the limit-th call that touches the disk."""
    count = 0

    def guard(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == limit:
                at_limit()
            return real(*args, **named)

        return call

    real = {name: getattr(os, name) for name in CALLS}
    try:
        for name, function in real.items():
            setattr(os, name, guard(function))
        action()
    finally:
        for name, function in real.items():
            setattr(os, name, function)
    return count


def cut_off(action: Callable[[], object], limit: int, error: OSError | None) -> int:
    """Run `action` in a child that ends (or meets the error) before its limit-th disk call. Its exit code: 9 ended,
    7 told of the error, 6 went on in spite of it, 0 was through before."""
    code = 0

    def fail() -> None:
        nonlocal code
        code = 6
        if error is None:
            os._exit(9)
        raise error

    def child() -> None:
        try:
            counted(action, limit, fail)
        except LianError:
            os._exit(7)
        os._exit(code)

    process = FORK.Process(target=child)
    process.start()
    process.join()
    exitcode = process.exitcode
    process.close()
    assert exitcode in {0, 6, 7, 9}
    return exitcode
