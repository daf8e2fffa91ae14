"""A worker can reach nothing but its scratch folder, and is gone when lian is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.desired.nickel.pool import Status, Worker
from reconciler.desired.nickel.settings import Kind, Limits
from tests.desired.nickel.commits import KINDS, REPOSITORY
from tests.needs import not_run

PROBE = """
import json, os, pathlib, socket, sys
from reconciler.desired.nickel import sandbox
steps, target, root = json.loads(sys.argv[1])
done = {}
if "network" in steps: done["network"] = sandbox.leave_network()
if "files" in steps: done["files"] = sandbox.confine(root, None)
if "calls" in steps: done["calls"] = sandbox.refuse_calls(None)
if "limits" in steps: done["limits"] = sandbox.limit(1 << 30, 8 << 20)
def attempt(action):
    try: action()
    except OSError as error: return type(error).__name__
    return "done"
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s: s.connect(address)
print(json.dumps({**done,
    "passwd": attempt(lambda: open("/etc/passwd").close()),
    "environ": attempt(lambda: open("/proc/self/environ").close()),
    "own": attempt(lambda: open(root + "/own").close()),
    "link": attempt(lambda: open(root + "/link").close()),
    "write": attempt(lambda: pathlib.Path(root, "new").write_text("x")),
    "tcp": attempt(lambda: connect(socket.AF_INET, tuple(target["tcp"]))),
    "unix": attempt(lambda: connect(socket.AF_UNIX, target["unix"])),
    "exec": attempt(lambda: os.execv("/no/such/program", ["x"])),
}))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A scratch folder as workers expect it."""
    folder = tmp_path / "scratch"
    (folder / "tree").mkdir(parents=True)
    (folder / "own").write_text("mine")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "tree" / "link.txt").symlink_to("/etc/passwd")
    return folder


def probe(steps: list[str], root: Path, tmp_path: Path) -> dict[str, object]:
    """What a process can still do after these steps, with a TCP and a Unix server waiting outside."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        target = {"tcp": tcp.getsockname(), "unix": str(tmp_path / "s")}
        arguments = json.dumps([steps, target, str(root)])
        done = subprocess.run(
            [sys.executable, "-c", PROBE, arguments], cwd=REPOSITORY, capture_output=True, check=True, timeout=60
        )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_without_the_sandbox_everything_is_reached(root: Path, tmp_path: Path) -> None:
    found = probe([], root, tmp_path)
    assert {found[name] for name in ("passwd", "environ", "own", "link", "write", "tcp", "unix")} == {"done"}


@pytest.mark.skipif(sys.platform != "linux", reason="could not run: Landlock is Linux's")
def test_landlock_leaves_only_the_scratch_folder_for_reading(root: Path, tmp_path: Path) -> None:
    found = probe(["files"], root, tmp_path)
    if not found["files"]:
        not_run("the kernel has no Landlock", optional=True)
    assert found["own"] == "done"
    assert {found[name] for name in ("passwd", "environ", "link", "write")} == {"PermissionError"}


@pytest.mark.skipif(sys.platform != "linux", reason="could not run: seccomp is Linux's")
def test_refused_calls_leave_no_sockets_and_no_exec(root: Path, tmp_path: Path) -> None:
    found = probe(["calls"], root, tmp_path)
    if not found["calls"]:
        not_run("call numbers of this processor are not known", optional=True)
    assert (found["tcp"], found["unix"], found["exec"]) == ("PermissionError",) * 3


@pytest.mark.skipif(sys.platform != "linux", reason="could not run: network namespaces are Linux's")
def test_an_empty_network_namespace_reaches_no_local_server(root: Path, tmp_path: Path) -> None:
    found = probe(["network"], root, tmp_path)
    if not found["network"]:
        not_run("network namespaces are not permitted", optional=True)
    assert found["tcp"] != "done"


def test_files_cannot_be_written(root: Path, tmp_path: Path) -> None:
    found = probe(["limits"], root, tmp_path)
    assert "written files" not in str(found["limits"])
    assert found["write"] == "OSError"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/proc/self/environ",
        "../../../../../../../../etc/passwd",
        "link.txt",
        "/dev/zero",
        "/etc/hostname",
    ],
)
def test_nickel_itself_cannot_import_what_the_guard_would_miss(path: str, kind: Kind, root: Path) -> None:
    async def ask() -> tuple[dict[str, object], Status, str]:
        worker = Worker(root, command(kind), Limits(seconds=10))
        try:
            reply = await worker.ask(f'import "{path}" as \'Text', [], ["x"], 10)
            return worker.ready, reply.status, reply.error
        finally:
            await worker.close()

    ready, status, error = asyncio.run(ask())
    if not ready["landlock"]:
        not_run("the kernel has no Landlock", optional=True)
    assert status is Status.ERROR
    assert "could not find import" in error
    assert "root:" not in error


def command(kind: Kind) -> str | None:
    return str(Path(shutil.which("nickel") or "").resolve()) if kind is Kind.CLI else None


def gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process that we are no parent of ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def group_gone(group: int, seconds: float = 30) -> bool:
    """Whether the last process of a group ends in time: one that was killed may yet wait for init to reap it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


LOOP = "std.number.pow 10 100000000"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_request_leaves_no_process(kind: Kind, root: Path) -> None:
    async def cancel() -> int:
        worker = Worker(root, command(kind), Limits(seconds=60))
        task = asyncio.create_task(worker.ask(LOOP, [], ["x"], 60))
        while not worker.ready:  # noqa: ASYNC110 - the process says so, no task does
            await asyncio.sleep(0.01)
        assert worker._process
        pid = worker._process.pid
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return pid

    assert group_gone(asyncio.run(cancel()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_outlives_neither_its_time_nor_its_memory(kind: Kind, root: Path) -> None:
    async def ask() -> list[Status]:
        worker = Worker(root, command(kind), Limits(seconds=1, memory=200 << 20))
        try:
            return [
                (await worker.ask(LOOP, [], ["x"], 1)).status,
                (await worker.ask("let rec f = fun x => [x] @ f x in f 1", [], ["x"], 20)).status,
                (await worker.ask("{ x = 1 }", [], ["x"], 20)).status,
            ]
        finally:
            await worker.close()

    assert asyncio.run(ask()) == [Status.TIME, Status.MEMORY, Status.OK]


PARENT = """
import asyncio, sys
from pathlib import Path
from reconciler.desired.nickel.pool import Worker
from reconciler.desired.nickel.settings import Kind, Limits
async def main():
    worker = Worker(Path(sys.argv[1]), sys.argv[2] or None, Limits(seconds=60))
    await worker.ask("1", [], None, 60)
    print(worker._process.pid, flush=True)
    await worker.ask(sys.argv[3], [], ["x"], 60)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="could not run: PDEATHSIG is Linux's")
@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_dies_with_lian(kind: Kind, root: Path) -> None:
    arguments = [sys.executable, "-c", PARENT, str(root), command(kind) or "", LOOP]
    with subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert gone(pid)
