"""A reader that goes away ends no command, and changes no exit code."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import Bench, directive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Many artifacts, none built: a plan longer than a pipe holds."""
    made = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    text = {f"a{n:03}": f'image = "s/a{n:03}", context.path = "c"' for n in range(800)}
    made.commit({"directives/s.ncl": directive("s", text), "c/Dockerfile": "FROM scratch\nCOPY f /\n", "c/f": "1"})
    return made


def shell(bench: Bench, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in which `$LIAN` is the command."""
    environment = bench.environment | {"LIAN": f"{sys.executable} -m reconciler"}
    return subprocess.run(
        ["bash", "-c", script], cwd=bench.repo, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def test_the_exit_code_is_that_of_the_command(bench: Bench) -> None:
    done = shell(bench, "$LIAN diff | head -n 1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("+ build")


def test_a_closed_stdout_is_no_bug(bench: Bench) -> None:
    done = shell(bench, "$LIAN diff >&-")
    assert (done.returncode, done.stderr) == (2, "")


def test_a_full_disk_behind_stdout_is_told(bench: Bench) -> None:
    done = shell(bench, "$LIAN diff >/dev/full")
    assert done.returncode == 1
    assert "error[output-unwritable]" in done.stderr


@pytest.mark.parametrize("words", ["diff", "diff --json"])
def test_a_locale_without_the_signs_stops_nothing(bench: Bench, words: str) -> None:
    bench.commit({"c/Dockerfile": "FROM scratch\nCOPY f /\nFRÖM x\n"})
    done = shell(bench, f"LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $LIAN {words}")
    assert done.returncode == 1
    assert "FRÖM" in done.stdout + done.stderr


def test_what_all_are_held_for_is_said_once(bench: Bench) -> None:
    down = Bench(bench.repo, bench.cache, "http://127.0.0.1:9")
    ran = down.lian("diff", code=4)
    assert ran.out.count("registry-unreachable") == 2, "as what is at the root of all, and once in full"
    assert ran.out.count("held[registry-unreachable]") == 1
    assert "and 797 more" in ran.out


def test_only_held_is_4_for_validate_too(tmp_path: Path) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    secret = 'image = "s/a", context.path = "c", secrets = { npm = { name = "npm-token" } }'
    bench.commit({"directives/s.ncl": directive("s", {"a": secret}), "c/Dockerfile": "FROM scratch\nCOPY f /\n"})
    assert "1 held" in bench.lian("validate", code=4).out


def test_why_tells_what_is_wrong_with_the_directives(bench: Bench) -> None:
    bench.commit({"directives/s.ncl": "{"})
    assert "error[nickel-syntax]" in bench.lian("why", "s/a001", code=1).err
