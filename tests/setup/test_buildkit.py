"""BuildKit is taken where it is, else built once and whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from parts.buildkit import MODULE, PROGRAMS, ensure_buildkit
from parts.program import Step

from reconciler.providers.builder.binaries import BUILDKIT_VERSION, find_part, locate
from tests.setup.machine import CHECKOUT, Machine

if TYPE_CHECKING:
    from pathlib import Path

BUILDKIT = Step("buildkit", ensure_buildkit)


def test_what_is_on_path_and_new_enough_is_taken(machine: Machine) -> None:
    machine.put_buildkit("0.31.0")
    machine.put_go()
    assert machine.run(BUILDKIT) == ()
    assert machine.calls == []
    assert find_part("buildkitd") == machine.path / "buildkitd"
    assert not machine.buildkit.exists()


def test_what_is_too_old_is_not(machine: Machine) -> None:
    machine.put_buildkit("0.30.9")
    machine.put_go()
    assert machine.run(BUILDKIT) == ()
    assert machine.calls == ["go build"]
    assert find_part("buildkitd") == machine.buildkit / "bin" / "buildkitd"


def test_a_second_run_does_nothing(machine: Machine) -> None:
    machine.put_go()
    assert machine.run(BUILDKIT) == ()
    before = _times(machine.buildkit)
    assert machine.run(BUILDKIT) == ()
    assert machine.calls == ["go build"]
    assert _times(machine.buildkit) == before
    assert "already there: v0.33.1" in machine.output.splitlines()[-1]


def test_parts_laid_down_beforehand_are_accepted(machine: Machine) -> None:
    """Air-gapped: no Go, no network, not even root."""
    machine.is_root = machine.is_debian = False
    machine.put_buildkit("0.33.1", machine.buildkit / "bin")
    assert machine.run(BUILDKIT) == ()
    assert find_part("buildctl") == machine.buildkit / "bin" / "buildctl"


@pytest.mark.parametrize(
    ("version", "toolchain", "told"),
    [
        (None, "local", "there is no usable BuildKit, and Go was not found on PATH"),
        ("1.19.8", "auto", "is Go 1.19.8; 1.26.8 or newer is needed"),
        ("1.26.7", "local", "is Go 1.26.7; 1.26.8 or newer is needed"),
    ],
)
def test_without_a_fit_go_the_remedy_is_precise(
    machine: Machine, version: str | None, toolchain: str, told: str
) -> None:
    if version:
        machine.put_go(version, toolchain)
    (lack,) = machine.run(BUILDKIT)
    assert told in lack
    assert "install Go 1.26.8 or newer" in lack
    assert str(machine.buildkit / "bin") in lack
    assert machine.calls == []


@pytest.mark.parametrize(
    ("version", "toolchain"), [("1.21.0", "auto"), ("1.25.0", "go1.25.0+auto"), ("1.27.0", "local")]
)
def test_a_go_that_is_newer_or_fetches_its_toolchain_builds(machine: Machine, version: str, toolchain: str) -> None:
    machine.put_go(version, toolchain)
    assert machine.run(BUILDKIT) == ()
    assert machine.calls == ["go build"]


def test_elsewhere_than_on_linux_nothing_is_built(machine: Machine) -> None:
    machine.is_linux = False
    machine.put_go()
    (lack,) = machine.run(BUILDKIT)
    assert "builds run on Linux only" in lack
    assert machine.calls == []


def test_a_failed_build_shows_its_last_words_and_leaves_nothing(machine: Machine) -> None:
    machine.put_go(before="echo 'module proxy: 403 Forbidden' >&2; exit 1")
    (lack,) = machine.run(BUILDKIT)
    assert "| module proxy: 403 Forbidden" in lack
    assert str(machine.cache / "lian" / "logs" / "set-up-buildkit.log") in lack
    assert not machine.buildkit.exists()
    machine.put_go()
    assert machine.run(BUILDKIT) == ()
    assert [entry.name for entry in machine.parts.iterdir()] == [machine.buildkit.name]


def test_what_was_built_but_does_not_run_is_not_laid_down(machine: Machine) -> None:
    machine.put_go(status=3)
    (lack,) = machine.run(BUILDKIT)
    assert "ended with status 3" in lack
    assert not machine.buildkit.exists()


def test_a_worn_out_part_is_replaced(machine: Machine) -> None:
    """A copy by hand that was cut short: it exists, and does not run."""
    machine.put_program("buildctl", "0.33.1", machine.buildkit / "bin")
    machine.put(machine.buildkit / "bin", "buildkitd", "")
    (machine.buildkit / "bin" / "buildkitd").write_bytes(b"\x7fELF\x02\x01\x01")
    assert locate("buildkitd").why is not None
    machine.put_go()
    assert machine.run(BUILDKIT) == ()
    assert locate("buildkitd").why is None
    assert [entry.name for entry in machine.parts.iterdir()] == [machine.buildkit.name]


def test_a_killed_build_is_made_anew_and_whole(machine: Machine) -> None:
    gate = _gate(machine)
    machine.put_go(before=f"printf half > ${{folder}}buildctl; read line < {gate}")
    first = _start_setup(machine)
    with gate.open("wb"):  # opens when the build has come to the gate
        first.kill()
        first.communicate()
        assert not machine.buildkit.exists()
    assert any(entry.name.startswith(".buildkit-") for entry in machine.parts.iterdir())
    machine.put_go()
    assert machine.run(BUILDKIT) == ()
    assert [entry.name for entry in machine.parts.iterdir()] == [machine.buildkit.name]
    assert all(find_part(name) for name in PROGRAMS)


def test_two_at_once_build_once(machine: Machine) -> None:
    gate = _gate(machine)
    machine.put_go(before=f"read line < {gate}")
    first = _start_setup(machine)
    with gate.open("wb") as opened:
        second = _start_setup(machine)
        assert second.stdout is not None
        told = ""
        while "waiting for another set-up" not in told:
            letter = second.stdout.read(1)
            assert letter, f"the second set-up ended without waiting: {told}"
            told += letter
        opened.write(b"go on\n")
    outputs = first.communicate()[0], second.communicate()[0]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert machine.calls == ["go build"]


def test_the_release_is_pinned_with_its_checksum() -> None:
    module = (MODULE.folder / "go.mod").read_text()
    assert re.search(rf"^require github.com/moby/buildkit {re.escape(BUILDKIT_VERSION)}$", module, re.MULTILINE)
    sums = (MODULE.folder / "go.sum").read_text()
    assert re.search(rf"^github.com/moby/buildkit {re.escape(BUILDKIT_VERSION)} h1:\S+$", sums, re.MULTILINE)


def _start_setup(machine: Machine) -> subprocess.Popen[str]:
    script = (
        "import sys; from pathlib import Path; from parts.buildkit import ensure_buildkit\n"
        "from parts.host import Host; from parts.program import Step, run_step\n"
        "host = Host(Path(sys.argv[1]), True, True, True)\n"
        "sys.exit(len(run_step(Step('buildkit', ensure_buildkit), host, sys.stdout)))\n"
    )
    search = os.pathsep.join([str(CHECKOUT / ".ci"), str(CHECKOUT)])
    return subprocess.Popen(
        [sys.executable, "-c", script, machine.folder],
        env={**os.environ, "PYTHONPATH": search},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _gate(machine: Machine) -> Path:
    gate = machine.folder / "gate"
    os.mkfifo(gate)
    return gate


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}
