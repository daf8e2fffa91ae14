"""Set-up as a whole: what each target gets, how it is told, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from parts.host import Missing, StepFailed
from parts.program import TARGETS, Step, steps_of

from tests.setup.machine import CHECKOUT, Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ready(machine: Machine, monkeypatch: pytest.MonkeyPatch, static_busybox: Path) -> Machine:
    """A machine whose virtual environment needs no work, and whose Debian has a static busybox."""
    monkeypatch.setattr("parts.virtualenv.is_current", lambda checkout: True)
    monkeypatch.setattr("parts.debian._has_sshd_user", lambda: True)
    return machine


def test_each_step_has_one_line_with_its_time(ready: Machine) -> None:
    ready.put_apt()
    ready.put_go()
    assert ready.set_up("all") == 0, ready.output
    lines = ready.output.splitlines()
    assert [re.fullmatch(r"setup: ([a-z -]+) … .*\(\d+\.\d s\)", line)[1] for line in lines] == [  # type: ignore[index]
        "debian packages",
        "docker-registry",
        "sshd",
        "docker",
        "venv",
        "buildkit",
        "test programs",
        "buildx",
    ]


def test_a_second_set_up_changes_nothing(ready: Machine) -> None:
    ready.put_apt()
    ready.put_go()
    assert ready.set_up("all") == 0
    calls = ready.calls
    assert ready.set_up("all") == 0
    assert ready.calls == calls
    assert all("already there" in line for line in ready.output.splitlines()[-7:])


def test_the_demo_gets_no_more_than_it_needs(ready: Machine) -> None:
    ready.put_apt()
    ready.put_go()
    assert ready.set_up("demo") == 0, ready.output
    assert sorted(path.name for path in ready.path.iterdir()) == ["apt-get", "busybox", "dpkg-deb", "git", "go", "runc"]
    assert [path.name for path in ready.parts.iterdir()] == [ready.buildkit.name]


def test_a_check_needs_the_environment_only() -> None:
    assert [step.name for step in steps_of("check")] == ["debian packages", "venv"]
    assert {step.name for target in TARGETS for step in steps_of(target)} == {s.name for s in steps_of("all")}


def test_all_that_is_missing_is_told_at_once(ready: Machine) -> None:
    ready.is_root = ready.is_debian = False
    assert ready.set_up("test") == 1
    told = ready.output.split("could not be had:")[1]
    assert "git, runc, busybox, jq, rsync" in told
    assert "sshd" in told
    assert "docker-registry" in told
    assert "BuildKit" in told
    assert "registry, ggcr, crane, oras" in told
    assert "buildx" in told


@pytest.mark.parametrize(("arguments", "status"), [(("test",), 1), (("--tolerate", "test"), 0)])
def test_tests_may_run_without_some_parts(ready: Machine, arguments: tuple[str, ...], status: int) -> None:
    ready.is_debian = False
    assert ready.set_up(*arguments) == status


def test_tests_cannot_run_without_the_environment(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: object, say: object) -> str:
        raise StepFailed(Missing("Python packages", "no network", "try again"))

    monkeypatch.setattr("parts.program.ensure_virtualenv", refuse)
    assert machine.set_up("--tolerate", "test") == 1


def test_a_cache_folder_that_cannot_be_written_is_told(ready: Machine) -> None:
    ready.put_go()
    ready.cache.write_text("a file where a folder should be")
    (lack,) = ready.run(steps_of("demo")[-1])
    assert "Not a directory" in lack or "File exists" in lack


def test_an_interrupted_set_up_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(host: object, say: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("parts.program.steps_of", lambda target: [Step("venv", interrupted)])
    assert machine.set_up("check") == 130
    assert "the next run goes on from here" in machine.output


def test_it_runs_before_anything_is_installed(tmp_path: Path) -> None:
    """Without site-packages, from any folder, by its own path."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", CHECKOUT / ".ci" / "setup", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "check,demo,test,all" in done.stdout


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE) == [
        "help",
        "setup",
        "demo",
        "test",
        "check",
        "bench",
        "clean",
    ]


def test_ci_runs_all_tests_strictly(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$PWD $LIAN_TEST_STRICT $*"\n')
    make.chmod(0o755)
    search = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [CHECKOUT / ".ci" / "run"],
        env={**os.environ, "PATH": search},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(CHECKOUT), "1", "test"]
