"""Compute `ssh` with real servers and real daemons: the contracts, and that a machine is clean whatever becomes of
lian."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from reconciler.model.host import Host
from reconciler.model.problem import LianError
from reconciler.model.tier import Tier
from reconciler.ports.compute import LeaseRequest, NothingRented, Runner
from reconciler.providers.compute.ssh.connection import Identity
from reconciler.providers.compute.ssh.machine import SshMachine
from reconciler.providers.compute.ssh.provider import SshCompute
from reconciler.record.leases import LeaseFiles
from tests.needs import not_run
from tests.ports.compute_suite import ComputeSuite, lease
from tests.ports.leasing import leasing_of
from tests.ports.provider_suite import MOMENT, ProviderSuite, rent, request
from tests.providers.compute.passes import wait_until
from tests.providers.compute.ssh_stands import QUICK, broken_path, compute_on, leasing_on, logging_path, traces
from tests.servers.sshd import Sshd, sshd_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reconciler.apply.leasing import Leasing

pytestmark = pytest.mark.buildkit

ROOT = Path(__file__).parents[3]
PATIENCE = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with sshd_server(tmp_path / "sshd") as server:
        yield server


class Broken:
    """A second server of the same machine, where no daemon becomes ready."""

    def __init__(self, server: Sshd) -> None:
        self._server = server
        self._other: Sshd | None = None

    def on(self, folder: Path) -> SshCompute:
        path = broken_path(self._server.folder / "broken", self._server.found)
        self._other = Sshd(self._server.folder, self._server.state, path=path)
        self._other.start()
        return compute_on(self._other, folder)

    def stop(self) -> None:
        if self._other is not None:
            self._other.stop()


class ProviderStand:
    """The provider alone."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.provider = compute_on(server, folder)
        self.broken = Broken(server)

    def other(self) -> SshCompute:
        return compute_on(self.server, self.folder)

    def failing(self) -> SshCompute:
        return self.broken.on(self.folder)

    def spoil(self, lease: str) -> None:
        (self.server.state / "leases" / lease / "lease.json").mkdir(parents=True)

    def left(self) -> Sequence[str]:
        return traces(self.server.state, self.folder)


class SshStand:
    """A pass on it."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.compute = leasing_on(server, folder)
        self.broken = Broken(server)

    def abandon(self, lease: str) -> None:
        """A kill in earnest is what tests below are for."""
        asyncio.run(left_behind(self.server, self.folder, lease))

    def spoil(self, lease: str) -> None:
        self.abandon(lease)
        record = self.server.state / "leases" / lease / "lease.json"
        record.unlink()
        record.mkdir()

    def failing(self) -> Leasing:
        return leasing_of(self.broken.on(self.folder), self.folder / "rented", name="Ssh")

    def left(self) -> Sequence[str]:
        return traces(self.server.state, self.folder)


async def left_behind(server: Sshd, folder: Path, lease: str) -> None:
    """What a pass that died leaves of a lease: its note, and on the machine a supervisor that waits to hear of it."""
    provider, wanted, ledger = compute_on(server, folder), request(lease), LeaseFiles(folder / "rented")
    await ledger.intend(wanted.at(MOMENT), "Ssh")
    runner = await rent(provider, wanted)
    assert isinstance(runner.machine, SshMachine)
    await runner.machine.close()
    await ledger.abandon(lease)


class OtherPass:
    """Another process that holds a lease, ready when this is made."""

    def __init__(
        self, server: Sshd, folder: Path, lease: str, silence: int = QUICK.silence, context: Path | None = None
    ) -> None:
        host = f"{server.host} {server.host.key}"
        words = [host, server.key, server.state, folder, lease, silence, *([context] if context else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.providers.compute.other_ssh_pass", *map(str, words)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if said != "ready\n":
            raise AssertionError(self.process.communicate()[1])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)


async def until(condition: Callable[[], bool], pause: float = 0.02) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells us but the machine
            await asyncio.sleep(pause)


class TestSshProvider(ProviderSuite):
    @pytest.fixture
    def stand(self, server: Sshd, tmp_path: Path) -> Iterator[ProviderStand]:
        stand = ProviderStand(server, tmp_path)
        yield stand
        stand.broken.stop()


class TestSshCompute(ComputeSuite):
    moments = (0.0, 0.1, 0.4)  # the provider's suite has all of them

    @pytest.fixture
    def stand(self, server: Sshd, tmp_path: Path) -> Iterator[SshStand]:
        stand = SshStand(server, tmp_path)
        yield stand
        stand.broken.stop()


def problem_of(provider: SshCompute) -> tuple[str, str]:
    """Of a rent that fails: its code, and message with cause. What may be left of it is given back."""

    async def run() -> None:
        try:
            await rent(provider, request())
        except NothingRented:
            raise
        except LianError:
            await provider.give_back("lease-1")
            raise

    with pytest.raises(LianError) as raised:
        asyncio.run(run())
    problem = raised.value.problems[0]
    return problem.code, f"{problem.message}: {problem.cause}"


def test_a_host_with_another_key_is_not_spoken_to(server: Sshd, tmp_path: Path) -> None:
    kind, key, *_ = (server.folder / "user_key.pub").read_text().split()
    host = Host("127.0.0.1", server.port, "root", f"{kind} {key}")
    code, _ = problem_of(SshCompute([host], Identity(server.key), tmp_path / "scratch", str(server.state)))
    assert code == "host-key-wrong"
    assert "Accepted" not in (server.folder / "log").read_text()


def test_a_host_whose_key_is_not_known_is_not_spoken_to(server: Sshd, tmp_path: Path) -> None:
    host = Host("127.0.0.1", server.port, "root")
    code, _ = problem_of(SshCompute([host], Identity(server.key), tmp_path / "scratch", str(server.state)))
    assert code == "host-key-missing"
    assert "Connection from" not in (server.folder / "log").read_text()


def test_the_server_is_in_a_network_of_its_own(server: Sshd, tmp_path: Path) -> None:
    """Or it is said that it is not."""
    assert asyncio.run(compute_on(server, tmp_path).describe("never")) is None
    assert server.process is not None
    if server.network is None:
        not_run("no network namespace may be made here, so servers are on the loopback", optional=True)
    assert Path(f"/proc/{server.process.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_what_is_no_host_key_is_told_as_what_it_is(server: Sshd, tmp_path: Path) -> None:
    host = Host("127.0.0.1", server.port, "root", "ssh-ed25519 AAAAC3Nz")
    code, message = problem_of(SshCompute([host], Identity(server.key), tmp_path / "scratch", str(server.state)))
    assert (code, "host key of root@127.0.0.1" in message) == ("host-key-missing", True)


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256"])
def test_the_key_that_is_named_is_the_one_that_is_asked_for(server: Sshd, tmp_path: Path, kind: str) -> None:
    """Of all that the host has."""
    server.stop()
    other = asyncssh.generate_private_key(kind)
    other.write_private_key(server.folder / "other_key")
    (server.folder / "other_key").chmod(0o600)
    server.more = f"HostKey {server.folder}/other_key"
    server.start()
    key = " ".join(other.export_public_key().decode().split()[:2])
    host = Host("127.0.0.1", server.port, "root", key)
    provider = SshCompute([host], Identity(server.key), tmp_path / "scratch", str(server.state))
    assert asyncio.run(provider.describe("never")) is None


def test_nothing_of_the_users_configuration_counts(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither who is known to it, nor which authorities are trusted, nor how connections are made."""
    own = tmp_path / ".ssh"
    (own / "crt").mkdir(parents=True)
    wrong = (server.folder / "user_key.pub").read_text()
    (own / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {wrong}")
    (own / "config").write_text("Host *\n  User nobody\n  ProxyCommand false\n  HostKeyAlgorithms ssh-rsa\n")
    (own / "ca-bundle.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert asyncio.run(compute_on(server, tmp_path).describe("never")) is None


def test_without_rsync_here_nothing_is_rented(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, message = problem_of(compute_on(server, tmp_path))
    assert (code, "rsync" in message) == ("compute-unavailable", True)


def test_who_is_not_let_in_is_told_so(server: Sshd, tmp_path: Path) -> None:
    (server.folder / "authorized_keys").write_text("")
    code, message = problem_of(compute_on(server, tmp_path))
    assert (code, str(server.host) in message) == ("login-refused", True)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN OPENSSH PRIVATE KEY-----\nno\n"])
def test_a_key_that_is_none_is_told_so(server: Sshd, tmp_path: Path, content: str | None) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    provider = SshCompute([server.host], Identity(key), tmp_path / "scratch", str(server.state))
    code, message = problem_of(provider)
    assert (code, str(key) in message) == ("ssh-key-unusable", True)


def test_without_any_key_nothing_is_tried(server: Sshd, tmp_path: Path) -> None:
    code, _ = problem_of(SshCompute([server.host], Identity(), tmp_path / "scratch", str(server.state)))
    assert code == "ssh-key-unusable"


def test_a_host_that_does_not_listen_is_told(server: Sshd, tmp_path: Path) -> None:
    server.stop()
    code, message = problem_of(compute_on(server, tmp_path))
    assert (code, str(server.host) in message) == ("host-unreachable", True)


@pytest.mark.parametrize("hosts", [1, 2], ids=["the only one", "one of two"])
def test_hosts_that_cannot_be_reached_were_not_asked(server: Sshd, tmp_path: Path, hosts: int) -> None:
    """So nothing of the lease is left, here or there, that a sweep would have to reach them for."""
    server.stop()
    others = [Host("127.0.0.1", 1, "root", server.host.key)] * (hosts - 1)
    provider = SshCompute([server.host, *others], Identity(server.key), tmp_path / "scratch", str(server.state))
    with pytest.raises(NothingRented):
        asyncio.run(rent(provider, request()))
    assert not list(tmp_path.glob("scratch/*"))


def test_a_host_that_was_not_reached_when_the_pass_was_interrupted_was_not_asked(tmp_path: Path) -> None:
    """Nothing has to be returned there, and no later pass has to reach it for that."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(tmp_path / "key")
        (tmp_path / "key").chmod(0o600)
        public = " ".join(key.export_public_key().decode().split()[:2])
        host = Host("127.0.0.1", deaf.getsockname()[1], "root", public)
        provider = SshCompute([host], Identity(tmp_path / "key"), tmp_path / "scratch")
        leasing = leasing_of(provider, tmp_path / "rented")

        async def run() -> None:
            task = asyncio.create_task(leasing.rent(request()).__aenter__())
            connection = await asyncio.get_running_loop().run_in_executor(None, deaf.accept)
            task.cancel()
            await asyncio.wait({task})
            connection[0].close()
            assert task.cancelled()

        asyncio.run(asyncio.wait_for(run(), 20))
    assert asyncio.run(LeaseFiles(tmp_path / "rented").intents()) == []


def test_what_a_host_lacks_is_named_in_one_problem(server: Sshd, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sh", "id", "mkdir", "cat", "base64"):
        (bare / name).symlink_to(str(shutil.which(name)))
    other = Sshd(server.folder, server.state, path=str(bare))
    other.start()
    try:
        code, message = problem_of(compute_on(other, tmp_path))
    finally:
        other.stop()
    assert code == "compute-unavailable"
    assert "buildkitd, buildctl" in message
    assert traces(server.state, tmp_path) == []


def test_a_host_that_cannot_be_reached_is_never_an_empty_list(server: Sshd, tmp_path: Path) -> None:
    silent = Host("127.0.0.1", 1, "root", server.host.key)
    provider = SshCompute([server.host, silent], Identity(server.key), tmp_path / "scratch", str(server.state))

    async def run() -> None:
        await rent(provider, request())  # on the one that answers
        listed = await provider.owned_by("fleet")
        assert [rental.lease.name for rental in listed.rentals] == ["lease-1"]
        assert ["127.0.0.1:1" in str(problem) for problem in listed.problems] == [True]
        nowhere = SshCompute([silent], Identity(server.key), tmp_path / "nowhere", str(server.state))
        for ask in (nowhere.owned_by("fleet"), provider.describe("never"), SshCompute.give_back(provider, "never")):
            with pytest.raises(LianError) as raised:
                await ask
            assert "127.0.0.1:1" in f"{raised.value.problems[0].message}{raised.value.problems[0].cause}"
        assert await provider.describe("lease-1") is not None  # nobody else has it
        await provider.give_back("lease-1")

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_lease_goes_to_the_host_with_the_fewest(server: Sshd, tmp_path: Path) -> None:
    with sshd_server(tmp_path / "second") as second:
        second.state.rmdir()
        second.state.symlink_to(tmp_path / "elsewhere")  # two hosts, one name for their folders
        (tmp_path / "elsewhere").mkdir()

        async def run() -> list[str]:
            provider = SshCompute([server.host, second.host], Identity(server.key), tmp_path / "s", str(server.state))
            (second.folder / "authorized_keys").write_text((server.folder / "authorized_keys").read_text())
            names = ["one", "two"]
            try:
                runners = await asyncio.gather(*(rent(provider, request(name)) for name in names))
                return [str(runner.machine.host) for runner in runners if runner.machine]  # type: ignore[attr-defined]
            finally:
                for name in names:
                    await provider.give_back(name)

        assert set(asyncio.run(run())) == {str(server.host), str(second.host)}
        second.state.unlink()


def test_many_at_once_are_not_turned_away(server: Sshd, tmp_path: Path) -> None:
    """sshd drops some of those that begin to log in while ten others do."""
    provider, names = compute_on(server, tmp_path), [f"lease-{n}" for n in range(12)]

    async def run() -> None:
        try:
            await asyncio.gather(*(provider.describe("never") for _ in range(40)))
            await asyncio.gather(*(rent(provider, request(name)) for name in names))
        finally:
            await asyncio.gather(*(provider.give_back(name) for name in names), return_exceptions=True)

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_start_that_is_still_connecting_is_not_waited_for(server: Sshd, tmp_path: Path) -> None:
    provider = compute_on(server, tmp_path)

    async def run() -> float:
        renting = asyncio.create_task(rent(provider, request()))
        await asyncio.sleep(0.5)
        renting.cancel()
        began = time.monotonic()
        await provider.give_back("lease-1")
        return time.monotonic() - began

    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert asyncio.run(run()) < 5.0
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert traces(server.state, tmp_path) == []


def test_a_name_for_which_nothing_was_rented_is_free_again(server: Sshd, tmp_path: Path) -> None:
    provider = compute_on(server, tmp_path)

    async def run() -> Runner:
        for turns in range(1, 6):  # of the loop, before a connection can stand
            renting = asyncio.create_task(rent(provider, request()))
            for _ in range(turns):
                await asyncio.sleep(0)
            renting.cancel()
            with pytest.raises((NothingRented, asyncio.CancelledError)):
                await renting
        try:
            return await rent(provider, request())
        finally:
            await provider.give_back("lease-1")

    assert asyncio.run(run()).lease == "lease-1"
    assert traces(server.state, tmp_path) == []


@pytest.mark.parametrize("patience", [0.0, 0.5])
def test_a_return_that_is_cut_off_leaves_nothing_that_is_kept_alive(
    server: Sshd, tmp_path: Path, patience: float
) -> None:
    """While the daemon starts: the lease ends by itself, and returning it again finishes what was begun."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "buildkitd").write_text(f'#!/bin/sh\nsleep 1\nPATH={server.found}\nexec buildkitd "$@"\n')
    (slow / "buildkitd").chmod(0o755)
    server.stop()
    server.path = f"{slow}{os.pathsep}{server.found}"
    server.start()

    async def run() -> None:
        provider = compute_on(server, tmp_path, QUICK)
        renting = asyncio.create_task(rent(provider, request()))
        await until((server.state / "leases/lease-1/daemon").exists)
        renting.cancel()
        returning = asyncio.create_task(provider.give_back("lease-1"))
        await asyncio.sleep(patience)
        returning.cancel()
        await asyncio.wait({returning})
        if patience:
            await until(lambda: traces(server.state) == [], pause=0.2)
            assert [task for task in asyncio.all_tasks() if task.get_name().startswith("heartbeat")] == []
        await provider.give_back("lease-1")

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_what_lian_is_not_heard_of_ends_by_itself(server: Sshd, tmp_path: Path) -> None:
    other = OtherPass(server, tmp_path, "kept")
    assert traces(server.state)
    began = time.monotonic()
    other.kill()
    wait_until(lambda: traces(server.state) == [], pause=0.05)
    assert QUICK.silence - 2 < time.monotonic() - began < QUICK.silence + QUICK.slack


def test_a_lease_ends_at_its_deadline_though_lian_lives(server: Sshd, tmp_path: Path) -> None:
    provider = compute_on(server, tmp_path)
    wanted = LeaseRequest("fleet", "pass-1", "lease-1", Tier(2, 1.0, 30), deadline=2.0)

    async def run() -> None:
        await rent(provider, wanted)
        await until(lambda: not traces(server.state), pause=0.05)
        assert await provider.describe("lease-1") is None
        await provider.give_back("lease-1")

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_supervisor_that_was_killed_takes_its_daemon_with_it(server: Sshd, tmp_path: Path) -> None:
    """What it leaves is listed, and goes back; and nobody is heard for a lease that nothing owns any more."""

    async def run() -> None:
        provider = compute_on(server, tmp_path, QUICK)
        await rent(provider, request())
        pid = int((server.state / "leases/lease-1/pid").read_text())
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(line.startswith("process") for line in traces(server.state)), pause=0.05)
        rental = await provider.describe("lease-1")
        assert rental is not None
        assert rental.state == "ended"
        await provider.give_back("lease-1")

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_daemon_that_died_is_told(server: Sshd, tmp_path: Path) -> None:
    async def run() -> None:
        provider = compute_on(server, tmp_path)
        await rent(provider, request())
        os.kill(int((server.state / "leases/lease-1/daemon").read_text()), signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while True:
                rental = await provider.describe("lease-1")
                assert rental is not None
                if rental.state == "ended":
                    break
        await provider.give_back("lease-1")

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_a_number_that_became_another_leases_is_not_killed(server: Sshd, tmp_path: Path) -> None:
    async def run() -> None:
        provider = compute_on(server, tmp_path)
        await rent(provider, request("good"))
        gone = server.state / "leases" / "dead"
        gone.mkdir()
        shutil.copy(server.state / "leases/good/pid", gone / "pid")
        listed = await provider.describe("dead")
        assert listed is not None
        assert listed.state == "ended"
        await provider.give_back("dead")
        living = await provider.describe("good")
        assert living is not None
        assert living.state == "ready"
        await provider.give_back("good")

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []


def test_who_looks_for_a_leases_processes_is_not_one_of_them(server: Sshd, tmp_path: Path) -> None:
    """What names a file of the lease on its command line is killed at its end."""
    told = tmp_path / "told"
    server.stop()
    server.path = f"{logging_path(tmp_path / 'logging', 'grep', told)}{os.pathsep}{server.found}"
    server.start()

    async def run() -> None:
        provider = compute_on(server, tmp_path)
        await rent(provider, request())
        await provider.describe("lease-1")
        await provider.give_back("lease-1")

    asyncio.run(run())
    assert told.read_text()
    assert str(server.state) not in told.read_text()


def test_two_passes_do_not_get_one_lease(server: Sshd, tmp_path: Path) -> None:
    async def run() -> None:
        async with leasing_on(server, tmp_path).rent(lease("kept")):
            other = compute_on(server, tmp_path)
            with pytest.raises(LianError, match="lease-taken"):
                await rent(other, request("kept"))
            await other.give_back("kept")
            rental = await other.describe("kept")
            assert rental is not None
            assert rental.state == "ready"

    asyncio.run(run())
    assert traces(server.state, tmp_path) == []
