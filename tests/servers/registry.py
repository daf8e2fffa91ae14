"""Debian's docker-registry (distribution 2.8) with its storage in a folder, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.providers.builder.binaries import locate
from tests.needs import not_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "docker-registry"
USER = "tester"
PASSWORD = "correct horse"
START_SECONDS = 20.0
ATTEMPTS = 5

# bcrypt of PASSWORD, the only kind the registry accepts; at the lowest cost, so that requests stay fast
_HTPASSWD = USER + ":$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"


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


@pytest.fixture
def registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that anyone may read, write and delete in."""
    with run_registry(tmp_path / "registry-server") as server:
        yield server


@pytest.fixture
def password_registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that asks for basic authentication as USER with PASSWORD."""
    with run_registry(tmp_path / "password-registry-server", password=True) as server:
        yield server


@contextlib.contextmanager
def run_registry(folder: Path, *, password: bool = False, port: int = 0) -> Iterator[RegistryServer]:
    """A registry with its files below `folder`, which may hold those of an earlier one; ready when it is yielded.

    `port` 0 takes a free one. The kernel kills it if the test process dies (PR_SET_PDEATHSIG).
    """
    found = locate(PROGRAM)
    if found.path is None or found.why is not None:
        not_run(found.why or f"{PROGRAM} is missing")
    folder.mkdir(parents=True, exist_ok=True)
    server = _start(found.path, folder, password, port)
    try:
        yield server
    finally:
        server.stop()


def _start(program: Path, folder: Path, password: bool, port: int) -> RegistryServer:
    """Between finding a free port and binding it another process may take it: then with another port."""
    for _ in range(ATTEMPTS):
        server = _spawn(program, folder, password, port or _free_port())
        if _becomes_ready(server):
            return server
        server.stop()
        if "address already in use" not in _text(server.log):
            break
    raise RuntimeError(f"{PROGRAM} did not start:\n{_text(server.log)}")


def _spawn(program: Path, folder: Path, password: bool, port: int) -> RegistryServer:
    host, log = f"127.0.0.1:{port}", folder / "log"
    (folder / "config.yml").write_text(json.dumps(_configuration(folder, host, password)), encoding="utf-8")
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [_setpriv(), "--pdeathsig", "KILL", program, "serve", folder / "config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={"PATH": os.environ["PATH"]},  # REGISTRY_* variables would override the configuration
        )
    return RegistryServer(host, folder / "storage", log, process)


def _configuration(folder: Path, host: str, password: bool) -> dict[str, Any]:
    """Its settings as JSON, which is YAML; see distribution's configuration reference."""
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": host, "secret": "of-no-worth"},
    }
    if password:
        (folder / "htpasswd").write_text(_HTPASSWD, encoding="utf-8")
        settings["auth"] = {"htpasswd": {"realm": "lian-tests", "path": str(folder / "htpasswd")}}
    return settings


def _becomes_ready(server: RegistryServer) -> bool:
    """Wait until this very process listens (its log says so) and answers; False when it ends before that."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if "listening on" in _text(server.log) and _answers(server.host):
            return True
        time.sleep(0.005)
    return False


def _answers(host: str) -> bool:
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in {200, 401}
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


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
