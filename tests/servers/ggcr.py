"""go-containerregistry's registry with the referrers API: in the memory of a small program of our own (go/ggcr)."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import programs
from tests.servers.running import RegistryServer, becomes_ready, log_text, spawn, usable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ggcr_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that anyone may read, write and delete in; it knows no passwords."""
    with run_ggcr(tmp_path / "ggcr-server") as server:
        yield server


@contextlib.contextmanager
def run_ggcr(folder: Path) -> Iterator[RegistryServer]:
    """A registry that holds nothing and stores nothing below `folder` but its log. It finds its port itself."""
    program = usable(programs.find("ggcr"))
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    with spawn([program], log, {}, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            server = RegistryServer(f"127.0.0.1:{port}", folder, log, process)
            if not port or not becomes_ready(server):
                raise RuntimeError(f"{program} did not start:\n{log_text(log)}")
            yield server
        finally:
            process.kill()
