"""What is sent of a context folder, and how it is written."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired.contexts import Contexts
from reconciler.desired.export import Exporter, Stopped, file_time
from reconciler.desired.ignore import IgnoreRules
from reconciler.desired.memo import Memo
from reconciler.desired.tree import CommitTree, GitObjects
from reconciler.model import tree as merkle
from reconciler.model.desired import SentFolder
from reconciler.model.problem import LianError
from tests.desired.ignore_trees import filter_tree
from tests.desired.repos import EXECUTABLE, FILE, FOLDER, SUBMODULE, SYMLINK, Content, Repo, encoded, raw_tree

if TYPE_CHECKING:
    from collections.abc import Mapping


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"

_names = st.one_of(
    st.sampled_from(
        ["a", "b", "c", "x.txt", ".hidden", "-dash", "new\nline", "sp ace", "\udcff", "é", "*", "[b]", "\\"]
    ),
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=4),
).filter(lambda name: name not in {".", ".."} and name.lower() != ".git")
_paths = st.lists(_names, min_size=1, max_size=4).map("/".join)
_leaves: st.SearchStrategy[Content] = st.one_of(
    st.binary(max_size=20),
    st.binary(max_size=8).map(lambda data: (EXECUTABLE, data)),
    st.sampled_from([b"a", b"../..", b"/etc/passwd", b"nowhere"]).map(lambda data: (SYMLINK, data)),
)
_lines = st.sampled_from(["*", "!a", "a", "**/b", "!**/x.txt", "b/*", "*.txt", "!b/c", ".*", "c/**"])


def _tree_of(paths: dict[str, Content]) -> dict[str, Content]:
    """Without files that would have to be folders as well."""
    folders = {"/".join(p.split("/")[:i]) for p in paths for i in range(1, p.count("/") + 1)}
    return {path: content for path, content in paths.items() if path not in folders}


_files = st.dictionaries(_paths, _leaves, max_size=12).map(_tree_of)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("contexts") / "repo", bare=True)


def contexts(tree: CommitTree) -> Contexts:
    return Contexts(tree, Memo(None))


def sent(tree: CommitTree, path: str = ".", include: tuple[str, ...] = (), ignore: str | None = None) -> SentFolder:
    return SentFolder(contexts(tree).facts(path, include, ignore).root, path, include, ignore)


def read_back(folder: Path) -> dict[bytes, tuple[str, bytes]]:
    """What stands on disk: relative path -> (mode as git writes it, content)."""
    found = {}
    for at, folders, names in os.walk(os.fsencode(folder)):
        for name in (*folders, *names):
            path = at + b"/" + name
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[os.path.relpath(path, os.fsencode(folder))] = (
                    SYMLINK,
                    os.fsencode(Path(os.fsdecode(path)).readlink()),
                )
            elif stat.S_ISREG(mode):
                assert stat.S_IMODE(mode) in {0o644, 0o755}
                kind = EXECUTABLE if mode & 0o100 else FILE
                found[os.path.relpath(path, os.fsencode(folder))] = (kind, Path(os.fsdecode(path)).read_bytes())
            else:
                assert stat.S_IMODE(mode) == 0o755
    return found


def plain(files: Mapping[str, Content]) -> dict[bytes, tuple[str, bytes]]:
    """The same of the files as given."""
    pairs = ((p, c if isinstance(c, tuple) else (FILE, c)) for p, c in files.items())
    return {encoded(p): (m, d if isinstance(d, bytes) else d.encode()) for p, (m, d) in pairs}


def export(tree: CommitTree, folder: SentFolder, into: Path) -> None:
    Exporter(tree, contexts(tree), threading.Event()).export(folder, into)


@given(files=_files, lines=st.lists(_lines, max_size=4), include=st.lists(_paths, max_size=2), data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_root_is_that_of_the_listing(
    repo: Repo, files: dict[str, Content], lines: list[str], include: list[str], data: st.DataObject
) -> None:
    if bool(files) and data.draw(st.booleans()):
        include.append(data.draw(st.sampled_from(sorted(files))))
    files[".dockerignore"] = "\n".join(lines)
    tree = repo.tree(files)
    folder = sent(tree, include=tuple(include), ignore=".dockerignore" if lines else None)
    assert folder.root == merkle.root(contexts(tree).listing(folder))


@given(files=_files, lines=st.lists(_lines, max_size=5))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_listing_is_what_buildkits_walk_sends(repo: Repo, files: dict[str, Content], lines: list[str]) -> None:
    content = "\n".join(lines)
    files[".dockerignore"] = content
    files["empty/"] = b""
    tree = repo.tree(_tree_of(files))
    rules = IgnoreRules.parse(content.encode(), ".dockerignore")

    def children(node: str) -> list[tuple[str, bool, str]]:
        return [(n, c.mode == "040000", c.id) for n, c in tree.children(node).items()]

    walked = {path: folder for path, folder, _ in filter_tree(tree.root.id, children, rules)}
    expected = {p for p, folder in walked.items() if not folder or not any(q.startswith(f"{p}/") for q in walked)}
    assert {e.path for e in contexts(tree).listing(sent(tree, ignore=".dockerignore"))} == expected


@given(files=_files)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_equal_bytes_give_equal_roots_wherever_they_come_from(repo: Repo, files: dict[str, Content]) -> None:
    alone = repo.tree(files)
    deep = repo.tree({f"some/where/{p}": c for p, c in files.items()} | {"other": b"x"})
    rest = {f"{p}.extra-\n": b"dropped" for p in list(files)[:2]} | {"zz-more/x": b"dropped"}
    ignored = repo.tree(_tree_of(files | rest) | {"zz/.dockerignore": "**/*.extra-?\n**/*.extra-\nzz*\n"})
    narrowed = repo.tree(_tree_of(files | {"zz-more/x": b"not included"}))
    root = sent(alone).root
    if files:
        assert sent(deep, "some/where").root == root
        assert sent(narrowed, include=tuple(sorted({p.split("/")[0] for p in files}))).root == root
    if not any("zz" in p or ".extra-" in p for p in files) and len(_tree_of(files | rest)) == len(files | rest):
        entries = list(contexts(ignored).listing(sent(ignored, ignore="zz/.dockerignore")))
        if {e.path for e in entries} == set(files):
            assert sent(ignored, ignore="zz/.dockerignore").root == root


def test_build_spec_is_neither_sent_nor_keyed(repo: Repo) -> None:
    """Nor is that of a context inside of this one: a size must not rebuild anything."""
    without = repo.tree({"app/a": b"1", "app/sub/b": b"2"})
    specs = {"app/.build-spec.ncl": b"{ cpu = 2 }", "app/sub/.build-spec.ncl": b"{}"}
    spec = repo.tree({"app/a": b"1", "app/sub/b": b"2", **specs})
    for include in ((), ("a", "sub"), ("sub/b", "sub/.build-spec.ncl", ".build-spec.ncl", "a")):
        assert sent(spec, "app", include=include).root == sent(without, "app").root
        assert [e.path for e in contexts(spec).listing(sent(spec, "app", include=include))] == ["a", "sub/b"]


def test_build_specs_are_not_exported(repo: Repo, tmp_path: Path) -> None:
    tree = repo.tree(
        {"app/a": b"1", "app/.build-spec.ncl": b"{}", "app/sub/.build-spec.ncl": b"{}", "app/sub/b": b"22"}
    )
    export(tree, sent(tree, "app"), tmp_path / "out")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert found == ["a", "sub", "sub/b"]


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "empty folder"])
def test_every_change_of_what_is_sent_changes_the_root(repo: Repo, change: str) -> None:
    base: dict[str, Content] = {"d/a": b"1", "d/b": b"2"}
    changed: dict[str, dict[str, Content]] = {
        "content": {"d/a": b"3", "d/b": b"2"},
        "mode": {"d/a": (EXECUTABLE, b"1"), "d/b": b"2"},
        "name": {"d/c": b"1", "d/b": b"2"},
        "link": {"d/a": (SYMLINK, b"1"), "d/b": b"2"},
        "empty folder": {"d/a": b"1", "d/b": b"2", "d/e/": b""},
    }
    assert sent(repo.tree(base)).root != sent(repo.tree(changed[change])).root


@pytest.mark.parametrize(
    ("files", "ignore", "fault"),
    [
        ({"a/sub": (SUBMODULE, b"1" * 40)}, None, ("submodule-in-context", "a/sub")),
        ({"a/big.bin": LFS}, None, ("lfs-pointer-in-context", "a/big.bin")),
        ({"a/big.bin": LFS, ".dockerignore": b"**/*.bin"}, ".dockerignore", None),
        ({"a/sub": (SUBMODULE, b"1" * 40), ".dockerignore": b"a"}, ".dockerignore", None),
        ({"a/notes.txt": LFS + b"x" * 1024}, None, None),
    ],
)
def test_submodules_and_lfs_pointers_count_only_where_sent(
    repo: Repo, files: dict[str, Content], ignore: str | None, fault: tuple[str, str] | None
) -> None:
    assert contexts(repo.tree(files)).facts(".", (), ignore).fault == fault


def test_missing_include_is_named(repo: Repo) -> None:
    tree = repo.tree({"app/a/x": b"1", "app/f": b"2"})
    assert contexts(tree).missing("app", ("a", "f", "a/x")) is None
    assert contexts(tree).missing("app", ("a", "gone")) == "gone"
    assert contexts(tree).missing("app", ("f/x",)) == "f/x"


def test_git_bomb_is_refused_at_once(repo: Repo) -> None:
    level = raw_tree(repo.git, [("f", FILE, str(repo.git.create_blob(b"x")))])
    for _ in range(12):
        level = raw_tree(repo.git, [(f"d{i}", FOLDER, level) for i in range(10)])
    tree = CommitTree(GitObjects(repo.git), raw_tree(repo.git, [("bomb", FOLDER, level)]))
    with pytest.raises(LianError, match="context-too-large"):
        contexts(tree).facts("bomb", (), None)


def test_deep_nesting_is_refused(repo: Repo) -> None:
    level = raw_tree(repo.git, [("f", FILE, str(repo.git.create_blob(b"x")))])
    for _ in range(2000):
        level = raw_tree(repo.git, [("d", FOLDER, level)])
    tree = CommitTree(GitObjects(repo.git), level)
    with pytest.raises(LianError, match="context-too-deep"):
        contexts(tree).facts(".", (), None)
    assert tree.glob(["**/f"]) == []


def test_roots_survive_in_the_memo(repo: Repo, tmp_path: Path) -> None:
    tree = repo.tree({f"d/{i}": b"%d" % i for i in range(20)} | {".dockerignore": b"d/1*"})
    first = Contexts(tree, memo := Memo(tmp_path / "memo.sqlite")).facts(".", (), ".dockerignore")
    memo.close()
    again = Contexts(tree, Memo(tmp_path / "memo.sqlite"))
    again.sent = None  # type: ignore[method-assign,assignment]  # a look-up must do
    assert again.facts(".", (), ".dockerignore") == first


@given(files=_files)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_export_writes_exactly_what_the_commit_holds(
    repo: Repo, files: dict[str, Content], tmp_path_factory: pytest.TempPathFactory
) -> None:
    into = tmp_path_factory.mktemp("export") / "into"
    tree = repo.tree(files)
    before = os.umask(0o077)
    try:
        export(tree, sent(tree), into)
    finally:
        os.umask(before)
    assert read_back(into) == plain(files)


def test_times_come_from_the_content(repo: Repo, tmp_path: Path) -> None:
    one, two = (
        repo.tree({"a": b"1", "b": b"2", "l": (SYMLINK, b"a")}),
        repo.tree({"a": b"3", "b": b"2", "l": (SYMLINK, b"b")}),
    )
    export(one, sent(one), tmp_path / "1")
    export(one, sent(one), tmp_path / "again")
    export(two, sent(two), tmp_path / "2")

    def times(name: str) -> dict[str, int]:
        return {n: (tmp_path / name / n).lstat().st_mtime_ns for n in (".", "a", "b", "l")}

    assert times("1") == times("again")
    assert {n for n in times("1") if times("1")[n] != times("2")[n]} == {".", "a", "l"}


@given(st.binary(min_size=20, max_size=20))
def test_times_are_later_than_any_epoch_and_fit_every_file_system(digest: bytes) -> None:
    assert 1_879_048_192 <= file_time(digest.hex()) // 10**9 < 1 << 31


def test_times_of_many_blobs_differ() -> None:
    digests = [merkle.node([(str(i), FILE, "0" * 40)])[:40] for i in range(20_000)]
    assert len({file_time(d) for d in digests}) == len(digests)


def test_a_full_disk_leaves_nothing(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = repo.tree({"a": b"1", "d/b": b"22"})

    def full(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LianError, match="disk-full"):
        export(tree, sent(tree), tmp_path / "into")
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_export_leaves_nothing(repo: Repo, tmp_path: Path) -> None:
    tree = repo.tree({"a": b"1", "d/b": b"22"})
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        Exporter(tree, contexts(tree), stop).export(sent(tree), tmp_path / "into")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(repo: Repo, tmp_path: Path) -> None:
    tree = repo.tree({"a": b"1"})
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "mine").write_text("kept")
    with pytest.raises(LianError, match="export-failed"):
        export(tree, sent(tree), tmp_path / "into")
    assert (tmp_path / "into" / "mine").read_text() == "kept"
