"""A desired repo of N artifacts, and a registry that already holds all of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_MANIFEST, Manifest
from reconciler.model.reference import Repository
from reconciler.providers.registry.router import Connections, RoutedPublisher

if TYPE_CHECKING:
    from collections.abc import Sequence

PER_FILE = 10
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}'
LIAN = str(Path(sys.executable).parent / "lian")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where it lies; `heads` are the look-ups that a pass needs."""

    repo: Path
    registry: str
    cache: Path
    heads: Path

    @property
    def environment(self) -> dict[str, str]:
        """For commands on this fleet."""
        return {
            **os.environ,
            "LIAN_CACHE": str(self.cache),
            "LIAN_REGISTRY": self.registry,
            "LIAN_REPO": str(self.repo),
        }


def write_repo(repo: Path, n: int) -> None:
    """Commit n artifacts, ten to a directive, each with a context of three files."""
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


def fill(folder: Path, n: int, registry: str) -> Fleet:
    """Write the repo, ask lian for every key, and put an image under each content tag and tag."""
    repo, cache = folder / "repo", folder / "cache"
    repo.mkdir(parents=True)
    write_repo(repo, n)
    fleet = Fleet(repo, registry, cache, folder / "heads.json")
    plan = subprocess.run([LIAN, "diff", "--json"], env=fleet.environment, capture_output=True, check=False)
    if plan.returncode != 2:
        raise RuntimeError(plan.stderr.decode())
    changes = json.loads(plan.stdout)["changes"]
    wanted = [(c["image"], tag) for c in changes for tag in (f"lian-{c['key'][:40]}", *c["tags"])]
    asyncio.run(_publish(changes))
    fleet.heads.write_text(json.dumps([["bench/" + image.rpartition("/")[2], tag] for image, tag in wanted]))
    return fleet


async def _publish(changes: Sequence[dict[str, object]]) -> None:
    gate = asyncio.Semaphore(8)
    hosts = {str(change["image"]).partition("/bench/")[0] for change in changes}
    async with Connections() as connections:
        registry = RoutedPublisher(connections, hosts)

        async def one(change: dict[str, object]) -> None:
            host, _, path = str(change["image"]).partition("/bench/")
            repository = Repository(host, f"bench/{path}")
            key = str(change["key"])
            config = CONFIG[:-1] + f',"created":"{key}"'.encode() + b"}"
            document = {
                "schemaVersion": 2,
                "mediaType": IMAGE_MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": str(Digest.of(config)),
                    "size": len(config),
                },
                "layers": [],
            }
            manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
            tags = [f"lian-{key[:40]}", *change["tags"]]  # type: ignore[misc]
            async with gate:
                await registry.publish(repository, manifest, tags=tags, blobs={Digest.of(config): config})

        await asyncio.gather(*(one(change) for change in changes))
