"""Sizes for real: a step that is killed at a small tier and passes at the next, and what is learned from it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.providers.compute.mounts import read_mounts
from reconciler.providers.compute.processes import kill_and_wait, with_argument
from tests.e2e.bench import BASE, Bench, directive, leftovers, until
from tests.needs import not_run
from tests.schemas.evaluation import validator
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from pathlib import Path

HUNGRY = BASE + "RUN dd if=/dev/zero of=/dev/null bs=150M count=1 2>/dev/null && echo fed > /fed\n"
"""Its last step needs a block of 150 MiB at once."""
LIAN = """{
  fleet = "acme",
  tiers = {
    snack = { cpu = 1, memory_gb = 0.06 },
    meal = { cpu = 1, memory_gb = 0.4 },
    feast = { cpu = 2, memory_gb = 1 },
  },
  compute = { provider = 'Local, tiers = %s },
}
"""
API = 'image = "shop/api", context.path = "images/api"'


def shop(folder: Path, api: str = API, tiers: str = '["snack", "meal", "feast"]', **files: str) -> Bench:
    bench = Bench.new(folder / "bench", f"oci-layout:{folder / 'layout'}")
    bench.busybox("images/api")
    said = {"lian.ncl": LIAN % tiers, "directives/shop.ncl": directive("shop", {"api": api})}
    bench.commit({**said, "images/api/Dockerfile": HUNGRY, **files})
    return bench


@pytest.mark.buildkit
def test_a_step_that_is_killed_at_a_small_tier_passes_at_the_next(tmp_path: Path) -> None:
    bench = shop(tmp_path, f'{API}, runner.tier = "snack"')
    ran = bench.lian("reconcile", "--once")
    killed, fed = (next((bench.cache / "logs").glob(f"*/shop_api_linux-amd64{try_}.log")) for try_ in ("", "_try2"))
    assert "did not complete successfully: exit code: 137" in killed.read_text(), "by SIGKILL, of the kernel"
    assert "ERROR" not in fed.read_text()
    assert "ran out of memory; the limit was 0.06 GiB" in ran.err
    assert "again on a larger runner, meal (1 cpu, 0.4 GiB)" in ran.err
    assert ran.out.startswith("built    shop/api")
    assert "tried: the step [3/3] RUN dd" in ran.out
    told = bench.lian("why", "shop/api", "--json").json
    validator("story").validate(told)
    record = told["record"]
    assert [(t["problem"]["code"], t["tier"]["name"], t["then"]) for t in record["tries"]] == [
        ("build-out-of-memory", "snack", "larger-runner")
    ]
    assert str(bench.cache) not in json.dumps(record["tries"]), "no path of this machine"
    (run,) = record["runs"]
    assert (run["tier"]["name"], run["alone"], run["steps"], run["hits"]) == ("meal", True, 3, 0)
    assert 150 << 20 < run["peak_memory"] < 400 << 20
    assert 0 < run["cpu_seconds"] < 60
    assert run["sent"] > (bench.repo / "images/api/rootfs/bin/busybox").stat().st_size
    story = " ".join(bench.lian("why", "shop/api").out.split())
    assert "tried the step [3/3] RUN dd" in story
    assert "0 of 3 steps cached, meal (1 cpu, 0.4 GiB)" in story
    assert leftovers(bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}


@pytest.mark.buildkit
@pytest.mark.parametrize("way", ["memory is not mounted", "read-only"])
def test_a_machine_that_cannot_limit_memory_says_so_and_runs_no_step(tmp_path: Path, way: str) -> None:
    """What cannot be limited is held, never built without a limit, and it is nobody's fault who wrote a Dockerfile."""
    mounts = [mount for mount in read_mounts() if mount.kind in {"cgroup", "cgroup2"}]
    if way == "read-only":
        change = "; ".join(f"mount -o remount,bind,ro {mount.point}" for mount in mounts)
    elif memory := next((mount for mount in mounts if "memory" in mount.options), None):
        change = f"umount {memory.point}"
    else:
        not_run("memory has no mount of its own with cgroups v2", optional=True)
    bench = shop(tmp_path)
    bench.within = ("unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", f'{change}; exec "$@"', "sh")
    document = bench.lian("reconcile", "--once", "--json", code=4).json
    (result,) = document["results"]
    assert (result["status"], result["problem"]["code"], result["tries"]) == ("held", "limits-unavailable", [])
    assert "cannot limit what a step uses" in result["problem"]["message"]
    assert "cgroup" in result["problem"]["cause"] and "lian doctor" in result["problem"]["hint"]
    assert "cgroups" in bench.lian("doctor", code=1).out.partition("what to do")[2]
    assert leftovers(bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}


@pytest.mark.buildkit
def test_at_the_top_of_the_ladder_it_fails_and_says_so(tmp_path: Path) -> None:
    bench = shop(tmp_path, tiers='["snack"]')
    result = bench.reconcile(code=3)["shop/api"]
    assert (result["status"], result["tries"], result["tier"]["name"]) == ("failed", [], "snack")
    assert "snack is the largest tier of the ladder" in result["problem"]["message"]


@pytest.mark.buildkit
def test_a_second_time_is_a_failure_that_names_both(tmp_path: Path) -> None:
    tiny = LIAN.replace("0.4", "0.07") % '["snack", "meal", "feast"]'
    bench = shop(tmp_path, f'{API}, runner.tier = "snack"', **{"lian.ncl": tiny})
    document = bench.lian("reconcile", "--once", "--json", code=3).json
    validator("outcome").validate(document)
    (result,) = document["results"]
    assert [t["tier"]["name"] for t in result["tries"]] == ["snack"]
    assert "a build gets a larger runner once" in result["problem"]["message"]


@pytest.mark.buildkit
def test_a_builder_that_is_killed_in_the_middle_is_replaced(tmp_path: Path) -> None:
    mark = f"2.{os.getpid()}"
    bench = shop(tmp_path, **{"images/api/Dockerfile": BASE + f"RUN sleep {mark}\n"})
    process = bench.start("reconcile", "--once", "--json")
    until(lambda: with_argument(mark))
    assert all(leftovers(bench.cache)[what] for what in ("processes", "cgroups", "leases")), "while it runs it is seen"
    (config,) = (bench.cache / "leases").glob("*/buildkitd.toml")
    kill_and_wait(with_argument(str(config)), 10)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "the builder went away while it was building [builder-lost]" in err
    assert "again on a new runner" in err
    (result,) = json.loads(out)["results"]
    assert [(t["problem"]["code"], t["then"]) for t in result["tries"]] == [("builder-lost", "new-runner")]
    assert leftovers(bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}


@pytest.mark.buildkit
def test_what_a_run_taught_becomes_a_commit(tmp_path: Path) -> None:
    """A spec that was too small; the patch, applied by git and committed; the size that follows; nothing rebuilt."""
    spec = {"images/api/.build-spec.ncl": "# what it was thought to need\n{\n  memory_gb = 0.06,\n}\n"}
    bench = shop(tmp_path, **spec)
    assert bench.reconcile()["shop/api"]["tries"]
    document = bench.lian("sizing", "explain", "shop/api", "--json").json
    validator("sizing").validate(document)
    assert (document["memory_gb"]["rule"], document["memory_gb"]["given"]) == ("build-spec", 0.06)
    assert (document["cpu"]["rule"], document["cpu"]["measure"]["runs"]) == ("earlier-runs", 1)
    suggested = bench.lian("sizing", "suggest")
    assert "→ feast (2 cpu, 1 GiB), by 1 run" in " ".join(suggested.err.split())
    subprocess.run(["git", "apply", "-"], input=suggested.out, text=True, cwd=bench.repo, check=True)
    written = (bench.repo / "images/api/.build-spec.ncl").read_text()
    assert written == "# what it was thought to need\n{\n  cpu = 2,\n  memory_gb = 1,\n}\n"
    bench.commit()
    assert bench.plan(code=0)["shop/api"]["action"] == "none", "a size rebuilds nothing"
    told = bench.lian("sizing", "explain", "shop/api").out
    assert told.startswith("shop/api  feast (2 cpu, 1 GiB), 30 min\n")
    assert "memory  1 GiB  images/api/.build-spec.ncl says so" in told
    assert bench.lian("sizing", "suggest").out == ""
    bench.commit({"images/api/more": "1"})
    result = bench.reconcile()["shop/api"]
    assert (result["tier"]["name"], result["tries"]) == ("feast", [])
    assert len(bench.lian("why", "shop/api", "--json").json["record"]["runs"]) == 2


@pytest.mark.buildkit
def test_the_outcome_tells_what_was_tried(tmp_path: Path) -> None:
    bench = shop(tmp_path, f'{API}, runner.tier = "snack"')
    document = bench.lian("reconcile", "--once", "--json").json
    validator("outcome").validate(document)
    (result,) = document["results"]
    assert (result["status"], result["tier"]["name"]) == ("done", "meal")
    (tried,) = result["tries"]
    assert (tried["problem"]["code"], tried["tier"]["name"], tried["then"]) == (
        "build-out-of-memory",
        "snack",
        "larger-runner",
    )
    assert tried["seconds"] > 0


def test_what_a_cloud_would_cost(tmp_path: Path) -> None:
    """Its provider is not there yet, so it is held; its sizes and prices are known all the same."""
    bench = Bench.new(tmp_path / "bench", f"oci-layout:{tmp_path / 'layout'}")
    files = {"directives/shop.ncl": directive("shop", {"api": f'{API}, language = "rust"'})}
    bench.commit({**files, "lian.ncl": "{ compute.provider = 'Hcloud }", "images/api/Dockerfile": "FROM scratch\n"})
    document = bench.lian("sizing", "explain", "shop/api", "--json", code=4).json
    validator("sizing").validate(document)
    assert document["tier"] == {"name": "cx32", "cpu": 4, "memory_gb": 8, "time_budget": 60}
    assert (document["machine"]["hourly"], document["currency"]) == (0.0109, "EUR")
    told = bench.lian("sizing", "explain", "shop/api", code=4).out
    assert "price 0.0109 EUR an hour" in told
    assert "cx22 2/4 → [cx32 4/8] → cx42 8/16 → cx52 16/32" in told


def test_a_bad_spec_costs_its_artifact_alone(tmp_path: Path) -> None:
    bench = shop(tmp_path)
    bench.commit({"images/api/.build-spec.ncl": "{\n  cpu = 2,\n  memory = 8,\n}\n"})
    ran = bench.lian("validate", code=1)
    assert "images/api/.build-spec.ncl:3:3" in ran.out + ran.err
    assert bench.plan(code=1)["shop/api"]["action"] == "hold"
    assert "images/api/.build-spec.ncl:3:3" in bench.lian("sizing", "explain", "shop/api", code=1).out


def test_sizes_of_what_is_not_there(tmp_path: Path) -> None:
    bench = shop(tmp_path)
    assert "did you mean shop/api?" in bench.lian("sizing", "explain", "shop/apy", code=1).err
    assert "no artifact matches" in bench.lian("sizing", "suggest", "--only", "web/*", code=1).err
    assert bench.lian("sizing", "suggest").out == ""


SWALLOWED = BASE + "RUN dd if=/dev/zero bs=150M count=1 2>/dev/null | wc -c > /count\n"
"""Its last step ends well without what it should count."""


@pytest.mark.buildkit
@pytest.mark.parametrize("registry", [None, "server"], ids=["layout", "docker-registry"])
def test_a_step_that_goes_on_without_what_was_killed_in_it_is_done_again(registry: str | None, tmp_path: Path) -> None:
    """Neither its image nor its cache is given to anybody, not by the next pass either."""
    bench = shop(tmp_path, f'{API}, runner.tier = "snack"', tiers='["snack"]', **{"images/api/Dockerfile": SWALLOWED})
    with run_registry(tmp_path / "server") if registry else contextlib.nullcontext() as server:
        where = ("--registry", server.url) if server else ()
        for _ in range(2):
            (result,) = bench.lian("reconcile", "--once", "--json", *where, code=3).json["results"]
            assert (result["status"], result["problem"]["code"]) == ("failed", "build-out-of-memory")
            assert "the kernel ended 1 process of theirs for want of memory" in result["problem"]["message"]
        bench.commit({"lian.ncl": LIAN % '["snack", "meal"]'})
        ran = bench.lian("reconcile", "--once", *where)
        assert "again on a larger runner, meal (1 cpu, 0.4 GiB)" in ran.err
        assert "built    shop/api" in ran.out
        bench.lian("diff", *where, code=0)
    assert leftovers(bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}
