"""The registries that other tests stand on: they store, delete, ask for a password, keep to their port, and go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.servers import running as registries
from tests.servers.distribution_v3 import run_distribution_v3
from tests.servers.ggcr import run_ggcr
from tests.servers.registry import run_registry
from tests.servers.running import PASSWORD, USER
from tests.servers.zot import VARIABLE, run_zot

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from tests.servers.running import RegistryServer

    Run = Callable[..., AbstractContextManager[RegistryServer]]

ON_DISK = {"docker-registry": run_registry, "distribution-v3": run_distribution_v3, "zot": run_zot}
ALL: dict[str, Any] = {**ON_DISK, "ggcr": run_ggcr}

on_disk = pytest.mark.parametrize("run", ON_DISK.values(), ids=ON_DISK.keys())
every = pytest.mark.parametrize("run", ALL.values(), ids=ALL.keys())


@every
def test_a_blob_is_stored_and_deleted(run: Run, tmp_path: Path) -> None:
    with run(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        digest = _put(client, b"refined")
        assert client.get(f"/v2/shop/api/blobs/{digest}").content == b"refined"
        assert client.delete(f"/v2/shop/api/blobs/{digest}").status_code == 202
        assert client.get(f"/v2/shop/api/blobs/{digest}").status_code == 404


@on_disk
def test_storage_outlives_the_server(run: Run, tmp_path: Path) -> None:
    with run(tmp_path) as first, httpx.Client(base_url=first.url) as client:
        digest = _put(client, b"refined")
        port = int(first.host.rpartition(":")[2])
        assert first.storage.is_dir()
    with run(tmp_path, port=port) as second:
        assert second.host == first.host
        assert httpx.head(f"{second.url}/v2/shop/api/blobs/{digest}").status_code == 200


@on_disk
def test_a_password_is_asked_for(run: Run, tmp_path: Path) -> None:
    with run(tmp_path, password=True) as server:
        url = f"{server.url}/v2/"
        refused = httpx.get(url)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].lower().startswith("basic ")
        assert httpx.get(url, auth=(USER, "wrong")).status_code == 401
        assert httpx.get(url, auth=(USER, PASSWORD)).status_code == 200


@on_disk
def test_another_on_the_same_port_is_not_taken_for_it(run: Run, tmp_path: Path) -> None:
    with run_registry(tmp_path / "other") as other:
        port = int(other.host.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="address already in use"), run(tmp_path / "it", port=port):
            pass


def test_when_a_free_port_was_taken_meanwhile_another_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_registry(tmp_path / "other") as other:
        ports = iter([int(other.host.rpartition(":")[2]), registries._free_port()])
        monkeypatch.setattr(registries, "_free_port", lambda: next(ports))
        with run_registry(tmp_path / "it") as server:
            assert server.host != other.host
            assert httpx.get(f"{server.url}/v2/").status_code == 200


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    program = Path(shutil.which("ls") or "")
    with (
        pytest.raises(RuntimeError, match=r"(?s)did not start.*--no-such-option"),
        registries.running(tmp_path, lambda host: [program, "--no-such-option"]),
    ):
        pass


@every
def test_it_dies_with_a_killed_test_process(run: Run, tmp_path: Path) -> None:
    """A test process that is killed runs no clean-up; the kernel ends the registry."""
    with run(tmp_path / "can-run"):
        pass
    script = (
        "import importlib, pathlib, sys, time\n"
        "run = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])\n"
        "with run(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, run.__module__, run.__name__],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    registry = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 10
    while _runs(registry) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(registry)


def test_zot_is_optional_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIAN_TEST_STRICT", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"zot is not on PATH, nor named by {VARIABLE}"), run_zot(tmp_path):
        pass
    monkeypatch.setenv(VARIABLE, str(tmp_path / "zot"))
    with pytest.raises(pytest.fail.Exception, match=f"{VARIABLE}: .* does not run"), run_zot(tmp_path):
        pass


def _put(client: httpx.Client, content: bytes) -> str:
    digest = f"sha256:{sha256(content).hexdigest()}"
    upload = httpx.URL(client.post("/v2/shop/api/blobs/uploads/").headers["Location"])
    assert client.put(upload.copy_merge_params({"digest": digest}), content=content).status_code == 201
    return digest


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
