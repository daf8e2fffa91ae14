"""Builds that fail, for real: the problem that a person gets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Reference, Repository
from reconciler.model.tier import Tier
from reconciler.ports.builder import PinnedImage
from reconciler.ports.publisher import PullFrom, PushTo, ReadLayout
from reconciler.providers.compute.processes import with_argument
from tests.providers.workshop import SHELL, open_bench, running, write_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

SMALL = Tier(1, 0.05, 1)
EAT = "busybox dd if=/dev/zero of=/dev/null bs=200M count=1"


def problem_of(folder: Path, text: str, **changes: Any) -> Problem:
    """Build it on a runner of its own; it has to fail."""

    async def run() -> Problem:
        context = write_context(folder / "context", text)
        if "dockerfile" in changes:
            changes["dockerfile"] = context / changes["dockerfile"]
        async with open_bench(folder / "bench") as bench:
            request = bench.request(context, **changes)
            with pytest.raises(LianError) as raised:
                await bench.build(request)
            (problem,) = raised.value.problems
            assert problem.hint is not None
            assert str(request.log) in problem.hint
            assert request.log.stat().st_size > 0
            return problem

    return asyncio.run(run())


CASES = [
    (SHELL + "RUN echo out; echo err >&2; exit 3\n", {}, "build-failed", Next.PERSON, "exit code 3", 4),
    (SHELL + f"RUN {EAT}\n", {"tier": SMALL}, "build-out-of-memory", Next.PERSON, "0.05 GiB", 4),
    (SHELL + f"RUN {EAT}; exit 1\n", {"tier": SMALL}, "build-out-of-memory", Next.PERSON, "0.05 GiB", 4),
    ("FROM scratch\nFORM x\n", {}, "dockerfile-invalid", Next.PERSON, "cannot be read", 2),
    (SHELL + "COPY --foo=bar busybox /x\n", {}, "dockerfile-invalid", Next.PERSON, "cannot be read", 4),
    ("", {}, "dockerfile-invalid", Next.PERSON, "cannot be read", None),
    ("FROM scratch\nEXPOSE abc\n", {}, "dockerfile-invalid", Next.PERSON, "refuses a step", 2),
    (SHELL + "RUN --mount=type=bogus true\n", {}, "dockerfile-invalid", Next.PERSON, "refuses a step", 4),
    ("ARG A\nFROM ${A}\n", {}, "dockerfile-invalid", Next.PERSON, "cannot be read", 2),
    (SHELL + "COPY not/here /x\n", {}, "source-missing", Next.PERSON, "/not/here", 4),
    (SHELL, {"target": "tset"}, "target-missing", Next.PERSON, "tset", None),
    (SHELL, {"dockerfile": "Nope"}, "dockerfile-missing", Next.PERSON, "not there", None),
    ("FROM 127.0.0.1:1/base:1\n", {}, "pull-failed", Next.RETRY, "base image", 1),
    (SHELL + "RUN --security=insecure true\n", {}, "not-allowed", Next.PERSON, "security.insecure", None),
    (SHELL + "RUN --mount=type=secret,id=npm,required=true true\n", {}, "secret-missing", Next.PERSON, "npm", 4),
    (SHELL + "ADD http://127.0.0.1:1/x /x\n", {}, "download-failed", Next.RETRY, "could not be had", None),
    (SHELL, {"destination": PushTo(Repository("127.0.0.1:1", "a/b"), True)}, "push-failed", Next.RETRY, "a/b", None),
]


@pytest.mark.parametrize(
    ("text", "changes", "code", "next_", "words", "line"), CASES, ids=[f"{n}-{case[2]}" for n, case in enumerate(CASES)]
)
def test_a_failed_build(
    tmp_path: Path, text: str, changes: dict[str, Any], code: str, next_: Next, words: str, line: int | None
) -> None:
    problem = problem_of(tmp_path, text, **changes)
    assert (problem.code, problem.next, problem.line) == (code, next_, line)
    assert words in problem.message


def test_the_last_lines_of_the_step_are_shown_without_what_a_terminal_hides(tmp_path: Path) -> None:
    count, noise = "for i in $(busybox seq 100); do echo line $i; done", "'\\033[31mred\\033[0m\\n10%%\\r99%%\\n'"
    problem = problem_of(tmp_path, SHELL + f"RUN {count}; printf {noise}; exit 7\n")
    assert problem.cause is not None
    assert problem.cause.splitlines() == [*(f"line {n}" for n in range(83, 101)), "red", "99%"]
    assert "exit code 7" in problem.message


def test_an_image_that_the_registry_does_not_have(tmp_path: Path, registry_server: RegistryServer) -> None:
    origin = PullFrom(Repository(registry_server.host, "shop/base"), plain=True)
    pinned = PinnedImage(Digest("sha256", "ab" * 32), origin)
    problem = problem_of(tmp_path, "FROM base\n", contexts={"base": pinned})
    assert (problem.code, problem.next) == ("base-not-found", Next.PERSON)


@pytest.mark.parametrize("where", ["not there", "not up", "not allowed"])
def test_a_scanner_that_cannot_be_pulled(
    tmp_path: Path,
    where: str,
    registry_server: RegistryServer,
    password_registry_server: RegistryServer,
) -> None:
    host, next_ = {
        "not there": (registry_server.host, Next.PERSON),
        "not up": ("127.0.0.1:1", Next.RETRY),
        "not allowed": (password_registry_server.host, Next.HOLD),
    }[where]
    scanner = Reference(Repository(host, "tools/syft"), "1", Digest("sha256", "ab" * 32))
    problem = problem_of(tmp_path, SHELL, scanner=scanner)
    assert (problem.code, problem.next) == ("scanner-unavailable", next_)
    assert problem.message == f"the SBOM scanner {host}/tools/syft@sha256:{'ab' * 32} cannot be pulled"
    assert "policy.sign" in str(problem.hint)


@pytest.mark.parametrize(
    ("status", "code", "next_"), [(404, "download-missing", Next.PERSON), (503, "download-failed", Next.RETRY)]
)
def test_a_download_that_is_answered_with_an_error(tmp_path: Path, status: int, code: str, next_: Next) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            problem = problem_of(tmp_path, SHELL + f"ADD http://127.0.0.1:{server.server_port}/x /x\n")
        finally:
            server.shutdown()
            thread.join()
    assert (problem.code, problem.next) == (code, next_)


def test_a_layout_that_does_not_have_the_parent(tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    pinned = PinnedImage(Digest("sha256", "ab" * 32), ReadLayout(tmp_path / "layout"))
    problem = problem_of(tmp_path, "FROM base\n", contexts={"base": pinned})
    assert problem.code == "base-not-found"


def test_a_registry_that_goes_away_before_the_push(tmp_path: Path, registry_server: RegistryServer) -> None:
    destination = PushTo(Repository(registry_server.host, "a/b"), plain=True)
    registry_server.stop()
    assert problem_of(tmp_path, SHELL, destination=destination).code == "push-failed"


def test_a_pull_without_credentials(tmp_path: Path, password_registry_server: RegistryServer) -> None:
    origin = PullFrom(Repository(password_registry_server.host, "shop/base"), plain=True)
    pinned = PinnedImage(Digest("sha256", "ab" * 32), origin)
    assert problem_of(tmp_path, "FROM base\n", contexts={"base": pinned}).code == "pull-refused"


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    "last", ["RUN busybox dd if=/dev/zero of=/big bs=1M count=100\n", "COPY big /big\n"], ids=["step", "context"]
)
def test_a_full_disk(tmp_path: Path, last: str) -> None:
    async def run(disk: Path) -> Problem:
        context = write_context(tmp_path / "context", SHELL + last)
        with (context / "big").open("wb") as big:
            big.write(os.urandom(1 << 20) * 60)
        async with open_bench(disk) as bench:
            with pytest.raises(LianError) as raised:
                await bench.build(bench.request(context, log=tmp_path / "log", destination=None))
            return raised.value.problems[0]

    with small_disk(tmp_path / "disk", "40m") as disk:
        problem = asyncio.run(run(disk))
        assert (problem.code, problem.next) == ("disk-full", Next.RETRY)
        assert not list((disk / "state").glob("bench"))


def test_a_disk_too_small_for_the_builder_itself(tmp_path: Path) -> None:
    async def run(disk: Path) -> None:
        async with open_bench(disk):
            pass

    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(LianError) as raised:
            asyncio.run(run(disk))
        assert raised.value.problems[0].code in {"disk-full", "builder-start-failed"}
        assert not list((disk / "state").glob("bench"))


def test_a_log_that_cannot_be_written_ends_the_build(tmp_path: Path) -> None:
    async def run(disk: Path) -> Problem:
        mark = "while true; do echo 0123456789012345678901234567890123456789; done"
        context = write_context(tmp_path / "context", SHELL + f"RUN {mark}\n")
        async with open_bench(tmp_path / "bench") as bench:
            with pytest.raises(LianError) as raised:
                await bench.build(bench.request(context, log=disk / "log", destination=None, deadline=60.0))
            assert not with_argument(mark)
            return raised.value.problems[0]

    with small_disk(tmp_path / "disk", "64k") as disk:
        assert asyncio.run(run(disk)).code == "disk-full"


def test_a_builder_that_is_killed_in_the_middle(tmp_path: Path) -> None:
    mark = f"6{os.getpid()}"
    context = write_context(tmp_path / "context", SHELL + f"RUN busybox sleep {mark}\n")

    async def run() -> Problem:
        async with open_bench(tmp_path / "bench") as bench:
            task = asyncio.create_task(bench.build(bench.request(context)))
            await running(mark)
            for pid in with_argument(str(tmp_path / "bench/state/bench/buildkitd.toml")):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with pytest.raises(LianError) as raised:
                await task
            return raised.value.problems[0]

    problem = asyncio.run(run())
    assert (problem.code, problem.next) == ("builder-lost", Next.RETRY)
    assert with_argument(mark) == []
    assert list((tmp_path / "bench/state").glob("bench")) == []
