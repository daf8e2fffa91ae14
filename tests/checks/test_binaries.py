"""Programs are judged by running them; PATH goes before the parts cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.providers.builder import binaries
from reconciler.providers.builder.binaries import (
    BUILDKIT_FOLDER,
    Wanted,
    cache_folder,
    find_part,
    locate,
    parts_folder,
)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def _put(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("told", "version", "usable"),
    [
        ("buildkitd github.com/moby/buildkit v0.33.1 ", "0.33.1", True),
        ("buildkitd github.com/moby/buildkit v0.31.0 deadbeef", "0.31.0", True),
        ("buildkitd github.com/moby/buildkit 0.100.2+ds1", "0.100.2", True),
        ("buildkitd github.com/moby/buildkit v0.30.9", "0.30.9", False),
        ("buildkitd github.com/moby/buildkit", None, False),
    ],
)
def test_buildkit_must_be_new_enough(on_path: Path, told: str, version: str | None, usable: bool) -> None:
    program = _put(on_path, "buildkitd", f"echo '{told}'")
    found = locate("buildkitd")
    assert (found.path, found.version, found.why is None) == (program, version, usable)
    assert find_part("buildkitd") == (program if usable else None)


def test_a_usable_part_in_the_cache_beats_an_unusable_one_on_path(on_path: Path) -> None:
    _put(on_path, "buildctl", "echo v0.12.0")
    laid = _put(parts_folder() / BUILDKIT_FOLDER / "bin", "buildctl", "echo v0.33.1")
    assert find_part("buildctl") == laid


def test_path_goes_first(on_path: Path) -> None:
    _put(parts_folder() / BUILDKIT_FOLDER / "bin", "buildctl", "echo v0.33.1")
    older = _put(on_path, "buildctl", "echo v0.31.0")
    assert find_part("buildctl") == older


def test_a_program_that_is_no_part_of_lian_is_asked_in_its_own_way(on_path: Path) -> None:
    program = _put(on_path, "crane", '[ "$1" = version ] && echo v0.21.7')
    assert locate("crane").why is not None
    found = locate("crane", Wanted(minimum=(0, 20), asked="version"))
    assert (found.path, found.version, found.why) == (program, "0.21.7", None)
    assert "is v0.21.7; v0.22 or newer" in str(locate("crane", Wanted(minimum=(0, 22), asked="version")).why)
    program.unlink()
    laid = _put(parts_folder() / "tools" / "bin", "crane", "echo v0.21.7")
    assert locate("crane", Wanted(folder="tools")).path == laid


def test_a_version_is_not_read_from_the_folder_a_program_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some programs, distribution's registry among them, tell what they were called by beside their version."""
    folder = tmp_path / "tools-1.2.3"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder))
    assert locate("python", Wanted(asked="-cimport sys; print(sys.orig_argv[0], 'v3.1.1')")).version == "3.1.1"


@pytest.mark.parametrize(
    ("script", "why"),
    [("exit 3", "ended with status 3"), ("kill -9 $$", "ended with status -9")],
)
def test_a_program_that_fails_is_not_usable(on_path: Path, script: str, why: str) -> None:
    _put(on_path, "runc", script)
    assert str(locate("runc").why).endswith(why)
    assert find_part("runc") is None


def test_a_program_of_another_machine_is_not_usable(on_path: Path) -> None:
    _put(on_path, "runc", "").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
    assert "does not run" in str(locate("runc").why)


def test_a_program_that_hangs_is_given_up(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "PROBE_SECONDS", 0.1)
    _put(on_path, "runc", "exec /bin/sleep 60")
    assert "did not answer --version" in str(locate("runc").why)


def test_a_relative_cache_setting_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "lian"


def test_it_imports_the_standard_library_only() -> None:
    """Set-up uses it before anything is installed."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import reconciler.providers.builder.binaries"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, Path(binaries.__file__).parents[3]], check=True, timeout=60
    )
