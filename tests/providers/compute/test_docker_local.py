"""Compute `docker-local` in a real Docker: the port's contract, and that nothing outlives a lease."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.model.secret import Secret
from reconciler.model.tier import Tier
from reconciler.ports.access import Identity, Route
from reconciler.ports.compute import RentalState
from reconciler.ports.publisher import PushTo
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.compute.processes import with_argument
from reconciler.wiring import runner_program
from tests.ports.compute_suite import ComputeSuite
from tests.ports.leasing import leasing_of, without_trouble
from tests.ports.provider_suite import ProviderSuite, request
from tests.providers.compute.docker_world import NAME, Traces, docker_compute, docker_provider
from tests.providers.compute.passes import OtherPass, wait_until
from tests.providers.workshop import SHELL, SWALLOWED, Bench, image_of, write_context
from tests.servers.dockerd import run_docker
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from reconciler.apply.leasing import Leasing
    from reconciler.model.lease import Lease
    from reconciler.model.problem import Problem
    from reconciler.ports.compute import LeaseRequest, Runner
    from reconciler.providers.compute.docker.docker_local import DockerLocalCompute
    from tests.servers.dockerd import DockerServer

    Use = Callable[[Bench], Awaitable[None]]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

pytestmark = [pytest.mark.buildkit, pytest.mark.docker]


def broken(name: str) -> Path | None:
    """Programs with a daemon that ends at once."""
    return Path("/bin/false") if name == "buildkitd" else runner_program(name)


class ProviderStand:
    """The provider alone."""

    def __init__(self, server: DockerServer, folder: Path) -> None:
        self.server, self.state = server, folder / "state"
        self.provider = docker_provider(server.socket, self.state)

    def other(self) -> DockerLocalCompute:
        return docker_provider(self.server.socket, self.state)

    def failing(self) -> DockerLocalCompute:
        return docker_provider(self.server.socket, self.state, broken)

    def spoil(self, lease: str) -> None:
        (self.state / lease / "lease.json").mkdir(parents=True)

    def left(self) -> Sequence[str]:
        return Traces(self.server, self.state).left()


class ComputeStand:
    """The same, under leasing."""

    def __init__(self, server: DockerServer, folder: Path) -> None:
        self.server, self.state = server, folder / "state"
        self.compute = docker_compute(server.socket, self.state)

    def abandon(self, lease: str) -> None:
        OtherPass(self.state, lease, docker=self.server.socket).kill()

    def spoil(self, lease: str) -> None:
        """A record that cannot even be opened."""
        self.abandon(lease)
        record = self.state / lease / "lease.json"
        record.unlink()
        record.mkdir()

    def failing(self) -> Leasing:
        provider = docker_provider(self.server.socket, self.state, broken)
        return leasing_of(provider, self.state.with_name("rented"), name=NAME)

    def left(self) -> Sequence[str]:
        return Traces(self.server, self.state).left()


@pytest.fixture
def stand(docker: DockerServer, tmp_path: Path) -> ProviderStand:
    return ProviderStand(docker, tmp_path)


class TestDockerLocalProvider(ProviderSuite):
    @pytest.fixture
    def stand(self, docker: DockerServer, tmp_path: Path) -> ProviderStand:
        return ProviderStand(docker, tmp_path)


class TestDockerLocalCompute(ComputeSuite):
    @pytest.fixture
    def stand(self, docker: DockerServer, tmp_path: Path) -> ComputeStand:
        return ComputeStand(docker, tmp_path)


def now(wanted: LeaseRequest) -> Lease:
    return wanted.at(time.time())


async def rent(provider: DockerLocalCompute, wanted: LeaseRequest) -> Runner:
    return await provider.rent(wanted, now(wanted))


async def until_gone(provider: DockerLocalCompute, lease: str) -> None:
    async with asyncio.timeout(20):
        while (rental := await provider.describe(lease)) and rental.state is not RentalState.ENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_a_container_that_nobody_returns_ends_at_its_deadline(stand: ProviderStand) -> None:
    """With its volume, and whatever its owner has become."""

    async def run() -> float:
        began = time.monotonic()
        await rent(stand.provider, replace(request(), deadline=3.0))
        await until_gone(stand.provider, "lease-1")
        took = time.monotonic() - began
        await asyncio.to_thread(wait_until, lambda: not stand.server.left())
        rental = await stand.other().describe("lease-1")
        assert rental is not None  # of which there is a folder here
        assert rental.state is RentalState.ENDED
        await stand.provider.give_back("lease-1")
        return took

    assert 2.5 < asyncio.run(run()) < 15
    assert stand.left() == []


def test_the_runner_image_is_loaded_once_and_always_the_same(stand: ProviderStand) -> None:
    async def run() -> list[str]:
        other = stand.other()
        await asyncio.gather(*(rent(stand.provider, request(name)) for name in ("one", "two")))
        await rent(other, request("three"))
        used = stand.server.run("ps", "--format", "{{.Image}}").split()
        for provider, name in ((stand.provider, "one"), (stand.provider, "two"), (other, "three")):
            await provider.give_back(name)
        return used

    used = asyncio.run(run())
    assert (len(used), len(set(used))) == (3, 1)
    assert re.fullmatch(r"lian/runner:[a-z0-9]+-[0-9a-f]{12}", used[0])
    made = stand.server.run("image", "inspect", "--format", "{{.Created}} {{.Architecture}}", used[0])
    assert made.startswith("1970-01-01")
    assert stand.left() == []


def test_what_stands_on_a_container_is_its_lease_and_nothing_secret(stand: ProviderStand) -> None:
    routes = (Route("r.example", identity=Identity("CERTIFICATE", Secret("very-secret")), authorities=("PEM",)),)

    async def run() -> None:
        await rent(stand.provider, replace(request(), routes=routes))
        (document,) = json.loads(stand.server.run("inspect", "lian-lease-1"))
        assert document["Config"]["Labels"]["dev.lian.pass"] == "pass-1"
        assert not document["HostConfig"]["Privileged"]
        assert document["HostConfig"]["PortBindings"] in ({}, None)
        assert "very-secret" not in json.dumps(document)
        shown = stand.server.run("exec", "lian-lease-1", "cat", "/etc/lian/certificates/0/client.key")
        assert shown == "very-secret"
        listed = stand.server.run("exec", "lian-lease-1", "busybox", "ls", "-ld", "/etc/lian", "/etc/lian/environment")
        assert re.findall(r"^(\S+)", listed, re.MULTILINE) == ["drwx------", "-rw-------"]
        await stand.provider.give_back("lease-1")

    asyncio.run(run())
    assert stand.left() == []


def test_nobody_else_may_connect_to_the_builder(stand: ProviderStand) -> None:
    async def run() -> None:
        runner = await rent(stand.provider, request())
        socket = Path(runner.address.removeprefix("unix://"))
        assert all(path.stat().st_mode & 0o077 == 0 for path in (socket.parent, runner.scratch))
        await stand.provider.give_back("lease-1")

    asyncio.run(run())


async def with_builds(server: DockerServer, folder: Path, wanted: LeaseRequest, use: Use) -> None:
    """A leased runner, for the use; nothing is left afterwards."""
    compute = docker_compute(server.socket, folder / "state")
    buildctl = find_part("buildctl")
    assert buildctl is not None
    async with compute.rent(wanted) as runner:
        await use(Bench(folder, compute, BuildctlBuilder(buildctl), runner))
    assert Traces(server, folder / "state").left() == []


def test_it_builds_from_a_context_that_is_sent_there(docker: DockerServer, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    context = write_context(tmp_path / "context", SHELL + "COPY data /\nRUN busybox cp data copy\n", {"data": content})

    async def use(bench: Bench) -> None:
        result = await bench.build(bench.request(context))
        assert image_of(result).files()["copy"] == content

    asyncio.run(with_builds(docker, tmp_path, request(), use))


def test_a_registry_on_the_loopback_is_pushed_to(docker: DockerServer, tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", "FROM scratch\nCOPY Dockerfile /\n", busybox=False)
    with run_registry(tmp_path / "registry") as registry:
        pushed: list[str] = []
        to = PushTo(Repository(registry.host, "shop/api"), plain=True)

        async def use(bench: Bench) -> None:
            built, _ = await bench.build(bench.request(context, destination=to))
            pushed.append(str(built.digest))

        wanted = replace(request(), routes=(Route(registry.host, plain=True),))
        asyncio.run(with_builds(docker, tmp_path, wanted, use))
        asked = httpx.get(f"{registry.url}/v2/shop/api/manifests/{pushed[0]}", headers={"Accept": OCI_MANIFEST})
        assert asked.status_code == 200


@pytest.mark.disk
def test_what_is_used_is_what_the_builds_use(tmp_path: Path) -> None:
    """Memory without what they wrote, and processor time."""
    steps = (
        "RUN busybox dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; busybox sleep 2\n"
        "RUN busybox dd if=/dev/zero of=/f bs=1M count=300 2>/dev/null\n"
        'RUN i=0; while [ "$i" -lt 200000 ]; do i=$((i+1)); done\n'
    )
    context = write_context(tmp_path / "context", SHELL + steps)

    async def use(bench: Bench) -> None:
        before = await bench.compute.usage(bench.runner)
        assert (before.peak_memory or 0) < 10_000_000
        assert (before.cpu_seconds or 0.0) < 0.1
        await bench.build(bench.request(context))
        after = await bench.compute.usage(bench.runner)
        assert after.peak_memory is not None
        assert after.cpu_seconds is not None
        assert 100_000_000 < after.peak_memory < 250_000_000
        assert 0.1 < after.cpu_seconds < 10

    (tmp_path / "docker").mkdir()
    with run_docker(tmp_path / "docker") as docker:
        asyncio.run(with_builds(docker, tmp_path, request(), use))


def test_what_the_kernel_kills_in_a_step_is_counted_though_the_step_goes_on(
    docker: DockerServer, tmp_path: Path
) -> None:
    context = write_context(tmp_path / "context", SHELL + SWALLOWED)

    async def use(bench: Bench) -> None:
        before = await bench.compute.usage(bench.runner)
        await bench.build(bench.request(context, tier=Tier(2, 0.06, 30)))
        after = await bench.compute.usage(bench.runner)
        assert (before.oom_kills, after.oom_kills) == (0, 1)

    asyncio.run(with_builds(docker, tmp_path, request(), use))


def test_a_step_that_eats_more_than_its_tier_ends_alone(docker: DockerServer, tmp_path: Path) -> None:
    """Whatever the size that the runner was asked for with: a larger build may use what its own has."""
    step = "RUN busybox dd if=/dev/zero of=/dev/null bs=300M count=1\n"
    hungry = write_context(tmp_path / "hungry", SHELL + step)
    modest = write_context(tmp_path / "modest", SHELL + "RUN busybox true\n")
    tier = Tier(2, 0.25, 30)

    async def use(bench: Bench) -> None:
        with pytest.raises(LianError) as raised:
            await bench.build(bench.request(hungry, tier=tier))
        assert raised.value.problems[0].code == "build-out-of-memory"
        await bench.build(bench.request(modest, tier=tier))
        await bench.build(bench.request(hungry, tier=Tier(2, 1.0, 30)))

    asyncio.run(with_builds(docker, tmp_path, replace(request(), tier=tier), use))


def test_an_image_that_the_settings_name_is_used_and_never_pulled(stand: ProviderStand, tmp_path: Path) -> None:
    missing = docker_provider(stand.server.socket, stand.state, image="localhost/own-runner:7")

    async def refused() -> Problem:
        with pytest.raises(LianError) as raised:
            await rent(missing, request())
        await missing.give_back("lease-1")
        return raised.value.problems[0]

    problem = asyncio.run(refused())
    assert problem.code == "runner-image-missing"
    assert "docker pull localhost/own-runner:7" in str(problem.hint)

    async def used() -> None:
        await rent(stand.provider, request())
        own = stand.server.run("ps", "--format", "{{.Image}}").strip()
        await stand.provider.give_back("lease-1")
        stand.server.run("tag", own, "localhost/own-runner:7")
        runner = await rent(missing, request())
        assert runner.builder.startswith("buildkit v")
        (document,) = json.loads(stand.server.run("inspect", "lian-lease-1"))
        assert document["Config"]["Image"] == "localhost/own-runner:7"
        await missing.give_back("lease-1")

    asyncio.run(used())
    stand.server.run("rmi", "localhost/own-runner:7")
    assert stand.left() == []


def test_the_daemons_last_words_are_told(stand: ProviderStand) -> None:
    """Its configuration cannot be read, say."""
    provider = stand.provider
    odd = replace(request(), parallelism="many")  # type: ignore[arg-type]

    async def run() -> Problem:
        with pytest.raises(LianError) as raised:
            await rent(provider, odd)
        await provider.give_back("lease-1")
        return raised.value.problems[0]

    problem = asyncio.run(run())
    assert problem.code == "builder-start-failed"
    assert "buildkitd" in str(problem.cause)
    assert stand.left() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_lian_in_the_middle_of_a_build(
    docker: DockerServer, tmp_path: Path, number: signal.Signals
) -> None:
    word = f"7{os.getpid()}"
    context = write_context(tmp_path / "context", SHELL + f"RUN busybox sleep {word}\n")
    traces = Traces(docker, tmp_path / "state")
    other = OtherPass(traces.state, "mid-build", context, docker.socket)
    wait_until(lambda: with_argument(word))
    other.kill(number)
    if number == signal.SIGKILL:
        wait_until(lambda: not with_argument(word))  # the builder has lost its client, and lives on until it is swept
        assert without_trouble(asyncio.run(docker_compute(docker.socket, traces.state).sweep())) == ["mid-build"]
    assert with_argument(word) == []
    assert traces.left() == []


def test_a_docker_that_dies_in_the_middle_of_a_build_is_one_problem(tmp_path: Path) -> None:
    """Its containers live on; when it is back, the sweep finds them."""
    word = f"8{os.getpid()}"
    context = write_context(tmp_path / "context", SHELL + f"RUN busybox sleep {word}\n")
    folder = tmp_path / "docker"
    folder.mkdir()
    with run_docker(folder) as server:
        traces = Traces(server, tmp_path / "state")

        async def use(bench: Bench) -> None:
            building = asyncio.create_task(bench.build(bench.request(context)))
            await asyncio.to_thread(wait_until, lambda: with_argument(word))
            await asyncio.to_thread(server.restart)
            with pytest.raises(LianError) as raised:
                await asyncio.wait_for(building, 20)
            assert [problem.code for problem in raised.value.problems] == ["builder-lost"]

        asyncio.run(with_builds(server, tmp_path, request(), use))
        assert traces.left() == []


def test_what_a_copy_of_a_runner_says_is_not_believed(stand: ProviderStand) -> None:
    """Labels go with an image that is made of a container, and with whatever is started from that."""

    async def run() -> None:
        await rent(stand.provider, request())
        stand.server.run("commit", "lian-lease-1", "localhost/copy")
        stand.server.run("create", "--name", "theirs", "--network", "none", "localhost/copy")
        try:
            assert [r.lease.name for r in (await stand.provider.owned_by("fleet")).rentals] == ["lease-1"]
            await stand.provider.give_back("lease-1")
            assert (await stand.other().owned_by("fleet")).rentals == ()
            assert stand.server.containers() == ["theirs"]
        finally:
            stand.server.run("rm", "--force", "--volumes", "theirs")
            stand.server.run("rmi", "--force", "localhost/copy")

    asyncio.run(run())
    assert stand.left() == []


def test_a_container_of_its_name_that_is_someone_elses_stays(stand: ProviderStand) -> None:
    async def run() -> None:
        await rent(stand.provider, request("good"))
        image = stand.server.run("ps", "--format", "{{.Image}}").strip()
        stand.server.run("create", "--name", "lian-lease-1", "--network", "none", image, "sh")
        try:
            with pytest.raises(LianError) as raised:
                await rent(stand.provider, request())
            assert raised.value.problems[0].code == "lease-taken"
            await stand.provider.give_back("lease-1")
            assert "lian-lease-1" in stand.server.containers()
        finally:
            stand.server.run("rm", "lian-lease-1")
        await stand.provider.give_back("good")

    asyncio.run(run())
    assert stand.left() == []


def test_a_full_disk_is_told(docker: DockerServer, tmp_path: Path) -> None:
    """That of Docker, when a build writes more than there is."""
    folder = tmp_path / "docker"
    small = tmp_path / "small"
    small.mkdir()
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=180m", "none", small], check=True)
    try:
        with run_docker(folder, data=small) as server:
            step = "RUN busybox dd if=/dev/zero of=/big bs=1M count=400\n"
            context = write_context(tmp_path / "context", SHELL + step)

            async def use(bench: Bench) -> None:
                with pytest.raises(LianError) as raised:
                    await bench.build(bench.request(context))
                assert raised.value.problems[0].code == "disk-full"

            asyncio.run(with_builds(server, tmp_path, request(), use))
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def test_a_volume_that_outlived_its_container_goes_back(stand: ProviderStand) -> None:
    """As Docker leaves one when it dies itself."""

    async def run() -> None:
        await rent(stand.provider, request())
        labels = json.loads(stand.server.run("inspect", "lian-lease-1"))[0]["Config"]["Labels"]
        await stand.provider.give_back("lease-1")
        words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
        stand.server.run("volume", "create", *words)
        other = stand.other()
        assert [(r.lease.name, r.state) for r in (await other.owned_by("fleet")).rentals] == [
            ("lease-1", RentalState.ENDED)
        ]
        assert (rental := await other.describe("lease-1")) is not None
        assert rental.state is RentalState.ENDED
        await other.give_back("lease-1")

    asyncio.run(run())
    assert stand.left() == []
