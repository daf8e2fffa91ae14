"""What is wrong with a base image is told at the line and column of the Dockerfile that name it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.bench import Bench, directive
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from pathlib import Path


def test_a_base_that_is_missing_or_cannot_be_read_is_told_at_its_from(tmp_path: Path) -> None:
    with run_registry(tmp_path / "registry") as server:
        bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'images'}")
        host = server.url.removeprefix("http://")
        bench.commit(
            {
                "a/Dockerfile": f"# a comment\nFROM {host}/shop/none:1 AS base\n",
                "b/Dockerfile": "ARG FROM=127.0.0.1:1/x:1\nFROM scratch\nCOPY --from=127.0.0.1:1/x:1 / /\n",
                "directives/shop.ncl": directive(
                    "shop", {n: f'image = "shop/{n}", context.path = "{n}"' for n in "ab"}
                ),
            }
        )
        ran = bench.lian("diff", "--json", code=4)
    told = {problem["artifact"]: problem for change in json.loads(ran.out)["changes"] for problem in change["holds"]}
    places = {name: [problem[part] for part in ("file", "line", "column")] for name, problem in told.items()}
    assert places == {"shop/a": ["a/Dockerfile", 2, 6], "shop/b": ["b/Dockerfile", 3, 13]}
