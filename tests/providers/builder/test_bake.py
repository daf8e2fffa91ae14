"""buildx as a program: neither a time that is up nor Ctrl-C leaves behind what it has started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.providers.builder import bake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = 60.0
DOCKER = """\
#!/bin/sh
[ "$2" = version ] && exit 0
/bin/sh -c 'echo begun >&3; exec /bin/sleep 60' 3> {line} &
wait
"""
AT_ONCE = """\
import os, signal, subprocess, sys
start = subprocess.Popen.__init__
def started(process, words, *args, **more):
    start(process, words, *args, **more)
    if "--print" in words:
        assert os.read(os.open(sys.argv[2], os.O_RDONLY), 6) == b"begun\\n"
        os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen.__init__ = started
"""
READ = """\
import pathlib, sys
from reconciler.providers.builder.bake import Buildx
Buildx(pathlib.Path(sys.argv[1])).printed("docker-bake.hcl", ())
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """With a docker on PATH that does as the real one: its plugin is another program, which has docker's output. What
    is read here comes from the plugin, and ends when that is gone."""
    path, docker = tmp_path / "line", tmp_path / "bin" / "docker"
    os.mkfifo(path)
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(line=path))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(docker.parent))
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield end
    os.close(end)


def heard(line: int) -> bytes:
    ready, _, _ = select.select([line], [], [], MINUTE / 2)
    assert ready, "nothing came"
    return os.read(line, 100)


def test_a_time_that_is_up(line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bake, "SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(LianError) as caught:
        bake.Buildx(tmp_path).printed("docker-bake.hcl", ())
    assert [problem.code for problem in caught.value.problems] == ["buildx-failed"]
    assert time.monotonic() - began < MINUTE / 2
    assert heard(line) == b"begun\n"
    assert heard(line) == b""


def test_ctrl_c_while_it_is_started(line: int, tmp_path: Path) -> None:
    words = [sys.executable, "-c", AT_ONCE + READ, str(tmp_path), str(tmp_path / "line")]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as lian:
        assert b"KeyboardInterrupt" in lian.communicate()[1]
    assert heard(line) == b""


def test_ctrl_c(line: int, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", READ, str(tmp_path)], stderr=subprocess.PIPE) as lian:
        assert heard(line) == b"begun\n"
        lian.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in lian.communicate()[1]
    assert heard(line) == b""
