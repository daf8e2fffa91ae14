"""The baseline of a pass: nothing but the look-ups it needs. `python -m benchmarks.bare_heads HOST|FOLDER FILE`.

FILE holds a JSON list of [repository, tag]. Over HTTP: HEAD requests on as many connections as was found fastest, each
with one request at a time; on disk: the tag looked up in each layout's index.json.
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
    """HEAD every tag, with nothing between the requests and the sockets."""
    import asyncio

    async def lane(mine: list[list[str]]) -> None:
        reader, writer = await asyncio.open_connection(*host.split(":"))
        for repository, tag in mine:
            path = f"/v2/{repository}/manifests/{tag}"
            writer.write(f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {ACCEPT}\r\n\r\n".encode())
            if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{repository}:{tag} is not there")
        writer.close()

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
