"""A Docker of the tests' own, started by hand: its data, its sockets and its containers are in a folder and in
namespaces of its own, so that one SIGKILL ends all of it and no mount is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from reconciler.providers.compute.processes import with_argument
from tests import programs
from tests.servers.running import spawn, usable

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 30.0
_NAMESPACES = "unshare --mount --pid --fork --kill-child=KILL --mount-proc --propagation private"
_AS_A_SERVICE = 'mount -t tmpfs none /run && while :; do "$@"; sleep 0.1; done'
"""What ends is started again, as an init would; where containerd has sockets of its own is nobody else's."""
_NO_NETWORK = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
    "--userland-proxy=false",
)
"""Nothing of the machine's is changed: containers here use its network, or none."""


@dataclass(frozen=True)
class DockerServer:
    """A running Docker. `host` is its address as DOCKER_HOST has it."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.folder / "sock"

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    def run(self, *words: str, check: bool = True) -> str:
        """The output of Docker's own client."""
        client = usable(programs.find("docker"))
        done = subprocess.run(
            [client, "--host", self.host, *words], capture_output=True, text=True, check=False, timeout=60
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, path: str) -> httpx.Response:
        """An answer of its API. Docker's own client takes twenty times as long to start."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=60, trust_env=False) as client:
            return client.get(f"http://docker{path}").raise_for_status()

    def containers(self) -> list[str]:
        """The names of all, running or not."""
        return [name.removeprefix("/") for one in self.ask("/containers/json?all=true").json() for name in one["Names"]]

    def left(self) -> list[str]:
        """All that a lease may have here, and whoever else."""
        volumes = [volume["Name"] for volume in self.ask("/volumes").json()["Volumes"] or []]
        return [*(f"container {name}" for name in self.containers()), *(f"volume {name}" for name in volumes)]

    def restart(self) -> None:
        """Kill the daemon as a crash would; it is started again, and its containers have lived on meanwhile."""
        for pid in with_argument(f"--pidfile={self.folder / 'pid'}"):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd":
                os.kill(pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        end = time.monotonic() + START_SECONDS
        client = usable(programs.find("docker"))
        while subprocess.run([client, "--host", self.host, "ps"], capture_output=True, check=False).returncode:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-5000:]


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerServer]:
    """One for all tests of this process, who leave it as they have found it."""
    with run_docker(tmp_path_factory.mktemp("docker")) as server:
        yield server


@contextlib.contextmanager
def run_docker(folder: Path, data: Path | None = None) -> Iterator[DockerServer]:
    """It answers when it is yielded. Its data goes with it, unless it is elsewhere."""
    found = [usable(programs.find(name)) for name in programs.DOCKER]
    group = f"lian-docker-{os.getpid()}-{folder.name}"
    command = [
        *_NAMESPACES.split(),
        *("sh", "-c", _AS_A_SERVICE, "sh"),
        str(found[0]),
        f"--data-root={data or folder / 'data'}",
        "--exec-root=/run/docker",
        f"--pidfile={folder / 'pid'}",
        f"--host=unix://{folder / 'sock'}",
        f"--cgroup-parent=/{group}",
        *_NO_NETWORK,
    ]
    path = ":".join([*dict.fromkeys(str(path.parent) for path in found), os.environ["PATH"]])
    server = DockerServer(folder, spawn(command, folder / "log", {"PATH": path}))
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        _remove(folder, group)


def _remove(folder: Path, group: str) -> None:
    """Its processes may need a moment until the kernel has let go of what they had."""
    end = time.monotonic() + 10
    while True:
        try:
            for path in Path("/sys/fs/cgroup").glob(f"**/{group}"):
                for below, _, _ in os.walk(path, topdown=False):
                    Path(below).rmdir()
            if (folder / "data").exists():
                shutil.rmtree(folder / "data")
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
