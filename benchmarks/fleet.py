"""A desired repo of N artifacts, and registries that already hold all of them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.stock import FLEET, push, pushed, repository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.stock import Put

PER_FILE = 10
HANDS = 4
"""Connections that push at a time."""
LIAN = str(Path(sys.executable).parent / "lian")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where it lies. `changes` are what a plan says on an empty registry; `heads` is a file with the look-ups that a
    pass needs: a JSON list of [repository, tag]."""

    repo: Path
    cache: Path
    heads: Path
    changes: Sequence[Mapping[str, Any]]

    @classmethod
    def make(cls, folder: Path, n: int) -> Fleet:
        """Write the repo, and ask lian for every key. They do not depend on the registry."""
        repo, cache, heads = folder / "repo", folder / "cache", folder / "heads.json"
        repo.mkdir(parents=True)
        write_repo(repo, n)
        empty = environment(repo, cache, f"oci-layout:{folder / 'empty'}")
        plan = subprocess.run([LIAN, "diff", "--json"], env=empty, capture_output=True, check=False)
        if plan.returncode != 2:
            raise RuntimeError(plan.stderr.decode())
        changes = json.loads(plan.stdout)["changes"]
        wanted = [(repository(c), tag) for c in changes for tag in (f"lian-{c['key'][:40]}", *c["tags"])]
        heads.write_text(json.dumps(wanted))
        return cls(repo, cache, heads, changes)

    def fill(self, storage: Path, put: Callable[[Path, str, Sequence[Put]], None]) -> None:
        """Have a registry's storage hold all images; `put` lays down one repository."""
        for change in self.changes:
            put(storage, repository(change), pushed(change))

    def push(self, host: str) -> None:
        """Have a running registry hold all images."""
        with ThreadPoolExecutor(HANDS) as hands:
            for done in [hands.submit(self._push, host, hand) for hand in range(HANDS)]:
                done.result()

    def _push(self, host: str, hand: int) -> None:
        connection = http.client.HTTPConnection(host, timeout=60)
        for change in self.changes[hand::HANDS]:
            push(connection, repository(change), pushed(change))
        connection.close()

    def environment(self, registry: str) -> dict[str, str]:
        """For commands on this fleet and a registry that holds it."""
        return environment(self.repo, self.cache, registry)


def environment(repo: Path, cache: Path, registry: str) -> dict[str, str]:
    """For commands of lian."""
    return {**os.environ, "LIAN_CACHE": str(cache), "LIAN_REGISTRY": registry, "LIAN_REPO": str(repo)}


def write_repo(repo: Path, n: int) -> None:
    """Commit n artifacts, ten to a directive, each with a context of three files."""
    (repo / "lian.ncl").write_text(f'{{ fleet = "{FLEET}" }}\n')
    for first in range(0, n, PER_FILE):
        lines = ['let lian = import "defaults/build_directives.ncl" in', "lian.make_build_directives {"]
        lines.append(f'  workspace = "w{first // PER_FILE:05}",\n  artifacts = {{')
        for number in range(first, min(first + PER_FILE, n)):
            lines.append(
                f'    a{number:05} = lian.make_artifact {{ image = "bench/a{number:05}", '
                f'context.path = "images/{number:05}", args = {{ VERSION = "{number}" }} }},'
            )
            folder = repo / "images" / f"{number:05}"
            folder.mkdir(parents=True)
            (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY app /app\nLABEL number={number}\n")
            (folder / "app").write_text(f"app {number}\n")
            (folder / "notes.md").write_text("shared\n")
        lines.append("  },\n}\n")
        file = repo / "directives" / f"w{first // PER_FILE:05}.ncl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(lines))
    git = ["git", "-C", str(repo), "-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "gc.auto=0"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "bench"]):
        subprocess.run([*git, *command], check=True)
