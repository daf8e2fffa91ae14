"""Builds over SSH: what comes out is what comes out here, and a connection that breaks ends no build by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.problem import LianError
from reconciler.model.tier import Tier
from reconciler.ports.compute import LeaseRequest
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.compute.processes import with_argument
from reconciler.providers.compute.ssh import script
from tests.providers.compute.passes import wait_until
from tests.providers.compute.ssh_stands import QUICK, leasing_on, traces
from tests.providers.compute.test_ssh import server, until
from tests.providers.workshop import SHELL, SWALLOWED, TIER, Bench, image_of, open_bench, running, write_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.ports.builder import StepSeen
    from reconciler.ports.compute import Usage
    from reconciler.providers.compute.ssh.machine import Timing
    from tests.servers.sshd import Sshd

pytestmark = pytest.mark.buildkit

__all__ = ["server"]


@asynccontextmanager
async def remote_bench(server: Sshd, folder: Path, timing: Timing | None = None, **lease: Any) -> AsyncIterator[Bench]:
    """A bench whose runner is on the server."""
    (folder / "bench").mkdir(exist_ok=True)
    compute = leasing_on(server, folder, timing)
    request = LeaseRequest("fleet", "pass", "kept", TIER, deadline=120.0, parallelism=4)
    async with compute.rent(replace(request, **lease)) as runner:
        yield Bench(folder / "bench", compute, BuildctlBuilder(Path("none")), runner)


def test_an_image_is_the_same_wherever_it_is_built(server: Sshd, tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", SHELL + "COPY a /a\nRUN echo made > /made; echo told\n", {"a": b"1"})
    (context / "link").symlink_to("/etc/passwd")
    seen: list[StepSeen] = []

    async def run() -> tuple[Any, Any]:
        async with remote_bench(server, tmp_path) as there:
            far = await there.build(there.request(context), seen.append)
            assert "told" in far[1].log.read_text()
        async with open_bench(tmp_path / "here") as here:
            return far, await here.build(here.request(context))

    far, near = asyncio.run(run())
    assert far[0].digest == near[0].digest
    assert image_of(far).files() == image_of(near).files()
    assert any(step.done and "RUN echo made" in step.name for step in seen)
    assert traces(server.state, tmp_path) == []


@pytest.mark.disk
def test_what_a_build_used_is_told_without_what_it_wrote(server: Sshd, tmp_path: Path) -> None:
    writes = "RUN busybox dd if=/dev/zero of=/file bs=1M count=150 2>/dev/null; busybox sleep 0.5\n"
    needs = "RUN busybox dd if=/dev/zero of=/dev/null bs=40M count=1 2>/dev/null\n"
    context = write_context(tmp_path / "context", SHELL + writes + needs)

    async def run() -> tuple[Usage, Usage]:
        async with remote_bench(server, tmp_path) as there:
            before = await there.compute.usage(there.runner)
            await there.build(there.request(context))
            return before, await there.compute.usage(there.runner)

    before, after = asyncio.run(run())
    assert before.peak_memory is not None
    assert after.peak_memory is not None
    assert before.peak_memory < 10_000_000
    assert 40_000_000 < after.peak_memory < 120_000_000
    assert before.cpu_seconds is not None
    assert after.cpu_seconds is not None
    assert 0 <= before.cpu_seconds < after.cpu_seconds < 20


def test_what_the_kernel_kills_in_a_step_is_counted_there_too(server: Sshd, tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", SHELL + SWALLOWED)

    async def run() -> tuple[int | None, int | None]:
        async with remote_bench(server, tmp_path) as there:
            before = await there.compute.usage(there.runner)
            await there.build(there.request(context, tier=Tier(2, 0.06, 30)))
            return before.oom_kills, (await there.compute.usage(there.runner)).oom_kills

    assert asyncio.run(run()) == (0, 1)


def test_a_build_that_fails_says_the_same(server: Sshd, tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", SHELL + "RUN echo broken; exit 7\n")

    async def run() -> None:
        async with remote_bench(server, tmp_path) as there:
            with pytest.raises(LianError, match="build-failed") as raised:
                await there.build(there.request(context))
            problem = raised.value.problems[0]
            assert "exit code 7" in problem.message
            assert "broken" in str(problem.cause)

    asyncio.run(run())


def test_what_is_sent_is_exactly_the_folder(server: Sshd, tmp_path: Path) -> None:
    """Equal sizes and times hide nothing, modes count, links lead nowhere, and what was sent before does not stay."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / "below").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("of the machine")

    def write(content: str, mode: int) -> None:
        (folder / "below/file").write_text(content)
        (folder / "below/file").chmod(mode)
        os.utime(folder / "below/file", ns=(10**18 + 7, 10**18 + 7))

    async def send() -> Path:
        async with remote_bench(server, tmp_path) as there:
            assert there.runner.machine is not None
            async with there.runner.machine.workplace(there.runner.scratch) as place:
                sent = await place.send(folder, "shop/api context")
                found = sent / "below/file"
                told.append((found.read_text(), stat.S_IMODE(found.stat().st_mode), found.stat().st_mtime_ns))
                names.append(sorted(str(path.relative_to(sent)) for path in sent.rglob("*")))
                return sent

    told: list[tuple[str, int, int]] = []
    names: list[list[str]] = []
    write("one", 0o640)
    (folder / "way").symlink_to(outside)
    (folder / "old").write_text("x")
    asyncio.run(send())
    write("two", 0o755)
    (folder / "old").unlink()
    (folder / "way").unlink()
    (folder / "way").mkdir()
    (folder / "way" / "secret").write_text("mine")
    asyncio.run(send())
    assert told == [("one", 0o640, 10**18 + 7), ("two", 0o755, 10**18 + 7)]
    assert names == [["below", "below/file", "old", "way"], ["below", "below/file", "way", "way/secret"]]
    assert (outside / "secret").read_text() == "of the machine"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_build_goes_on_while_its_connection_is_gone(server: Sshd, tmp_path: Path, number: signal.Signals) -> None:
    """Cut, or frozen: it is noticed within seconds, and read on from where it was."""
    word = f"2.{os.getpid()}"
    script = f"RUN for n in 1 2 3; do echo line-$n; done; busybox sleep {word}; for n in 4 5 6; do echo line-$n; done\n"
    context = write_context(tmp_path / "context", SHELL + script)
    stopped: list[int] = []

    async def run() -> str:
        async with remote_bench(server, tmp_path) as there:
            request = there.request(context)
            building = asyncio.create_task(there.build(request))
            await running(word)
            stopped.extend(server.sessions())
            server.cut(number)
            result = await building
            assert image_of(result).files()
            return request.log.read_text()

    try:
        log = asyncio.run(run())
    finally:
        for pid in stopped if number == signal.SIGSTOP else ():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue
    told = [line.partition(" ")[2] for line in log.splitlines()]
    assert [line for line in told if line.startswith("line-")] == [f"line-{n}" for n in range(1, 7)]


def test_a_build_nothing_can_reach_is_lost_only_when_it_has_ended(server: Sshd, tmp_path: Path) -> None:
    word = f"60.{os.getpid()}"
    context = write_context(tmp_path / "context", SHELL + f"RUN busybox sleep {word}\n")

    async def run() -> None:
        async with leasing_on(server, tmp_path, QUICK).rent(
            LeaseRequest("fleet", "pass", "kept", TIER, deadline=120.0)
        ) as runner:
            bench = Bench(tmp_path, leasing_on(server, tmp_path), BuildctlBuilder(Path("none")), runner)
            building = asyncio.create_task(bench.build(bench.request(context)))
            await running(word)
            server.stop()
            with pytest.raises(LianError, match="builder-lost"):
                await building
            assert with_argument(word) == []
            assert traces(server.state) == []
            server.start()

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_connection_that_breaks_while_a_context_is_sent_costs_nothing_but_time(server: Sshd, tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", SHELL + "COPY big /big\n")
    (context / "big").write_bytes(os.urandom(20_000_000))

    async def run() -> Any:
        async with remote_bench(server, tmp_path) as there:
            building = asyncio.create_task(there.build(there.request(context)))
            await until(lambda: bool(list((server.state / "leases/kept/contexts").rglob(".big.*"))))
            server.cut()
            return await building

    result = asyncio.run(run())
    assert image_of(result).files()["big"] == (context / "big").read_bytes()
    assert traces(server.state, tmp_path) == []


def test_many_folders_at_once_get_no_more_channels_than_a_connection_has(server: Sshd, tmp_path: Path) -> None:
    folders = [tmp_path / f"folder-{n}" for n in range(20)]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text(folder.name)

    async def run() -> list[str]:
        async with remote_bench(server, tmp_path) as there:
            assert there.runner.machine is not None
            async with there.runner.machine.workplace(there.runner.scratch) as place:
                sent = await asyncio.gather(*(place.send(folder, folder.name) for folder in folders))
                return [(folder / "file").read_text() for folder in sent]

    assert asyncio.run(run()) == [folder.name for folder in folders]
    assert "no more sessions" not in (server.folder / "log").read_text()


@pytest.mark.parametrize("deadline", [120.0, 3.0])
def test_an_rsync_that_is_killed_there_is_not_tried_for_ever(server: Sshd, tmp_path: Path, deadline: float) -> None:
    """As for want of memory, each time; or it does nothing at all."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/rsync").write_text(f"#!/bin/sh\n{'kill -9 $$' if deadline > 60 else 'exec sleep 60.5'}\n")
    (tmp_path / "bad/rsync").chmod(0o755)
    server.stop()
    server.path = f"{tmp_path / 'bad'}{os.pathsep}{server.found}"
    server.start()
    context = write_context(tmp_path / "context", "FROM scratch\nCOPY Dockerfile /\n", busybox=False)

    async def run() -> tuple[str, str]:
        async with remote_bench(server, tmp_path) as there:
            with pytest.raises(LianError) as raised:
                async with asyncio.timeout(15):
                    await there.build(there.request(context, deadline=deadline))
            problem = raised.value.problems[0]
            return problem.code, f"{problem.message}: {problem.cause}"

    code, told = asyncio.run(run())
    assert code == ("not-sent" if deadline > 60 else "build-timeout")
    assert ("KILL" if deadline > 60 else "sent") in told
    assert traces(server.state, tmp_path) == []


def test_the_way_outside_of_a_machine_is_its_builders_and_its_clients(server: Sshd, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("buildkitd", "buildctl"):
        told = f'case "$*" in --version | *debug*) ;; *) env >>{own}/{name}.told ;; esac'  # not the supervisor's own
        (own / name).write_text(f'#!/bin/sh\n{told}\nPATH={server.found}\nexec {name} "$@"\n')
        (own / name).chmod(0o755)
    server.stop()
    server.path = f"{own}{os.pathsep}{server.found}"
    server.environ = "https_proxy=told no_proxy=told HTTP_PROXY=told SECRET=told"
    server.start()
    context = write_context(tmp_path / "context", "FROM scratch\nCOPY Dockerfile /\n", busybox=False)

    async def run() -> None:
        async with remote_bench(server, tmp_path) as there:
            await there.build(there.request(context))

    asyncio.run(run())
    for name in ("buildkitd", "buildctl"):
        lines = (own / f"{name}.told").read_text().splitlines()
        found = {line.removesuffix("=told") for line in lines if line.endswith("=told")}
        assert found == {"https_proxy", "no_proxy", "HTTP_PROXY"}


def test_a_cancelled_build_has_ended_there(server: Sshd, tmp_path: Path) -> None:
    word = f"70.{os.getpid()}"
    context = write_context(tmp_path / "context", SHELL + f"RUN busybox sleep {word}\n")

    async def run() -> None:
        async with remote_bench(server, tmp_path) as there:
            building = asyncio.create_task(there.build(there.request(context)))
            await running(word)
            building.cancel()
            with pytest.raises(asyncio.CancelledError):
                await building
            assert with_argument(word) == []
            assert list((server.state / "leases/kept/builds").iterdir()) == []

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_full_disk_is_said_to_be_one(server: Sshd, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", server.state], check=True)
    try:
        context = write_context(tmp_path / "context", SHELL + "COPY big /big\n")
        (context / "big").write_bytes(os.urandom(70_000_000))

        async def run() -> None:
            async with remote_bench(server, tmp_path) as there:
                with pytest.raises(LianError) as raised:
                    await there.build(there.request(context))
                assert raised.value.problems[0].code == "disk-full"

        asyncio.run(run())
        assert [line for line in traces(server.state, tmp_path) if line != f"mount {server.state}"] == []
    finally:
        subprocess.run(["umount", "--lazy", server.state], check=True)


def test_what_was_sent_stays_for_the_next_lease_of_the_fleet_alone(server: Sshd, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("sent")

    async def send(fleet: str) -> int:
        async with remote_bench(server, tmp_path, fleet=fleet) as there:
            assert there.runner.machine is not None
            async with there.runner.machine.workplace(there.runner.scratch) as place:
                return ((await place.send(folder, "shop/api context")) / "file").stat().st_ino

    first, second, other = (asyncio.run(send(fleet)) for fleet in ("fleet", "fleet", "another"))
    assert first == second != other
    assert len(list((server.state / "contexts").iterdir())) == 2
    assert stat.S_IMODE((server.state / "contexts").stat().st_mode) == 0o700
    assert traces(server.state, tmp_path) == []


def test_what_stays_goes_by_age_and_by_size(tmp_path: Path) -> None:
    """The oldest first; and who looks after it ends when nothing is left."""
    state, text = tmp_path / "state", script.text().replace("CONTEXT_KILOBYTES=4194304", "CONTEXT_KILOBYTES=300")
    for minutes, name in enumerate(("newest", "newer", "old", "expired")):
        tree = state / "contexts" / name / "tree"
        tree.mkdir(parents=True)
        (tree / "file").write_bytes(os.urandom(120_000))
        moment = time.time() - 60 * (61 if name == "expired" else minutes)
        os.utime(tree.parent, (moment, moment))
    looking = subprocess.Popen(["sh", "-c", text.replace("sleep 60", "sleep 0.1"), "lian", "tidy", str(state)])
    try:
        wait_until(lambda: sorted(path.name for path in (state / "contexts").iterdir()) == ["newer", "newest"])
        for name in ("newer", "newest"):
            os.utime(state / "contexts" / name, (0, 0))
        assert looking.wait(timeout=20) == 0
    finally:
        looking.kill()
    assert list(state.iterdir()) == []
