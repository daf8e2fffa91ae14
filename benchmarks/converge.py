"""The whole command, `lian reconcile --once` from an empty cache, against the same builds by hand in a shell.

By hand means: start buildkitd, wait for it, run buildctl for each image, two at a time as lian does on two cores, push
each under two tags to the same docker-registry, end the daemon and remove its state. lian also reads git, evaluates
the directives, asks the registry, reads back, and attaches a record to each image.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.fleet import LIAN
from benchmarks.measure import Cost, cost, row
from reconciler.providers.builder.binaries import find_part
from tests.servers.registry import run_registry

COUNTS = (1, 20)
ROUNDS = 5
JOBS = 2
DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
COPY data /data
RUN i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; cat /data /data > /twice
"""
BY_HAND = """set -e; socket="unix://$3/socket"
cd "$1"; host=$2; state=$3
buildkitd --root "$state/root" --addr "$socket" --containerd-worker=false --oci-worker-net=host 2>/dev/null &
daemon=$!
until [ -S "$state/socket" ]; do sleep 0.01; done
until buildctl --addr "$socket" debug info >/dev/null 2>&1; do sleep 0.01; done
build() {
  buildctl --addr "$socket" build --frontend dockerfile.v0 --local context="images/$1" \\
    --local dockerfile="images/$1" --opt build-arg:SOURCE_DATE_EPOCH=0 --progress plain \\
    --output "type=image,\\"name=$host/hand/$1:latest,$host/hand/$1:$1\\",push=true,$options" 2>/dev/null
}
options=oci-mediatypes=true,rewrite-timestamp=true
export -f build; export socket host options
ls images | xargs -P 2 -I{} bash -c 'build {}'
kill $daemon; wait $daemon || true
rm -rf "$state"
"""


def rows() -> list[dict[str, object]]:
    """One row for each count; both sides in turn, each from nothing."""
    found = []
    for n in COUNTS:
        with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder:
            name = "reconcile --once, empty cache / the builds by hand"
            found.append(row(name, n, *_measured(Path(folder), n)))
    return found


def _measured(folder: Path, n: int) -> tuple[Cost, Cost]:
    repo = folder / "repo"
    _write_repo(repo, n)
    programs = {str(path.parent) for part in ("buildkitd", "buildctl") if (path := find_part(part))}
    environment = {**os.environ, "PATH": ":".join([*programs, os.environ["PATH"]])}
    ours, theirs = [], []
    for number in range(ROUNDS):
        with run_registry(folder / f"server-{number}") as server:
            cache, state = folder / f"cache-{number}", folder / f"state-{number}"
            state.mkdir()
            lian = [LIAN, "reconcile", "--once", "--jobs", str(JOBS), "--repo", str(repo), "--registry", server.url]
            ours.append(cost([*lian, "--cache", str(cache)], env=environment))
            theirs.append(cost(["bash", "-c", BY_HAND, "by-hand", str(repo), server.host, str(state)], env=environment))
            if ours[-1].code or theirs[-1].code:
                raise RuntimeError(f"a run failed: lian {ours[-1].code}, by hand {theirs[-1].code}")
            shutil.rmtree(cache)
    return _median(ours), _median(theirs)


def _median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.seconds for c in costs), max(c.peak_rss_mib for c in costs), 0)


def _write_repo(repo: Path, n: int) -> None:
    lines = ['let lian = import "defaults/build_directives.ncl" in', 'lian.make_build_directives { workspace = "w",']
    lines.append("  artifacts = {")
    for number in range(n):
        context = repo / "images" / f"{number:02}"
        context.mkdir(parents=True)
        shutil.copy("/bin/busybox", context / "busybox")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "data").write_text(f"{number:08}\n")
        where = f'image = "lian/{number:02}", context.path = "images/{number:02}"'
        lines.append(f"    a{number:02} = lian.make_artifact {{ {where} }},")
    (repo / "directives").mkdir()
    (repo / "directives" / "w.ncl").write_text("\n".join([*lines, "  },", "}", ""]))
    git = ["git", "-C", str(repo), "-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "bench"]):
        subprocess.run([*git, *command], check=True)
