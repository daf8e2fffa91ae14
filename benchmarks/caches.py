"""The build cache: one changed layer on a fresh runner against a daemon that never goes away, and the rules by number.

The registry is docker-registry on the loopback. The changed step works for about a second, behind a layer of 20 MB that
is slow to make and comes from the cache. Fresh means from nothing running to nothing left: rent, look, build, push,
export, note, return; warm means the build and the push alone, on a daemon that has everything.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.measure import not_run
from reconciler import wiring
from reconciler.apply.caching import Caches
from reconciler.apply.send import Sender
from reconciler.cache import rules
from reconciler.cache.namespace import Layout
from reconciler.model.cache import Ci, Session
from reconciler.model.digest import Digest
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.tier import Tier
from reconciler.ports.builder import BuildRequest, CacheSource, CacheTarget
from reconciler.ports.compute import LeaseRequest
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.providers.builder.arguments import export_record, import_record
from reconciler.reconcile import load
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from reconciler.model.cache import BuildMode
    from reconciler.ports.compute import Runner

ROUNDS = 5
ARTIFACTS = 10_000
TIER = Tier(2, 4.0, 30)
PLATFORM = Platform("linux", "amd64")
DOCKERFILE = """FROM scratch
COPY rootfs /
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN dd if=/dev/urandom of=/dependencies bs=1024k count=20; sleep 3
COPY source /source
RUN for i in 1 2 3 4 5 6; do cat /dependencies /source | sha256sum; done > /made
"""
DIRECTIVE = """let lian = import "defaults/build_directives.ncl" in
lian.make_build_directives {
  workspace = "shop",
  artifacts.api = lian.make_artifact { image = "shop/api", context.path = "images/api" },
}
"""


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row for each comparison: name, n, seconds, baseline_seconds, ratio, target."""
    return [_changed_layer(rounds), *_by_number()]


def _changed_layer(rounds: int) -> dict[str, Any]:
    name = "one changed layer, fresh runner and registry cache / warm daemon"
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder, run_registry(Path(folder) / "server") as server:
        shop = Shop(Path(folder), server.url)
        try:
            fresh, warm = asyncio.run(shop.measured(rounds))
        except LookupError as error:
            return not_run(name, 1, str(error))
    return _row(name, 1, statistics.median(fresh), statistics.median(warm), "<= 1.5")


def _row(name: str, n: int, seconds: float, baseline: float, target: str, note: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "n": n,
        "seconds": round(seconds, 3),
        "baseline_seconds": round(baseline, 3),
        "ratio": round(seconds / baseline, 2),
        "target": target,
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "note": note,
    }


class Shop:
    """A desired repo with one artifact, and both ways to build it after its source has changed."""

    def __init__(self, folder: Path, registry: str) -> None:
        self._repo = folder / "repo"
        self._choice = wiring.Choice(str(self._repo), "HEAD", registry, folder / "cache")
        busybox = shutil.which("busybox")
        if busybox is None:
            raise LookupError("missing: busybox")
        context = self._repo / "images" / "api"
        (context / "rootfs" / "bin").mkdir(parents=True)
        shutil.copy(busybox, context / "rootfs" / "bin" / "busybox")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (self._repo / "directives").mkdir()
        (self._repo / "directives" / "shop.ncl").write_text(DIRECTIVE)
        (self._repo / ".gitignore").write_text("")
        self._git("init", "-q", "-b", "main")
        self._changes = 0

    async def measured(self, rounds: int) -> tuple[list[float], list[float]]:
        """Seconds of each round, on a fresh runner and on the warm one, in turns."""
        self._change()
        async with wiring.working(self._choice) as working:
            ports = working.ports(SimpleNamespace(record=lambda event: None))  # type: ignore[arg-type]
            await load(ports)
            async with ports.compute.rent(self._lease("warm")) as warm:
                await self._build(ports, warm, "warm-up", cached=True)
                fresh_seconds, warm_seconds = [], []
                for number in range(rounds):
                    self._change()
                    await load(ports)
                    began = time.perf_counter()
                    await self._build(ports, warm, f"warm-{number}", cached=False)
                    warm_seconds.append(time.perf_counter() - began)
                    began = time.perf_counter()
                    async with ports.compute.rent(self._lease(f"fresh-{number}")) as fresh:
                        await self._build(ports, fresh, f"fresh-{number}", cached=True)
                    fresh_seconds.append(time.perf_counter() - began)
        return fresh_seconds, warm_seconds

    def _lease(self, name: str) -> LeaseRequest:
        host = (self._choice.registry or "").partition("://")[2]
        return LeaseRequest("bench", "bench", name, TIER, 600.0, hosts=frozenset({host}))

    async def _build(self, ports: Any, runner: Runner, name: str, *, cached: bool) -> None:
        desired = await ports.source.load()
        wanted = desired.wanted[ArtifactName("shop", "api")]
        sender = Sender(ports.source, runner.scratch / name)
        request = BuildRequest(
            artifact="shop/api",
            platform=PLATFORM,
            context=await sender.folder(wanted.materials.context),
            dockerfile=await sender.dockerfile(wanted.materials),
            log=self._choice.cache / f"{name}.log",
            tier=TIER,
            destination=PushTo(wanted.artifact.image, plain=True),
        )
        if not cached:
            await ports.builder.build(runner, request, lambda step: None)
            return
        caches = Caches(ports, desired, wanted.artifact, Ci())
        lookup = await caches.look(PLATFORM, runner.scratch)
        built = await ports.builder.build(
            runner, replace(request, cache_from=lookup.sources, cache_to=lookup.target), lambda step: None
        )
        await caches.keep(PLATFORM, lookup, built)

    def _change(self) -> None:
        self._changes += 1
        (self._repo / "images" / "api" / "source").write_text(f"{self._changes}\n")
        self._git("add", "-A")
        self._git("-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "commit", "-qm", "change")

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self._repo, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})


def _by_number() -> list[dict[str, Any]]:
    """Where caches lie and BuildKit's flags for them, of so many artifacts; beside it, the same texts put together with
    no rule at all."""
    found = []
    for mode in (Ci(), Session("ada")):
        ours = min(_seconds(lambda mode=mode: _flags(mode)) for _ in range(ROUNDS))  # type: ignore[misc]
        theirs = min(_seconds(_bare_flags) for _ in range(ROUNDS))
        found.append(_row(f"namespaces and flags ({mode})", ARTIFACTS, ours, theirs, "", "target <= 0.1 s"))
    return found


def _seconds(work: Any) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _flags(mode: BuildMode) -> list[str]:
    layout, digest, host = Layout("cache"), Digest.of(b""), "registry.example"
    found: list[str] = []
    for number in range(ARTIFACTS):
        workspace, artifact = f"workspace-{number // 100}", f"artifact-{number}"
        for slot in rules.imports(mode, workspace, artifact, PLATFORM):
            place = slot.at(host, layout)
            found.append(import_record(CacheSource(digest, PullFrom(place.repository, plain=False))))
        place = rules.export(mode, workspace, artifact, PLATFORM).at(host, layout)
        found.append(export_record(CacheTarget(PushTo(place.repository, plain=False), place.tag or "")))
    return found


def _bare_flags() -> list[str]:
    digest = str(Digest.of(b""))
    found: list[str] = []
    for number in range(ARTIFACTS):
        repository = f"registry.example/cache/ci/workspace-{number // 100}/artifact-{number}"
        found += [f"type=registry,ref={repository}@{digest}"] * 2
        found.append(f"type=registry,ref={repository}:linux-amd64,mode=max,image-manifest=true,oci-mediatypes=true")
    return found


if __name__ == "__main__":
    for row in rows():
        print(row)
