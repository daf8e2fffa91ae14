"""Contexts, requests and a look into images, for tests that really build."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tarfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.model.platform import Platform
from reconciler.model.tier import Tier
from reconciler.ports.builder import BuildRequest, Built, StepSeen
from reconciler.ports.compute import LeaseRequest, Runner
from reconciler.ports.publisher import WriteLayout
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.compute.local import LocalCompute
from reconciler.providers.compute.processes import with_argument
from tests.ports.leasing import leasing_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from reconciler.apply.leasing import Leasing
    from reconciler.model.digest import Digest

PLATFORM = Platform("linux", "amd64")
TIER = Tier(2, 1.0, 30)
SHELL = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
"""The begin of a Dockerfile with a shell and nothing from outside; its context holds `busybox`."""


def local_compute(state: Path) -> Leasing:
    """Compute with this machine's programs; the ledger is beside the folder of leases."""
    return leasing_of(LocalCompute(find_part, state), ledger_of(state), name="local")


def ledger_of(state: Path) -> Path:
    """Where the leases of this folder are noted."""
    return state.with_name(f"{state.name}-rented")


def write_context(
    folder: Path, dockerfile: str, files: Mapping[str, bytes] | None = None, busybox: bool = True
) -> Path:
    """A context folder with its Dockerfile."""
    folder.mkdir(parents=True)
    if busybox:
        shutil.copy(shutil.which("busybox") or "/bin/busybox", folder / "busybox")
    (folder / "Dockerfile").write_text(dockerfile)
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    return folder


def set_times(folder: Path, nanoseconds: int) -> None:
    """The same time for every file of a folder."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(nanoseconds, nanoseconds))


@dataclass
class Bench:
    """A runner and the builder, with a folder for contexts and results."""

    folder: Path
    compute: Leasing
    builder: BuildctlBuilder
    runner: Runner
    count: int = 0

    def request(self, context: Path, **changes: Any) -> BuildRequest:
        """A request whose image goes into a layout of its own."""
        self.count += 1
        out = WriteLayout(self.folder / f"out-{self.count}")
        request = BuildRequest(
            artifact=f"test/{context.name}",
            platform=PLATFORM,
            context=context,
            dockerfile=context / "Dockerfile",
            log=self.folder / f"build-{self.count}.log",
            tier=TIER,
            destination=out,
        )
        return replace(request, **changes)

    async def build(
        self, request: BuildRequest, seen: Callable[[StepSeen], None] = lambda step: None
    ) -> tuple[Built, BuildRequest]:
        """Build it; the request comes back for its destination and log."""
        return await self.builder.build(self.runner, request, seen), request


SWALLOWED = "RUN busybox dd if=/dev/zero of=/dev/null bs=300M count=1 | busybox wc -c\n"
"""A step of SHELL's in which the kernel ends a process for want of memory, at a tier of less, and which ends well."""


@asynccontextmanager
async def open_bench(folder: Path, name: str = "bench", **lease: Any) -> AsyncIterator[Bench]:
    """A bench with a fresh runner."""
    folder.mkdir(parents=True, exist_ok=True)
    buildctl = find_part("buildctl")
    assert buildctl is not None
    compute = local_compute(folder / "state")
    request = LeaseRequest("fleet", "pass", name, TIER, deadline=120.0, parallelism=4)
    async with compute.rent(replace(request, **lease)) as runner:
        yield Bench(folder, compute, BuildctlBuilder(buildctl), runner)


async def running(word: str) -> None:
    """Wait until a process with this word on its command line runs."""
    async with asyncio.timeout(30):
        while not with_argument(word):  # noqa: ASYNC110 - nothing tells us but the process table
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Image:
    """An image in a layout on disk."""

    layout: Path
    digest: Digest

    def _blob(self, digest: str) -> Path:
        return self.layout / "blobs" / digest.replace(":", "/")

    @property
    def manifest(self) -> dict[str, Any]:
        """Parsed."""
        return dict(json.loads(self._blob(str(self.digest)).read_bytes()))

    @property
    def config(self) -> dict[str, Any]:
        """Parsed."""
        return dict(json.loads(self._blob(self.manifest["config"]["digest"]).read_bytes()))

    def files(self) -> dict[str, bytes]:
        """Every regular file of every layer, later ones winning."""
        found: dict[str, bytes] = {}
        for layer in self.manifest["layers"]:
            with tarfile.open(self._blob(layer["digest"])) as archive:
                for member in archive:
                    if member.isreg() and (content := archive.extractfile(member)):
                        found[member.name] = content.read()
        return found


def hits_of(built: Built) -> int:
    """Steps that were taken from a cache."""
    return sum(step.hit for step in built.steps)


def image_of(result: tuple[Built, BuildRequest]) -> Image:
    """What a build wrote into its layout."""
    built, request = result
    assert isinstance(request.destination, WriteLayout)
    assert built.digest is not None
    return Image(request.destination.folder, built.digest)
