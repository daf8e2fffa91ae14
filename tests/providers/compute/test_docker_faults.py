"""What Docker may answer, and what lian makes of it: one clear problem each, and nothing left."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.leasing import Patience
from reconciler.model.lease import Lease
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Next
from reconciler.ports.compute import NOT_REMOVED, Usage
from reconciler.providers.compute.docker.docker_local import UNSURE_SECONDS, DockerLocalCompute, DockerSettings
from reconciler.providers.compute.docker.engine import Engine
from reconciler.providers.compute.docker.image import Programs
from reconciler.wiring import locate
from tests.ports.leasing import leasing_of
from tests.ports.provider_suite import MOMENT, rent, request
from tests.providers.compute.test_docker_image import laid
from tests.servers.scripted_docker import Fault, ScriptedDocker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from reconciler.model.problem import Problem

ROOT = Path(__file__).parents[3]
IMAGE = "localhost/runner:1"
CREATE, REMOVE, LIST = "POST /containers/create", "DELETE /containers", "GET /containers/json"


@pytest.fixture
def scripted(tmp_path: Path) -> ScriptedDocker:
    return ScriptedDocker(tmp_path / "sock", images={IMAGE})


def provider(
    scripted: ScriptedDocker, seconds: float = 5.0, image: str | None = IMAGE, start: float = 5.0
) -> DockerLocalCompute:
    """With an image that is there; it waits for answers for so long."""
    state = scripted.socket.with_name("state")
    return provider_at(scripted.socket, state, seconds, image, start)


def provider_at(
    socket: Path,
    state: Path,
    seconds: float = 5.0,
    image: str | None = IMAGE,
    start: float = 5.0,
    environ: Mapping[str, str] | None = None,
    unsure: float = 0.3,
) -> DockerLocalCompute:
    """The same, whatever is at the socket."""
    settings = DockerSettings(environ or {}, url=f"unix://{socket}", image=image, oldest=(0, 31))
    programs = Programs(lambda name: None, state.with_name("laid"))
    links = state.with_name("links")
    return DockerLocalCompute(
        programs, state, settings, links, answer_seconds=seconds, start_seconds=start, unsure_seconds=unsure
    )


@asynccontextmanager
async def given_back(scripted: ScriptedDocker, of: DockerLocalCompute, lease: str = "lease-1") -> AsyncIterator[None]:
    """Whatever was wrong is right again after the block; nothing is left then."""
    async with scripted.running():
        yield
        scripted.faults.clear()
        await of.give_back(lease)
        assert (scripted.left(), list(scripted.socket.with_name("state").glob("*"))) == ([], [])


async def problem_of(work: Awaitable[object]) -> Problem:
    with pytest.raises(LianError) as raised:
        await work
    (problem,) = raised.value.problems
    return problem


STEPS = {
    "version": "GET /version",
    "image": "GET /images",
    "create": CREATE,
    "upload": "PUT /containers",
    "attach": "POST /containers/[^/]*/attach",
    "start": "POST /containers/[^/]*/start",
    "exec": "POST /containers/[^/]*/exec",
    "dial": "POST /exec",
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("status", "code", "comes"),
    [
        (401, "docker-refused", Next.HOLD),
        (403, "docker-refused", Next.HOLD),
        (429, "docker-refused", Next.RETRY),
        (500, "docker-refused", Next.RETRY),
    ],
)
def test_a_refusal_at_any_step_is_one_problem(
    scripted: ScriptedDocker, step: str, status: int, code: str, comes: Next
) -> None:
    compute = provider(scripted)
    scripted.faults[STEPS[step]] = Fault(status, "the words of Docker")

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    problem = asyncio.run(run())
    assert (problem.code, problem.next) == (code, comes)
    assert "the words of Docker" in str(problem.cause)


def test_what_docker_refused_is_not_waited_for(scripted: ScriptedDocker) -> None:
    """It has answered: nothing will come."""
    compute = provider_at(scripted.socket, scripted.socket.with_name("state"), unsure=UNSURE_SECONDS)
    scripted.faults[CREATE] = Fault(500, "the words of Docker")

    async def run() -> float:
        async with scripted.running():
            await problem_of(rent(compute, request()))
            began = time.monotonic()
            await compute.give_back("lease-1")
            return time.monotonic() - began

    assert asyncio.run(run()) < UNSURE_SECONDS / 2


@pytest.mark.parametrize("step", STEPS)
def test_silence_at_any_step_is_one_problem(scripted: ScriptedDocker, step: str) -> None:
    compute = provider(scripted, 0.3)
    scripted.faults[STEPS[step]] = Fault(500, seconds=30.0)

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    began = time.monotonic()
    problem = asyncio.run(run())
    assert (problem.code, problem.next) == ("docker-silent", Next.RETRY)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("step", STEPS)
def test_a_connection_that_ends_at_any_step_is_one_problem(scripted: ScriptedDocker, step: str) -> None:
    compute = provider(scripted)
    scripted.faults[STEPS[step]] = Fault(lost=True)

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    problem = asyncio.run(run())
    assert (problem.code, problem.next) == ("docker-lost", Next.RETRY)


def test_a_container_whose_answer_was_lost_is_taken(scripted: ScriptedDocker) -> None:
    compute = provider(scripted)
    scripted.faults[CREATE] = Fault(lost=True, done=True)

    async def run() -> None:
        async with given_back(scripted, compute):
            runner = await rent(compute, request())
            assert runner.builder == "buildkit v0.33.1"
            assert list(scripted.containers) == ["lian-lease-1"]

    asyncio.run(run())


def test_a_container_that_comes_after_its_pass_died_is_waited_for(scripted: ScriptedDocker, tmp_path: Path) -> None:
    """Docker was asked for it, and goes on making it for a while when nobody waits for the answer any more."""
    dead = """
import asyncio, os, sys
from pathlib import Path
from tests.providers.compute.test_docker_faults import provider_at
from tests.ports.provider_suite import rent, request
async def run():
    asyncio.get_running_loop().call_later(0.5, os._exit, 9)
    await rent(provider_at(Path(sys.argv[1]), Path(sys.argv[2])), request())
asyncio.run(run())
"""
    scripted.faults[CREATE] = Fault(seconds=1.5)
    state = tmp_path / "state"

    async def run() -> None:
        async with scripted.running():
            argv = [sys.executable, "-c", dead, str(scripted.socket), str(state)]
            died = await asyncio.create_subprocess_exec(*argv, cwd=ROOT)
            assert await died.wait() == 9
            assert scripted.containers == {}
            await provider_at(scripted.socket, state, unsure=UNSURE_SECONDS).give_back("lease-1")
            await asyncio.sleep(1.0)
            assert (scripted.left(), list(state.glob("*"))) == ([], [])

    asyncio.run(run())


@pytest.mark.parametrize("status", [401, 409, 429, 500])
def test_what_docker_does_not_remove_is_named(
    scripted: ScriptedDocker, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.providers.compute.docker.engine.GONE_SECONDS", 0.2)
    compute = provider(scripted)

    async def run() -> Problem:
        async with given_back(scripted, compute):
            await rent(compute, request())
            scripted.faults[REMOVE] = Fault(status, "driver failed to remove root filesystem")
            return await problem_of(compute.give_back("lease-1"))

    problem = asyncio.run(run())
    assert problem.code == NOT_REMOVED
    assert "lease-1" in problem.message
    assert "driver failed" in str(problem.cause)
    assert problem.next is (Next.HOLD if status == 401 else Next.RETRY)


def test_a_removal_that_goes_on_already_is_waited_for(scripted: ScriptedDocker) -> None:
    compute = provider(scripted)

    async def run() -> None:
        async with given_back(scripted, compute):
            await rent(compute, request())
            scripted.faults[REMOVE] = Fault(409, "removal of container lian-lease-1 is already in progress")
            asyncio.get_running_loop().call_later(0.3, scripted.containers.clear)
            await compute.give_back("lease-1")
            assert scripted.left() == []

    asyncio.run(run())


def test_a_removal_that_fails_once_is_tried_again(scripted: ScriptedDocker) -> None:
    compute = provider(scripted)
    leasing = leasing_of(compute, scripted.socket.with_name("rented"), patience=Patience(pauses=(0.0, 0.0)))

    async def run() -> None:
        async with scripted.running():
            async with leasing.rent(request()):
                scripted.faults[REMOVE] = Fault(500, times=2)
            assert scripted.left() == []

    asyncio.run(run())


def test_what_others_have_is_not_listed(scripted: ScriptedDocker) -> None:
    """Whatever stands on it, and whatever it is called."""
    mine, theirs = (Lease("lease-2", fleet, "pass", 0.0, 1.0).to_labels() for fleet in ("fleet", "others"))
    scripted.others = [
        {"Names": ["/web"], "Labels": {}, "State": "running"},
        {"Names": ["/web"], "Labels": None, "State": "running"},
        {"Names": ["/web"]},
        {"Names": ["/lian-lease-2"], "Labels": {"dev.lian.fleet": "fleet"}, "State": "running"},
        {"Names": ["/lian-lease-2"], "Labels": mine | {"dev.lian.created": "soon"}, "State": "running"},
        {"Names": ["/lian-lease-2"], "Labels": mine | {"dev.lian.deadline": "nan"}, "State": "running"},
        {"Names": ["/lian-lease-2"], "Labels": mine | {"dev.lian.lease": "../x"}, "State": "running"},
        {"Names": ["/lian-lease-2"], "Labels": theirs, "State": "running"},
        {"Names": ["/a-copy"], "Labels": mine, "State": "running"},
        {"Names": "/lian-lease-2", "Labels": mine, "State": "running"},
    ]
    scripted.volumes = [{"Name": "odd", "Labels": {"dev.lian.fleet": "fleet"}}]
    compute = provider(scripted)

    async def run() -> None:
        async with scripted.running():
            await rent(compute, request())
            assert [rental.lease.name for rental in (await compute.owned_by("fleet")).rentals] == ["lease-1"]
            await compute.give_back("lease-1")
            assert scripted.left() == ["odd"]

    asyncio.run(run())


def test_a_listing_that_says_more_than_was_asked_is_not_believed(scripted: ScriptedDocker) -> None:
    scripted.containers["lian-theirs"] = {"Labels": Lease("theirs", "others", "pass", 0.0, 1.0).to_labels()}
    compute = provider(scripted)

    async def run() -> None:
        async with scripted.running():
            scripted.others = [{"Names": ["/lian-theirs"], "Labels": scripted.containers["lian-theirs"]["Labels"]}]
            assert (await compute.owned_by("fleet")).rentals == ()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ({"ApiVersion": "1.39", "Version": "18.09"}, "use Docker 20.10 or newer"),
        ({"MinAPIVersion": "1.99", "ApiVersion": "1.120"}, "use a newer lian"),
        ({"Os": "windows"}, "Linux containers"),
        ({"ApiVersion": "latest"}, "compute.url"),
        ({"ApiVersion": None}, "compute.url"),
    ],
)
def test_a_docker_that_will_not_do_is_told(scripted: ScriptedDocker, version: dict[str, str], said: str) -> None:
    compute = provider(scripted)
    scripted.version |= version

    async def run() -> Problem:
        async with scripted.running():
            problem = await problem_of(rent(compute, request()))
            scripted.version |= {"Version": "27", "ApiVersion": "1.47", "MinAPIVersion": "1.24", "Os": "linux"}
            await compute.give_back("lease-1")
            return problem

    problem = asyncio.run(run())
    assert problem.code == "docker-unsuitable"
    assert said in str(problem.hint)


@pytest.mark.parametrize(("highest", "spoken"), [("1.41", "1.41"), ("1.44", "1.44"), ("1.60", "1.47")])
def test_the_version_that_both_know_is_spoken(scripted: ScriptedDocker, highest: str, spoken: str) -> None:
    scripted.version["ApiVersion"] = highest

    async def run() -> str:
        async with scripted.running():
            return (await Engine(scripted.socket).version()).api

    assert asyncio.run(run()) == spoken


def test_without_docker_that_is_told(tmp_path: Path) -> None:
    compute = provider_at(tmp_path / "sock", tmp_path / "state")
    problem = asyncio.run(problem_of(rent(compute, request())))
    assert problem.code == "docker-missing"
    assert "DOCKER_HOST" in str(problem.hint)
    other = provider_at(tmp_path / "sock", tmp_path / "state")
    problem = asyncio.run(problem_of(other.give_back("lease-1")))  # who knows what was asked of it
    assert (problem.code, problem.next) == (NOT_REMOVED, Next.RETRY)
    asyncio.run(compute.give_back("lease-1"))  # nothing was
    assert list((tmp_path / "state").iterdir()) == []


def test_nothing_is_noted_of_what_a_docker_that_is_not_there_was_asked_for(tmp_path: Path) -> None:
    """Else each pass would tell that it cannot return what never was."""
    leasing = leasing_of(provider_at(tmp_path / "sock", tmp_path / "state"), tmp_path / "rented")

    async def run() -> None:
        async with leasing.rent(request()):
            raise AssertionError

    assert asyncio.run(problem_of(run())).code == "docker-missing"
    assert asyncio.run(leasing.sweep("fleet")).problems[1:] == ()  # but that the listing is not known
    assert list((tmp_path / "rented").glob("*.json")) == []


def test_doctor_does_not_wait_long_for_a_docker_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No longer than for a program."""
    monkeypatch.setattr("reconciler.providers.builder.binaries.PROBE_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "sock"))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'sock'}")
        found = locate("docker")
    assert "within 0.2 s" in str(found.why)


def test_a_socket_that_nobody_serves_is_told(scripted: ScriptedDocker) -> None:
    async def run() -> Problem:
        async with scripted.running():
            pass
        return await problem_of(rent(provider(scripted), request()))

    assert asyncio.run(run()).code == "docker-missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_socket_that_this_user_may_not_use_is_told(scripted: ScriptedDocker, tmp_path: Path) -> None:
    """Who asks is told the group that may, and what that means."""
    asking = """
import asyncio, os, sys
from pathlib import Path
from reconciler.model.problem import LianError
from reconciler.providers.compute.docker.engine import Engine
for socket in ("/nowhere", sys.argv[1]):
    try:
        asyncio.run(Engine(Path(socket)).version())
    except LianError as error:
        print(error.problems[0].code, error.problems[0].hint)
    os.setuid(65534)  # once all is loaded: another user may not read where this Python lies
"""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and "pytest" in folder.name:
            folder.chmod(0o755)

    async def run() -> str:
        async with scripted.running():
            scripted.socket.chmod(0o660)
            argv = [sys.executable, "-c", asking, str(scripted.socket)]
            asked = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=subprocess.PIPE)
            return (await asked.communicate())[0].decode()

    said = asyncio.run(run())
    assert [line.split()[0] for line in said.splitlines()] == ["docker-missing", "docker-forbidden"]
    assert "its group" in said
    assert "root" in said


def test_a_builder_that_never_serves_is_given_up(scripted: ScriptedDocker) -> None:
    compute = provider(scripted, start=0.5)
    scripted.mute = True

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    problem = asyncio.run(run())
    assert problem.code == "builder-start-failed"
    assert "within 0.5 s" in str(problem.cause)


def test_a_builder_that_does_not_tell_its_version_is_given_up(scripted: ScriptedDocker) -> None:
    """The machine is out of breath, say."""
    compute = provider(scripted, 0.3)
    scripted.hanging = "--version"

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    assert asyncio.run(asyncio.wait_for(run(), 10)).code == "docker-silent"


@pytest.mark.parametrize(
    ("used", "usage"),
    [
        (
            "/g/memory.usage_in_bytes:5000\n/g/memory.max_usage_in_bytes:9000\n/c/cpuacct.usage:2500000000\n"
            "/g/memory.stat:inactive_file 7\n/g/memory.stat:active_file 7\n"
            "/g/memory.stat:total_inactive_file 1000\n/g/memory.stat:total_active_file 500\n",
            Usage(3500, 2.5),
        ),
        (
            "/g/memory.current:5000\n/g/memory.peak:9000\n/g/memory.stat:inactive_file 1000\n"
            "/g/memory.stat:active_file 500\n/g/cpu.stat:usage_usec 2500000\n/g/memory.events:oom_kill 3\n",
            Usage(3500, 2.5, 3),
        ),
        ("/g/memory.current:5000\n/g/memory.peak:max\nlow\n/c/cpuacct.usage:soon\n", Usage()),
        ("", Usage()),
    ],
)
def test_what_the_container_tells_of_its_use(scripted: ScriptedDocker, used: str, usage: Usage) -> None:
    """With both versions of control groups, and with nothing that is of use."""
    compute = provider(scripted, 0.3)
    scripted.used = used

    async def run() -> Usage:
        async with given_back(scripted, compute):
            runner = await rent(compute, request())
            await compute.usage(runner)
            return await compute.usage(runner)

    assert asyncio.run(asyncio.wait_for(run(), 10)) == usage


def test_a_container_that_does_not_tell_of_its_use_is_no_container_that_used_nothing(scripted: ScriptedDocker) -> None:
    compute = provider(scripted, 0.3)
    scripted.used = None

    async def run() -> list[Problem]:
        async with given_back(scripted, compute):
            runner = await rent(compute, request())
            return [await problem_of(compute.usage(runner)) for _ in range(2)]

    problems = asyncio.run(asyncio.wait_for(run(), 10))
    assert {problem.code for problem in problems} <= {"docker-silent", "docker-lost"}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}', "docker-refused"),
        ('{"error":"write /layer: no space left on device"}', "disk-full"),
    ],
)
def test_an_error_inside_of_a_success_is_one(scripted: ScriptedDocker, said: str, code: str, tmp_path: Path) -> None:
    """As Docker tells that it could not take an image."""
    laid(tmp_path / "laid", Platform("linux", "amd64"), machine=62)
    compute = provider(scripted, image=None)
    scripted.loaded = f'{{"stream":"Loading layer"}}\n{said}\n'

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    assert asyncio.run(run()).code == code


def test_a_full_disk_at_any_step_is_told(scripted: ScriptedDocker) -> None:
    compute = provider(scripted)
    scripted.faults[CREATE] = Fault(500, "mkdir /var/lib/docker/overlay2/x: no space left on device")

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    assert asyncio.run(run()).code == "disk-full"


def test_a_lease_of_another_process_is_taken(scripted: ScriptedDocker) -> None:
    """Another folder of leases: another user of this Docker, say."""
    one, two = provider(scripted), provider_at(scripted.socket, scripted.socket.with_name("elsewhere"))

    async def run() -> None:
        async with scripted.running():
            await rent(one, request())
            assert (await problem_of(rent(two, request()))).code == "lease-taken"
            assert (rental := await two.describe("lease-1")) is not None
            assert rental.lease == request().at(MOMENT)
            await one.give_back("lease-1")
            await two.give_back("lease-1")
            assert scripted.left() == []

    asyncio.run(run())


def test_a_lease_that_is_another_ones_leaves_nothing_here(scripted: ScriptedDocker, tmp_path: Path) -> None:
    """What was made here for it goes at once: it is not given back, since that would remove theirs."""
    scripted.containers["lian-lease-1"] = {"Labels": {}}
    compute = provider(scripted)
    leasing = leasing_of(compute, tmp_path / "rented")

    async def run() -> None:
        async with leasing.rent(request()):
            raise AssertionError

    async def taken_and_free() -> None:
        async with scripted.running():
            assert (await problem_of(run())).code == "lease-taken"
            assert list((tmp_path / "state").iterdir()) == list((tmp_path / "rented").glob("*.json")) == []
            assert scripted.left() == ["lian-lease-1"]
            scripted.containers.clear()
            assert (await rent(compute, request())).lease == "lease-1"
            await compute.give_back("lease-1")

    asyncio.run(taken_and_free())


def test_nothing_secret_is_asked_for_in_words(scripted: ScriptedDocker) -> None:
    """What goes with a container may be read by whoever may list it."""
    environ = {"HTTPS_PROXY": "http://user:pass-of-proxy@proxy:1"}
    compute = provider_at(scripted.socket, scripted.socket.with_name("state"), environ=environ)

    async def run() -> None:
        async with given_back(scripted, compute):
            await rent(compute, request())
            assert "pass-of-proxy" not in str(scripted.containers)

    asyncio.run(run())


@pytest.mark.parametrize("told", ["v0.13.2", "v0.9", "nothing"])
def test_an_image_with_an_old_builder_is_refused(scripted: ScriptedDocker, told: str) -> None:
    compute = provider(scripted)
    scripted.builder = f"buildkitd github.com/moby/buildkit {told} 0123\n".encode()

    async def run() -> Problem:
        async with given_back(scripted, compute):
            return await problem_of(rent(compute, request()))

    problem = asyncio.run(run())
    assert problem.code == "docker-unsuitable"
    assert told in problem.message
