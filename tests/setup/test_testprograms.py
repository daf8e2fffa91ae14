"""Registries and tools for tests: taken where they are, built together where they are not."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from parts.program import Step
from parts.testprograms import MODULE, ensure_test_programs

from tests import programs
from tests.setup.machine import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.setup.machine import Machine

TEST_PROGRAMS = Step("test programs", ensure_test_programs)
NAMES = tuple(programs.PACKAGES)


def test_they_are_built_in_one_go_and_once(machine: Machine) -> None:
    machine.put_go()
    assert machine.run(TEST_PROGRAMS) == ()
    assert machine.run(TEST_PROGRAMS) == ()
    assert machine.calls == ["go build"]
    assert {name: programs.find(name).path for name in NAMES} == {
        name: machine.test_programs / "bin" / name for name in NAMES
    }
    assert "already there" in machine.output.splitlines()[-1]


def test_what_is_on_path_is_taken(machine: Machine) -> None:
    machine.put_go()
    for name, version in {"registry": "3.1.0", "ggcr": "0.20", "crane": "0.19.0", "oras": "1.1.0"}.items():
        machine.put_program(name, version)
    assert machine.run(TEST_PROGRAMS) == ()
    assert machine.calls == []
    assert programs.find("oras").path == machine.path / "oras"


def test_only_what_is_not_is_built(machine: Machine) -> None:
    machine.put_go()
    machine.put_program("crane", "0.21.0")
    machine.put_program("registry", "2.8.3")  # another major version of the same name
    assert machine.run(TEST_PROGRAMS) == ()
    laid = machine.test_programs / "bin"
    assert sorted(path.name for path in laid.iterdir()) == ["ggcr", "oras", "registry"]
    assert programs.find("registry").path == laid / "registry"


def test_what_went_from_path_is_built_and_nothing_is_lost(machine: Machine) -> None:
    machine.put_go()
    machine.put_program("crane", "0.21.0")
    assert machine.run(TEST_PROGRAMS) == ()
    (machine.path / "crane").unlink()
    assert machine.run(TEST_PROGRAMS) == ()
    assert [programs.find(name).why for name in NAMES] == [None] * 4
    assert [entry.name for entry in machine.parts.iterdir()] == [machine.test_programs.name]


def test_programs_laid_down_beforehand_are_accepted(machine: Machine) -> None:
    """Air-gapped: no Go, not Linux."""
    machine.is_root = machine.is_debian = machine.is_linux = False
    for name in NAMES:
        machine.put_program(name, "3.1.1", machine.test_programs / "bin")
    assert machine.run(TEST_PROGRAMS) == ()


@pytest.mark.parametrize(
    ("version", "told"),
    [(None, "Go was not found on PATH"), ("1.20", "is Go 1.20; 1.26.0 or newer is needed")],
)
def test_without_a_fit_go_all_that_is_missing_is_told(machine: Machine, version: str | None, told: str) -> None:
    machine.put_program("oras", "1.3.3")
    if version:
        machine.put_go(version)
    (lack,) = machine.run(TEST_PROGRAMS)
    assert lack.startswith("registry, ggcr, crane (registries and tools that tests use): ")
    assert told in lack
    assert f"or into {machine.test_programs / 'bin'}/" in lack.replace("\n    ", " ")
    assert machine.calls == []


def test_a_failed_build_shows_its_last_words_and_the_next_one_is_whole(machine: Machine) -> None:
    machine.put_go(before="echo 'module proxy: 403 Forbidden' >&2; exit 1")
    (lack,) = machine.run(TEST_PROGRAMS)
    assert "| module proxy: 403 Forbidden" in lack
    assert str(machine.cache / "lian" / "logs" / "set-up-test-programs.log") in lack
    assert not machine.test_programs.exists()
    machine.put_go()
    assert machine.run(TEST_PROGRAMS) == ()
    assert [entry.name for entry in machine.parts.iterdir()] == [machine.test_programs.name]


def test_what_was_built_but_does_not_run_is_not_laid_down(machine: Machine) -> None:
    machine.put_go(status=3)
    (lack,) = machine.run(TEST_PROGRAMS)
    assert "ended with status 3" in lack
    assert not machine.test_programs.exists()


def test_the_folder_is_named_after_what_they_are_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SOURCE", tmp_path)
    names = []
    for text in ("one", "two"):
        (tmp_path / "main.go").write_text(text)
        programs.folder.cache_clear()
        names.append(programs.folder())
    programs.folder.cache_clear()
    assert len(set(names)) == 2


def test_every_package_is_pinned_with_its_checksum() -> None:
    module, sums = ((MODULE.folder / name).read_text() for name in ("go.mod", "go.sum"))
    for path in ("github.com/distribution/distribution/v3", "github.com/google/go-containerregistry", "oras.land/oras"):
        found = re.search(rf"^\s*{re.escape(path)} (v\S+)", module, re.MULTILINE)
        assert found is not None, path
        assert re.search(rf"^{re.escape(path)} {re.escape(found[1])} h1:\S+$", sums, re.MULTILINE)


def test_it_imports_the_standard_library_only() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import tests.programs"
    subprocess.run([sys.executable, "-I", "-S", "-c", script, CHECKOUT], check=True, timeout=60)
