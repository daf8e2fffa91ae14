"""Commits of other repositories, fetched from a real git server: as little as can be, and no more often than needed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pygit2
import pytest

from reconciler.desired.clone import Clone
from reconciler.desired.clone_work import MAX_PACKS
from reconciler.desired.foreign import HealingObjects
from reconciler.desired.git import Revision
from reconciler.desired.git_apart import Limits
from reconciler.desired.git_remote import Login
from reconciler.desired.tree import CommitTree
from reconciler.model.git_url import GitUrl, as_commit
from reconciler.model.problem import LianError, Problem
from reconciler.model.secret import Secret
from tests.desired.repos import Repo
from tests.servers.files import serve_files
from tests.servers.git_http import GitServer, git_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.desired.clone import Found

HISTORY = 30
BYTES = 20_000


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Thirty commits, each with 20 KB of its own."""
    made = Repo(tmp_path / "served" / "site.git", bare=True)
    for number in range(HISTORY):
        made.commit({"a": f"{number}", "big": os.urandom(BYTES)})
    return made


@pytest.fixture
def server(repo: Repo) -> Iterator[GitServer]:
    with git_server(repo.path.parent) as running:
        yield running


class Waited:
    """A clone that is waited for."""

    def __init__(self, url: str, cache: Path, limits: Limits | None = None) -> None:
        self.clone = Clone(GitUrl.parse(url), cache, limits)
        self.bare, self.kept = self.clone._bare, self.clone.kept

    def read(self, revs: Mapping[str, str | None], login: Login | None = None) -> Found:
        async def given() -> Login | None:
            return login

        return asyncio.run(self.clone.read(revs, given))

    def again(self, commit: str) -> pygit2.Repository:
        return asyncio.run(self.clone.again(commit))


def clone(server: GitServer, cache: Path, limits: Limits | None = None) -> Waited:
    return Waited(f"{server.url}/site.git", cache, limits)


def commit(found: Found, rev: str) -> str:
    revision = found.revisions[rev]
    assert isinstance(revision, Revision), revision
    return revision.commit


def wrong(found: Found, rev: str) -> Problem:
    said = found.revisions[rev]
    assert isinstance(said, Problem), said
    return said


def refused(call: Callable[[], object]) -> Problem:
    with pytest.raises(LianError) as caught:
        call()
    return caught.value.problems[0]


def text(found: Found, rev: str, path: str = "a") -> bytes:
    revision = found.revisions[rev]
    assert isinstance(revision, Revision)
    objects = HealingObjects(found.repository, lambda: found.repository)
    tree = CommitTree(objects, revision.tree)
    node = tree.at(path)
    assert node is not None
    return tree.read(node.id)


def history(repo: Repo, back: int) -> str:
    return str(repo.git.revparse_single(f"main~{back}").id)


def test_one_commit_is_fetched_without_its_history(server: GitServer, repo: Repo, tmp_path: Path) -> None:
    found = clone(server, tmp_path).read({"main": None})
    assert commit(found, "main") == history(repo, 0)
    assert text(found, "main") == b"29"
    assert server.listed == 1
    assert BYTES < server.sent < 2 * BYTES
    assert found.repository.is_shallow


def test_what_is_here_is_not_fetched_again(server: GitServer, tmp_path: Path) -> None:
    clone(server, tmp_path).read({"main": None})
    server.fresh()
    assert text(clone(server, tmp_path).read({"main": None}), "main") == b"29"
    assert (server.listed, server.sent) == (1, 0)


def test_only_what_is_new_is_fetched(server: GitServer, repo: Repo, tmp_path: Path) -> None:
    clone(server, tmp_path).read({"main": None})
    big = repo.git.revparse_single("main:big")
    assert isinstance(big, pygit2.Blob)
    new = repo.commit({"a": "new", "big": big.data})
    server.fresh()
    found = clone(server, tmp_path).read({"main": None})
    assert (commit(found, "main"), text(found, "main")) == (new, b"new")
    assert server.listed == 1
    assert 0 < server.sent < BYTES / 4


def test_all_revs_of_a_repository_are_one_question(server: GitServer, repo: Repo, tmp_path: Path) -> None:
    other = repo.commit({"a": "other"}, branch="other")
    repo.git.create_tag(
        "v1", history(repo, 5), pygit2.enums.ObjectType.COMMIT, pygit2.Signature("t", "t@example.org", 1, 0), "one"
    )
    found = clone(server, tmp_path).read({"main": None, "HEAD": None, "other": None, "v1": None, "gone": None})
    assert [commit(found, rev) for rev in ("main", "HEAD", "other", "v1")] == [
        history(repo, 0), history(repo, 0), other, history(repo, 5),
    ]  # fmt: skip
    assert text(found, "v1") == b"24"
    assert wrong(found, "gone").code == "git-rev-unknown"
    assert server.listed == 1


@pytest.mark.parametrize("rev", ["E" * 40, "1" * 64])
def test_a_whole_id_is_no_branch_that_is_looked_up(server: GitServer, tmp_path: Path, rev: str) -> None:
    found = wrong(clone(server, tmp_path).read({rev: as_commit(rev)}), rev)
    assert (found.code, found.message) == ("git-rev-unknown", f"there is no commit {rev.lower()}")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_commit_no_ref_leads_to_is_fetched_by_its_id_where_the_server_allows_it(
    server: GitServer, repo: Repo, tmp_path: Path, allowed: bool
) -> None:
    repo.git.config["uploadpack.allowReachableSHA1InWant"] = allowed
    old = history(repo, 20)
    found = clone(server, tmp_path).read({old: old})
    assert text(found, old) == b"9"
    assert (server.sent < 2 * BYTES) == allowed
    assert (server.sent > HISTORY * BYTES) == (not allowed)
    server.fresh()
    kept = clone(server, tmp_path).kept({old: old})
    assert kept is not None and commit(kept, old) == old
    assert server.seen == []


@pytest.mark.parametrize("depth_first", [True, False])
def test_single_commits_and_all_history_hold_the_same(
    server: GitServer, repo: Repo, tmp_path: Path, depth_first: bool
) -> None:
    """Whichever is fetched first."""
    old = history(repo, 20)
    wanted: list[dict[str, str | None]] = [{"main": None}, {old: old}]
    for revs in wanted if depth_first else reversed(wanted):
        clone(server, tmp_path / "cache").read(revs)
    found = clone(server, tmp_path / "cache").read({"main": None, old: old})
    assert (text(found, "main"), text(found, old)) == (b"29", b"9")
    whole = tmp_path / "whole"
    subprocess.run(["git", "clone", "-q", "--bare", f"{server.url}/site.git", whole], check=True)
    cloned = pygit2.Repository(str(whole))
    for rev in ("main", old):
        revision = found.revisions[rev]
        assert isinstance(revision, Revision)
        assert revision.tree == str(cloned[revision.commit].peel(pygit2.Tree).id)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_commit_that_is_not_there_says_so(server: GitServer, repo: Repo, tmp_path: Path, allowed: bool) -> None:
    repo.git.config["uploadpack.allowAnySHA1InWant"] = allowed
    found = clone(server, tmp_path).read({"main": None, "f" * 40: "f" * 40})
    assert text(found, "main") == b"29"
    assert wrong(found, "f" * 40).code == "git-rev-unknown"


@pytest.mark.parametrize("moved", ["deleted", "forced"])
def test_a_ref_that_moves_before_it_is_fetched_is_asked_for_again(
    server: GitServer, repo: Repo, tmp_path: Path, moved: str
) -> None:
    def move() -> None:
        repo.git.references.delete("refs/heads/main")
        repo.commit({"a": "elsewhere"}, branch="main" if moved == "forced" else "other")

    server.before_fetch = move
    found = clone(server, tmp_path).read({"main": None})
    if moved == "deleted":
        assert (wrong(found, "main").code, wrong(found, "main").hint) == ("git-rev-unknown", "there are other")
    else:
        assert text(found, "main") == b"elsewhere"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/r", "git://127.0.0.1:1/r", "ssh://127.0.0.1:1/r"])
def test_a_server_that_is_down_is_told(url: str, tmp_path: Path) -> None:
    found = refused(lambda: Waited(url, tmp_path).read({"main": None}))
    assert (found.code, found.message) == ("git-unreachable", f"{url} cannot be read")
    assert found.cause


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_a_server_answers_is_told(server: GitServer, tmp_path: Path, status: int) -> None:
    server.status = status
    found = refused(lambda: clone(server, tmp_path).read({"main": None}))
    assert (found.code, str(status) in str(found.cause)) == ("git-unreachable", True)


def test_a_web_server_of_files_is_told_as_that(tmp_path: Path) -> None:
    """As `git update-server-info` is for: libgit2 does not speak so."""
    with serve_files({"/r.git/info/refs": f"{'1' * 40}\trefs/heads/main\n".encode()}) as server:
        found = refused(lambda: Waited(f"{server.url}/r.git", tmp_path).read({"main": None}))
    assert (found.code, found.message) == ("git-unreachable", f"{server.url}/r.git cannot be read")
    assert "does not speak git's protocol over HTTP" in str(found.cause)


def test_a_login_is_shown_to_who_asks(server: GitServer, tmp_path: Path) -> None:
    server.login = "ci:s3cret-t0ken"
    read = clone(server, tmp_path).read
    assert refused(lambda: read({"main": None})).code == "git-login-missing"
    assert refused(lambda: read({"main": None}, Login(Secret("wrong"), "ci"))).code == "git-login-refused"
    server.fresh()
    assert text(read({"main": None}, Login(Secret("s3cret-t0ken"), "ci")), "main") == b"29"
    assert server.listed == 1
    kept = b"".join(path.read_bytes() for path in tmp_path.joinpath("clones").rglob("*") if path.is_file())
    assert b"s3cret-t0ken" not in kept


@pytest.mark.parametrize("after_login", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_login_follows_no_redirect(
    server: GitServer, repo: Repo, tmp_path: Path, host: str, after_login: bool
) -> None:
    """To another port, to another host, before and after it was shown."""
    with git_server(repo.path.parent, login="ci:token") as other:
        server.redirect = other.url.replace("127.0.0.1", host)
        server.login, server.after_login = "ci:token", after_login
        found = refused(lambda: clone(server, tmp_path).read({"main": None}, Login(Secret("token"), "ci")))
        assert found.code == ("git-redirected" if host == "127.0.0.1" else "git-unreachable")
        assert {request.login for request in other.seen} <= {None}


def test_a_redirect_on_one_server_is_followed(server: GitServer, repo: Repo, tmp_path: Path) -> None:
    """As forges send `site` on to `site.git`."""
    server.login = "ci:token"
    (repo.path.parent / "moved").symlink_to(repo.path)
    found = Waited(f"{server.url}/moved", tmp_path).read({"main": None}, Login(Secret("token"), "ci"))
    assert text(found, "main") == b"29"


@pytest.mark.parametrize("damage", ["HEAD", "config", "packs", "everything"])
def test_a_damaged_clone_is_made_anew(server: GitServer, repo: Repo, tmp_path: Path, damage: str) -> None:
    made = clone(server, tmp_path)
    made.read({"main": None})
    folder = made.bare.current
    match damage:
        case "packs":
            shutil.rmtree(folder / "objects" / "pack")
        case "everything":
            shutil.rmtree(folder)
        case name:
            (folder / name).write_bytes(b"\0garbage")
    assert made.kept({"main": history(repo, 0)}) is None or damage in {"HEAD", "config"}
    assert text(clone(server, tmp_path).read({"main": None}), "main") == b"29"


def test_an_object_that_is_damaged_is_fetched_anew(server: GitServer, repo: Repo, tmp_path: Path) -> None:
    made = clone(server, tmp_path)
    found = made.read({"main": None})
    revision = found.revisions["main"]
    assert isinstance(revision, Revision)
    pack = next((made.bare.current / "objects" / "pack").glob("*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:100] + b"\0" * 400)
    repository = pygit2.Repository(str(made.bare.current))
    objects = HealingObjects(repository, partial(made.again, revision.commit))
    assert objects.read(revision.tree)
    assert CommitTree(objects, revision.tree).at("a") is not None
    server.status = 503
    broken = HealingObjects(repository, partial(made.again, revision.commit))
    assert refused(lambda: broken.read("1" * 40)).code == "git-unreachable"


def test_too_many_packs_make_place_for_one(server: GitServer, repo: Repo, tmp_path: Path) -> None:
    made = clone(server, tmp_path)
    made.read({"main": None})
    packs = made.bare.current / "objects" / "pack"
    for number in range(MAX_PACKS):
        (packs / f"pack-{number:040}.pack").write_bytes(b"")
    before = made.bare.current
    assert text(made.read({"main": None}), "main") == b"29"
    assert made.bare.current != before
    assert not before.exists()


_READ = """
import asyncio
import sys
from pathlib import Path
from reconciler.desired.clone import Clone
from reconciler.model.git_url import GitUrl, as_commit
print("ready", flush=True)
while True:
    clone = Clone(GitUrl.parse(sys.argv[1]), Path(sys.argv[2]))
    found = asyncio.run(clone.read({"main": None, "HEAD": None}))
    revision = found.revisions["main"]
    asyncio.run(clone.again(revision.commit))
    if len(sys.argv) > 3:
        break
"""


def test_several_processes_use_one_cache(server: GitServer, tmp_path: Path) -> None:
    url = f"{server.url}/site.git"
    jobs = [subprocess.Popen([sys.executable, "-c", _READ, url, str(tmp_path), "once"]) for _ in range(4)]
    assert [job.wait(120) for job in jobs] == [0] * 4
    assert text(clone(server, tmp_path).read({"main": None}), "main") == b"29"


@pytest.mark.parametrize("after", [0.0, 0.15, 0.2, 0.27])
def test_a_killed_fetch_leaves_nothing_that_stops_the_next(server: GitServer, tmp_path: Path, after: float) -> None:
    command = [sys.executable, "-c", _READ, f"{server.url}/site.git", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(after)  # a moment of its work, not a wait for anything
        child.send_signal(signal.SIGKILL)
    made = clone(server, tmp_path)
    assert text(made.read({"main": None}), "main") == b"29"
    made.bare.locked(lambda: None)
    folder = made.bare.folder
    assert {p.name for p in folder.parent.iterdir()} == {folder.name, made.bare.current.name, f"{folder.name}.lock"}


def test_a_fetch_that_is_called_off_ends_at_once_and_loses_nothing(
    server: GitServer, repo: Repo, tmp_path: Path
) -> None:
    made = clone(server, tmp_path)
    before = commit(made.read({"main": None}), "main")
    repo.commit({"a": "new"})

    async def called_off() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def begin() -> None:
            loop.call_soon_threadsafe(begun.set)

        server.before_fetch = begin
        server.drips = True
        reading = asyncio.create_task(made.clone.read({"main": None}))
        await asyncio.wait_for(begun.wait(), 30)
        reading.cancel()
        await asyncio.wait({reading}, timeout=30)
        assert reading.cancelled()

    server.fresh()
    asyncio.run(called_off())
    assert made.kept({before: before})
    server.drips = False
    assert text(made.read({"main": None}), "main") == b"new", "nobody has the lock any more"


@pytest.mark.parametrize("where", ["list", "fetch"])
def test_a_server_that_drips_is_not_waited_for_without_end(
    server: GitServer, repo: Repo, tmp_path: Path, where: str
) -> None:
    """It never says nothing for long."""
    server.drips = True
    server.drips_from = "GET" if where == "list" else "POST"
    limits = Limits(listing=2.0 if where == "list" else 60.0, whole=60.0 if where == "list" else 3.0)
    found = refused(lambda: clone(server, tmp_path, limits).read({"main": None}))
    assert found.code == "git-unreachable"
    told = {"list": "it did not tell its branches and tags within 2 s", "fetch": "it took longer than 3 s"}
    assert found.cause == told[where]
    assert server.dripped > 2
    server.drips = False
    assert text(clone(server, tmp_path).read({"main": None}), "main") == b"29"


def test_what_waits_for_another_process_ends_too(server: GitServer, tmp_path: Path) -> None:
    made = clone(server, tmp_path, Limits(whole=2.0))
    found: list[Problem] = []
    made.bare.locked(lambda: found.append(refused(lambda: made.read({"main": None}))))
    assert (found[0].code, found[0].cause) == ("git-unreachable", "it took longer than 2 s")


def test_refs_without_end_do_not_fill_the_memory(server: GitServer, tmp_path: Path) -> None:
    server.floods = True
    found = refused(lambda: clone(server, tmp_path, Limits(memory=150 << 20)).read({"main": None}))
    assert found.code == "git-unreachable"
    assert found.cause is not None and "memory" in found.cause


def test_no_more_is_taken_than_the_limit(server: GitServer, tmp_path: Path) -> None:
    found = refused(lambda: clone(server, tmp_path, Limits(received=BYTES // 2)).read({"main": None}))
    assert (found.code, found.cause) == ("git-unreachable", "it sends more than 0 MiB")
    assert not list(tmp_path.rglob("*.pack"))


def test_the_users_configuration_leads_no_url_to_a_login(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CI systems are set up for private Go modules."""
    with_login = server.url.replace("http://", "http://ci:token@")
    (tmp_path / ".gitconfig").write_text(f'[url "{with_login}/"]\n\tinsteadOf = {server.url}/\n')
    (tmp_path / ".config" / "git").mkdir(parents=True)
    shutil.copy(tmp_path / ".gitconfig", tmp_path / ".config" / "git" / "config")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    server.login = "ci:token"
    assert refused(lambda: clone(server, tmp_path / "cache").read({"main": None})).code == "git-login-missing"
    assert {request.login for request in server.seen} == {None}


def test_proxies_are_those_of_variables(server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.status = 502
    assert refused(lambda: Waited("https://git.example/site.git", tmp_path).read({"main": None})).cause
    assert [(request.method, request.path) for request in server.seen] == [("CONNECT", "git.example:443")]
