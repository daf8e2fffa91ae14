"""How long a plan takes: thinking alone, of a fleet read for the first time, and of a pull request in a large one."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fleet import LIAN, environment, write_repo
from benchmarks.measure import Cost, cost, paired, row, timed
from reconciler.cli.exits import DRIFT
from reconciler.collector import paused
from reconciler.identity.resolve import Resolution
from reconciler.model.canonical import fingerprint
from reconciler.model.observed import ABSENT, Observed
from reconciler.plan.causes import grouped
from reconciler.plan.compare import make_plan
from tests.commits import Commit, artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.desired import Desired

SIZES = (100, 1_000, 10_000)
LEVELS = 10
MOST_THOUGHT = 0.5
"""Seconds for ten thousand artifacts."""
FILES, PER_FILE, TAGS, PLATFORMS = 144, 14, 5, 4
"""Of the fleet that is read cold: 2,016 artifacts, 10,080 tags, 8,064 artifact-platforms."""
MOST_MIB = 300
MOST_COLD, MOST_PREVIEW = 3.0, 1.0
"""Seconds."""


def rows() -> list[dict[str, object]]:
    """Thinking, for each size and as growth; then the two commands."""
    found = []
    taken: list[float] = []
    for n in SIZES:
        seconds, baseline = _thought(n)
        taken.append(seconds)
        target = f"<= {MOST_THOUGHT} s" if n == SIZES[-1] else ""
        note = "keys, plan and causes of what was never built; against hashing as many inputs once"
        found.append(timed(f"planning, {LEVELS} levels", n, seconds, baseline, target, note))
    growth = taken[-1] / taken[-2]
    found.append(timed("planning, growth", SIZES[-1], taken[-1], taken[-2], "<= 10", "linear", ratio=growth))
    return [*found, _cold(), *_previews(SIZES[1:])]


def _thought(n: int) -> tuple[float, float]:
    """Seconds to plan n artifacts of which each level stands on the one before, and to hash n documents as large."""
    desired = _layers(n)
    best = baseline = float("inf")
    with paused():  # as a pass does
        for _ in range(3):
            observed = Observed()
            start = time.perf_counter()
            resolution = Resolution(desired, 0.0)
            while questions := resolution.still_needed(observed):
                observed.heads |= dict.fromkeys(questions.heads, ABSENT)
                observed.applied |= dict.fromkeys((one.repository for one in questions.applied), None)
            groups = grouped(make_plan(resolution, observed))
            best = min(best, time.perf_counter() - start)
            assert groups
            inputs = [next(iter(identity.inputs.values())) for identity in resolution.identities.values()]  # type: ignore[union-attr]
            start = time.perf_counter()
            for document in inputs:
                fingerprint(document)
            baseline = min(baseline, time.perf_counter() - start)
    return best, baseline


def _layers(n: int) -> Desired:
    width = max(1, n // LEVELS)
    made = []
    for number in range(n):
        on = {"base": f"artifact:w/a{number - width}"} if number >= width else {}
        made.append(artifact(f"w/a{number}", contexts=on))
    bases = ("base" if number >= width else "scratch" for number in range(n))
    dockerfiles = {f"w/a{n}/Dockerfile": f"FROM {base}\nLABEL n={n}\n".encode() for n, base in enumerate(bases)}
    return Commit(tuple(made), _Plain(dockerfiles)).desired


class _Plain(dict[str, bytes]):
    """Files that no listing walks: reading them is not what is measured."""

    def items(self) -> Sequence[tuple[str, bytes]]:  # type: ignore[override]
        return ()


def _cold() -> dict[str, object]:
    """`validate` and `diff` of a fleet, with empty caches, against git's own listing and search of the commit."""
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as scratch:
        repo = Path(scratch) / "repo"
        repo.mkdir()
        n = _write_tagged(repo)
        both: list[Cost] = []
        for attempt in range(3):
            env = environment(repo, Path(scratch) / f"cache{attempt}", f"oci-layout:{scratch}/empty")
            valid, drift = cost([LIAN, "validate"], env=env), cost([LIAN, "diff"], env=env)
            _ended(valid, 0)
            _ended(drift, DRIFT)
            both.append(_sum(valid, drift))
        taken = min(both, key=lambda one: one.seconds)
        start = time.perf_counter()
        subprocess.run(["git", "-C", repo, "ls-tree", "-r", "HEAD"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["git", "-C", repo, "grep", "-c", "FROM", "HEAD"], check=True, stdout=subprocess.DEVNULL)
        bare = Cost(time.perf_counter() - start, 0.0, 0)
        line = row("validate + diff, cold / git ls-tree + git grep", n, taken, bare, f"<= {MOST_COLD} s", MOST_MIB)
        return {
            **line,
            "note": f"{FILES} files, {n * TAGS:,} tags, {n * PLATFORMS:,} platforms; the target is in seconds",
        }


def _ended(one: Cost, code: int) -> None:
    """What fails at once is not quick."""
    if one.code != code:
        raise RuntimeError(f"a run failed: {one.code} instead of {code}")


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(one.seconds + other.seconds, max(one.peak_rss_mib, other.peak_rss_mib), max(one.code, other.code))


def _write_tagged(repo: Path) -> int:
    platforms = json.dumps(["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386"][:PLATFORMS])
    (repo / "directives").mkdir()
    for file in range(FILES):
        lines = ['let lian = import "defaults/build_directives.ncl" in', "lian.make_build_directives {"]
        lines.append(f'  workspace = "w{file:03}",\n  artifacts = {{')
        for one in range(PER_FILE):
            name = f"a{file:03}-{one:02}"
            tags = json.dumps([f"1.{tag}" for tag in range(TAGS)])
            lines.append(
                f'    {name} = lian.make_artifact {{ image = "bench/{name}", context.path = "images/{name}", '
                f"tags = {tags}, platforms = {platforms} }},"
            )
            folder = repo / "images" / name
            folder.mkdir(parents=True)
            (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY app /app\nLABEL name={name}\n")
            (folder / "app").write_text(f"{name}\n")
        (repo / "directives" / f"w{file:03}.ncl").write_text("\n".join([*lines, "  },\n}\n"]))
    (repo / "lian.ncl").write_text('{ fleet = "bench" }\n')
    _git(repo, "init", "-q", "-b", "main")
    _git(repo, "add", "-A")
    _git(repo, "commit", "-qm", "bench")
    return FILES * PER_FILE


def _previews(sizes: Sequence[int]) -> list[dict[str, object]]:
    """A pull request that changes one file, against git's own list of what it changes."""
    found = []
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="lian-bench-") as scratch:
            repo = Path(scratch) / "repo"
            repo.mkdir()
            write_repo(repo, n)
            _git(repo, "checkout", "-qb", "topic")
            (repo / "images" / "00007" / "app").write_text("changed\n")
            _git(repo, "commit", "-qam", "change")
            env = environment(repo, Path(scratch) / "cache", f"oci-layout:{scratch}/empty")
            preview = [LIAN, "diff", "--base", "main", "--head", "topic"]
            listed = ["git", "-C", str(repo), "diff", "--name-only", "main...topic"]
            subject, baseline = paired(preview, listed, 5, env=env)
            _ended(subject, DRIFT)
            _ended(baseline, 0)
            target = f"<= {MOST_PREVIEW} s" if n == sizes[-1] else ""
            line = row("diff --base --head, one file / git diff", n, subject, baseline, target, MOST_MIB)
            found.append({**line, "note": "the target is in seconds; evaluations are cached, as in a second run"})
    return found


def _git(repo: Path, *words: str) -> None:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "gc.auto=0"]
    subprocess.run(["git", "-C", str(repo), *identity, *words], check=True)
