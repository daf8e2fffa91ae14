"""`lian` out of a process that has loaded its modules: each command is forked from it.

Loading them is most of what a short command does, and tests run thousands. Each is a process of its own all the same,
with the environment, folder, arguments and streams that it is given, and an end of its own.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
GRACE_SECONDS = 5.0
"""How long more is waited for of what had to be killed."""
_AT_START = ("PYTHON", "HOME", "XDG_", "GIT_", "SSL_", "LD_", "TMPDIR", "LANG", "LC_")
"""What begins so is looked at while modules are loaded, and never again."""


def serves(environment: Mapping[str, str]) -> bool:
    """Whether a process that was started with this test's environment may run commands in that one."""

    def early(one: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in one.items() if name.startswith(_AT_START)}

    return early(environment) == early({**os.environ, "PYTHONPATH": str(ROOT)})


def run(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> tuple[int | None, str, str]:
    """Exit code (None: it had to be killed after so long), stdout, stderr."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_server())
        ends = [os.pipe(), os.pipe()]
        request = json.dumps({"words": list(words), "folder": str(folder), "environment": dict(environment)}).encode()
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [write for _, write in ends])
        connection.sendall(request)
        for _, write in ends:
            os.close(write)
        pid = int.from_bytes(_whole(connection, 4), "big")
        out, err, late = _read([read for read, _ in ends], pid, time.monotonic() + seconds)
        code = int.from_bytes(_whole(connection, 4), "big", signed=True)
    return None if late else code, out.decode(), err.decode()


def _read(streams: Sequence[int], pid: int, end: float) -> tuple[bytes, bytes, bool]:
    """All of both, and whether the process had to be killed for it; what others still hold open then is not waited
    for."""
    found: dict[int, list[bytes]] = {stream: [] for stream in streams}
    late = False
    with selectors.DefaultSelector() as ready:
        for stream in streams:
            ready.register(stream, selectors.EVENT_READ)
        while ready.get_map():
            events = ready.select(GRACE_SECONDS if late else max(0.0, end - time.monotonic()))
            for key, _ in events:
                if part := os.read(key.fd, 1 << 16):
                    found[key.fd].append(part)
                else:
                    ready.unregister(key.fd)
            if late and not events:
                break
            if not late and time.monotonic() >= end:
                os.kill(pid, signal.SIGKILL)
                late = True
    for stream in streams:
        os.close(stream)
    out, err = (b"".join(found[stream]) for stream in streams)
    return out, err, late


def _whole(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = connection.recv(length - len(found))
        assert part, "whoever runs commands has ended"
        found += part
    return found


@cache
def _server() -> str:
    """Where it listens; it ends with this process, whose end of a pipe it holds."""
    folder = tempfile.mkdtemp(prefix="lian-", dir="/tmp")
    path = f"{folder}/commands"
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.e2e.preloaded", path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdin
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"

    def ended() -> None:
        server.communicate()
        for file in Path(folder).iterdir():
            file.unlink()
        Path(folder).rmdir()

    atexit.register(ended)
    return path


# -- the other process


def _serve(path: str) -> int:
    """Until the one that started it has ended; in a command's process, its exit code."""
    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    os.write(1, b"ready\n")
    with listening, selectors.DefaultSelector() as ready:
        ready.register(listening, selectors.EVENT_READ)
        ready.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fd == 0:
                    return 0
                connection, _ = listening.accept()
                if os.fork() == 0:
                    break
                connection.close()
            else:
                continue
            break
    return _command(connection)


def _command(connection: socket.socket) -> int:
    """In a process that waits for it, and tells how it ended; and in its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(connection, 4, 2)
    request = json.loads(_whole(connection, int.from_bytes(length, "big")))
    if (pid := os.fork()) != 0:
        for stream in streams:
            os.close(stream)
        connection.sendall(pid.to_bytes(4, "big"))
        _, status = os.waitpid(pid, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        os._exit(0)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, *streams)):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["lian", *request["words"]]
    from reconciler.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1]))
