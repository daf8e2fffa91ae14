"""A buildkitd for tests that ask BuildKit itself what it sends."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.providers.builder.binaries import find_part

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 30.0
_OWN_NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
_OWN_NAMESPACES += ["--propagation", "private"]
_READY = "mkdir -p /run/runc && mount -t tmpfs none /run/runc && exec "


class Daemon:
    """A running buildkitd. Its steps run nothing: the builds here only copy."""

    def __init__(self, address: str) -> None:
        self.address = address

    def build(self, dockerfile: Path, context: Path, into: Path, **named: Path) -> Path:
        """Build with a local output and return its folder."""
        argv = [_program("buildctl"), "--addr", self.address, "build", "--frontend", "dockerfile.v0"]
        argv += ["--local", f"context={context}", "--local", f"dockerfile={dockerfile.parent}"]
        argv += ["--opt", f"filename={dockerfile.name}", "--output", f"type=local,dest={into}", "--progress", "plain"]
        for name, folder in named.items():
            argv += ["--local", f"{name}={folder}", "--opt", f"context:{name}=local:{name}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return into


def _program(name: str) -> str:
    found = find_part(name)
    assert found is not None
    return str(found)


@contextlib.contextmanager
def daemon() -> Iterator[Daemon]:
    """One daemon with a state folder and a socket of its own, gone with the block."""
    folder = Path(tempfile.mkdtemp(prefix="lian-bk-"))  # a socket's path is short
    address = f"unix://{folder}/s"
    argv = [
        *_OWN_NAMESPACES,
        "sh",
        "-c",
        f'{_READY}"$@"',
        "sh",
        _program("buildkitd"),
        "--root",
        f"{folder}/root",
        "--addr",
        address,
    ]
    argv += ["--oci-worker=true", "--containerd-worker=false", "--oci-worker-net", "host"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=os.environ.copy())
    try:
        _await(process, address, folder / "log")
        yield Daemon(address)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    ask = [_program("buildctl"), "--addr", address, "debug", "workers"]
    while subprocess.run(ask, capture_output=True, check=False).returncode != 0:
        assert process.poll() is None and time.monotonic() < until, log.read_text(errors="replace")
