"""buildx is taken where it is, else built once, from what is pinned beside BuildKit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from parts.buildkit import MODULE as BUILDKIT
from parts.buildx import MODULE, ensure_buildx
from parts.program import TARGETS, Step, steps_of

from reconciler.providers.builder.binaries import BUILDKIT_VERSION
from tests import programs

if TYPE_CHECKING:
    from tests.setup.machine import Machine

BUILDX = Step("buildx", ensure_buildx)


def test_it_is_built_once(machine: Machine) -> None:
    machine.put_go()
    assert machine.run(BUILDX) == ()
    assert machine.run(BUILDX) == ()
    assert machine.calls == ["go build"]
    assert programs.find("buildx").path == machine.parts / programs.BUILDX_FOLDER / "bin" / "buildx"
    assert "already there" in machine.output.splitlines()[-1]


@pytest.mark.parametrize(("version", "calls"), [("0.38.0", []), ("0.20.1", ["go build"])])
def test_what_is_on_path_is_taken_if_it_is_new_enough(machine: Machine, version: str, calls: list[str]) -> None:
    machine.put_go()
    machine.put_program("buildx", version)
    assert machine.run(BUILDX) == ()
    assert machine.calls == calls


def test_without_a_fit_go_the_remedy_is_told(machine: Machine) -> None:
    (lack,) = machine.run(BUILDX)
    assert "Go was not found on PATH" in lack
    assert f"or into {machine.parts / programs.BUILDX_FOLDER / 'bin'}/" in lack.replace("\n    ", " ")


def test_a_failed_build_shows_its_last_words_and_the_next_one_is_whole(machine: Machine) -> None:
    machine.put_go(before="echo 'module proxy: 403 Forbidden' >&2; exit 1")
    (lack,) = machine.run(BUILDX)
    assert "| module proxy: 403 Forbidden" in lack
    assert not (machine.parts / programs.BUILDX_FOLDER).exists()
    machine.put_go()
    assert machine.run(BUILDX) == ()
    assert [entry.name for entry in machine.parts.iterdir()] == [programs.BUILDX_FOLDER]


def test_only_tests_get_it() -> None:
    targets = [target for target in TARGETS if "buildx" in {step.name for step in steps_of(target)}]
    assert targets == ["test", "all"]


def test_it_is_pinned_with_its_checksum_beside_buildkit() -> None:
    module, sums = ((MODULE.folder / name).read_text() for name in ("go.mod", "go.sum"))
    for path, version in (
        ("github.com/docker/buildx", programs.BUILDX_VERSION),
        ("github.com/moby/buildkit", BUILDKIT_VERSION),
    ):
        assert re.search(rf"^(require|\t)\s*{re.escape(path)} {re.escape(version)}( |$)", module, re.MULTILINE)
        assert re.search(rf"^{re.escape(path)} {re.escape(version)} h1:\S+$", sums, re.MULTILINE)
    assert MODULE.lowest_go == BUILDKIT.lowest_go
