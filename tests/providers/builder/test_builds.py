"""Real builds: what comes out, that it comes out the same, and nothing of one build in another."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.model.tier import Tier
from reconciler.ports.access import Route
from reconciler.ports.builder import PinnedImage, StepSeen
from reconciler.ports.publisher import PullFrom, PushTo, ReadLayout, WriteLayout
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.compute.processes import with_argument
from reconciler.providers.registry.http.docker_config import Credential
from tests.needs import not_run
from tests.providers.access import Told
from tests.providers.workshop import SHELL, Image, hits_of, image_of, open_bench, running, set_times, write_context
from tests.servers.registry import PASSWORD, USER

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from tests.providers.workshop import Bench
    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

DAY = 86_400 * 10**9
DATA = "FROM scratch\nCOPY data /data\n"


def test_equal_inputs_give_equal_digests_on_fresh_builders_at_other_times(tmp_path: Path) -> None:
    dockerfile = SHELL + "COPY data /data\nRUN echo made > /made\n"

    async def run(number: int) -> Digest | None:
        context = write_context(tmp_path / f"context-{number}", dockerfile, {"data": b"same"})
        set_times(context, (20_000 + number) * DAY)
        async with open_bench(tmp_path / f"bench-{number}") as bench:
            built, _ = await bench.build(bench.request(context))
            assert (len(built.steps), hits_of(built)) == (4, 0)
            return built.digest

    first, second = asyncio.run(run(1)), asyncio.run(run(2))
    assert first == second is not None


async def _two_contexts(bench: Bench, times: tuple[int, int]) -> tuple[bytes, bytes]:
    """Two contexts whose file has the same path and size: the bytes that each image got."""
    contexts = [
        write_context(bench.folder / f"context-{n}", DATA, {"data": content}, busybox=False)
        for n, content in enumerate((b"AAAA", b"BBBB"))
    ]
    for context, nanoseconds in zip(contexts, times, strict=True):
        set_times(context, nanoseconds)
    images = [image_of(await bench.build(bench.request(context))) for context in contexts]
    return images[0].files()["data"], images[1].files()["data"]


def test_files_with_times_of_their_own_are_never_mixed_up(tmp_path: Path) -> None:
    async def run() -> tuple[bytes, bytes]:
        async with open_bench(tmp_path) as bench:
            return await _two_contexts(bench, (20_000 * DAY, 20_000 * DAY + 1))

    assert asyncio.run(run()) == (b"AAAA", b"BBBB")


def test_with_equal_times_buildkit_takes_the_file_of_another_build(tmp_path: Path) -> None:
    """Why times of exported files are derived from blob ids: BuildKit compares path, size and time only, on a daemon
    that has seen another context. If this fails, BuildKit has changed, and that rule may be looked at again."""

    async def run() -> tuple[bytes, bytes]:
        async with open_bench(tmp_path) as bench:
            return await _two_contexts(bench, (20_000 * DAY, 20_000 * DAY))

    assert asyncio.run(run()) == (b"AAAA", b"AAAA")


AWKWARD = {
    "COMMA": 'a,b="c",d',
    "LINES": "one\ntwo\r\nthree\n",
    "BLANKS": "  kept  ",
    "EQUALS": "=a=b=",
    "DASH": "--opt",
    "DOLLAR": "$HOME ${HOME} \\ `id` $(id) 'x' %s",
    "WIDE": "炼 ünï 🙂",
    "EMPTY": "",
}


def test_awkward_values_arrive_as_they_are(tmp_path: Path) -> None:
    lines = "".join(f'ARG {name}\nRUN echo -n "${name}" > /{name}\n' for name in AWKWARD)
    context = write_context(tmp_path / "a b,c='d'\"e\"", SHELL + lines, {"data": b"x"})
    labels = {f"org.example/{name.lower()}": value for name, value in AWKWARD.items()}

    async def run() -> Image:
        async with open_bench(tmp_path / "bench") as bench:
            out = WriteLayout(tmp_path / 'out,"with" sign=s')
            return image_of(await bench.build(bench.request(context, args=AWKWARD, labels=labels, destination=out)))

    image = asyncio.run(run())
    found = image.files()
    assert {name: found[name].decode() for name in AWKWARD} == AWKWARD
    assert image.config["config"]["Labels"] == labels


def test_the_callers_environment_does_not_reach_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("FOO", "leaked")
    context = write_context(tmp_path / "context", SHELL + 'ARG FOO\nRUN echo -n "$FOO" > /foo\n')

    async def run() -> Image:
        async with open_bench(tmp_path / "bench") as bench:
            return image_of(await bench.build(bench.request(context)))

    image = asyncio.run(run())
    assert image.files()["foo"] == b""
    assert image.config["created"] == "1970-01-01T00:00:00Z"


def test_a_syntax_line_pulls_nothing(tmp_path: Path) -> None:
    context = write_context(tmp_path / "c", "# syntax=127.0.0.1:1/evil/frontend:1\n" + DATA, {"data": b"1"}, False)

    async def run() -> Image:
        async with open_bench(tmp_path / "bench") as bench:
            return image_of(await bench.build(bench.request(context)))

    assert asyncio.run(run()).files() == {"data": b"1"}


def test_the_daemon_has_no_gateway_either(tmp_path: Path) -> None:
    """Should a frontend image be asked for all the same, the daemon has nothing to run it with."""
    context = write_context(tmp_path / "c", "# syntax=127.0.0.1:1/evil/frontend:1\n" + DATA, {"data": b"1"}, False)

    async def run() -> bytes:
        async with open_bench(tmp_path / "bench") as bench:
            words = ["--frontend=dockerfile.v0", f"--local=context={context}", f"--local=dockerfile={context}"]
            asked = await asyncio.create_subprocess_exec(
                str(find_part("buildctl")),
                "--addr",
                bench.runner.address,
                "build",
                *words,
                stderr=asyncio.subprocess.PIPE,
            )
            return (await asked.communicate())[1]

    assert b"gateway.v0" in asyncio.run(run())


def test_a_check_builds_its_target_and_keeps_nothing(tmp_path: Path) -> None:
    context = write_context(tmp_path / "c", SHELL + "FROM scratch AS good\nCOPY busybox /x\n")

    async def run() -> None:
        async with open_bench(tmp_path / "bench") as bench:
            built, _ = await bench.build(bench.request(context, destination=None, target="good"))
            assert built.digest is None
            assert len(built.steps) == 1
            bad = write_context(tmp_path / "bad", SHELL + "RUN exit 4\n")
            with pytest.raises(LianError, match="exit code 4"):
                await bench.build(bench.request(bad, destination=None))

    asyncio.run(run())


def test_steps_are_told_and_the_second_time_cached(tmp_path: Path) -> None:
    context = write_context(tmp_path / "c", SHELL + "RUN echo hello\n")
    seen: list[StepSeen] = []

    async def run() -> int:
        async with open_bench(tmp_path / "bench") as bench:
            _, request = await bench.build(bench.request(context), seen.append)
            assert b"hello\n" in request.log.read_bytes()
            built, _ = await bench.build(bench.request(context))
            return hits_of(built)

    assert asyncio.run(run()) == 3
    assert StepSeen("[3/3] RUN echo hello", False, False) in seen
    assert StepSeen("[3/3] RUN echo hello", True, False) in seen


def test_builds_at_the_same_time_on_one_runner(tmp_path: Path) -> None:
    contexts = [
        write_context(tmp_path / f"c{n}", SHELL + "COPY data /data\nRUN cat /data > /copy\n", {"data": b"%d" % n * 4})
        for n in range(4)
    ]
    for n, context in enumerate(contexts):
        os.utime(context / "data", ns=(20_000 * DAY + n, 20_000 * DAY + n))

    async def run() -> list[bytes]:
        async with open_bench(tmp_path / "bench") as bench:
            results = await asyncio.gather(*(bench.build(bench.request(context)) for context in contexts))
            return [image_of(result).files()["copy"] for result in results]

    assert asyncio.run(run()) == [b"%d" % n * 4 for n in range(4)]


PARENTS = [
    ("parent", "FROM parent"),
    ("docker.io/library/parent:latest", "FROM parent"),
    ("registry-1.docker.io/library/parent:1", "FROM registry-1.docker.io/library/parent:1"),
    ("ghcr.io/own/parent:latest", "FROM ghcr.io/own/parent"),
]


@pytest.mark.parametrize(("name", "line"), PARENTS)
def test_a_parent_from_a_layout_is_taken_for_the_image_as_written(tmp_path: Path, name: str, line: str) -> None:
    parent = write_context(tmp_path / "parent", DATA, {"data": b"parent"}, busybox=False)
    child = write_context(tmp_path / "child", f"{line}\nCOPY own /own\n", {"own": b"child"}, busybox=False)

    async def run() -> Image:
        async with open_bench(tmp_path / "bench") as bench:
            made = image_of(await bench.build(bench.request(parent)))
            contexts = {name: PinnedImage(made.digest, ReadLayout(made.layout))}
            return image_of(await bench.build(bench.request(child, contexts=contexts)))

    assert asyncio.run(run()).files() == {"data": b"parent", "own": b"child"}


def test_a_named_folder(tmp_path: Path) -> None:
    context = write_context(tmp_path / "c", "FROM scratch\nCOPY --from=libs lib /lib\n", busybox=False)
    libs = tmp_path / "li,b=s"
    libs.mkdir()
    (libs / "lib").write_bytes(b"of the other folder")

    async def run() -> Image:
        async with open_bench(tmp_path / "bench") as bench:
            return image_of(await bench.build(bench.request(context, contexts={"libs": libs})))

    assert asyncio.run(run()).files() == {"lib": b"of the other folder"}


def _manifest_exists(server: RegistryServer, repository: str, digest: Digest | None) -> bool:
    links = server.storage / "docker/registry/v2/repositories" / repository / "_manifests/revisions/sha256"
    return digest is not None and (links / digest.hex / "link").is_file()


def test_a_push_by_digest_and_a_parent_from_the_registry(tmp_path: Path, registry_server: RegistryServer) -> None:
    parent = write_context(tmp_path / "parent", DATA, {"data": b"parent"}, busybox=False)
    child = write_context(tmp_path / "child", "FROM base\nCOPY own /own\n", {"own": b"child"}, busybox=False)
    repository = Repository(registry_server.host, "shop/base")

    async def run() -> tuple[Digest | None, Image]:
        async with open_bench(tmp_path / "bench") as bench:
            built, _ = await bench.build(bench.request(parent, destination=PushTo(repository, plain=True)))
            assert built.digest is not None
            contexts = {"base": PinnedImage(built.digest, PullFrom(repository, plain=True))}
            return built.digest, image_of(await bench.build(bench.request(child, contexts=contexts)))

    digest, image = asyncio.run(run())
    assert _manifest_exists(registry_server, "shop/base", digest)
    assert not (registry_server.storage / "docker/registry/v2/repositories/shop/base/_manifests/tags").exists()
    assert image.files() == {"data": b"parent", "own": b"child"}


def test_a_push_needs_the_credentials_it_is_given(tmp_path: Path, password_registry_server: RegistryServer) -> None:
    context = write_context(tmp_path / "c", DATA, {"data": b"x"}, busybox=False)
    host = password_registry_server.host
    buildctl = find_part("buildctl")
    assert buildctl is not None

    async def run() -> Digest | None:
        async with open_bench(tmp_path / "bench") as bench:
            request = bench.request(context, destination=PushTo(Repository(host, "a/b"), plain=True))
            with pytest.raises(LianError) as raised:
                await bench.build(request)
            assert raised.value.problems[0].code == "push-refused"
            trusted = BuildctlBuilder(buildctl, Told({host: Credential(USER, PASSWORD)}))
            return (await trusted.build(bench.runner, request, lambda step: None)).digest

    assert _manifest_exists(password_registry_server, "a/b", asyncio.run(run()))


def test_a_plain_registry_that_is_not_on_the_loopback(tmp_path: Path, registry_server: RegistryServer) -> None:
    parent = write_context(tmp_path / "parent", DATA, {"data": b"parent"}, busybox=False)
    child = write_context(tmp_path / "child", "FROM base\nCOPY own /own\n", {"own": b"child"}, busybox=False)

    async def run() -> Image:
        async with _forwarded(registry_server.host) as host:
            repository = Repository(host, "shop/base")
            async with open_bench(tmp_path / "bench", routes=(Route(host, plain=True),)) as bench:
                built, _ = await bench.build(bench.request(parent, destination=PushTo(repository, plain=True)))
                assert built.digest is not None
                contexts = {"base": PinnedImage(built.digest, PullFrom(repository, plain=True))}
                return image_of(await bench.build(bench.request(child, contexts=contexts)))

    assert asyncio.run(run()).files() == {"data": b"parent", "own": b"child"}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the other side has closed
    finally:
        writer.close()


class _forwarded:
    """The registry under this machine's own outside address, as `HOST:PORT`."""

    def __init__(self, target: str) -> None:
        self.host, self.port = target.split(":")

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self._serve, _own_address(), 0)
        address, port = self.server.sockets[0].getsockname()[:2]
        return f"{address}:{port}"

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self.host, int(self.port))
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; the kernel picks the address of the way out
        except OSError:
            not_run("this machine has no address but the loopback", optional=True)
        return str(probe.getsockname()[0])


def test_a_cancelled_build_has_no_processes_when_the_cancellation_arrives(tmp_path: Path) -> None:
    mark = f"8{os.getpid()}"
    context = write_context(tmp_path / "c", SHELL + f"RUN busybox sleep {mark}\n")

    async def run() -> float:
        async with open_bench(tmp_path / "bench") as bench:
            task = asyncio.create_task(bench.build(bench.request(context)))
            await running(mark)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert with_argument(mark) == []
            took = time.monotonic() - began
            again = write_context(tmp_path / "again", DATA, {"data": b"1"}, busybox=False)
            await bench.build(bench.request(again))  # the runner is as good as before
            return took

    assert asyncio.run(run()) < 3.0


def test_a_build_past_its_deadline_is_given_up(tmp_path: Path) -> None:
    mark = f"9{os.getpid()}"
    context = write_context(tmp_path / "c", SHELL + f"RUN echo begun; busybox sleep {mark}\n")

    async def run() -> LianError:
        async with open_bench(tmp_path / "bench") as bench:
            with pytest.raises(LianError) as raised:
                await bench.build(bench.request(context, deadline=1.5))
            assert with_argument(mark) == []
            return raised.value

    problem = asyncio.run(run()).problems[0]
    assert problem.code == "build-timeout"
    assert "RUN echo begun" in problem.message
    assert problem.cause == "begun"


def test_steps_are_held_to_the_tiers_processors(tmp_path: Path) -> None:
    context = write_context(tmp_path / "c", SHELL + "RUN cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us > /quota\n")
    if not Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() and not Path("/sys/fs/cgroup/cpu").exists():
        not_run("no cgroup v1 hierarchy for cpu", optional=True)

    async def run() -> Image:
        async with open_bench(tmp_path / "bench") as bench:
            return image_of(await bench.build(bench.request(context, tier=Tier(3, 1.0, 30))))

    assert asyncio.run(run()).files()["quota"] == b"300000\n"


def test_limits_are_no_part_of_the_cache(tmp_path: Path) -> None:
    context = write_context(tmp_path / "c", SHELL + "RUN echo 1\n")

    async def run() -> int:
        async with open_bench(tmp_path / "bench") as bench:
            request = bench.request(context)
            await bench.build(request)
            larger = replace(request, tier=Tier(1, 0.5, 10), destination=WriteLayout(tmp_path / "again"))
            return hits_of((await bench.build(larger))[0])

    assert asyncio.run(run()) == 3
