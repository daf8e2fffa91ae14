"""The test session itself: it tells what could not run, and fails when something is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NEEDS_BUILDS = """
import pytest
@pytest.mark.buildkit
@pytest.mark.parametrize("number", range(2))
def test_a_build(number):
    raise AssertionError("ran all the same")
def test_no_build():
    pass
"""

# how a daemon is left behind: by whom it can still be known
LEAVES = {
    "parent": "{near} 600 & echo $! > {pid}; wait",
    "variable": "{far} 600 & echo $! > {pid}",
    "folder": "env -i {near} 600 & echo $! > {pid}",
    "nothing": "env -i {far} 600 & echo $! > {pid}",
}


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(tmp_path, monkeypatch)


class Session:
    """Runs pytest, with this project's conftest, on one made-up test file."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.basetemp = folder / "temp"
        patch.delenv("LIAN_TEST_SESSION", raising=False)

    def run(self, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        case = self.folder / "test_case.py"
        case.write_text(text)
        options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "markers=buildkit: builds"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options, "--rootdir", self.folder, "--basetemp", self.basetemp, case],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LIAN_TEST_STRICT": "0", **environment},
            capture_output=True,
            text=True,
            check=False,
        )


def test_what_could_not_run_is_told_with_its_reason(session: Session) -> None:
    done = session.run(NEEDS_BUILDS, PATH=str(session.folder), XDG_CACHE_HOME=str(session.folder))
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    told = done.stdout.split("could not run")[1]
    assert "    2  buildkitd is not on PATH nor in" in told
    assert "runc is not on PATH" in told


def test_strictly_it_is_an_error(session: Session) -> None:
    bare = {"PATH": str(session.folder), "XDG_CACHE_HOME": str(session.folder)}
    done = session.run(NEEDS_BUILDS, LIAN_TEST_STRICT="1", **bare)
    assert done.returncode == 1
    assert "1 passed, 2 errors" in done.stdout
    assert "    2  buildkitd is not on PATH nor in" in done.stdout


@pytest.mark.parametrize(("trace", "told"), [("parent", 1), ("variable", 1), ("folder", 1), ("nothing", 0)])
def test_a_daemon_left_behind_fails_the_session(session: Session, trace: str, told: int) -> None:
    """Known by its ancestor, by the session's variable or by naming the session's folder; others' are not ours."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    near, far, pid = session.basetemp / "docker-registry", session.folder / "docker-registry", session.folder / "pid"
    script = LEAVES[trace].format(near=near, far=far, pid=pid)
    shutil.copy(sleep, far)
    try:
        done = session.run(
            "import os, shutil, subprocess, time\n"
            "def test_it(tmp_path):\n"
            f"    shutil.copy({sleep!r}, {str(near)!r})\n"
            f"    subprocess.Popen(['sh', '-c', {script!r}], stdout=-3, stderr=-3)\n"
            f"    while not os.path.exists({str(pid)!r}) or not open({str(pid)!r}).read().strip():\n"
            "        time.sleep(0.01)\n"
            f"    pid = open({str(pid)!r}).read().strip()\n"
            "    while open(f'/proc/{pid}/comm').read() != 'docker-registry\\n':  # it is the shell's until then\n"
            "        time.sleep(0.01)\n"
        )
        left = [line for line in done.stdout.splitlines() if line.startswith("process ")]
        assert (done.returncode, len(left)) == (told, told), done.stdout + done.stderr
        assert all(line.startswith(f"process {pid.read_text().strip()}: ") for line in left)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.buildkit
def test_a_mount_left_behind_fails_the_session(session: Session) -> None:
    try:
        done = session.run(
            "import subprocess\n"
            "def test_it(tmp_path):\n"
            "    subprocess.run(['mount', '-t', 'tmpfs', 'none', tmp_path], check=True)\n"
        )
        assert done.returncode == 1, done.stdout
        assert f"mount {session.basetemp}/test_it0" in done.stdout
    finally:
        subprocess.run(["umount", session.basetemp / "test_it0"], check=True)
