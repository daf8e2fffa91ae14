"""`Registry.heads` against the bare look-ups, without the rest of a pass: on disk and on docker-registry.

Both sides run in processes of their own and time only the asking, connections included; start-up is left out.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bare_heads import on_disk, over_http
from benchmarks.measure import Cost, row
from reconciler.model.manifest import EMPTY_BLOB, EMPTY_CONFIG, IMAGE_MANIFEST, Descriptor, Manifest
from reconciler.model.observed import Found
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.router import Connections, RoutedPublisher, RoutedRegistry
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (10, 1_000, 10_000)
SERVER_REPOSITORIES = 1_000
"""Filling a server is slow: beyond this many repositories it gets more tags instead, which cost a look-up the same."""
_CONFIG = Descriptor.of(EMPTY_CONFIG, EMPTY_BLOB)


def rows() -> list[dict[str, object]]:
    """One row for each size and registry."""
    found = []
    for n in SIZES:
        with tempfile.TemporaryDirectory(prefix="lian-bench-") as scratch:
            folder = Path(scratch)
            wanted = folder / "wanted.json"
            wanted.write_text(json.dumps(_fill_disk(folder / "layout", n)))
            found.append(_row("heads, oci-layout / bare look-ups", n, str(folder / "layout"), wanted))
            with run_registry(folder / "server") as server:
                wanted.write_text(json.dumps(asyncio.run(_fill_server(server.host, n))))
                found.append(_row("heads, docker-registry / bare HEADs", n, server.host, wanted))
    return found


def _row(name: str, n: int, where: str, wanted: Path) -> dict[str, object]:
    runs = 7 if n <= 10 else 5 if n <= 1_000 else 2
    pairs = [(_timed("heads", where, wanted), _timed("bare", where, wanted)) for _ in range(runs)]
    return row(name, n, _middle([a for a, _ in pairs]), _middle([b for _, b in pairs]))


def _timed(side: str, where: str, wanted: Path) -> Cost:
    command = [sys.executable, "-m", "benchmarks.observation", side, where, str(wanted)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return Cost(told["seconds"], told["peak_rss_mib"], 0)


def _middle(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(c.seconds for c in costs), max(c.peak_rss_mib for c in costs), 0)


def _manifest(number: int) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": _CONFIG.to_json(),
        "layers": [],
        "annotations": {"number": str(number)},
    }
    return Manifest(IMAGE_MANIFEST, json.dumps(document).encode())


def _fill_disk(root: Path, n: int) -> list[list[str]]:
    """Plain writes: the publisher would make each of them durable."""
    for number in range(n):
        manifest, folder = _manifest(number), root / f"bench/a{number}"
        (folder / "blobs/sha256").mkdir(parents=True)
        for digest, data in ((manifest.digest, manifest.data), (_CONFIG.digest, EMPTY_BLOB)):
            (folder / "blobs/sha256" / digest.hex).write_bytes(data)
        tagged = Descriptor.of(IMAGE_MANIFEST, manifest.data).to_json()
        tagged["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return [[f"bench/a{number}", "latest"] for number in range(n)]


async def _fill_server(host: str, n: int) -> list[list[str]]:
    repositories = min(n, SERVER_REPOSITORIES)
    tags = [f"t{number}" for number in range(n // repositories)]
    gate = asyncio.Semaphore(4)
    async with Connections(writable={host}) as connections:
        publisher = RoutedPublisher(connections)

        async def one(number: int) -> None:
            repository = Repository(host, f"bench/a{number}")
            async with gate:
                await publisher.publish(repository, _manifest(number), tags=tags, blobs={_CONFIG.digest: EMPTY_BLOB})

        await asyncio.gather(*(one(number) for number in range(repositories)))
    return [[f"bench/a{number}", tag] for number in range(repositories) for tag in tags]


async def _heads(where: str, wanted: list[list[str]]) -> None:
    host = f"oci-layout:{where}" if Path(where).is_dir() else where
    references = [Reference(Repository(host, path), tag) for path, tag in wanted]
    async with Connections() as connections:
        seen = await RoutedRegistry(connections).heads(references)
    if not all(isinstance(sighting, Found) for sighting in seen.values()):
        raise SystemExit("not everything was found")


def main() -> None:
    """One side, as its own process: `heads|bare HOST|FOLDER FILE`; seconds and peak memory as JSON."""
    side, where, file = sys.argv[1:]
    wanted = json.loads(Path(file).read_bytes())
    start = time.perf_counter()
    if side == "heads":
        asyncio.run(_heads(where, wanted))
    elif Path(where).is_dir():
        on_disk(Path(where), wanted)
    else:
        over_http(where, wanted)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_rss_mib": peak}))


if __name__ == "__main__":
    main()
