"""A patch is what `git apply` takes, whatever the file is called and however it ends."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.cli.views.patch import patch, quoted

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    ".build-spec.ncl",
    "images/api/.build-spec.ncl",
    "with a blank/in it",
    'quo"te',
    "back\\slash",
    "tab\there",
    "é/ü",
    "a\nb",
    "\udcff",
]


def git(folder: Path, *words: str, given: bytes = b"") -> None:
    done = subprocess.run(["git", *words], cwd=folder, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def applied(folder: Path, path: str, old: str | None, new: str) -> bytes:
    """What is in the file once git has applied the patch."""
    file = folder / path
    if old is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(old.encode())
    git(folder, "apply", "-", given=patch(path, old, new).encode())
    data = file.read_bytes()
    file.unlink()
    return data


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo")
    git(folder, "init", "-q")
    return folder


@pytest.mark.parametrize("path", NAMES)
@pytest.mark.parametrize("old", [None, "{ cpu = 1 }", "{\n  cpu = 1,\n}\n"])
def test_whatever_the_file_is_called(repo: Path, path: str, old: str | None) -> None:
    new = "{\n  cpu = 4,\n  memory_gb = 8,\n}\n"
    assert applied(repo, path, old, new) == new.encode()


_TEXTS = st.lists(st.sampled_from(["a", "b", "", "é", "\r", "\x0c x", "\u2028"]), max_size=8).map("\n".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXTS, _TEXTS)
def test_whatever_changes_in_it(repo: Path, old: str, new: str) -> None:
    if old == new:
        assert patch("file", old, new) == ""
    elif old and new:  # an empty file is made or removed by no hunk
        assert applied(repo, "file", old, new) == new.encode()


def test_several_patches_make_one(repo: Path) -> None:
    whole = patch("a/x", None, "1\n") + patch("b/x", None, "2\n")
    git(repo, "apply", "-", given=whole.encode())
    assert ((repo / "a/x").read_text(), (repo / "b/x").read_text()) == ("1\n", "2\n")


def test_only_odd_names_are_quoted() -> None:
    assert quoted("a/images/api") == "a/images/api"
    assert quoted("a/é\n") == '"a/\\303\\251\\n"'
