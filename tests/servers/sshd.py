"""OpenSSH's server as a process of the test's own: on a free port, with keys of its own, in a network of its own where
one may be made, otherwise on the loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from reconciler.model.host import Host
from reconciler.providers.builder.binaries import find_part, locate
from reconciler.providers.compute.processes import kill_and_wait, with_argument
from reconciler.providers.compute.ssh import script
from tests import programs
from tests.needs import not_run
from tests.servers.network import Network
from tests.servers.running import log_text, spawn, usable

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 20.0
_APART = (
    *("unshare", "--mount", "--propagation", "slave"),
    *("sh", "-c", f'mount -t tmpfs -o mode=700 none {script.STATE} && exec "$@"', "sh"),
)
# bash reads the user's own .bashrc when sshd starts it at the outermost level; what that does is no part of a test
_CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
{more}
"""


def _network() -> Network | None:
    try:
        return Network()
    except OSError:
        return None  # a test tells


@dataclass
class Sshd:
    """A running server. `state` is a folder for the leases on its machine, with a short name."""

    folder: Path
    state: Path
    port: int = 0
    path: str = ""
    """Where its sessions look for programs; empty for where lian's parts are, too."""
    apart: bool = False
    """Whether its machine has a folder of leases of its own at the place that lian takes by default."""
    environ: str = ""
    """More variables of its sessions: `NAME=value …`."""
    more: str = ""
    """More lines of its configuration."""
    network: Network | None = field(default_factory=_network)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def key(self) -> Path:
        """The private key of who may log in."""
        return self.folder / "user_key"

    @property
    def host(self) -> Host:
        """As settings name it."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return Host("127.0.0.1", self.port, "root", f"{kind} {key}")

    def sessions(self) -> list[int]:
        """The processes that serve connections."""
        assert self.process is not None
        return descendants(self.process.pid)

    def cut(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Do this to all sessions' own processes, not to what they started."""
        for pid in self.sessions():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, number)

    def start(self) -> None:
        """Ready when this returns. It takes the port it had before."""
        log = self.folder / "log"
        for _ in range(5):
            port = self.network.way_in(self.port) if self.network else self.port or _free_port()
            config = self.folder / "config"
            more = f'SetEnv PATH="{self.found}" SHLVL=1 {self.environ}\n{_parts()}{self.more}'
            config.write_text(_CONFIG.format(port=port, folder=self.folder, more=more))
            place = [*(self.network.entering if self.network else ()), *(_APART if self.apart else ())]
            self.process = spawn([*place, _sshd(), "-D", "-e", "-f", config], log, {})
            if _serves(self.process, port):
                self.port = port
                return
            self.stop()
        raise RuntimeError(f"sshd did not start:\n{log_text(log)}")

    def reaches(self, port: int) -> None:
        """From its machine, too, this port of the loopback leads to who listens there on ours."""
        if self.network is not None:
            self.network.way_out(port)

    @property
    def seen(self) -> Path:
        """The state folder as it is seen from here."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.state}") if self.apart else self.state

    def stop(self) -> None:
        """It, and all connections; what runs on the machine goes on."""
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait()
            self.process = None  # its number may become another's
        if self.network is not None:
            self.network.close()

    @property
    def found(self) -> str:
        """The search path of its sessions."""
        if self.path:
            return self.path
        parts = [str(part.parent) for name in ("buildkitd", "runc") if (part := find_part(name))]
        return os.pathsep.join([*dict.fromkeys([*parts, "/usr/sbin", "/usr/bin", "/sbin", "/bin"])])


def descendants(pid: int) -> list[int]:
    """All processes below one, nearest first."""
    found, look = [], [pid]
    while look:
        parent = look.pop(0)
        with contextlib.suppress(OSError):
            children = [
                int(p) for t in Path(f"/proc/{parent}/task").iterdir() for p in (t / "children").read_text().split()
            ]
            found += children
            look += children
    return found


@contextlib.contextmanager
def machine(folder: Path, *, network: bool = True) -> Iterator[Sshd]:
    """A server whose machine is a mount namespace: all leases that lian's command has there are this test's. It ends
    with all that runs in it. Without a `network` of its own its bytes go no way that this process passes them on."""
    Path(script.STATE).mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Sshd(_furnished(folder), Path(script.STATE), apart=True, network=_network() if network else None)
    server.start()
    assert server.process is not None
    namespace = _namespace(server.process.pid)
    try:
        yield server
    finally:
        _end_leases(server.state, server.seen, "nsenter", "--mount", "--target", str(server.process.pid))
        server.stop()
        others = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        kill_and_wait([pid for pid in others if _namespace(pid) == namespace], START_SECONDS)


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return None  # it has ended


@contextlib.contextmanager
def sshd_server(folder: Path, path: str = "") -> Iterator[Sshd]:
    """A server with keys of its own; nothing of it is left after the block, nor any lease in its state folder."""
    _furnished(folder)
    state = Path(tempfile.mkdtemp(prefix="lian-ssh-"))
    server = Sshd(folder, state, path=path)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        _end_leases(state, state)
        kill_and_wait(with_argument(f"{state}/tidy"), START_SECONDS)
        shutil.rmtree(state, ignore_errors=True)


def _furnished(folder: Path) -> Path:
    """With keys, and who may log in by them."""
    folder.mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key"):
        key = asyncssh.generate_private_key("ssh-ed25519", comment="test")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
        (folder / name).chmod(0o600)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    return folder


def _end_leases(state: Path, seen: Path, *within: str) -> None:
    """Whatever a failed test has left."""
    for _ in range(2):
        for lease in (seen / "leases").glob("[!.]*"):
            subprocess.run([*within, *script.command(str(state), "end", lease.name)], check=False)


def _serves(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.settimeout(2)
            if probe.recv(4) == b"SSH-":
                return process.poll() is None
        time.sleep(0.01)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@cache
def _sshd() -> Path:
    if (why := locate("rsync").why) is not None:
        not_run(why)
    return usable(programs.find("sshd"))


def _parts() -> str:
    """Newer releases start programs, which lie beside one that is not installed."""
    options = {"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"}
    beside = {option: _sshd().parent / name for option, name in options.items()}
    return "".join(f"{option} {path}\n" for option, path in beside.items() if path.exists())
