"""Cache mounts on real builders, with a real registry between: what a pass does around a build, without the pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.apply.mounts import CacheMounts
from reconciler.desired.needs import read_needs
from reconciler.model.artifact import Place
from reconciler.model.cache import CachePolicy, Ci
from reconciler.model.desired import Desired
from reconciler.model.fleet import Fleet, RegistryProvider, RegistrySettings
from reconciler.providers.archive.mount_archives import MountArchives
from reconciler.providers.archive.tool import find_tool
from reconciler.providers.registry.distribution.blob_files import DistributionBlobFiles
from reconciler.providers.registry.layout.blob_files import LayoutBlobFiles
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from tests.commits import FLEET, Commit, artifact
from tests.fakes import World
from tests.providers.workshop import PLATFORM, TIER, Bench, image_of, open_bench, write_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.cache import BuildMode, CacheMount
    from reconciler.model.mount_use import MountsMoved
    from reconciler.ports.bundle import Ports
    from reconciler.providers.registry.http.transport import Transport


@dataclass(frozen=True)
class Made:
    """What one build on a fresh builder gave."""

    restored: MountsMoved
    saved: MountsMoved
    files: Mapping[str, bytes]
    digest: str


@dataclass
class Kept:
    """An artifact whose cache mounts are kept in one registry."""

    folder: Path
    ports: Ports
    desired: Desired
    host: str
    name: str = "shop/api"
    mode: BuildMode = field(default_factory=Ci)
    runs: list[str] = field(default_factory=list)
    """Names of all folders used so far."""

    @classmethod
    def on_disk(cls, folder: Path, **more: Any) -> Kept:
        """With a layout on disk."""
        root = folder / "registry"
        read, written, files = LayoutRegistry(root), LayoutPublisher(root), LayoutBlobFiles(root)
        return cls._with(folder, f"oci-layout:{root}", RegistryProvider.OCI_LAYOUT, read, written, files, **more)

    @classmethod
    def over_http(cls, folder: Path, transport: Transport, **more: Any) -> Kept:
        """With a registry over HTTP."""
        from reconciler.providers.registry.distribution.publisher import DistributionPublisher
        from reconciler.providers.registry.distribution.registry import DistributionRegistry

        host = transport.endpoint.host
        read, written = DistributionRegistry(transport), DistributionPublisher(transport)
        files = DistributionBlobFiles(transport)
        return cls._with(folder, host, RegistryProvider.DISTRIBUTION, read, written, files, **more)

    @classmethod
    def _with(
        cls, folder: Path, host: str, provider: RegistryProvider, read: Any, written: Any, files: Any, **more: Any
    ) -> Kept:
        folder.mkdir(parents=True, exist_ok=True)
        world = World(Commit(()), folder)
        ports = replace(
            world.ports(),
            registry=read,
            publisher=written,
            blob_files=files,
            archives=MountArchives(find_tool),
            logs=folder,
        )
        settings = RegistrySettings(provider, path=host.removeprefix("oci-layout:"), url=f"http://{host}")
        return cls(folder, ports, Desired("0" * 40, Fleet(FLEET, settings)), host, **more)

    def mounts(self, dockerfile: str) -> tuple[CacheMount, ...]:
        """Those that the Dockerfile has."""
        found = read_needs(dockerfile.encode(), "Dockerfile", self._artifact, lambda where: Place("d.ncl"))
        assert not found.problems and not found.holds, found
        return found.platforms[PLATFORM].mounts

    async def fresh(self, dockerfile: str, args: Mapping[str, str] | None = None) -> Made:
        """Build on a builder that has nothing, mounts restored before and saved after."""
        self.runs.append(f"run-{len(self.runs)}")
        async with open_bench(self.folder / self.runs[-1], self.runs[-1]) as bench:
            return await self.built(bench, dockerfile, args)

    async def built(self, bench: Bench, dockerfile: str, args: Mapping[str, str] | None = None) -> Made:
        """The same on a builder of one's own."""
        mounts, work = self.mounts(dockerfile), self.work(bench)
        restored = await work.restore(PLATFORM, mounts)
        context = write_context(bench.folder / f"context-{bench.count}", dockerfile)
        request = bench.request(context, args=args or {}, mount_namespace=work.namespace(PLATFORM))
        result = await bench.build(request)
        saved = await work.save(PLATFORM, mounts, [result[0]])
        image = image_of(result)
        return Made(restored, saved, image.files(), str(image.digest))

    def work(self, bench: Bench) -> CacheMounts:
        """On this builder."""
        ports = replace(self.ports, builder=bench.builder, compute=bench.compute)
        return CacheMounts(ports, self.desired, self._artifact, self.mode, bench.runner, TIER)

    @property
    def _artifact(self) -> Any:
        policy = CachePolicy(mounts=True)
        found = artifact(self.name, cache=policy, registry=self.host)
        return replace(found, image=found.image._replace(host=self.host))
