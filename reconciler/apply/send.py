"""What a builder is handed: the contexts as files, everything else pinned by digest."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.finishing import to_its_end
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.digest import Digest
from reconciler.ports.builder import PinnedImage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from reconciler.model.desired import Desired, Materials, Needs, SentFolder, Wanted
    from reconciler.model.reference import Repository
    from reconciler.ports.builder import ContextInput
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.source import Source


@dataclass(slots=True)
class Sender:
    """Exports each distinct folder once into a runner's scratch folder, however many builds want it."""

    source: Source
    scratch: Path
    _sent: dict[str, asyncio.Task[int]] = field(default_factory=dict)

    async def folder(self, folder: SentFolder) -> tuple[Path, int]:
        """The folder's files on disk, and how many bytes were written for whoever asked first. Raises LianError."""
        target = self.scratch / "contexts" / folder.root[:32]
        first = folder.root not in self._sent
        written = await self._once(folder.root, target, lambda: self.source.export(folder, target))
        return target, written if first else 0

    async def dockerfile(self, materials: Materials) -> Path:
        """The Dockerfile on disk, in a folder of its own. Raises LianError."""
        path = hashlib.sha256(materials.dockerfile_path.encode("utf-8", "surrogateescape")).hexdigest()
        key = f"{materials.dockerfile[:24]}-{path[:24]}"
        target = self.scratch / "dockerfiles" / key

        async def write() -> int:
            await self.source.export_dockerfile(materials, target)
            return 0

        await self._once(f"dockerfile {key}", target, write)
        return target / materials.dockerfile_path.rpartition("/")[2]

    async def close(self) -> None:
        """End what is still being written, before its folder goes with the runner."""
        for task in self._sent.values():
            task.cancel()
        await to_its_end(asyncio.gather(*self._sent.values(), return_exceptions=True))

    async def _once(self, key: str, target: Path, work: Callable[[], Awaitable[int]]) -> int:
        if key not in self._sent:

            async def run() -> int:
                target.parent.mkdir(parents=True, exist_ok=True)
                return await work()

            self._sent[key] = asyncio.create_task(run())
        return await asyncio.shield(self._sent[key])


@dataclass(slots=True)
class Parcel:
    """What one build is handed of it; `sent` are the bytes that were not there yet."""

    sender: Sender
    sent: int = 0

    async def folder(self, folder: SentFolder) -> Path:
        """The folder's files on disk. Raises LianError."""
        path, written = await self.sender.folder(folder)
        self.sent += written
        return path

    async def dockerfile(self, materials: Materials) -> Path:
        """The Dockerfile on disk, in a folder of its own. Raises LianError."""
        return await self.sender.dockerfile(materials)


async def contexts(
    wanted: Wanted, needs: Needs, inputs: Mapping[str, Any], parcel: Parcel, publisher: Publisher, desired: Desired
) -> dict[str, ContextInput]:
    """Named contexts and pinned bases for one solve. `inputs` is the document the digests are read from, so that
    what is built is exactly what was keyed. Raises LianError."""
    found: dict[str, ContextInput] = {}
    leaves = inputs.get("contexts", {})
    for name in needs.contexts:
        context = wanted.artifact.contexts[name]
        if wanted.materials is not None and name in wanted.materials.folders:
            found[name] = await parcel.folder(wanted.materials.folders[name])
        elif isinstance(context, BaseImage):
            found[name] = _pinned(publisher, context.reference.repository, leaves[name]["image"])
        elif isinstance(context, ParentImage):
            parent = desired.wanted[context.artifact].artifact.image
            found[name] = _pinned(publisher, parent, leaves[name]["image"])
    for written, reference in needs.images.items():
        found[written] = _pinned(publisher, reference.repository, inputs["bases"][written])
    return found


def frontend_of(needs: Needs, inputs: Mapping[str, Any], publisher: Publisher) -> PinnedImage | None:
    """What reads the Dockerfile, where that is not what BuildKit has inside."""
    return _pinned(publisher, needs.frontend.repository, inputs["frontend"]) if needs.frontend else None


def _pinned(publisher: Publisher, repository: Repository, digest: str) -> PinnedImage:
    return PinnedImage(Digest.parse(digest), publisher.origin(repository))
