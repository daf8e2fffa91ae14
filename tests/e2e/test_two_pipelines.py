"""Two pipelines at once, as two processes with clones and caches of their own, on a real registry."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tests.e2e.bench import BASE, Bench, Ran, directive, leftovers, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.servers.running import RegistryServer

pytestmark = pytest.mark.buildkit

ON_BASE = 'context.path = "{0}", image = "{1}/{0}", contexts = {{ base = {{ artifact = "base" }} }}'
PLAIN = 'context.path = "{0}", image = "{1}/{0}"'
RANDOM = "FROM base\nCOPY text /\nRUN /bin/head -c 16 /dev/urandom > /random\n"
COPIED = "FROM scratch\nCOPY text /\n"


def named(server: RegistryServer, repository: str, tag: str) -> str:
    """The digest that a tag points at."""
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
    request = Request(f"{server.url}/v2/{repository}/manifests/{tag}", method="HEAD", headers={"Accept": kinds})
    with urlopen(request) as answer:
        return str(answer.headers["Docker-Content-Digest"])


def tags(server: RegistryServer, repository: str) -> list[str]:
    """All tags of a repository."""
    with urlopen(f"{server.url}/v2/{repository}/tags/list") as answer:
        return list(json.load(answer)["tags"])


def end(process: subprocess.Popen[str]) -> Ran:
    """Wait for it."""
    out, err = process.communicate(timeout=300)
    return Ran(process.returncode, out, err)


def results(ran: Ran) -> dict[str, Any]:
    return {result["artifact"]: result for result in ran.json["results"]}


def test_two_at_the_same_commit_with_ten_artifacts(tmp_path: Path, registry_server: RegistryServer) -> None:
    """Four of the images come out different in each build: both pipelines end with the same one all the same."""
    one = Bench.new(tmp_path / "one", registry_server.url)
    one.busybox("base")
    different, equal = [f"r{number}" for number in range(4)], [f"c{number}" for number in range(5)]
    texts = {name: ON_BASE.format(name, "p") for name in different} | {n: PLAIN.format(n, "p") for n in equal}
    files = {f"{name}/Dockerfile": RANDOM for name in different} | {f"{name}/Dockerfile": COPIED for name in equal}
    files |= {f"{name}/text": name for name in texts} | {"base/Dockerfile": BASE}
    one.commit({"directives/p.ncl": directive("p", {"base": PLAIN.format("base", "p"), **texts}), **files})
    other = one.clone(tmp_path / "other")
    processes = [bench.start("reconcile", "--once", "--json") for bench in (one, other)]
    ends = [end(process) for process in processes]
    problems = [result["problem"] for ran in ends for result in results(ran).values() if result["problem"]]
    assert [ran.code for ran in ends] == [0, 0], json.dumps(problems)
    assert all(len(results(ran)) == 10 for ran in ends)
    for name in ("base", *texts):
        content = [tag for tag in tags(registry_server, f"p/{name}") if len(tag) == len("lian-") + 40]
        assert len(content) == 1
        assert named(registry_server, f"p/{name}", "latest") == named(registry_server, f"p/{name}", content[0])
    for bench in (one, other):
        assert {change["action"] for change in bench.plan(0).values()} == {"none"}
        assert leftovers(bench.cache)["leases"] == []


def test_an_older_one_that_is_stopped_while_a_newer_one_ends(tmp_path: Path, registry_server: RegistryServer) -> None:
    """It is stopped while it builds; when it goes on it rolls nothing back, says so, and ends with code 4."""
    newer = Bench.new(tmp_path / "newer", registry_server.url)
    newer.busybox("base")
    text = {"base": PLAIN.format("base", "p"), "quick": PLAIN.format("quick", "p"), "slow": ON_BASE.format("slow", "p")}
    newer.commit(
        {
            "directives/p.ncl": directive("p", text),
            "base/Dockerfile": BASE,
            "quick/Dockerfile": COPIED,
            "quick/text": "old",
            "slow/Dockerfile": "FROM base\nRUN echo waiting; sleep 3; echo old > /text\n",
        }
    )
    older = newer.clone(tmp_path / "older")
    newest = newer.commit({"quick/text": "new", "slow/Dockerfile": "FROM base\nRUN echo new > /text\n"})

    process = older.start("reconcile", "--once", "--json")
    try:
        until(
            lambda: (
                process.poll() is not None
                or any("waiting" in log.read_text() for log in older.cache.glob("logs/*/p_slow*"))
            )
        )
        process.send_signal(signal.SIGSTOP)
        applied = newer.reconcile()
        assert {result["status"] for result in applied.values()} <= {"done", "none"}
    finally:
        process.send_signal(signal.SIGCONT)
    ran = end(process)
    assert ran.code == 4, ran.err
    told = results(ran)["p/slow"]
    assert (told["status"], told["problem"]["code"]) == ("held", "superseded")
    assert newest[:12] in told["problem"]["message"]
    for name in ("base", "quick", "slow"):
        assert named(registry_server, f"p/{name}", "latest") == applied[f"p/{name}"]["digest"]
    assert {change["action"] for change in newer.plan(0).values()} == {"none"}
    again = older.lian("reconcile", "--once", code=4)
    assert "superseded" in again.err + again.out
    assert named(registry_server, "p/slow", "latest") == applied["p/slow"]["digest"]
    assert leftovers(older.cache)["leases"] == []
