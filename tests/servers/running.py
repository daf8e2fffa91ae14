"""Registries as processes of their own: on a port of the loopback, answering when handed out, gone with the test."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.needs import not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.providers.builder.binaries import Located

USER = "tester"
PASSWORD = "correct horse"
START_SECONDS = 20.0
ATTEMPTS = 5

# bcrypt of PASSWORD, the only kind that registries accept; at the lowest cost, so that requests stay fast
_HTPASSWD = USER + ":$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"
_LISTENS = "0A"
"""State of a socket in /proc/net/tcp (Linux, include/net/tcp_states.h)."""


@dataclass(frozen=True)
class RegistryServer:
    """A running registry. `host` is `127.0.0.1:PORT`; `storage` holds its files; `log` its output."""

    host: str
    storage: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        return f"http://{self.host}"

    def stop(self) -> None:
        """End it at once, as a crash would; its storage stays."""
        self.process.kill()
        self.process.wait()


def usable(found: Located) -> Path:
    """The program's path; without a usable one the test ends as not run."""
    if found.path is None or found.why is not None:
        not_run(found.why or f"{found.name} is missing")
    return found.path


@contextlib.contextmanager
def running(
    folder: Path,
    command: Callable[[str], Sequence[str | Path]],
    port: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RegistryServer]:
    """A registry with its files below `folder`, which may hold those of an earlier one; ready when it is yielded.

    `command` writes its settings for the host it is to listen at and returns what is to be run. `port` 0 takes a free
    one: between finding and binding it another process may take it, then another one is tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = _start(folder, command, port, environment or {})
    try:
        yield server
    finally:
        server.stop()


def spawn(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills if the test process dies (PR_SET_PDEATHSIG).

    It gets PATH and `environment` only: registries take settings from variables. Its output goes into `log`, but for
    `stdout` if that is given (as subprocess.Popen takes it).
    """
    with log.open("wb") as sink:
        return subprocess.Popen(
            [_setpriv(), "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            env={"PATH": os.environ["PATH"], **environment},
        )


def becomes_ready(server: RegistryServer) -> bool:
    """Wait until this very process listens and answers; False when it ends before that."""
    port = int(server.host.rpartition(":")[2])
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if _listens(server.process.pid, port) and _answers(server.host):
            return True
        time.sleep(0.005)
    return False


def write_htpasswd(folder: Path) -> Path:
    """A file that lets USER in with PASSWORD."""
    path = folder / "htpasswd"
    path.write_text(_HTPASSWD, encoding="utf-8")
    return path


def log_text(log: Path) -> str:
    """What a server wrote so far."""
    return log.read_text(encoding="utf-8", errors="replace")


def _start(
    folder: Path, command: Callable[[str], Sequence[str | Path]], port: int, environment: Mapping[str, str]
) -> RegistryServer:
    log = folder / "log"
    for _ in range(ATTEMPTS):
        host = f"127.0.0.1:{port or _free_port()}"
        words = command(host)
        server = RegistryServer(host, folder / "storage", log, spawn(words, log, environment))
        if becomes_ready(server):
            return server
        server.stop()
        if "address already in use" not in log_text(log):
            break
    raise RuntimeError(f"{words[0]} did not start:\n{log_text(log)}")


def _listens(pid: int, port: int) -> bool:
    """Whether the process itself has the port (proc(5), net/tcp): another's answer on it would prove nothing."""
    with contextlib.suppress(OSError):  # it may end meanwhile
        lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        wanted = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}") and line[3] == _LISTENS}
        return bool(wanted) and any(_target(entry) in wanted for entry in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""  # closed meanwhile


def _answers(host: str) -> bool:
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in {200, 400, 401}  # 400: it speaks TLS, and says that this does not
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _setpriv() -> str:
    program = shutil.which("setpriv")
    if program is None:
        not_run("setpriv (util-linux) is not on PATH")
    return program
