"""Real BuildKit as the oracle for ignore files: what lies in an image after `COPY . /`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings

from reconciler.desired.ignore import IgnoreRules, find_ignore
from reconciler.model.problem import LianError
from tests.desired.buildkit import Daemon, daemon
from tests.desired.ignore_trees import Folder, ignore_files, sent, tree, trees

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.buildkit

PAIRS = 80
LINK = "nowhere"


@pytest.fixture(scope="module")
def buildkit() -> Iterator[Daemon]:
    with daemon() as running:
        yield running


def _utf8(name: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in name)


def _write(root: Folder, at: Path, number: int) -> None:
    """The tree on disk: files named foo are symlinks. Each context has times of its own: BuildKit compares by them."""
    at.mkdir()
    for name, below in root.items():
        if below is not None:
            _write(below, at / name, number)
        elif name == "foo":
            (at / name).symlink_to(LINK)
        else:
            (at / name).write_text("x")
            os.utime(at / name, (1_000_000 + number, 1_000_000 + number))


def _found(folder: Path) -> list[str]:
    paths = []
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(at, name)
            is_folder = path.is_dir() and not path.is_symlink()
            assert path.is_symlink() == (name == "foo" and not is_folder)
            paths.append(str(path.relative_to(folder)) + "/" * is_folder)
    return sorted(paths)


def _pairs() -> list[tuple[str, Folder]]:
    """Random ignore files that BuildKit accepts, each with a random tree that it changes."""
    found: list[tuple[str, Folder]] = []

    @settings(max_examples=12 * PAIRS, derandomize=True, database=None, phases=[Phase.generate])
    @given(ignore=ignore_files, root=trees)
    def collect(ignore: str, root: Folder) -> None:
        root = root | {".dockerignore": None}
        try:
            rules = IgnoreRules.parse(ignore.encode("utf-8", "surrogateescape"), "x")
        except LianError:
            return
        everything = sent(root, IgnoreRules.EMPTY)
        if len(found) < PAIRS and _utf8(ignore) and all(map(_utf8, everything)) and sent(root, rules) != everything:
            found.append((ignore, root))

    collect()
    assert len(found) == PAIRS
    return found


def test_random_pairs(buildkit: Daemon, tmp_path: Path) -> None:
    """All pairs in one build: each tree is a named context, which obeys the ignore file at its own root."""
    pairs = _pairs()
    for number, (ignore, root) in enumerate(pairs):
        _write(root, tmp_path / f"c{number}", number)
        (tmp_path / f"c{number}" / ".dockerignore").write_bytes(ignore.encode())
    copies = "".join(f"COPY --from=c{number} / /{number}/\n" for number in range(PAIRS))
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM scratch\n{copies}")
    (tmp_path / "main").mkdir()
    named = {f"c{number}": tmp_path / f"c{number}" for number in range(PAIRS)}
    out = buildkit.build(dockerfile, tmp_path / "main", tmp_path / "out", **named)
    for number, (ignore, root) in enumerate(pairs):
        rules = IgnoreRules.parse(ignore.encode(), "x")
        assert _found(out / str(number)) == sorted(sent(root, rules)), (number, ignore)


@pytest.mark.parametrize("special", [None, b"", b"b\n"], ids=["none", "empty", "own"])
def test_which_file_decides(buildkit: Daemon, tmp_path: Path, special: bytes | None) -> None:
    """`<Dockerfile>.dockerignore` comes first, also when it is empty; a lower-case dockerfile has none of its own."""
    context = tmp_path / "context"
    _write(tree(["a", "b", "c/d"]), context, 1)
    (context / ".dockerignore").write_bytes(b"a\n")
    dockerfile = tmp_path / "Build.me"
    dockerfile.write_text("FROM scratch\nCOPY . /\n")
    if special is not None:
        (tmp_path / "Build.me.dockerignore").write_bytes(special)
    out = buildkit.build(dockerfile, context, tmp_path / "out")
    chosen = find_ignore("Build.me", "context", lambda path: (tmp_path / path).is_file())
    assert chosen is not None
    rules = IgnoreRules.parse((tmp_path / chosen).read_bytes(), chosen)
    expected = sent(tree(["a", "b", "c/d", ".dockerignore"]), rules)
    assert _found(out) == sorted(expected)


@pytest.mark.parametrize("line", ["[", "!", "a*["])
def test_buildkit_refuses_it_too(buildkit: Daemon, tmp_path: Path, line: str) -> None:
    context = tmp_path / "context"
    _write(tree(["a"]), context, 2)
    (context / ".dockerignore").write_text(line)
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /\n")
    with pytest.raises(AssertionError, match=r"syntax error in pattern|illegal exclusion pattern"):
        buildkit.build(dockerfile, context, tmp_path / "out")
    with pytest.raises(LianError, match="ignore-syntax"):
        IgnoreRules.parse(line.encode(), ".dockerignore")
