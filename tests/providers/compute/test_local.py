"""Compute `local` with real daemons: the port's contract, and that nothing outlives lian whatever ends it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.model.tier import Tier
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.compute.lease_folders import MAX_SOCKET_PATH, LeaseFolders
from reconciler.providers.compute.local import LocalCompute
from reconciler.providers.compute.processes import with_argument
from tests.ports.compute_suite import ComputeSuite, lease
from tests.ports.leasing import leasing_of, without_trouble
from tests.ports.provider_suite import ProviderSuite
from tests.providers.compute.passes import PATIENCE, ROOT, OtherPass, wait_until
from tests.providers.compute.traces import processes_of, traces
from tests.providers.workshop import SHELL, SWALLOWED, ledger_of, local_compute, open_bench, write_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.apply.leasing import Leasing
    from reconciler.ports.compute import Usage

pytestmark = pytest.mark.buildkit


def failing(state: Path) -> LocalCompute:
    """Its daemons end at once."""
    return LocalCompute(lambda name: Path("/bin/false") if name == "buildkitd" else find_part(name), state)


class LocalStand:
    """This machine, with a state folder of the test's own and lease names that no other test has."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.compute = local_compute(self.state)

    def abandon(self, lease: str) -> None:
        other = OtherPass(self.state, lease)
        other.kill()

    def spoil(self, lease: str) -> None:
        """A record that cannot even be opened."""
        self.abandon(lease)
        record = self.state / lease / "lease.json"
        record.unlink()
        record.mkdir()

    def failing(self) -> Leasing:
        return leasing_of(failing(self.state), ledger_of(self.state), name="local")

    def left(self) -> Sequence[str]:
        return traces(self.state)


class ProviderStand:
    """The provider alone."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.provider = LocalCompute(find_part, self.state)

    def other(self) -> LocalCompute:
        return LocalCompute(find_part, self.state)

    def failing(self) -> LocalCompute:
        return failing(self.state)

    def spoil(self, lease: str) -> None:
        (self.state / lease / "lease.json").mkdir(parents=True)

    def left(self) -> Sequence[str]:
        return traces(self.state)


class TestLocalProvider(ProviderSuite):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> ProviderStand:
        return ProviderStand(tmp_path)


class TestLocalCompute(ComputeSuite):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path)


def test_a_lease_says_who_owns_it_until_when(tmp_path: Path) -> None:
    async def run() -> dict[str, object]:
        async with local_compute(tmp_path).rent(lease("kept")) as runner:
            return dict(json.loads((runner.scratch.parent / "lease.json").read_text()))

    before = time.time()
    record = asyncio.run(run())
    assert (record["fleet"], record["pass"], record["lease"]) == ("fleet", "pass", "kept")
    assert isinstance(record["deadline"], float)
    assert before + 59 < record["deadline"] < time.time() + 61


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_lian_in_the_middle_of_a_build(tmp_path: Path, number: signal.Signals) -> None:
    context = write_context(tmp_path / "context", SHELL + f"RUN busybox sleep 7{os.getpid()}\n")
    state = tmp_path / "state"
    other = OtherPass(state, "mid-build", context)
    wait_until(lambda: with_argument(f"7{os.getpid()}"))
    other.kill(number)
    if number == signal.SIGKILL:
        # the kernel ends daemon and step; what is left are files and empty cgroups, for the sweep
        wait_until(lambda: not processes_of(state) and not with_argument(f"7{os.getpid()}"))
        assert without_trouble(asyncio.run(local_compute(state).sweep())) == ["mid-build"]
    assert with_argument(f"7{os.getpid()}") == []
    assert traces(state) == []


def test_the_sweep_ends_a_daemon_that_lost_its_owner(tmp_path: Path) -> None:
    """As if the owner had died in the moment before the kernel was told to end the daemon with it."""
    stand = LocalStand(tmp_path)
    stand.abandon("mid-build")
    folder = stand.state / "mid-build"
    daemon = find_part("buildkitd")
    assert daemon is not None
    orphan = subprocess.Popen(
        [daemon, f"--root={folder}/root", f"--addr=unix://{folder}/socket", "--config", f"{folder}/buildkitd.toml"],
        stderr=subprocess.DEVNULL,
    )
    mount = folder / "root" / "mounted"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", mount], check=True)
    assert without_trouble(asyncio.run(stand.compute.sweep())) == ["mid-build"]
    assert orphan.wait(timeout=PATIENCE) == -signal.SIGKILL
    assert traces(stand.state) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 7}', '{"lease": "dead"}', "\udcff"])
def test_what_nobody_noted_and_nothing_says_the_owner_of_is_swept(tmp_path: Path, content: str) -> None:
    """The folder is lian's alone."""
    stand = LocalStand(tmp_path)
    (stand.state / "dead").mkdir(parents=True)
    (stand.state / "dead" / "lease.json").write_text(content, errors="surrogateescape")
    (stand.state / "no-record").mkdir()
    assert without_trouble(asyncio.run(stand.compute.sweep())) == []
    assert without_trouble(asyncio.run(stand.compute.sweep("fleet"))) == ["dead", "no-record"]
    assert traces(stand.state) == []


def test_what_is_not_a_lease_is_not_touched(tmp_path: Path) -> None:
    stand = LocalStand(tmp_path)
    stand.state.mkdir()
    (stand.state / "Not a lease").mkdir()
    (stand.state / "file").write_text("mine")
    (stand.state / "link").symlink_to(tmp_path)
    assert without_trouble(asyncio.run(stand.compute.sweep("fleet"))) == []
    assert {entry.name for entry in stand.state.iterdir()} >= {"Not a lease", "file", "link"}


def test_files_under_a_mount_are_not_removed_with_the_lease(tmp_path: Path) -> None:
    """A sweep unmounts first; what was mounted keeps its files."""
    stand = LocalStand(tmp_path)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (stand.state / "dead" / "root").mkdir(parents=True)
    subprocess.run(["mount", "--bind", precious, stand.state / "dead" / "root"], check=True)
    assert without_trouble(asyncio.run(stand.compute.sweep("fleet"))) == ["dead"]
    assert (precious / "file").read_text() == "kept"


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a" * 41, "-a", "a\n"])
def test_no_other_name_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a lease's name"):
        LeaseFolders(tmp_path, tmp_path).folder(name)


def test_two_state_folders_share_nothing_but_the_name(tmp_path: Path) -> None:
    one, two = (LeaseFolders(tmp_path / name, tmp_path).folder("same") for name in ("one", "two"))
    assert one.cgroup != two.cgroup
    assert one.link != two.link


def test_only_a_long_path_needs_a_link(tmp_path: Path) -> None:
    short = LeaseFolders(Path("/s"), tmp_path).folder("x")
    assert (short.needs_link, str(short.socket)) == (False, "/s/x/socket")
    deep = LeaseFolders(Path("/" + "d" * MAX_SOCKET_PATH), Path("/run/lian")).folder("x")
    assert deep.needs_link
    assert deep.socket.parent.parent == Path("/run/lian")


def test_a_long_state_path_gets_a_short_way_to_the_socket(tmp_path: Path) -> None:
    state = tmp_path / ("deep-" * 20) / "state"

    async def run() -> int | None:
        async with local_compute(state).rent(lease("deep")) as runner:
            assert len(os.fsencode(runner.address.removeprefix("unix://"))) < 100
            asked = await asyncio.create_subprocess_exec(
                str(find_part("buildctl")), "--addr", runner.address, "debug", "workers", stdout=subprocess.DEVNULL
            )
            return await asked.wait()

    assert asyncio.run(run()) == 0
    assert traces(state) == []


def used_by(folder: Path, steps: str) -> tuple[Usage, Usage]:
    """What was used before and after a build of these steps."""
    context = write_context(folder / "context", SHELL + steps)

    async def run() -> tuple[Usage, Usage]:
        async with open_bench(folder / "bench") as bench:
            before = await bench.compute.usage(bench.runner)
            await bench.build(bench.request(context))
            return before, await bench.compute.usage(bench.runner)

    return asyncio.run(run())


def test_the_peak_memory_is_that_of_the_builds(tmp_path: Path) -> None:
    before, after = used_by(tmp_path, "RUN busybox dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null\n")
    assert before.peak_memory is not None
    assert after.peak_memory is not None
    assert before.peak_memory < 10_000_000
    assert 100_000_000 < after.peak_memory < 300_000_000


def test_what_the_kernel_kills_in_a_step_is_counted_though_the_step_goes_on(tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", SHELL + SWALLOWED)

    async def run() -> tuple[int | None, int | None]:
        async with open_bench(tmp_path / "bench") as bench:
            before = await bench.compute.usage(bench.runner)
            await bench.build(bench.request(context, tier=Tier(2, 0.06, 30)))
            return before.oom_kills, (await bench.compute.usage(bench.runner)).oom_kills

    assert asyncio.run(run()) == (0, 1)


@pytest.mark.disk
def test_what_a_build_writes_is_not_what_it_needs(tmp_path: Path) -> None:
    writes = "".join(f"RUN busybox dd if=/dev/zero of=/f{n} bs=1M count=150 2>/dev/null\n" for n in range(4))
    told = (used_by(tmp_path / str(n), writes)[1].peak_memory for n in range(3))
    # 600 MB are written; a busy machine may drop pages while nobody looks, and too much is told then
    assert any(peak is not None and peak < 300_000_000 for peak in told)


def test_the_processor_time_is_that_of_the_steps(tmp_path: Path) -> None:
    spin = 'RUN i=0; while [ "$i" -lt 400000 ]; do i=$((i+1)); done\n'
    before, after = used_by(tmp_path, spin + "RUN busybox sleep 1\n")
    assert before.cpu_seconds is not None
    assert after.cpu_seconds is not None
    assert before.cpu_seconds < 0.1
    assert 0.1 < after.cpu_seconds - before.cpu_seconds < 10


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    async def run() -> None:
        provider = LocalCompute(lambda name: find_part(name) if name == "buildctl" else None, tmp_path / "state")
        await provider.rent(lease(), lease().at(0.0))

    with pytest.raises(LianError) as raised:
        asyncio.run(run())
    problem = raised.value.problems[0]
    assert problem.code == "compute-unavailable"
    assert all(word in problem.message for word in ("root", "buildkitd", "runc"))
    assert "buildctl" not in problem.message
    assert not (tmp_path / "state").exists()


def test_a_machine_that_allows_no_namespaces_is_said_to(tmp_path: Path) -> None:
    caps = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    argv = [*caps, sys.executable, "-m", "tests.providers.compute.other_pass", str(tmp_path / "state"), "kept"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert "compute-unavailable: this machine does not let lian make the namespaces" in done.stderr
    assert traces(tmp_path / "state") == []


def test_a_state_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def run() -> None:
        await LocalCompute(find_part, tmp_path / "file" / "state").rent(lease(), lease().at(0.0))

    with pytest.raises(LianError, match="compute-unavailable"):
        asyncio.run(run())
