"""The same question, "is everything as the repo wants it?", asked by other tools, beside lian's pass in sync.

A shell loop evaluates each image's file with `nickel export` and asks the registry with `crane digest`; it knows
nothing of contexts and bases. `buildx bake` builds every target again from a full cache, on a builder that runs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fleet import LIAN, Fleet
from benchmarks.measure import Cost, cost, not_run, paired, row
from benchmarks.passes import holding, missing
from reconciler.providers.builder.binaries import find_part
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMAGES = 20
RUNS = 5
REGISTRY = "docker-registry"
BUILDKIT_SECONDS = 20.0
LOOP = """set -e
for file in "$1"/*.ncl; do
  image=$(nickel export --field image "$file" | tr -d '"')
  crane digest --insecure "$2/$image:latest" >/dev/null
done
"""


def rows() -> list[dict[str, object]]:
    """One row for each tool; of one that is not there, why."""
    loop = f"diff in sync, {REGISTRY} / nickel export + crane digest for each image"
    bake = f"diff in sync, {REGISTRY} / buildx bake, all cached"
    if why := missing(REGISTRY):
        return [not_run(loop, IMAGES, why), not_run(bake, IMAGES, why)]
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as scratch:
        folder = Path(scratch)
        fleet = Fleet.make(folder / "fleet", IMAGES)
        with holding(REGISTRY, folder / "server", fleet) as url:
            environment = fleet.environment(url)
            return [_beside_loop(loop, folder, url, environment), _beside_bake(bake, folder, fleet, environment)]


def _beside_loop(name: str, folder: Path, url: str, environment: Mapping[str, str]) -> dict[str, object]:
    crane = programs.find("crane")
    if shutil.which("nickel") is None:
        return not_run(name, IMAGES, "nickel is not on PATH")
    if crane.path is None or crane.why:
        return not_run(name, IMAGES, crane.why or "crane is missing")
    files = folder / "loop"
    files.mkdir()
    for number in range(IMAGES):
        (files / f"a{number:05}.ncl").write_text(
            f'{{ image = "bench/a{number:05}", context = "images/{number:05}" }}\n'
        )
    path = f"{environment['PATH']}:{crane.path.parent}"
    shell = ["bash", "-c", LOOP, "loop", str(files), url.removeprefix("http://")]
    ours, theirs = paired([LIAN, "diff"], shell, RUNS, env={**environment, "PATH": path})
    return _beside(name, ours, theirs)


def _beside_bake(name: str, folder: Path, fleet: Fleet, environment: Mapping[str, str]) -> dict[str, object]:
    buildx = _buildx()
    if buildx is None:
        return not_run(name, IMAGES, "buildx is not on PATH")
    buildkitd = find_part("buildkitd")
    if buildkitd is None:
        return not_run(name, IMAGES, "buildkitd is missing")
    targets = {f"a{n:05}": {"context": f"images/{n:05}", "output": ["type=cacheonly"]} for n in range(IMAGES)}
    bake = fleet.repo / "docker-bake.json"
    bake.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}))
    env = {**environment, "BUILDX_CONFIG": str(folder / "buildx")}
    try:
        with _buildkitd(buildkitd, folder / "buildkit") as address:
            create = [*buildx, "create", "--name=bench", "--driver=remote", address]
            subprocess.run(create, env=env, check=True, capture_output=True)
            command = [*buildx, "bake", "--builder=bench", "--file", str(bake)]
            cost(command, cwd=fleet.repo, env=env)  # fills the cache
            pairs = [
                (cost([LIAN, "diff"], env=environment), cost(command, cwd=fleet.repo, env=env)) for _ in range(RUNS)
            ]
    finally:
        bake.unlink()
    return _beside(name, _median([a for a, _ in pairs]), _median([b for _, b in pairs]))


def _buildx() -> list[str] | None:
    """How buildx is called here: by itself or as a plugin of docker."""
    if shutil.which("buildx"):
        return ["buildx"]
    plugin = ["docker", "buildx"]
    if shutil.which("docker") is None:
        return None
    known = subprocess.run([*plugin, "version"], capture_output=True, check=False)
    return plugin if known.returncode == 0 else None


@contextlib.contextmanager
def _buildkitd(program: Path, folder: Path) -> Iterator[str]:
    """A daemon that listens when it is handed out, and is gone afterwards."""
    folder.mkdir()
    socket = folder / "socket"
    words = [f"--root={folder}/root", f"--addr=unix://{socket}", "--containerd-worker=false", "--oci-worker-net=host"]
    daemon = subprocess.Popen([program, *words], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + BUILDKIT_SECONDS
        while not socket.exists():
            if daemon.poll() is not None or time.monotonic() > end:
                raise RuntimeError("buildkitd did not start")
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        daemon.terminate()
        daemon.wait()


def _beside(name: str, ours: Cost, theirs: Cost) -> dict[str, object]:
    if ours.code or theirs.code:
        raise RuntimeError(f"a run failed: lian {ours.code}, the other tool {theirs.code}")
    note = f"the other tool: {theirs.seconds / IMAGES * 1000:.0f} ms for each image"
    return {**row(name, IMAGES, ours, theirs), "note": note}


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(c.seconds for c in costs), max(c.peak_rss_mib for c in costs), max(c.code for c in costs)
    )
