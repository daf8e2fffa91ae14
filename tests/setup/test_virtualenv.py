"""`.venv/` is made once, renewed when pyproject.toml changes, and made from nothing after an interruption."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from parts.program import Step
from parts.virtualenv import STAMP, ensure_virtualenv, requirements

if TYPE_CHECKING:
    from pathlib import Path

    from tests.setup.machine import Machine

VENV = Step("venv", ensure_virtualenv)

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1"
[dependency-groups]
dev = {dev}
"""

# a build backend of the standard library alone (PEP 660), so that pip needs no network
BACKEND = """
import pathlib, zipfile
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("tiny.pth", str(pathlib.Path.cwd()))
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""


@pytest.fixture
def checkout(machine: Machine) -> Path:
    """A tiny project in the place of lian."""
    folder = machine.host.checkout
    (folder / "reconciler").mkdir(parents=True)
    (folder / "reconciler" / "__init__.py").touch()
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name="tiny", dev=[]))
    return folder


def test_the_life_of_an_environment(machine: Machine, checkout: Path) -> None:
    marker = checkout / ".venv" / "marker"
    assert machine.run(VENV) == ()
    subprocess.run([checkout / ".venv/bin/python", "-I", "-c", "import reconciler"], check=True)
    marker.touch()

    assert machine.run(VENV) == ()
    assert "already there" in machine.output.splitlines()[-1]

    (checkout / "pyproject.toml").write_text(PYPROJECT.format(name="tiny", dev=[]) + "# changed\n")
    assert machine.run(VENV) == ()
    assert " ok (" in machine.output.splitlines()[-1]
    assert marker.exists(), "a changed pyproject.toml renews the environment in place"

    (checkout / ".venv" / STAMP).unlink()  # as an interrupted set-up leaves it
    assert machine.run(VENV) == ()
    assert not marker.exists(), "without a stamp it is made from nothing"


def test_a_moved_checkout_is_noticed(machine: Machine, checkout: Path) -> None:
    assert machine.run(VENV) == ()
    moved = checkout.rename(checkout.with_name("elsewhere"))
    host = type(machine.host)(moved, True, True, True)
    assert ensure_virtualenv(host, lambda text: print(text, file=machine.said)) == "ok"
    told = subprocess.run(
        [moved / ".venv/bin/python", "-I", "-c", "import reconciler; print(reconciler.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(str(moved))


def test_a_refusing_pip_shows_its_last_words(machine: Machine, checkout: Path) -> None:
    (checkout / "backend.py").write_text("raise SystemExit('no backend today')")
    (lack,) = machine.run(VENV)
    assert "no backend today" in lack
    assert str(checkout / ".venv" / "set-up.log") in lack
    assert not (checkout / ".venv" / STAMP).exists()


def test_dependency_groups_may_include_others() -> None:
    groups = {"dev": ["a>=1", {"include-group": "lint"}], "lint": ["b"]}
    assert requirements({"dependency-groups": groups}, "dev") == ["a>=1", "b"]
