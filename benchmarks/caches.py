"""The build cache: one changed layer on a fresh runner against a daemon that never goes away, and the rules by number.

The registry is docker-registry on the loopback. The changed step works for about a second, behind a layer of 20 MB that
is slow to make and comes from the cache. Fresh means from nothing running to nothing left: rent, look, build, push,
export, note, return; warm means the build and the push alone, on a daemon that has everything.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.measure import not_run, timed
from reconciler import wiring
from reconciler.apply.caching import Caches
from reconciler.apply.mounts import CacheMounts
from reconciler.apply.send import Parcel, Sender
from reconciler.cache import rules
from reconciler.cache.namespace import Layout
from reconciler.model.cache import CacheMount, Ci, Session
from reconciler.model.digest import Digest
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.model.tier import Tier
from reconciler.ports.builder import BuildRequest, CacheSource, CacheTarget, PinnedImage
from reconciler.ports.compute import LeaseRequest
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.providers.builder.arguments import export_record, import_record
from reconciler.reconcile import load
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.model.cache import BuildMode
    from reconciler.ports.compute import Runner

    Way = Callable[[str], Awaitable[float]]
    """Build what has changed, under a name of its own: the seconds it took."""

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
GO_DOCKERFILE = """FROM toolchain
ENV GOCACHE=/cache CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=mod HOME=/work TMPDIR=/work
WORKDIR /work
COPY source /source
WORKDIR /source
RUN --mount=type=cache,target=/cache ["/usr/local/go/bin/go", "build", "-o", "/app", "."]
"""
PACKAGES, FUNCTIONS = 120, 60
DIRECTIVE = """let lian = import "defaults/build_directives.ncl" in
lian.make_build_directives {
  workspace = "shop",
  artifacts.api = lian.make_artifact { image = "shop/api", context.path = "images/api"@more },
}
"""


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row for each comparison: name, n, seconds, baseline_seconds, ratio, target."""
    return [_changed_layer(rounds), _restored_mount(max(1, rounds // 2)), *_by_number()]


def _changed_layer(rounds: int) -> dict[str, Any]:
    name = "one changed layer, fresh runner and registry cache / warm daemon"
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder, run_registry(Path(folder) / "server") as server:
        shop = Shop(Path(folder), server.url)
        try:
            fresh, warm = asyncio.run(shop.measured(rounds))
        except LookupError as error:
            return not_run(name, 1, str(error))
    return timed(name, 1, statistics.median(fresh), statistics.median(warm), "<= 1.5")


def _restored_mount(rounds: int) -> dict[str, Any]:
    name = "second compile, fresh runner and restored cache mount / warm daemon"
    go = shutil.which("go")
    if go is None:
        return not_run(name, 1, "go is not on PATH")
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder, run_registry(Path(folder) / "server") as server:
        compiler = Compiler(Path(folder), server.url, Path(go).resolve().parents[1])
        fresh, warm = asyncio.run(compiler.measured(rounds))
    saved, size = compiler.saved_seconds, compiler.size
    note = f"restoring included; {size >> 20} MiB stored; saving takes {statistics.median(saved):.1f} s more"
    return timed(name, 1, statistics.median(fresh), statistics.median(warm), "<= 1.3", note)


class Shop:
    """A desired repo with one artifact, and both ways to build it after its source has changed."""

    def __init__(
        self,
        folder: Path,
        registry: str,
        dockerfile: str = DOCKERFILE,
        more: str = "",
        *,
        settings: str = "{}",
        ssh_key: str | None = None,
    ) -> None:
        self._repo = folder / "repo"
        self._host = registry.partition("://")[2]
        self._choice = wiring.Choice(str(self._repo), "HEAD", registry, folder / "cache", ssh_key)
        busybox = shutil.which("busybox")
        if busybox is None:
            raise LookupError("missing: busybox")
        context = self._repo / "images" / "api"
        (context / "rootfs" / "bin").mkdir(parents=True)
        shutil.copy(busybox, context / "rootfs" / "bin" / "busybox")
        (context / "Dockerfile").write_text(dockerfile)
        (self._repo / "directives").mkdir()
        (self._repo / "directives" / "shop.ncl").write_text(DIRECTIVE.replace("@more", more))
        (self._repo / ".gitignore").write_text("")
        (self._repo / "lian.ncl").write_text(settings)
        self._git("init", "-q", "-b", "main")
        self._changes = 0

    async def measured(self, rounds: int) -> tuple[list[float], list[float]]:
        """Seconds of each round, on a fresh runner and on the warm one, in turns."""
        self._change()
        async with wiring.working(self._choice) as working:
            ports = working.ports(SimpleNamespace(record=lambda event: None))
            ports.logs.mkdir(parents=True)
            await load(ports)
            async with ports.compute.rent(self._lease("warm")) as warm:
                on_warm, on_fresh = await self._ways(ports, warm)
                fresh_seconds, warm_seconds = [], []
                for number in range(rounds):
                    self._change()
                    await load(ports)
                    warm_seconds.append(await on_warm(f"warm-{number}"))
                    fresh_seconds.append(await on_fresh(f"fresh-{number}"))
        return fresh_seconds, warm_seconds

    async def _ways(self, ports: Any, warm: Runner) -> tuple[Way, Way]:
        """How a round builds on the warm runner, which has built once when this returns, and on a fresh one."""
        await self._build(ports, warm, "warm-up", cached=True)

        async def on_warm(name: str) -> float:
            began = time.perf_counter()
            await self._build(ports, warm, name, cached=False)
            return time.perf_counter() - began

        async def on_fresh(name: str) -> float:
            began = time.perf_counter()
            async with ports.compute.rent(self._lease(name)) as fresh:
                await self._build(ports, fresh, name, cached=True)
            return time.perf_counter() - began

        return on_warm, on_fresh

    def _lease(self, name: str) -> LeaseRequest:
        return LeaseRequest("bench", "bench", name, TIER, 600.0, hosts=frozenset({self._host}))

    async def _asked(self, ports: Any, runner: Runner, name: str) -> BuildRequest:
        desired = await ports.source.load()
        wanted = desired.wanted[ArtifactName("shop", "api")]
        parcel = Parcel(Sender(ports.source, runner.scratch / name))
        return BuildRequest(
            artifact="shop/api",
            platform=PLATFORM,
            context=await parcel.folder(wanted.materials.context),
            dockerfile=await parcel.dockerfile(wanted.materials),
            log=self._choice.cache / f"{name}.log",
            tier=TIER,
            destination=PushTo(wanted.artifact.image, plain=True),
        )

    async def _build(self, ports: Any, runner: Runner, name: str, *, cached: bool) -> None:
        request = await self._asked(ports, runner, name)
        if not cached:
            await ports.builder.build(runner, request, lambda step: None)
            return
        desired = await ports.source.load()
        caches = Caches(ports, desired, desired.wanted[ArtifactName("shop", "api")].artifact, Ci())
        lookup = await caches.look_and_keep(PLATFORM, runner.scratch)
        built = await ports.builder.build(
            runner, replace(request, cache_from=lookup.sources, cache_to=lookup.target), lambda step: None
        )
        await caches.keep(PLATFORM, lookup, [built])

    def _change(self) -> None:
        self._changes += 1
        (self._repo / "images" / "api" / "source").write_text(f"{self._changes}\n")
        self._commit()

    def _commit(self) -> None:
        self._git("add", "-A")
        self._git("-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "commit", "-qm", "change")

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self._repo, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})


class Compiler(Shop):
    """A Go program of many packages with its build cache in a cache mount, compiled again after a package that half of
    the others use has changed. The compiler is there beforehand on both sides: it is a base image, not a cache."""

    def __init__(self, folder: Path, registry: str, goroot: Path) -> None:
        super().__init__(folder, registry, GO_DOCKERFILE, ", cache.mounts = true, cache.mode = 'Off")
        self._folder, self._goroot = folder, goroot
        self.saved_seconds: list[float] = []
        self.size = 0

    async def _ways(self, ports: Any, warm: Runner) -> tuple[Way, Way]:
        base = await self._toolchain(ports, warm)
        await self._compile(ports, warm, "first", base, restore=True, save=True)

        async def on_warm(name: str) -> float:
            return await self._compile(ports, warm, name, base, restore=False, save=False)

        async def on_fresh(name: str) -> float:
            async with ports.compute.rent(self._lease(name)) as fresh:
                await self._pulled(ports, fresh, base)
                return await self._compile(ports, fresh, name, base, restore=True, save=True)

        return on_warm, on_fresh

    async def _toolchain(self, ports: Any, runner: Runner) -> PinnedImage:
        """The compiler as an image of the registry."""
        context = self._folder / "toolchain"
        for part in ("bin/go", "pkg/tool", "pkg/include", "src", "go.env", "VERSION"):
            source, target = self._goroot / part, context / "go" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        (context / "Dockerfile").write_text("FROM scratch\nCOPY go /usr/local/go\n")
        repository = Repository(self._host, "shop/toolchain")
        built = await ports.builder.build(runner, self._request(context, repository), lambda step: None)
        return PinnedImage(built.digest, ports.publisher.origin(repository))

    async def _pulled(self, ports: Any, runner: Runner, base: PinnedImage) -> None:
        context = self._folder / "pull"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text('FROM toolchain\nRUN ["/usr/local/go/bin/go", "version"]\n')
        request = replace(self._request(context, None), contexts={"toolchain": base})
        await ports.builder.build(runner, request, lambda step: None)

    async def _compile(
        self, ports: Any, runner: Runner, name: str, base: PinnedImage, *, restore: bool, save: bool
    ) -> float:
        """Seconds until the image is pushed; what saving takes is kept apart."""
        desired = await ports.source.load()
        wanted = desired.wanted[ArtifactName("shop", "api")]
        folder = self._repo / "images" / "api"
        mounts = CacheMounts(ports, desired, wanted.artifact, Ci(), runner, TIER)
        held = (CacheMount("/cache"),)
        began = time.perf_counter()
        if restore:
            moved = await mounts.restore(PLATFORM, held)
            assert not moved.problems, moved.problems
        request = replace(
            self._request(folder, wanted.artifact.image),
            contexts={"toolchain": base},
            mount_namespace=mounts.namespace(PLATFORM),
            log=self._choice.cache / f"compile-{runner.lease}-{name}.log",
        )
        built = await ports.builder.build(runner, request, lambda step: None)
        seconds = time.perf_counter() - began
        if save:
            began = time.perf_counter()
            kept = await mounts.save(PLATFORM, held, [built])
            assert not kept.problems, kept.problems
            self.saved_seconds.append(time.perf_counter() - began)
            self.size = kept.bytes
        return seconds

    def _request(self, context: Path, repository: Repository | None) -> BuildRequest:
        return BuildRequest(
            artifact="shop/api",
            platform=PLATFORM,
            context=context,
            dockerfile=context / "Dockerfile",
            log=self._choice.cache / "bench.log",
            tier=TIER,
            destination=None if repository is None else PushTo(repository, plain=True),
        )

    def _change(self) -> None:
        source = self._repo / "images" / "api" / "source"
        if self._changes == 0:
            for number in range(PACKAGES):
                _write(source / f"p{number}" / "p.go", _package(number))
            imports = "".join(f'\t"bench/p{number}"\n' for number in range(PACKAGES))
            calls = " + ".join(f"p{number}.F0(1)" for number in range(PACKAGES))
            body = f'package main\n\nimport (\n\t"bench/core"\n\t"fmt"\n\t"net/http"\n{imports})\n\n'
            body += f"func main() {{ fmt.Println({calls} + core.Value(1), http.StatusOK) }}\n"
            _write(source / "main.go", body)
            _write(source / "go.mod", "module bench\n\ngo 1.21\n")
        self._changes += 1
        core = f"package core\n\nfunc Value(n int) int {{ return n + {self._changes} }}\n"
        _write(source / "core" / "core.go", core)
        self._commit()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _package(number: int) -> str:
    """Every second one uses what changes."""
    uses = number % 2 == 0
    head = f"package p{number}\n\n" + ('import "bench/core"\n\n' if uses else "")
    value = "core.Value(n)" if uses else "n"
    functions = (
        f"func F{i}(n int) int {{\n\ts := {value}\n"
        + "".join(f"\tfor i := 0; i < n; i++ {{ s += (i*{k + i}) ^ (s >> {k % 7 + 1}) }}\n" for k in range(8))
        + "\treturn s\n}\n"
        for i in range(FUNCTIONS)
    )
    return head + "\n".join(functions)


def _by_number() -> list[dict[str, Any]]:
    """Where caches lie and BuildKit's flags for them, of so many artifacts; beside it, the same texts put together with
    no rule at all."""
    found = []
    for mode in (Ci(), Session("ada")):
        ours = min(_seconds(lambda mode=mode: _flags(mode)) for _ in range(ROUNDS))
        theirs = min(_seconds(_bare_flags) for _ in range(ROUNDS))
        found.append(timed(f"namespaces and flags ({mode})", ARTIFACTS, ours, theirs, "", "target <= 0.1 s"))
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
