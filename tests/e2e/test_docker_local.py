"""A desired repo whose builds run in containers: it converges, and whatever ends a pass leaves no container."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import BASE, Bench, directive, interrupt, layout_files, layout_tags, leftovers, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.servers.dockerd import DockerServer
    from tests.servers.registry import RegistryServer

pytestmark = [pytest.mark.buildkit, pytest.mark.docker]

SETTINGS = '{ fleet = "acme", compute = { provider = \'DockerLocal } }\n'
SITE = "FROM base\nCOPY page /\nRUN cat page page > twice\n"
NOTHING: dict[str, list[str]] = {"processes": [], "mounts": [], "cgroups": [], "leases": []}


def bench_of(folder: Path, docker: DockerServer, registry: str) -> Bench:
    """A base that builds at once, and an image that stands on it."""
    bench = Bench.new(folder, registry)
    bench.env["DOCKER_HOST"] = docker.host
    bench.busybox("base")
    text = {
        "base": 'image = "i/base", context.path = "base"',
        "site": 'image = "i/site", context.path = "site", contexts = { base = { artifact = "base" } }',
    }
    bench.commit(
        {
            "lian.ncl": SETTINGS,
            "directives/i.ncl": directive("i", text),
            "base/Dockerfile": BASE,
            "site/Dockerfile": SITE,
            "site/page": "hello\n",
        }
    )
    return bench


def nothing_left(bench: Bench, docker: DockerServer) -> bool:
    """Neither in Docker nor here."""
    folders = list((bench.cache / "containers").glob("*"))
    return (docker.left(), folders, leftovers(bench.cache)) == ([], [], NOTHING)


def in_the_middle(bench: Bench) -> subprocess.Popen[str]:
    """A pass whose slow step is running."""
    bench.commit({"site/Dockerfile": "FROM base\nRUN echo waiting; sleep 10000\n"})
    process = bench.start("reconcile", "--once")
    until(
        lambda: (
            process.poll() is not None or any("waiting" in p.read_text() for p in bench.cache.glob("logs/*/i_site*"))
        )
    )
    assert process.poll() is None
    return process


def test_a_registry_converges(docker: DockerServer, registry_server: RegistryServer, tmp_path: Path) -> None:
    """One on the machine's loopback; a second pass has nothing to do."""
    bench = bench_of(tmp_path, docker, registry_server.url)
    results = bench.reconcile()
    assert {name: result["status"] for name, result in results.items()} == {"i/base": "done", "i/site": "done"}
    assert nothing_left(bench, docker)
    assert {change["action"] for change in bench.plan(0).values()} == {"none"}


def test_ctrl_c_returns_everything(docker: DockerServer, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, docker, f"oci-layout:{tmp_path / 'registry'}")
    ran = interrupt(in_the_middle(bench), signal.SIGINT)
    assert ran.code == 130, ran.err
    assert nothing_left(bench, docker)


def test_kill_9_is_swept_by_the_next_pass(docker: DockerServer, tmp_path: Path) -> None:
    """Which then converges on a folder: the image comes back the way the context went."""
    bench = bench_of(tmp_path, docker, f"oci-layout:{tmp_path / 'registry'}")
    process = in_the_middle(bench)
    process.kill()
    process.communicate()
    (runner,) = bench.document("runners", "list")["runners"]
    assert (runner["provider"], runner["keeper"]) == ("DockerLocal", "gone")
    assert docker.containers() == [f"lian-{runner['lease']}"]
    bench.commit({"site/Dockerfile": SITE})
    ran = bench.lian("reconcile", "--once")
    assert "swept" in ran.err
    tags = layout_tags(tmp_path / "registry", "i/site")
    assert layout_files(tmp_path / "registry", "i/site", tags["latest"])["twice"] == b"hello\nhello\n"
    assert nothing_left(bench, docker)
    assert {change["action"] for change in bench.plan(0).values()} == {"none"}


def test_without_docker_each_build_says_so(tmp_path: Path, docker: DockerServer) -> None:
    bench = bench_of(tmp_path, docker, f"oci-layout:{tmp_path / 'registry'}")
    bench.env["DOCKER_HOST"] = f"unix://{tmp_path}/nobody"
    document = bench.document("reconcile", "--once", code=4)
    results = {result["artifact"]: result for result in document["results"]}
    assert results["i/base"]["problem"]["code"] == "docker-missing"
    assert "lease-not-removed" not in str(document)
    assert nothing_left(bench, docker)


def test_doctor_tells_of_docker(docker: DockerServer, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, docker, f"oci-layout:{tmp_path / 'registry'}")
    (part,) = [part for part in bench.lian("doctor", "--json", code=None).json["parts"] if part["name"] == "docker"]
    assert (part["usable"], part["path"]) == (True, str(docker.socket))
    bench.env["DOCKER_HOST"] = "tcp://127.0.0.1:2375"
    (part,) = [part for part in bench.lian("doctor", "--json", code=None).json["parts"] if part["name"] == "docker"]
    assert not part["usable"]
    assert "unix socket" in part["why"]
