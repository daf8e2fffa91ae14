"""What a builder left where a scanner has looked at the image: the image, and the lists of its parts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.attest.sbom import unwrap
from reconciler.model.manifest import MAX_MANIFEST, Manifest
from reconciler.model.problem import LianError, Problem
from reconciler.ports.publisher import PushTo

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.attest.sbom import Scanned
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Reference, Repository
    from reconciler.ports.publisher import Destination
    from reconciler.ports.registry import Registry


async def scanned(
    registry: Registry, repository: Repository, destination: Destination, digest: Digest, scanner: Reference
) -> Scanned:
    """Take apart what the builder made with this scanner, still at its destination. Raises LianError `sbom-missing` if
    the scanner said nothing, and as `unwrap` does."""
    left = registry if isinstance(destination, PushTo) else _Left(destination.folder)
    found = await unwrap(left, repository, await left.manifest(repository, digest))
    if not found.sboms:
        raise LianError(
            Problem(
                "sbom-missing",
                f"the scanner {scanner.repository}@{scanner.name} has said nothing of the image",
                hint="look at `scanner` under `policy.sign`: it has to follow BuildKit's SBOM scanning protocol",
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Left:
    """An image layout in a build's own folder, read as a registry is: only what the builder named, by its digest."""

    folder: Path

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """See attest.sbom.Content."""
        data = await self.blob(repository, digest, MAX_MANIFEST)
        try:
            return Manifest(str(Manifest("", data).document["mediaType"]), data)
        except (ValueError, KeyError) as error:
            raise LianError(_damaged(f"{digest.short} is no manifest: {error}")) from error

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """See attest.sbom.Content."""
        del repository
        path = self.folder / "blobs" / digest.algorithm / digest.hex
        try:
            data = await asyncio.to_thread(_read, path, limit)
        except OSError as error:
            raise LianError(_damaged(error.strerror)) from error
        if len(data) > limit or not digest.matches(data):
            raise LianError(_damaged(f"the bytes of {digest.short} are not those that it names"))
        return data


def _read(path: Path, limit: int) -> bytes:
    """At most one byte more than the limit."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def _damaged(cause: str | None) -> Problem:
    return Problem(
        "sbom-damaged", "what the builder wrote beside the image cannot be read", cause=cause, hint="build it again"
    )
