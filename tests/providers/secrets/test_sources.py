"""References to credentials: what each kind of place gives, and what is said when it gives nothing."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.problem import LianError, Problem
from reconciler.model.secret import Secret
from reconciler.providers.secrets import sources
from reconciler.providers.secrets.sources import LONGEST, LONGEST_SECRET, Sources
from reconciler.record.owner import Owner

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-31d7"
PATH = {"PATH": os.environ["PATH"]}


def read(kind: SourceKind, name: str, environ: dict[str, str] | None = None) -> str:
    found = asyncio.run(Sources(environ or PATH).read(SourceRef(kind, name), "the login of reg.example.org"))
    return found.reveal()


def refused(kind: SourceKind, name: str, environ: dict[str, str] | None = None) -> Problem:
    with pytest.raises(LianError) as error:
        read(kind, name, environ)
    (problem,) = error.value.problems
    assert CANARY not in repr(problem)
    assert "reg.example.org" in problem.message
    return problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a \n", "a "), ("a\n\n", "a\n"), ("ci:se:cret", "ci:se:cret")],
)
def test_each_place_gives_its_text_without_the_line_end(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "secret").write_bytes(text.encode())
    assert read(SourceKind.ENV, "X", {"X": text}) == expected
    assert read(SourceKind.FILE, str(tmp_path / "secret")) == expected
    assert read(SourceKind.COMMAND, f"cat {shlex.quote(str(tmp_path / 'secret'))}") == expected


def test_a_command_is_words_and_no_shell(tmp_path: Path) -> None:
    assert read(SourceKind.COMMAND, f"printf %s 'a b' ; touch {tmp_path}/x") == "a b;touch" + str(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_command_sees_only_the_environment_it_is_handed() -> None:
    found = Sources({**PATH, "PASSWORD": CANARY}, PATH)
    answer = asyncio.run(found.read(SourceRef(SourceKind.COMMAND, "env"), "a login"))
    assert CANARY not in answer.reveal()
    assert asyncio.run(found.read(SourceRef(SourceKind.ENV, "PASSWORD"), "a login")) == Secret(CANARY)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(SourceKind.ENV, "NOT_SET").code == "credential-missing"
    assert "NOT_SET" in refused(SourceKind.ENV, "NOT_SET").message
    assert refused(SourceKind.FILE, str(tmp_path / "none")).code == "credential-missing"
    assert str(tmp_path / "none") in refused(SourceKind.FILE, str(tmp_path / "none")).message
    gone = refused(SourceKind.COMMAND, "no-such-program-of-lian")
    assert gone.cause == "there is no such program on PATH"


@pytest.mark.parametrize(
    ("kind", "name", "cause"),
    [
        (SourceKind.ENV, "EMPTY", "it is empty"),
        (
            SourceKind.FILE,
            "secrets/password",
            "its path is not absolute: a credential does not lie in the desired repo",
        ),
        (SourceKind.FILE, "/", "Is a directory"),
        (SourceKind.FILE, "/dev/zero", "it is not a file"),
        (SourceKind.FILE, "/proc/self/mem", "Input/output error"),
        (SourceKind.FILE, "/\0", "its name cannot be one"),
        (SourceKind.COMMAND, "true", "it is empty"),
        (SourceKind.COMMAND, f"sh -c 'echo {CANARY}; exit 3'", None),
        (SourceKind.COMMAND, "echo 'open", "it is no command line: no closing quotation"),
        (SourceKind.COMMAND, "printf '\\377'", "it is not text"),
        (SourceKind.COMMAND, f"head -c {LONGEST + 1} /dev/zero", f"it holds more than {LONGEST:,} bytes"),
    ],
)
def test_what_gives_nothing_says_why(kind: SourceKind, name: str, cause: str | None) -> None:
    if CANARY in name:
        with pytest.raises(LianError) as error:
            read(kind, name)
        assert error.value.problems[0].cause == "it ended with exit code 3"
        return
    problem = refused(kind, name, {**PATH, "EMPTY": ""})
    assert (problem.code, problem.cause) == ("credential-unreadable", cause)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(SourceKind.FILE, str(tmp_path / "pipe")).cause == "it is not a file"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)
    assert "more than" in (refused(SourceKind.FILE, str(tmp_path / "big")).cause or "")


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "COMMAND_SECONDS", 0.3)
    program = (
        f"import os,time; os.fork(); open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w').close(); time.sleep(60)"
    )
    started = time.monotonic()
    problem = refused(SourceKind.COMMAND, shlex.join([sys.executable, "-c", program]))
    assert (problem.code, time.monotonic() - started < 10) == ("credential-unreadable", True)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    while any(Owner.of(pid) for pid in pids):  # a signal to a whole group takes its moment
        assert time.monotonic() - started < 10


def test_a_vault_is_not_there_yet() -> None:
    problem = refused(SourceKind.VAULT, "secret/data/registry")
    assert problem.code == "credentials-unsupported"


def resolve(kind: SourceKind, name: str, environ: dict[str, str] | None = None) -> bytes:
    found = Sources(environ or PATH).resolve(SourceRef(kind, name), "the secret npm-token")
    return asyncio.run(found).reveal()


def unresolved(kind: SourceKind, name: str, environ: dict[str, str] | None = None) -> Problem:
    with pytest.raises(LianError) as error:
        resolve(kind, name, environ)
    (problem,) = error.value.problems
    assert "the secret npm-token" in problem.message
    return problem


@pytest.mark.parametrize("data", [b"a", b"a\n", b" a\r\n\n", b"\xff\x00\xfe", b"\n", "\u00e9".encode("latin-1")])
def test_a_builds_secret_is_every_byte_as_it_is(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "secret").write_bytes(data)
    assert resolve(SourceKind.FILE, str(tmp_path / "secret")) == data
    assert resolve(SourceKind.COMMAND, f"cat {shlex.quote(str(tmp_path / 'secret'))}") == data
    if b"\x00" not in data:
        assert resolve(SourceKind.ENV, "X", {"X": os.fsdecode(data)}) == data


@pytest.mark.parametrize(
    ("kind", "name", "code", "cause"),
    [
        (SourceKind.ENV, "NOT_SET", "credential-missing", None),
        (SourceKind.ENV, "EMPTY", "credential-unreadable", "it is empty"),
        (SourceKind.FILE, "/does/not/exist", "credential-missing", None),
        (SourceKind.FILE, "/dev/null", "credential-unreadable", "it is not a file"),
        (SourceKind.COMMAND, "true", "credential-unreadable", "it is empty"),
        (
            SourceKind.COMMAND,
            f"sh -c 'echo {CANARY} >&2; exit 3'",
            "credential-unreadable",
            "it ended with exit code 3",
        ),
        (SourceKind.COMMAND, "no-such-program", "credential-unreadable", "there is no such program on PATH"),
        (SourceKind.COMMAND, "yes", "credential-unreadable", "it printed more than 1,048,576 bytes"),
        (SourceKind.VAULT, "kv/npm", "credentials-unsupported", None),
    ],
)
def test_a_secret_that_cannot_be_had_says_why(kind: SourceKind, name: str, code: str, cause: str | None) -> None:
    problem = unresolved(kind, name, {**PATH, "EMPTY": ""})
    assert (problem.code, problem.cause) == (code, cause)
    assert problem.hint


def test_a_secret_is_as_long_as_buildkit_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x" * LONGEST_SECRET)
    assert len(resolve(SourceKind.FILE, str(path))) == LONGEST_SECRET
    path.write_bytes(b"x" * (LONGEST_SECRET + 1))
    for kind, name in ((SourceKind.FILE, str(path)), (SourceKind.COMMAND, f"cat {shlex.quote(str(path))}")):
        assert unresolved(kind, name).cause == "it holds more than 512,000 bytes"


def test_what_a_command_says_beside_its_answer_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    command = f"sh -c 'printf s3cr3t; echo {CANARY} >&2'"
    assert resolve(SourceKind.COMMAND, command) == b"s3cr3t"
    assert capfd.readouterr() == ("", "")


def test_a_command_that_prints_for_ever_is_ended() -> None:
    """Again and again: what it has printed and nobody read must not keep it."""
    began = time.monotonic()
    for _ in range(5):
        assert unresolved(SourceKind.COMMAND, "yes").cause == "it printed more than 1,048,576 bytes"
    assert time.monotonic() - began < 20


def test_what_a_command_leaves_running_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in a session of its own, with the command's output open."""
    monkeypatch.setattr(sources, "COMMAND_SECONDS", 0.5)
    began = time.monotonic()
    leaving = f"setsid sh -c 'echo $$ > {tmp_path}/left; exec sleep 60' & printf s3cr3t; sleep 0.2; exit 1"
    try:
        assert "did not answer" in (unresolved(SourceKind.COMMAND, shlex.join(["sh", "-c", leaving])).cause or "")
        assert time.monotonic() - began < 10
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
