"""Finding the commit: local repositories, revisions, mirrors of URLs."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pygit2
import pytest

from reconciler.desired.git import (
    check_url,
    descends,
    history,
    home,
    is_url,
    open_local,
    origin,
    refs,
    resolve,
    uncommitted_paths,
)
from reconciler.desired.mirror import Mirror
from reconciler.desired.tree import CommitTree, GitObjects
from reconciler.model.applied import ANCESTORS
from reconciler.model.problem import LianError, Problem
from tests.desired.repos import Repo
from tests.servers.git_http import git_server
from tests.servers.sshd import sshd_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def problem(call: Callable[[], object]) -> Problem:
    with pytest.raises(LianError) as caught:
        call()
    return caught.value.problems[0]


def fetched(mirror: Mirror) -> pygit2.Repository:
    return asyncio.run(mirror.fetch())


def git(repo: Repo, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(repo.path), *arguments], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://example.org/r.git", True),
        ("ssh://git@example.org/r", True),
        ("file:///srv/r", True),
        ("git@example.org:team/r.git", True),
        ("ext::sh -c touch% /tmp/x", False),
        (".", False),
        ("/srv/repo", False),
        ("C:repo", False),
        ("host:path", False),
    ],
)
def test_urls_are_told_from_paths(location: str, expected: bool) -> None:
    assert is_url(location) == expected


@pytest.mark.parametrize("url", ["ext://sh", "ftp://example.org/r", "javascript://x", "HTTPS+x://h/r"])
def test_other_transports_are_refused(url: str) -> None:
    assert problem(lambda: check_url(url)).code == "source-scheme"


def test_every_place_in_a_working_tree_finds_the_repository(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit({"a/b": b"1"})
    (repo.path / "a").mkdir()
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    git(repo, "clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    for place in (repo.path, repo.path / "a", repo.path / ".git", tmp_path / "linked", tmp_path / "bare.git"):
        assert resolve(open_local(place), "HEAD").commit == commit
    assert home(open_local(repo.path / "a")) == repo.path
    assert home(open_local(tmp_path / "bare.git")) == tmp_path / "bare.git"


def test_what_is_not_a_repository_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").mkdir()
    for place in (tmp_path / "plain", tmp_path / "gone"):
        found = problem(partial(open_local, place))
        assert (found.code, bool(found.hint)) == ("not-a-repo", True)
        assert "lian init" not in str(found.hint)


def test_a_relative_place_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.` says nothing to one who reads it in a log."""
    monkeypatch.chdir(tmp_path)
    found = problem(lambda: open_local(Path()))
    assert found.message == f"{tmp_path} is not inside a git repository"
    assert str(tmp_path) in str(found.hint)
    assert problem(lambda: open_local(Path("gone"))).message == f"{tmp_path / 'gone'} does not exist"


def test_a_broken_repository_says_so(repo: Repo) -> None:
    repo.commit({"a": b"1"})
    (repo.path / ".git" / "config").write_text("[core\nnonsense")
    assert problem(lambda: open_local(repo.path)).code == "repo-unreadable"


@pytest.mark.skipif(os.geteuid() != 0, reason="could not run: only root can give a folder away")
def test_a_repository_of_another_user_is_not_read(repo: Repo) -> None:
    repo.commit({"a": b"1"})
    for path in (repo.path, repo.path / ".git"):
        os.chown(path, 54321, 54321)
    found = problem(lambda: open_local(repo.path))
    assert found.code == "repo-untrusted"
    assert "safe.directory" in str(found.hint)


def test_an_empty_repository_says_so(repo: Repo) -> None:
    assert problem(lambda: resolve(open_local(repo.path), "HEAD")).code == "repo-empty"


@pytest.mark.parametrize("rev", ["", " "])
def test_an_empty_revision_says_so(repo: Repo, rev: str) -> None:
    repo.commit({"a": b"1"})
    found = problem(lambda: resolve(open_local(repo.path), rev))
    assert (found.code, found.message, found.cause) == ("revision-unknown", "the revision is empty", None)
    assert str(found.hint).startswith("use a known name: ")


def test_every_spelling_of_a_revision(repo: Repo, tmp_path: Path) -> None:
    first = repo.commit({"a": b"1"})
    commit = repo.commit({"a": b"2"})
    git(repo, "tag", "light")
    git(repo, "-c", "user.name=T", "-c", "user.email=t@example.org", "tag", "-a", "v1.0", "-m", "text")
    git(repo, "branch", "feature/x")
    git(repo, "update-ref", "refs/remotes/origin/main", commit)
    git(repo, "config", "remote.origin.url", "https://example.org/r")
    opened = open_local(repo.path)
    names = ["HEAD", "main", "heads/main", "refs/heads/main", "light", "v1.0", "tags/v1.0", "feature/x", "origin/main"]
    for rev in [*names, commit, commit[:7], commit.upper(), "HEAD~0", "v1.0^{}", "v1.0^{commit}"]:
        assert resolve(opened, rev).commit == commit, rev
    assert resolve(opened, "HEAD~1").commit == resolve(opened, first[:8]).commit == first


@pytest.mark.parametrize(
    ("rev", "tag", "whole"),
    [
        ("origin/main", "origin/main", "refs/remotes/origin/main"),
        ("origin/main~1", "origin/main", "refs/remotes/origin/main~1"),
        ("origin/main^{commit}", "origin/main", "refs/remotes/origin/main^{commit}"),
        ("main", "main", "refs/heads/main"),
        ("main@{0}", "main", "refs/heads/main@{0}"),
        ("heads/main", "heads/main", "refs/heads/main"),
        ("origin", "origin", "refs/remotes/origin/HEAD"),
    ],
)
def test_a_name_that_means_two_commits_means_none(repo: Repo, rev: str, tag: str, whole: str) -> None:
    """A tag that is called like a branch does not decide whose settings rule a preview."""
    first = repo.commit({"a": b"1"})
    second = repo.commit({"a": b"2"})
    git(repo, "config", "remote.origin.url", "https://example.org/r")
    git(repo, "update-ref", "refs/remotes/origin/main", second)
    git(repo, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    opened = open_local(repo.path)
    meant = resolve(opened, whole.split("@", maxsplit=1)[0]).commit
    git(repo, "-c", "user.name=T", "-c", "user.email=t@example.org", "tag", "-a", tag, "-m", "text", first)
    found = problem(lambda: resolve(opened, rev))
    assert (found.code, found.hint) == ("revision-ambiguous", f"write the whole name: {whole}")
    assert f"refs/tags/{tag}" in found.message
    assert resolve(opened, whole.split("@", maxsplit=1)[0]).commit == meant
    git(repo, "tag", "-d", tag)
    git(repo, "tag", tag, second)
    if "heads" not in tag:
        assert resolve(opened, rev.split("@", maxsplit=1)[0]).commit == meant, "both mean the same"


def test_head_is_head_whatever_else_is_called_so(repo: Repo) -> None:
    first, second = repo.commit({"a": b"1"}), repo.commit({"a": b"2"})
    git(repo, "update-ref", "refs/tags/HEAD", first)
    git(repo, "update-ref", "refs/heads/@", first)
    for rev in ("HEAD", "@", second):
        assert resolve(open_local(repo.path), rev).commit == second
    assert resolve(open_local(repo.path), "HEAD~1").commit == first


@pytest.mark.parametrize(
    "rev", ["nope", "HEAD~7", "", "a b", "--exec=x", "main..main", "0" * 40, "HEAD:a", "HEAD^{tree}"]
)
def test_an_unknown_revision_names_known_ones(repo: Repo, rev: str) -> None:
    repo.commit({"a": b"1"})
    found = problem(lambda: resolve(open_local(repo.path), rev))
    assert found.code == "revision-unknown"
    assert "main" in str(found.hint)


def test_the_nearest_name_is_offered(repo: Repo) -> None:
    repo.commit({"a": b"1"})
    repo.commit({"a": b"1"}, branch="release-1.2")
    assert problem(lambda: resolve(open_local(repo.path), "relase-1.2")).hint == "did you mean release-1.2?"


def test_a_head_without_commit_is_not_an_empty_repository(repo: Repo) -> None:
    repo.commit({"a": b"1"}, branch="other")
    found = problem(lambda: resolve(open_local(repo.path), "HEAD"))
    assert (found.code, found.hint) == ("revision-unknown", "use a known name: other")


def test_a_clone_knows_where_it_is_from(repo: Repo) -> None:
    assert origin(repo.git) is None
    repo.git.remotes.create("upstream", "https://git.example.org/other.git")
    assert origin(repo.git) is None
    repo.git.remotes.create("origin", "https://ci:secret@git.example.org/desired.git")
    assert origin(repo.git) == "https://ci:secret@git.example.org/desired.git"


def test_a_remote_without_a_url_is_none(repo: Repo) -> None:
    repo.git.config["remote.origin.fetch"] = "+refs/heads/*:refs/remotes/origin/*"
    assert origin(repo.git) is None


def test_uncommitted_changes_are_counted_as_git_status_does(repo: Repo) -> None:
    repo.commit({"a": b"1", "b": b"2", ".gitignore": b"*.log\n"})
    git(repo, "reset", "-q", "--hard")
    assert len(uncommitted_paths(open_local(repo.path))) == 0
    (repo.path / "a").write_bytes(b"changed")
    (repo.path / "new").mkdir()
    for name in ("new/1", "new/2", "debug.log", "staged"):
        (repo.path / name).write_bytes(b"x")
    (repo.path / ".lian").mkdir()
    (repo.path / ".lian" / "registry").write_bytes(b"x")
    git(repo, "add", "staged")
    git(repo, "rm", "-q", "b")
    assert len(uncommitted_paths(open_local(repo.path))) == 4


def test_nothing_the_repository_configures_is_run(repo: Repo, tmp_path: Path) -> None:
    """Filters, hooks, fsmonitor, textconv: a hostile repository's own settings start nothing."""
    repo.commit({"a": b"1", ".gitattributes": b"* filter=evil diff=evil\n"})
    mark, git_dir = tmp_path / "ran", repo.path / ".git"
    evil = f"sh -c 'touch {mark}'"
    for key in ("filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv", "core.fsmonitor", "core.sshCommand"):
        git(repo, "config", key, evil)
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        (git_dir / "hooks").mkdir(exist_ok=True)
        (git_dir / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (git_dir / "hooks" / hook).chmod(0o755)
    (repo.path / "a").write_bytes(b"2")
    opened = open_local(repo.path)
    uncommitted_paths(opened)
    CommitTree(GitObjects(opened), resolve(opened, "HEAD").tree).at("a")
    fetched(Mirror(f"file://{repo.path}", tmp_path / "cache"))
    assert not mark.exists()


def test_a_mirror_follows_its_source(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": b"1"})
    repo.commit({"a": b"1"}, branch="gone")
    mirror = Mirror(f"file://{repo.path}", tmp_path / "cache")
    assert fetched(mirror).is_bare
    commit = repo.commit({"a": b"2"})
    repo.commit({"a": b"3"}, branch="new")
    repo.git.branches.local["gone"].delete()
    git(repo, "tag", "v1", "main")
    opened = fetched(mirror)
    assert {resolve(opened, rev).commit for rev in ("HEAD", "main", "origin/main", "v1")} == {commit}
    assert sorted(opened.listall_references()) == ["refs/heads/main", "refs/heads/new", "refs/tags/v1"]
    repo.git.set_head("refs/heads/new")
    assert resolve(fetched(mirror), "HEAD").commit == resolve(repo.git, "new").commit


def test_a_rewritten_branch_is_followed(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": b"1"})
    mirror = Mirror(f"file://{repo.path}", tmp_path / "cache")
    fetched(mirror)
    repo.git.references.delete("refs/heads/main")
    commit = repo.commit({"z": b"other history"})
    assert resolve(fetched(mirror), "main").commit == commit


def test_an_empty_source_is_an_empty_repository(repo: Repo, tmp_path: Path) -> None:
    opened = fetched(Mirror(f"file://{repo.path}", tmp_path / "cache"))
    assert problem(lambda: resolve(opened, "HEAD")).code == "repo-empty"


@pytest.mark.parametrize(
    "url", ["file:///nowhere/at/all", "https://127.0.0.1:1/r", "git://127.0.0.1:1/r", "ssh://127.0.0.1:1/r"]
)
def test_an_unreachable_source_says_so_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    found = problem(lambda: fetched(Mirror(url, tmp_path)))
    assert found.code == "source-unreachable"
    assert found.cause
    assert [path.suffix for path in (tmp_path / "mirrors").iterdir()] == [".lock"]


def test_credentials_are_never_told_or_kept(tmp_path: Path) -> None:
    mirror = Mirror("http://user:s3cret@127.0.0.1:1/r?token=t0ken", tmp_path)
    told = repr(problem(lambda: fetched(mirror)).to_json())
    assert "s3cret" not in told and "t0ken" not in told
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"s3cret" in data for data in kept)


class _Asking(BaseHTTPRequestHandler):
    """Asks for a password and never takes one."""

    seen: list[str | None]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="r"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def asking() -> Iterator[tuple[str, list[str | None]]]:
    seen: list[str | None] = []
    handler = type("Handler", (_Asking,), {"seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_refused_credentials_end_the_fetch(asking: tuple[str, list[str | None]], tmp_path: Path) -> None:
    host, seen = asking
    found = problem(lambda: fetched(Mirror(f"http://user:pass@{host}/r", tmp_path)))
    assert found.code == "source-unreachable"
    assert 1 <= sum(header is not None for header in seen) <= 2
    seen.clear()
    assert problem(lambda: fetched(Mirror(f"http://{host}/r", tmp_path))).code == "source-unreachable"
    assert all(header is None for header in seen)


def _fetch(url: str, cache: Path, commit: str) -> None:
    repository = fetched(Mirror(url, cache))
    assert resolve(repository, "main").commit == commit
    assert CommitTree(GitObjects(repository), resolve(repository, "main").tree).at("a") is not None


def test_many_fetchers_at_once(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit({"a": b"1", **{f"d{i}/f": b"%d" % i for i in range(50)}})
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_fetch, args=(f"file://{repo.path}", tmp_path, commit)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 4


_FETCH_FOR_EVER = """
import asyncio
import sys
from pathlib import Path
from reconciler.desired.mirror import Mirror
print("ready", flush=True)
while True:
    asyncio.run(Mirror(sys.argv[1], Path(sys.argv[2])).fetch())
    asyncio.run(Mirror(sys.argv[1], Path(sys.argv[2])).rebuild())
"""


@pytest.mark.parametrize("after", [0.0, 0.11, 0.16, 0.19, 0.23, 0.27, 0.31])
def test_a_killed_fetch_leaves_nothing_that_stops_the_next(repo: Repo, tmp_path: Path, after: float) -> None:
    commit = repo.commit({"a": b"1", **{f"d{i}/f": os.urandom(2000) for i in range(100)}})
    url = f"file://{repo.path}"
    with subprocess.Popen([sys.executable, "-c", _FETCH_FOR_EVER, url, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(after)  # a moment of its work, not a wait for anything
        child.send_signal(signal.SIGKILL)
    _fetch(url, tmp_path, commit)
    folder = Mirror(url, tmp_path).folder
    assert {p.name for p in folder.parent.iterdir()} == {folder.name, folder.resolve().name, f"{folder.name}.lock"}
    assert not list(folder.resolve().rglob("*.lock"))


@pytest.mark.parametrize(
    "lock", ["HEAD.lock", "refs/heads/main.lock", "packed-refs.lock", "config.lock", "shallow.lock"]
)
def test_stale_locks_are_swept(repo: Repo, tmp_path: Path, lock: str) -> None:
    repo.commit({"a": b"1"})
    mirror = Mirror(f"file://{repo.path}", tmp_path)
    fetched(mirror)
    (mirror.folder / lock).touch()
    commit = repo.commit({"a": b"2"})
    assert resolve(fetched(mirror), "main").commit == commit
    assert not (mirror.folder / lock).exists()


@pytest.mark.parametrize("damage", ["HEAD", "config", "objects", "everything"])
def test_a_damaged_mirror_is_built_anew(repo: Repo, tmp_path: Path, damage: str) -> None:
    commit = repo.commit({"a": b"1"})
    mirror = Mirror(f"file://{repo.path}", tmp_path)
    fetched(mirror)
    match damage:
        case "objects":
            shutil.rmtree(mirror.folder / "objects")
            (mirror.folder / "objects").mkdir()
        case "everything":
            shutil.rmtree(mirror.folder.resolve())
        case name:
            (mirror.folder / name).write_bytes(b"\0garbage")
    opened = fetched(mirror)
    assert CommitTree(GitObjects(opened), resolve(opened, "main").tree).at("a") is not None
    assert resolve(opened, "HEAD").commit == commit


def test_a_lost_object_deep_inside_is_healed_by_a_rebuild(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"d/a": b"1"})
    mirror = Mirror(f"file://{repo.path}", tmp_path)
    opened = fetched(mirror)
    tree_id = resolve(opened, "main").tree
    for pack in (mirror.folder / "objects").rglob("*"):
        if pack.is_file():
            pack.chmod(0o644)
            pack.write_bytes(b"garbage")
    with pytest.raises(LianError, match="object-unreadable"):
        CommitTree(GitObjects(pygit2.Repository(str(mirror.folder))), tree_id).at("d/a")
    fresh = asyncio.run(mirror.rebuild())
    assert CommitTree(GitObjects(fresh), tree_id).at("d/a") is not None


def test_a_cache_that_cannot_be_written_says_so(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": b"1"})
    (tmp_path / "file").write_bytes(b"")
    assert problem(lambda: fetched(Mirror(f"file://{repo.path}", tmp_path / "file"))).code == "cache-unusable"


def test_a_clone_needs_no_names_of_its_own(tmp_path: Path) -> None:
    """Credentials are no part of a mirror's name: a new token finds the same mirror."""
    one, two = Mirror("https://a:1@example.org/r", tmp_path), Mirror("https://b:2@example.org/r", tmp_path)
    assert one.folder == two.folder != Mirror("https://example.org/other", tmp_path).folder


# -- where a commit stands --------------------------------------------------------------------------------------------


def commit_of(repo: Repo, *parents: str, branch: str = "main", time: int = 1_700_000_000) -> str:
    """A commit with these parents, on a branch that is moved to it."""
    author = pygit2.Signature("Test", "test@example.org", time, 0)
    tree = repo.git.TreeBuilder().write()
    made = str(repo.git.create_commit(None, author, author, f"{branch} {time} {parents}", tree, list(parents)))
    repo.git.references.create(f"refs/heads/{branch}", made, force=True)
    return made


def clone(repo: Repo, into: Path, *arguments: str) -> pygit2.Repository:
    """As git makes one over its own protocol."""
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(repo, "clone", "-q", "--bare", *arguments, f"file://{repo.path}", str(into))
    return open_local(into)


def rev_list(repo: Repo, commit: str) -> set[str]:
    """All ancestors, as git itself finds them."""
    listed = subprocess.run(
        ["git", "-C", str(repo.path), "rev-list", commit], check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split()) - {commit}


@pytest.fixture
def merged(repo: Repo) -> dict[str, str]:
    """A line, a branch beside it that is merged later, one that never is, and a history that shares nothing."""
    made = {"first": commit_of(repo)}
    made["second"] = commit_of(repo, made["first"], time=1_700_000_060)
    made["side"] = commit_of(repo, made["first"], branch="side", time=1_700_000_030)
    made["merge"] = commit_of(repo, made["second"], made["side"], time=1_700_000_120)
    made["last"] = commit_of(repo, made["merge"], time=1_700_000_180)
    made["apart"] = commit_of(repo, made["second"], branch="apart", time=1_700_000_240)
    made["strange"] = commit_of(repo, branch="strange", time=1_700_000_300)
    return made


def test_a_history_goes_through_all_parents_newest_first(repo: Repo, merged: dict[str, str]) -> None:
    found = history(repo.git, merged["last"])
    assert (found.revision, found.time, found.complete) == (merged["last"], 1_700_000_180, True)
    assert list(found.ancestors) == [merged[name][:16] for name in ("merge", "second", "side", "first")]
    for name, commit in merged.items():
        told = history(repo.git, commit)
        assert set(told.ancestors) == {ancestor[:16] for ancestor in rev_list(repo, commit)}, name
        for other in merged.values():
            assert told.descends_from(other) == (other in rev_list(repo, commit))


def test_git_and_histories_tell_the_same_in_a_whole_clone(repo: Repo, merged: dict[str, str]) -> None:
    for one in merged.values():
        for other in merged.values():
            told = descends(repo.git, one, other)
            assert told == (other in rev_list(repo, one)) == history(repo.git, one).descends_from(other)


def test_clock_skew_does_not_hide_an_ancestor(repo: Repo) -> None:
    first = commit_of(repo, time=2_000_000_000)
    second = commit_of(repo, first, time=5)
    third = commit_of(repo, second, time=1_000_000_000)
    assert history(repo.git, third).ancestors == (second[:16], first[:16])
    assert descends(repo.git, third, first) is True


def test_a_long_history_keeps_its_newest_part_and_says_so(repo: Repo) -> None:
    line = [commit_of(repo)]
    for number in range(ANCESTORS + 1):
        line.append(commit_of(repo, line[-1], time=1_700_000_001 + number))
    whole, cut = history(repo.git, line[-2]), history(repo.git, line[-1])
    assert [(len(h.ancestors), h.complete) for h in (whole, cut)] == [(ANCESTORS, True), (ANCESTORS, False)]
    assert cut.ancestors == tuple(commit[:16] for commit in reversed(line[1:-1]))
    assert (whole.descends_from(line[0]), cut.descends_from(line[0])) == (True, None)
    assert descends(repo.git, line[-1], line[0]) is True


def test_a_shallow_clone_tells_what_it_holds_and_no_more(repo: Repo, merged: dict[str, str], tmp_path: Path) -> None:
    shallow = clone(repo, tmp_path / "shallow", "--depth", "2")
    found = history(shallow, merged["last"])
    assert (found.ancestors, found.complete) == ((merged["merge"][:16],), False)
    assert found.descends_from(merged["merge"]) is True
    assert found.descends_from(merged["first"]) is None
    assert descends(shallow, merged["last"], merged["merge"]) is True
    for one, other in (("last", "first"), ("merge", "last"), ("first", "last"), ("last", "apart")):
        assert descends(shallow, merged[one], merged[other]) is None, (one, other)


def test_the_newest_commit_alone_tells_nothing_and_is_not_an_error(
    repo: Repo, merged: dict[str, str], tmp_path: Path
) -> None:
    """As most pipelines clone."""
    alone = clone(repo, tmp_path / "alone", "--depth", "1")
    found = history(alone, merged["last"])
    assert (found.revision, found.time, found.ancestors, found.complete) == (merged["last"], 1_700_000_180, (), False)
    assert {descends(alone, merged["last"], commit) for commit in merged.values()} == {None}


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_clone_without_blobs_or_trees_holds_all_commits(
    repo: Repo, merged: dict[str, str], tmp_path: Path, kind: str
) -> None:
    partial = clone(repo, tmp_path / "partial", f"--filter={kind}")
    for one in merged.values():
        assert history(partial, one) == history(repo.git, one)
        assert all(descends(partial, one, other) == descends(repo.git, one, other) for other in merged.values())


def test_a_clone_of_one_branch_knows_nothing_of_the_others(repo: Repo, merged: dict[str, str], tmp_path: Path) -> None:
    one = clone(repo, tmp_path / "one", "--single-branch", "--branch", "apart")
    assert history(one, merged["apart"]) == history(repo.git, merged["apart"])
    assert descends(one, merged["last"], merged["second"]) is None
    assert descends(one, merged["apart"], merged["last"]) is None
    assert descends(one, merged["apart"], merged["first"]) is True


def test_a_clone_made_before_a_commit_does_not_know_it(repo: Repo, tmp_path: Path) -> None:
    old = commit_of(repo)
    before = clone(repo, tmp_path / "before")
    new = commit_of(repo, old, time=1_700_000_060)
    assert descends(before, new, old) is None
    assert descends(repo.git, new, old) is True


@pytest.mark.parametrize(
    "revision", ["", "HEAD", "main", "abc", "f" * 40, "f" * 64, "z" * 40, "\0", "../..", "HEAD~1", "é" * 40, "-" * 40]
)
def test_what_a_document_may_name_as_a_commit_is_no_error(repo: Repo, merged: dict[str, str], revision: str) -> None:
    """It comes from a registry."""
    assert descends(repo.git, revision, merged["last"]) is None
    assert history(repo.git, merged["last"]).descends_from(revision) is False


def test_a_repository_that_lacks_a_commit_in_between_says_it_cannot_tell(repo: Repo, merged: dict[str, str]) -> None:
    lost = repo.path / ".git" / "objects" / merged["merge"][:2] / merged["merge"][2:]
    lost.unlink()
    damaged = open_local(repo.path)
    assert descends(damaged, merged["last"], merged["first"]) is None
    found = history(damaged, merged["last"])
    assert (found.ancestors, found.complete) == ((), False)


ALL = ("refs/heads/*", "refs/remotes/*", "refs/tags/*")


def test_refs_are_found_by_their_full_names(repo: Repo) -> None:
    """A tag leads to its commit, also an annotated one; one that names no commit is no revision."""
    first, second = repo.commit({"a": "1"}), repo.commit({"a": "2"}, branch="team/x")
    git(repo, "-c", "user.name=t", "-c", "user.email=t@example.org", "tag", "-a", "-m", "x", "v1", first)
    git(repo, "tag", "light", second)
    repo.git.references.create("refs/tags/tree", repo.git[first].peel(pygit2.Tree).id)
    assert refs(repo.git, ALL) == {
        "refs/heads/main": first,
        "refs/heads/team/x": second,
        "refs/tags/light": second,
        "refs/tags/v1": first,
    }
    assert refs(repo.git, ("refs/heads/team/*",)) == {"refs/heads/team/x": second}
    assert refs(repo.git, ("refs/heads/m?in", "refs/tags/v[0-9]")) == {"refs/heads/main": first, "refs/tags/v1": first}
    assert refs(repo.git, ("main",)) == {}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (["--depth", "1"], "it is shallow"),
        (["--depth", "1", "--no-single-branch"], "it is shallow"),
        (["--single-branch"], "its remotes are fetched in part"),
        ([], None),
        (["--mirror"], None),
    ],
)
def test_a_clone_that_cannot_know_all_branches_says_so(
    repo: Repo, tmp_path: Path, how: list[str], why: str | None
) -> None:
    commits = {repo.commit({"a": "0"}), repo.commit({"a": "1"}), repo.commit({"a": "2"}, branch="other")}
    subprocess.run(["git", "clone", "-q", *how, f"file://{repo.path}", tmp_path / "clone"], check=True)
    clone = open_local(tmp_path / "clone")
    if why is None:
        assert set(refs(clone, ALL).values()) < commits
        assert len(set(refs(clone, ALL).values())) == 2
        return
    found = problem(lambda: refs(clone, ALL))
    assert (found.code, why in found.message) == ("clone-partial", True)
    assert "--repo" in (found.hint or "")


# -- whom a mirror believes -------------------------------------------------------------------------------------------


def test_a_mirrors_credentials_follow_no_redirect(asking: tuple[str, list[str | None]], tmp_path: Path) -> None:
    host, seen = asking
    with git_server(tmp_path, redirect=f"http://{host.replace('127.0.0.1', 'localhost')}") as server:
        url = server.url.replace("http://", "http://user:s3cret@")
        found = problem(lambda: fetched(Mirror(f"{url}/r", tmp_path / "cache")))
    assert found.code == "source-unreachable"
    assert "where its credentials do not go" in str(found.cause)
    assert set(seen) == {None}


def test_a_mirror_takes_no_unknown_host_key(repo: Repo, tmp_path: Path) -> None:
    """No trust on first use: pygit2 by itself takes any key."""
    repo.commit({"a": b"1"})
    with sshd_server(tmp_path / "ssh") as server:
        url = f"ssh://root@127.0.0.1:{server.port}{repo.path}"
        found = problem(lambda: fetched(Mirror(url, tmp_path / "cache")))
    assert (found.code, "hostkey" in str(found.cause)) == ("source-unreachable", True)
