"""The baseline of a pass: nothing but the look-ups it needs. `python -m benchmarks.bare_heads HOST|FOLDER FILE`.

FILE holds a JSON list of [repository, tag]. Over HTTP: HEAD requests, as many clients of one connection each as was
found fastest; on disk: the tag looked up in each layout's index.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CLIENTS = 8
ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


def on_disk(root: Path, wanted: list[list[str]]) -> None:
    """Read each repository's index once, and find each tag in it."""
    tags: dict[str, set[str]] = {}
    for repository, tag in wanted:
        if repository not in tags:
            index = json.loads((root / repository / "index.json").read_bytes())
            tags[repository] = {
                m.get("annotations", {}).get("org.opencontainers.image.ref.name") for m in index["manifests"]
            }
        if tag not in tags[repository]:
            raise SystemExit(f"{repository}:{tag} is not there")


def over_http(host: str, wanted: list[list[str]]) -> None:
    """HEAD every tag."""
    import asyncio

    import httpx

    async def lane(mine: list[list[str]]) -> None:
        async with httpx.AsyncClient(base_url=f"http://{host}", headers={"Accept": ACCEPT}) as client:
            for repository, tag in mine:
                (await client.head(f"/v2/{repository}/manifests/{tag}")).raise_for_status()

    async def all_lanes() -> None:
        await asyncio.gather(*(lane(wanted[i::CLIENTS]) for i in range(CLIENTS)))

    asyncio.run(all_lanes())


def main() -> None:
    """See the module."""
    where, file = sys.argv[1:]
    wanted = json.loads(Path(file).read_bytes())
    if Path(where).is_dir():
        on_disk(Path(where), wanted)
    else:
        over_http(where, wanted)


if __name__ == "__main__":
    main()
