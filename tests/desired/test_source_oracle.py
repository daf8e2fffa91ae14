"""BuildKit is the oracle: a build of what lian exports gives what a build of the plain checkout gives."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.contexts import Contexts
from reconciler.desired.export import Exporter
from reconciler.desired.ignore import find_ignore
from reconciler.desired.memo import Memo
from reconciler.model.desired import SentFolder
from tests.desired.buildkit import Daemon, daemon
from tests.desired.repos import EXECUTABLE, SYMLINK, Content, Repo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.tree import CommitTree

pytestmark = pytest.mark.buildkit

COPY_ALL = b"FROM scratch\nCOPY . /\n"
BASE: dict[str, Content] = {
    "Dockerfile": COPY_ALL,
    "main.go": b"package main\n",
    "run.sh": (EXECUTABLE, b"#!/bin/sh\n"),
    "docs/readme.md": b"read me",
    "docs/deep/er/notes.txt": b"notes",
    "docs/deep/keep.txt": b"keep",
    "link": (SYMLINK, b"docs/readme.md"),
    "dangling": (SYMLINK, b"../nowhere"),
    "absolute": (SYMLINK, b"/etc/hostname"),
    "-rf": b"dash",
    "two words/new\nline.txt": b"odd",
    "caf\udce9.txt": b"latin-1",
    "é/ü.txt": b"utf-8",
    "[b]racket/*star": b"glob",
    "node_modules/a/index.js": b"1",
    "services/api/node_modules/b/index.js": b"2",
    "services/api/main.py": b"print()",
    ".git-like/config": b"x",
}

IGNORES = [
    b"",
    b"# only a comment\n",
    b"docs\n!docs/deep/keep.txt\n",
    b"**/node_modules\n*.md\n",
    b"*\n!services\nservices/**/b\n",
    b"**\n!**/*.txt\n",
    b".dockerignore\nDockerfile\n",
    b"*\n!docs/deep\n!.dockerignore\n",
    b"docs/*/er\n-rf\n\\[b\\]racket\n",
    b"services/api/*\n!services/api/node_modules\n",
    b"  /main.go  \n./run.sh/\ndocs//deep/../readme.md\n",
    b"*.*\n!link\n",
]


@pytest.fixture(scope="module")
def buildkit() -> Iterator[Daemon]:
    with daemon() as running:
        yield running


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("oracle") / "repo")


def checkout(repo: Repo, into: Path) -> None:
    """The plain checkout, by git itself."""
    into.mkdir()
    git = ["git", "-c", "core.autocrlf=false", f"--git-dir={repo.git.path}", f"--work-tree={into}"]
    subprocess.run([*git, "read-tree", "main"], check=True, capture_output=True)
    subprocess.run([*git, "checkout-index", "--all", "--force"], check=True, capture_output=True)


def listing(folder: Path) -> dict[bytes, tuple[int, bytes]]:
    """Every path with its mode and content, folders too."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for at, folders, names in os.walk(os.fsencode(folder)):
        for name in (*folders, *names):
            path = at + b"/" + name
            mode = os.lstat(path).st_mode
            data = b""
            if stat.S_ISLNK(mode):
                data = os.fsencode(Path(os.fsdecode(path)).readlink())
            elif stat.S_ISREG(mode):
                data = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(folder))] = (mode, data)
    return found


def folder_of(tree: CommitTree, path: str = ".", dockerfile: str = "", include: tuple[str, ...] = ()) -> SentFolder:
    ignore = find_ignore(dockerfile, path, lambda at: tree.at(at) is not None)
    return SentFolder(Contexts(tree, Memo(None)).facts(path, include, ignore).root, path, include, ignore)


def exporter(tree: CommitTree) -> Exporter:
    return Exporter(tree, Contexts(tree, Memo(None)), threading.Event())


def both(
    repo: Repo, buildkit: Daemon, tmp_path: Path, files: dict[str, Content], dockerfile: str = "Dockerfile"
) -> tuple[dict[bytes, tuple[int, bytes]], dict[bytes, tuple[int, bytes]]]:
    """(what BuildKit makes of our export, what it makes of the plain checkout)."""
    repo.commit(files)
    tree = repo.tree(files)
    checkout(repo, tmp_path / "plain")
    theirs = buildkit.build(tmp_path / "plain" / dockerfile, tmp_path / "plain", tmp_path / "theirs")
    writer = exporter(tree)
    writer.export(folder_of(tree, dockerfile=dockerfile), tmp_path / "context")
    named = writer.export_dockerfile(dockerfile, tmp_path / "dockerfile")
    ours = buildkit.build(named, tmp_path / "context", tmp_path / "ours")
    return listing(ours), listing(theirs)


@pytest.mark.parametrize("ignore", IGNORES)
def test_the_image_is_that_of_the_plain_checkout(repo: Repo, buildkit: Daemon, tmp_path: Path, ignore: bytes) -> None:
    ours, theirs = both(repo, buildkit, tmp_path, BASE | {".dockerignore": ignore})
    assert ours == theirs
    assert ours


@pytest.mark.parametrize("own", [b"docs\n", b"", b"# nothing\n"])
def test_the_dockerfiles_own_ignore_file_comes_first(repo: Repo, buildkit: Daemon, tmp_path: Path, own: bytes) -> None:
    files = BASE | {".dockerignore": b"services\n", "docker/api.Dockerfile": COPY_ALL}
    files["docker/api.Dockerfile.dockerignore"] = own
    ours, theirs = both(repo, buildkit, tmp_path, files, "docker/api.Dockerfile")
    assert ours == theirs


def test_a_link_may_lead_to_the_ignore_file(repo: Repo, buildkit: Daemon, tmp_path: Path) -> None:
    files = BASE | {".dockerignore": (SYMLINK, b"config/ignore"), "config/ignore": b"docs\nconfig\n"}
    repo.commit(files)
    tree = repo.tree(files)
    checkout(repo, tmp_path / "plain")
    theirs = buildkit.build(tmp_path / "plain" / "Dockerfile", tmp_path / "plain", tmp_path / "theirs")
    sent = SentFolder(Contexts(tree, Memo(None)).facts(".", (), "config/ignore").root, ".", (), "config/ignore")
    exporter(tree).export(sent, tmp_path / "context")
    named = exporter(tree).export_dockerfile("Dockerfile", tmp_path / "dockerfile")
    assert listing(buildkit.build(named, tmp_path / "context", tmp_path / "ours")) == listing(theirs)


@pytest.mark.parametrize("ignore", [b"docs\n!docs/deep/keep.txt\n", b"*\n!docs/deep\n!.dockerignore\n", b"**/*.txt\n"])
def test_named_contexts_obey_their_own_ignore_file(repo: Repo, buildkit: Daemon, tmp_path: Path, ignore: bytes) -> None:
    files: dict[str, Content] = {f"other/{path}": content for path, content in BASE.items()}
    files |= {"other/.dockerignore": ignore, "Dockerfile": b"FROM scratch\nCOPY --from=other . /\n"}
    repo.commit(files)
    tree = repo.tree(files)
    checkout(repo, tmp_path / "plain")
    plain = tmp_path / "plain"
    theirs = buildkit.build(plain / "Dockerfile", plain, tmp_path / "theirs", other=plain / "other")
    writer = exporter(tree)
    writer.export(folder_of(tree, dockerfile="Dockerfile"), tmp_path / "context")
    writer.export(folder_of(tree, "other"), tmp_path / "other")
    named = writer.export_dockerfile("Dockerfile", tmp_path / "dockerfile")
    ours = buildkit.build(named, tmp_path / "context", tmp_path / "ours", other=tmp_path / "other")
    assert listing(ours) == listing(theirs)


def test_same_size_files_of_two_contexts_are_never_mixed_up(repo: Repo, buildkit: Daemon, tmp_path: Path) -> None:
    """One daemon, equal paths and sizes: only the files' times keep the contexts apart."""

    def images(fixed_time: bool) -> list[bytes]:
        found = []
        for name in (b"AAAA", b"BBBB"):
            files = {"Dockerfile": COPY_ALL, "data": name + (b"-fixed" if fixed_time else b"-timed")}
            tree, at = repo.tree(files), tmp_path / f"{name.decode()}-{fixed_time}"
            exporter(tree).export(folder_of(tree, dockerfile="Dockerfile"), at)
            if fixed_time:
                for path in (at / "data", at / "Dockerfile", at):
                    os.utime(path, (1, 1))
            named = exporter(tree).export_dockerfile("Dockerfile", tmp_path / f"df-{at.name}")
            found.append((buildkit.build(named, at, tmp_path / f"out-{at.name}") / "data").read_bytes())
        return found

    assert images(fixed_time=False) == [b"AAAA-timed", b"BBBB-timed"]
    assert images(fixed_time=True) == [b"AAAA-fixed", b"AAAA-fixed"], "the trap is gone: are times still needed?"
