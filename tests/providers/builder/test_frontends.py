"""A frontend image reads the Dockerfile, for real: the one that is pinned, held to what is pinned."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.ports.access import Route
from reconciler.ports.builder import PinnedImage
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.providers.compute.configuration import configuration
from tests.needs import not_run
from tests.providers.workshop import image_of, open_bench, write_context
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.digest import Digest
    from reconciler.ports.compute import LeaseRequest
    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

MODULE = Path(__file__).parents[3] / ".ci" / "parts" / "buildkit"
PACKAGE = "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend"
LABS = "# syntax=docker/dockerfile:1-labs\n"
FRONT = 'FROM scratch\nCOPY front /bin/front\nENTRYPOINT ["/bin/front"]\n'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BuildKit's own frontend as a program, of the release that lian is built for."""
    go = shutil.which("go")
    if go is None:
        not_run("a frontend needs Go (the command `go`) to be built")
    target = tmp_path_factory.mktemp("frontend") / "front"
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    words = [go, "build", "-ldflags", "-s -w", "-o", str(target), PACKAGE]
    built = subprocess.run(words, cwd=MODULE, env=environment, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        not_run(f"the frontend cannot be built: {built.stderr.strip().splitlines()[-1]}")
    return target


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with run_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def frontend(server: RegistryServer, program: Path, tmp_path_factory: pytest.TempPathFactory) -> PinnedImage:
    """The program as an image on a registry."""
    folder, repository = tmp_path_factory.mktemp("front"), Repository(server.host, "docker/dockerfile")

    async def push() -> Digest:
        context = write_context(folder / "context", FRONT, busybox=False)
        shutil.copy(program, context / "front")
        async with open_bench(folder / "bench") as bench:
            built, _ = await bench.build(bench.request(context, destination=PushTo(repository, plain=True)))
            assert built.digest is not None
            return built.digest

    return PinnedImage(asyncio.run(push()), PullFrom(repository, plain=True))


def built(folder: Path, dockerfile: str, frontend: PinnedImage, **changes: Any) -> dict[str, bytes]:
    """The files of the image that this frontend makes. Raises LianError."""
    assert isinstance(frontend.origin, PullFrom)
    repository = frontend.origin.repository
    lease: dict[str, Any] = {
        "frontends": frozenset({changes.pop("allowed", repository)}),
        "routes": (Route(repository.host, plain=True),),
    }

    async def run() -> dict[str, bytes]:
        context = write_context(folder / "context", dockerfile, {"data": b"1"}, busybox=False)
        async with open_bench(folder / "bench", **lease) as bench:
            request = bench.request(context, frontend=frontend, **changes)
            return image_of(await bench.build(request)).files()

    return asyncio.run(run())


def test_the_pinned_frontend_reads_the_dockerfile(tmp_path: Path, frontend: PinnedImage) -> None:
    dockerfile = LABS + "FROM scratch\nCOPY --parents data /\n"
    assert built(tmp_path, dockerfile, frontend) == {"data": b"1"}


def test_it_gets_no_image_that_lian_did_not_pin(tmp_path: Path, frontend: PinnedImage, server: RegistryServer) -> None:
    with pytest.raises(LianError) as raised:
        built(tmp_path, LABS + f"FROM {server.host}/docker/dockerfile:1\nCOPY data /\n", frontend)
    assert raised.value.problems[0].code == "source-unpinned"
    pinned = {f"{server.host}/docker/dockerfile:1": frontend}
    files = built(tmp_path / "2", LABS + f"FROM {server.host}/docker/dockerfile:1\n", frontend, contexts=pinned)
    assert set(files) == {"bin/front"}


def test_the_daemon_runs_no_frontend_that_it_was_not_told_of(tmp_path: Path, frontend: PinnedImage) -> None:
    with pytest.raises(LianError) as raised:
        built(tmp_path, LABS + "FROM scratch\n", frontend, allowed=Repository("reg.example", "docker/dockerfile"))
    (problem,) = raised.value.problems
    assert "not an allowed gateway source" in f"{problem.message} {problem.cause}"


def test_a_daemon_without_frontends_has_no_gateway() -> None:
    class Asked:
        parallelism, routes, frontends = 1, (), frozenset[Repository]()

    request: LeaseRequest = Asked()  # type: ignore[assignment]
    assert '[frontend."gateway.v0"]\nenabled = false' in configuration(request, None, {})
