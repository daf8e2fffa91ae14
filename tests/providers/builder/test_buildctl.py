"""The client as a process: a scripted `buildctl` that behaves in ways the real one seldom does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Repository
from reconciler.model.secret import Secret, SecretBytes
from reconciler.model.tier import Tier
from reconciler.ports.access import Identity, Route
from reconciler.ports.builder import BuildRequest, Built, PinnedImage, StepSeen
from reconciler.ports.compute import Runner
from reconciler.ports.publisher import PullFrom, PushTo, WriteLayout
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.compute.processes import with_argument
from reconciler.providers.registry.http.docker_config import Credential
from tests.providers.access import Told
from tests.providers.workshop import PLATFORM, running

if TYPE_CHECKING:
    from collections.abc import Collection

DIGEST = Digest("sha256", "ab" * 32)
METADATA = 'while [ "$1" != --metadata-file ]; do shift; done\n'


def request(folder: Path, **changes: object) -> BuildRequest:
    parts: dict[str, object] = {
        "artifact": "test/one",
        "platform": PLATFORM,
        "context": folder,
        "dockerfile": folder / "Dockerfile",
        "log": folder / "log",
        "tier": Tier(1, 1.0, 1),
        "destination": WriteLayout(folder / "out"),
    }
    return BuildRequest(**(parts | changes))  # type: ignore[arg-type]


async def build(
    folder: Path, script: str, access: Told | None = None, seen: list[StepSeen] | None = None, **changes: object
) -> Built:
    program = folder / "buildctl"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    runner = Runner("lease", "unix:///nowhere", folder, "scripted")
    told: list[StepSeen] = [] if seen is None else seen
    return await BuildctlBuilder(program, access, end_seconds=0.2).build(
        runner, request(folder, **changes), told.append
    )


def problem(folder: Path, script: str, **changes: object) -> Problem:
    with pytest.raises(LianError) as raised:
        asyncio.run(build(folder, script, **changes))  # type: ignore[arg-type]
    (found,) = raised.value.problems
    return found


def test_the_digest_is_that_of_the_metadata_file(tmp_path: Path) -> None:
    script = METADATA + f'echo \'{{"containerimage.digest": "{DIGEST}"}}\' > "$2"'
    assert asyncio.run(build(tmp_path, script)).digest == DIGEST


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"containerimage.digest": 7}', '{"containerimage.digest": "x"}'])
def test_success_without_a_digest_is_a_bug(tmp_path: Path, content: str) -> None:
    found = problem(tmp_path, METADATA + f"echo '{content}' > \"$2\"")
    assert (found.code, found.next) == ("digest-missing", Next.BUG)


def test_success_without_a_metadata_file_is_a_bug_unless_nothing_was_to_be_kept(tmp_path: Path) -> None:
    assert problem(tmp_path, "true").code == "digest-missing"
    assert asyncio.run(build(tmp_path, "true", destination=None)).digest is None


def test_a_client_that_dies_without_a_word(tmp_path: Path) -> None:
    assert problem(tmp_path, "kill -9 $$").message == "BuildKit's client was killed by signal 9"


def test_only_the_way_outside_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE_DATE_EPOCH", "BUILDKIT_HOST", "BUILDKIT_PROGRESS", "SECRET", "HTTPS_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "told")
    asyncio.run(build(tmp_path, "env >&2", destination=None))
    found = dict(line.split("=", 1) for line in (tmp_path / "log").read_text().splitlines())
    assert {name for name, value in found.items() if value == "told"} == {"HTTPS_PROXY", "no_proxy"}
    assert found["DOCKER_CONFIG"] == found["HOME"] != os.environ.get("HOME")


def handed_over(folder: Path, access: Told, destination: str = "reg.example:5000") -> dict[str, str]:
    """What a build finds in its folder, and its words; the folder is gone afterwards."""
    pinned = PinnedImage(DIGEST, PullFrom(Repository("base.example", "a"), plain=False))
    push = PushTo(Repository(destination, "shop/api"), plain=False)
    show = (
        'cd "$DOCKER_CONFIG"; echo "words=$*" >&2; echo "folder=$PWD $(stat -c %a .)" >&2\n'
        'for f in *; do [ -f "$f" ] && echo "$f=$(stat -c %a "$f") $(tr -d "\\n" < "$f")" >&2; done; exit 1'
    )
    problem(folder, show, access=access, destination=push, contexts={"base": pinned})
    found = dict(line.split("=", 1) for line in (folder / "log").read_text().splitlines())
    assert not Path(found["folder"].split()[0]).exists()
    return found


def test_a_build_gets_the_credentials_it_needs_and_no_others(tmp_path: Path) -> None:
    known = {
        host: Credential("me", f"canary of {host}") for host in ("reg.example:5000", "base.example", "other.example")
    }
    access = Told(known)
    found = handed_over(tmp_path, access)
    assert access.asked == [{"reg.example:5000", "base.example"}]
    assert found["folder"].split()[1] == "700"
    mode, document = found["config.json"].split(" ", 1)
    assert mode == "600"
    auths = json.loads(document)["auths"]
    assert {host: base64.b64decode(entry["auth"]).decode() for host, entry in auths.items()} == {
        "reg.example:5000": "me:canary of reg.example:5000",
        "base.example": "me:canary of base.example",
    }
    assert "canary" not in found["words"]


def test_certificates_reach_the_client_as_files(tmp_path: Path) -> None:
    """buildctl itself asks token services, and has to trust them."""
    ways = {
        "docker.io": Route("docker.io", authorities=("ONE", "TWO"), identity=Identity("CERT", Secret("KEY"))),
        "base.example": Route("base.example", insecure=True),
    }
    found = handed_over(tmp_path, Told(ways=ways), "docker.io")
    files = {name: text for name, text in found.items() if name not in {"words", "folder", "config.json"}}
    assert sorted(files.values()) == ["600 CERT", "600 KEY", "600 ONE", "600 TWO"]
    words = found["words"]
    assert words.count('--registry-auth-tlscontext "host=registry-1.docker.io"') == 3
    assert '--registry-auth-tlscontext "host=base.example","insecure=true"' in words
    assert "KEY" not in words


def test_a_build_that_speaks_to_no_registry_is_given_nothing(tmp_path: Path) -> None:
    access = Told({"reg.example": Credential("me", "canary")})
    asyncio.run(build(tmp_path, 'test ! -e "$DOCKER_CONFIG/config.json"', access, destination=None))
    assert access.asked == []


def test_a_credential_that_cannot_be_had_starts_no_build(tmp_path: Path) -> None:
    class Broken(Told):
        async def logins(self, hosts: Collection[str]) -> Secret:
            raise LianError(Problem("credential-missing", "the variable X is not set"))

    push = PushTo(Repository("reg.example", "shop/api"), plain=False)
    found = problem(tmp_path, f"touch {tmp_path}/started", access=Broken(), destination=push)
    assert found.code == "credential-missing"
    assert not (tmp_path / "started").exists()
    assert not list(tmp_path.glob("build-*"))


SECRETS = {"npm": SecretBytes(b"canary one\n"), 'od,"d': SecretBytes(b"\xff\x00canary two")}
READ = r"""
show() { od -An -v -to1 <"$1" | tr -d ' \n'; }
for word do case $word in *src=*)
    path=${word##*src=}
    path=${path%\"}
    echo "$word|$(stat -Lc "%a %s" $path)|$(show $path)|$(show $path)" >&2
esac done
"""
"""Octal numbers are no form that is hidden in the log."""


def lent(folder: Path, **changes: object) -> list[list[str]]:
    """What the client sees of each secret: its words, mode and size, its content as read twice."""
    asyncio.run(build(folder, READ, destination=None, secrets=SECRETS, **changes))  # type: ignore[arg-type]
    return [line.split("|") for line in (folder / "log").read_text().splitlines()]


def test_secrets_are_lent_in_files_that_are_in_no_folder(tmp_path: Path) -> None:
    one, two = lent(tmp_path)
    assert one[0].startswith('"id=npm","src=/proc/self/fd/')
    assert two[0].startswith('"id=od,""d","src=/proc/self/fd/')
    assert (one[1], two[1]) == ("400 11", "400 12")
    for seen, secret in ((one, SECRETS["npm"]), (two, SECRETS['od,"d'])):
        assert seen[2:] == ["".join(f"{byte:03o}" for byte in secret.reveal())] * 2


def test_a_system_without_such_files_lends_them_in_the_builds_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.providers.builder.lending.sys.platform", "darwin")
    one, two = lent(tmp_path)
    assert (one[1], two[1]) == ("600 11", "600 12")
    assert one[2] == "".join(f"{byte:03o}" for byte in SECRETS["npm"].reveal())
    assert str(tmp_path) in one[0]
    assert not list(tmp_path.glob("**/secret-*"))


def test_what_is_lent_is_taken_back(tmp_path: Path) -> None:
    """However the build ends, and nothing that lian starts beside it inherits it."""
    before = descriptors()
    lent(tmp_path)
    problem(tmp_path, "exit 1", secrets=SECRETS)
    problem(tmp_path, "exec sleep 60", secrets=SECRETS, deadline=0.2)
    problem(tmp_path, "true", secrets=SECRETS, log=tmp_path / "not" / "there")
    assert descriptors() == before

    async def cancelled() -> None:
        task = asyncio.create_task(build(tmp_path, f"exec sleep 6{os.getpid()}", secrets=SECRETS))
        await running(f"6{os.getpid()}")
        other = await asyncio.create_subprocess_exec("ls", "-l", "/proc/self/fd", stdout=subprocess.PIPE)
        assert b"lian-secret" not in (await other.communicate())[0]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert descriptors() == before


def test_a_secret_that_the_client_prints_is_hidden(tmp_path: Path) -> None:
    found = problem(tmp_path, "echo 'error: failed to solve: canary one' >&2; exit 1", secrets=SECRETS)
    assert found.message == "BuildKit says: ***"
    assert (tmp_path / "log").read_text() == "error: failed to solve: ***\n"


def descriptors() -> list[str]:
    """What of this process is open, and may be a secret."""
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(path.readlink()))
    return sorted(link for link in links if "memfd" in link)


def test_a_log_on_a_full_disk_ends_a_client_that_goes_on_writing(tmp_path: Path) -> None:
    found = problem(tmp_path, "exec yes >&2", log=Path("/dev/full"))
    assert (found.code, found.next) == ("disk-full", Next.RETRY)


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    assert problem(tmp_path, "true", log=tmp_path / "not" / "there").code == "log-unwritable"


def test_a_runner_whose_folder_is_gone(tmp_path: Path) -> None:
    runner = Runner("lease", "unix:///nowhere", tmp_path / "gone", "scripted")
    with pytest.raises(LianError, match="builder-lost"):
        asyncio.run(BuildctlBuilder(tmp_path / "buildctl").build(runner, request(tmp_path), lambda step: None))


def test_a_line_of_any_length_is_taken(tmp_path: Path) -> None:
    script = (
        "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo 'error: failed to solve: something' >&2; exit 1"
    )
    assert problem(tmp_path, script).message == "BuildKit says: something"
    assert (tmp_path / "log").stat().st_size > 3_000_000


def test_a_client_that_will_not_end_is_killed(tmp_path: Path) -> None:
    mark = f"5{os.getpid()}"
    found = problem(tmp_path, f"trap '' TERM\nsleep {mark} & sleep {mark}; sleep {mark}", deadline=0.5)
    assert found.code == "build-timeout"
    assert with_argument(mark) == []


def test_cancelling_again_and_again_leaves_no_client(tmp_path: Path) -> None:
    mark = f"4{os.getpid()}"

    async def run() -> None:
        task = asyncio.create_task(build(tmp_path, f"exec sleep {mark}"))
        await running(mark)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()

    asyncio.run(run())
    assert with_argument(mark) == []


def test_cancelled_at_any_moment_of_the_start_it_leaves_no_client(tmp_path: Path) -> None:
    mark = f"2{os.getpid()}"

    async def attempt(steps: int) -> None:
        task = asyncio.create_task(build(tmp_path, f"exec sleep {mark}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert with_argument(mark) == []

    for steps in range(10):
        asyncio.run(attempt(steps))


def test_a_listener_that_raises_ends_the_build(tmp_path: Path) -> None:
    mark = f"3{os.getpid()}"

    class Deaf(list[StepSeen]):
        def append(self, step: StepSeen) -> None:
            raise KeyError(step.name)

    vertex = '{"vertexes":[{"digest":"a","name":"step","started":"2026-01-01T00:00:00Z"}]}'
    with pytest.raises(KeyError, match="step"):
        asyncio.run(build(tmp_path, f"echo '{vertex}' >&2; exec sleep {mark}", seen=Deaf()))
    assert with_argument(mark) == []


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    runner = Runner("lease", "unix:///nowhere", tmp_path, "scripted")
    with pytest.raises(LianError) as raised:
        asyncio.run(BuildctlBuilder(tmp_path / "none").build(runner, request(tmp_path), lambda step: None))
    assert raised.value.problems[0].code == "build-error"
    assert "none" in str(raised.value.problems[0].cause)
