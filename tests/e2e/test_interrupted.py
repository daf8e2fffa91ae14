"""What is rented is returned: on Ctrl-C, on SIGTERM, and by the next pass after kill -9."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import BASE, Bench, directive, interrupt, leftovers, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.buildkit

NOTHING: dict[str, list[str]] = {"processes": [], "mounts": [], "cgroups": [], "leases": []}


@pytest.fixture
def slow(tmp_path: Path) -> Bench:
    """A base that builds at once, and an image whose build waits for ever."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.busybox("base")
    text = {
        "base": 'image = "i/base", context.path = "base"',
        "slow": 'image = "i/slow", context.path = "slow", contexts = { base = { artifact = "base" } }',
    }
    bench.commit(
        {
            "directives/i.ncl": directive("i", text),
            "base/Dockerfile": BASE,
            "slow/Dockerfile": "FROM base\nRUN echo waiting; sleep 10000\n",
        }
    )
    return bench


def in_the_middle(bench: Bench) -> subprocess.Popen[str]:
    """A pass whose slow step is running."""
    process = bench.start("reconcile", "--once")
    until(
        lambda: (
            process.poll() is not None or any("waiting" in p.read_text() for p in bench.cache.glob("logs/*/i_slow*"))
        )
    )
    assert process.poll() is None
    return process


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_returns_everything(slow: Bench, sign: signal.Signals) -> None:
    """The pass ends with 130 and nothing stays behind; what was done before is kept."""
    ran = interrupt(in_the_middle(slow), sign)
    assert ran.code == 130, ran.err
    assert "interrupted" in ran.err
    assert leftovers(slow.cache) == NOTHING
    assert slow.plan(2)["i/base"]["action"] == "none"


def test_kill_9_is_swept_by_the_next_pass(slow: Bench) -> None:
    """The kernel ends the processes with lian; the next pass removes the rest, and converges."""
    process = in_the_middle(slow)
    process.kill()
    process.communicate()
    until(lambda: not leftovers(slow.cache)["processes"])
    assert leftovers(slow.cache)["leases"]
    slow.commit({"slow/Dockerfile": "FROM base\nRUN echo quick\n"})
    ran = slow.lian("reconcile", "--once")
    assert "swept" in ran.err
    assert leftovers(slow.cache) == NOTHING
    assert {change["action"] for change in slow.plan(0).values()} == {"none"}


def test_what_is_rented_is_listed_and_swept(slow: Bench) -> None:
    """While a pass builds, when it is dead, and when all has gone back."""
    process = in_the_middle(slow)
    try:
        (runner,) = slow.document("runners", "list")["runners"]
        assert (runner["keeper"], runner["state"], runner["provider"]) == ("alive", "ready", "Local")
        assert "i/slow" in runner["builds"]
        assert runner["created"] < time.time() < runner["deadline"]
        assert slow.document("runners", "sweep")["swept"] == []
    finally:
        process.kill()
        process.communicate()
    until(lambda: not leftovers(slow.cache)["processes"])
    assert leftovers(slow.cache)["cgroups"], "what a killed pass has left is seen by this test"
    ran = slow.lian("runners", "list")
    assert "ended" in ran.out
    assert "its pass is gone" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    swept = slow.document("runners", "sweep")
    assert (swept["swept"], swept["runners"]) == ([runner["lease"]], [])
    assert leftovers(slow.cache) == NOTHING


def test_a_time_budget_ends_a_build_that_hangs(slow: Bench) -> None:
    """The build fails as `build-timeout`; the base is built, and nothing stays behind."""
    results = slow.reconcile("--build-timeout", "3s", code=3)
    assert results["i/slow"]["problem"]["code"] == "build-timeout"
    assert results["i/base"]["status"] == "done"
    assert leftovers(slow.cache) == NOTHING


def test_watch_follows_commits_and_stops_gracefully(tmp_path: Path) -> None:
    """A commit starts a pass; SIGTERM between passes ends with 0."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.commit(
        {
            "directives/w.ncl": directive("w", {"files": 'image = "w/files", context.path = "files"'}),
            "files/Dockerfile": "FROM scratch\nCOPY a /\n",
            "files/a": "1",
        }
    )
    said = tmp_path / "said"
    with said.open("w") as out:
        process = bench.start("watch", "--interval", "1h", out=out)
    try:
        until(lambda: said.read_text().count("1 built") == 1)
        bench.commit({"files/a": "2"})
        until(lambda: said.read_text().count("1 built") == 2)
    finally:
        ran = interrupt(process, signal.SIGTERM)
    assert ran.code == 0, ran.err
    assert bench.lian("diff", code=None).code == 0
    assert leftovers(bench.cache) == NOTHING
