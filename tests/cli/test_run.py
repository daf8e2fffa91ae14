"""How a command ends: exit codes for errors, bugs, interruptions and readers that went away."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import run as runner
from reconciler.cli import version
from reconciler.model.problem import LianError, Problem
from tests.schemas.evaluation import validator

if TYPE_CHECKING:
    from collections.abc import Callable


def ended(
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[argparse.Namespace], int],
    *,
    json: bool = False,
    debug: bool = False,
) -> int:
    """What `lian version` ends with if the verb does this."""
    monkeypatch.setattr(version, "run", verb)
    return runner.run(argparse.Namespace(command="version", json=json, debug=debug))


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def verb(arguments: argparse.Namespace) -> int:
        raise error

    return verb


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 130])
def test_the_verb_decides(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    assert ended(monkeypatch, lambda _: code) == code


def test_problems_go_to_stderr_and_end_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = LianError([Problem("second", "two", file="b"), Problem("first", "one", file="a", line=1, hint="do this")])
    assert ended(monkeypatch, raising(error)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.index("error[first]: one") < shown.err.index("error[second]: two")
    assert "at a:1" in shown.err
    assert "try: do this" in shown.err


def test_with_json_they_go_to_stdout_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, raising(LianError(Problem("a-code", "one"))), json=True) == 1
    document = json.loads(capsys.readouterr().out)
    validator("problems").validate(document)
    assert document["problems"][0]["code"] == "a-code"


def test_a_bug_shows_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, raising(KeyError("oh"))) == 1
    shown = capsys.readouterr().err
    assert "error[internal-error]" in shown
    assert "KeyError" in shown
    assert "Traceback" not in shown


def test_debug_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError, match="oh"):
        ended(monkeypatch, raising(KeyError("oh")), debug=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_interruption_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert ended(monkeypatch, raising(error)) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("diff", "lian: interrupted\n"),
        ("lock", "lian: interrupted\n"),
        ("prune", "lian: interrupted; what is finished stays\n"),
        ("reconcile", "lian: interrupted; what is finished stays, what was rented is returned\n"),
    ],
)
def test_an_interruption_tells_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, told: str
) -> None:
    monkeypatch.setattr(runner, "_verb", lambda arguments: argparse.Namespace(run=raising(KeyboardInterrupt())))
    assert runner.run(argparse.Namespace(command=verb, json=False, debug=False)) == 130
    assert capsys.readouterr().err == told


def test_a_missing_part_is_an_error_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run(argparse.Namespace(command="no_such_verb", json=False, debug=False)) == 1
    assert "no_such_verb" in capsys.readouterr().err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_work_which_may_clean_up(sign: signal.Signals) -> None:
    script = """
import asyncio, sys
from reconciler.cli.run import complete, run
from reconciler.cli import version
async def work():
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("returned", flush=True)
version.run = lambda arguments: complete(work())
import argparse
sys.exit(run(argparse.Namespace(command="version", json=False, debug=False)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        child.send_signal(sign)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (130, "returned\n")
    assert err.startswith("lian: interrupted")


def test_a_reader_that_went_away_is_no_error() -> None:
    script = """
import argparse, sys
from reconciler.cli import version
from reconciler.cli.run import run
def verb(arguments):
    sys.stdin.readline()
    print("x" * 1000000)
    return 0
version.run = verb
sys.exit(run(argparse.Namespace(command="version", json=False, debug=False)))
"""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE, text=True
    ) as child:
        os.close(writing)
        os.close(reading)
        _, err = child.communicate("go\n", timeout=20)
    assert (child.returncode, err) == (0, "")


def test_an_interruption_comes_before_what_could_not_be_returned() -> None:
    script = """
import argparse, asyncio, sys
from reconciler.cli.run import complete, run
from reconciler.cli import version
from reconciler.model.problem import LianError, Problem
async def work():
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise LianError(Problem("lease-not-removed", "the lease x could not be removed")) from None
version.run = lambda arguments: complete(work())
sys.exit(run(argparse.Namespace(command="version", json=False, debug=False)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "error[lease-not-removed]" in err
    assert "interrupted" in err
