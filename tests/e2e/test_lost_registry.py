"""A registry that dies in the middle of a pass: what it costs is one build, and it is told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import BASE, SECONDS, Bench, directive, leftovers, until
from tests.e2e.test_interrupted import NOTHING
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.buildkit

SLOW = ("one", "three", "two")


@pytest.mark.slow
def test_no_more_is_built_for_it(tmp_path: Path) -> None:
    with run_registry(tmp_path / "server") as server:
        bench = Bench.new(tmp_path, server.url)
        bench.busybox("base")
        text = {"base": 'image = "i/base", context.path = "base"'}
        files = {"base/Dockerfile": BASE}
        for name in SLOW:
            text[name] = f'image = "i/{name}", context.path = "{name}", contexts = {{ base = {{ artifact = "base" }} }}'
            files[f"{name}/Dockerfile"] = f"FROM base\nRUN echo {name} waits; sleep 2\n"
        bench.commit({"directives/i.ncl": directive("i", text), **files})
        process = bench.start("reconcile", "--once", "--jobs", "1")
        until(lambda: any("waits" in log.read_text() for log in bench.cache.glob("logs/*/i_*")))
        server.stop()
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 3, out + err
    assert sum(line.endswith("  started") and "base" not in line for line in err.splitlines()) == 1, err
    assert out.count("error[registry-unreachable]") == 1
    assert all(f"failed   i/{name}" in out for name in SLOW)
    assert leftovers(bench.cache) == NOTHING
