"""The registry that other tests stand on: it stores, deletes, asks for a password, and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.servers.registry import PASSWORD, USER, run_registry

if TYPE_CHECKING:
    from tests.servers.registry import RegistryServer


def test_a_blob_is_stored_and_deleted(registry_server: RegistryServer) -> None:
    content = b"refined"
    digest = f"sha256:{sha256(content).hexdigest()}"
    with httpx.Client(base_url=registry_server.url) as client:
        upload = client.post("/v2/shop/api/blobs/uploads/").headers["Location"]
        assert client.put(f"{upload}&digest={digest}", content=content).status_code == 201
        assert client.get(f"/v2/shop/api/blobs/{digest}").content == content
        assert client.delete(f"/v2/shop/api/blobs/{digest}").status_code == 202
        assert client.get(f"/v2/shop/api/blobs/{digest}").status_code == 404
    assert (registry_server.storage / "docker").is_dir()


def test_storage_outlives_the_server(tmp_path: Path) -> None:
    with run_registry(tmp_path) as first, httpx.Client(base_url=first.url) as client:
        upload = client.post("/v2/a/blobs/uploads/").headers["Location"]
        digest = f"sha256:{sha256(b'').hexdigest()}"
        assert client.put(f"{upload}&digest={digest}", content=b"").status_code == 201
        port = int(first.host.rpartition(":")[2])
    with run_registry(tmp_path, port=port) as second:
        assert second.host == first.host
        assert httpx.head(f"{second.url}/v2/a/blobs/{digest}").status_code == 200


def test_a_password_is_asked_for(password_registry_server: RegistryServer) -> None:
    url = f"{password_registry_server.url}/v2/"
    refused = httpx.get(url)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert httpx.get(url, auth=(USER, "wrong")).status_code == 401
    assert httpx.get(url, auth=(USER, PASSWORD)).status_code == 200


def test_it_dies_with_a_killed_test_process(tmp_path: Path) -> None:
    """A test process that is killed runs no clean-up; the kernel ends the registry."""
    script = (
        "import os, pathlib, sys, time\n"
        "from tests.servers.registry import run_registry\n"
        "with run_registry(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
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


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
