"""Contexts in other repositories, through the whole source: a real git server, real Nickel."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pygit2
import pytest

from reconciler.desired.export import file_time
from reconciler.desired.merged_source import MergedSource
from reconciler.desired.nickel.settings import EvaluatorSettings
from reconciler.model.desired import Origin
from reconciler.model.lock import Lock
from reconciler.model.problem import Next, Problem
from reconciler.model.secret import Secret
from reconciler.model.tree import root
from reconciler.plan.touched import touched
from reconciler.reconcile import judged
from tests.desired.repos import SUBMODULE, SYMLINK, Content, Repo
from tests.desired.test_source import Bench, directives
from tests.servers.git_http import GitServer, git_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.desired.source import GitSource
    from reconciler.model.credential import SourceRef
    from reconciler.model.desired import Desired, Materials, Wanted

SITE: dict[str, Content] = {
    "Dockerfile": b"FROM scratch\nCOPY . /\n",
    ".dockerignore": b"*.md\n",
    "index.html": b"<p>",
    "README.md": b"read me",
    "docs/a.txt": b"a",
    "docs/run": ("100755", b"#!/bin/sh\n"),
    "docs/link": (SYMLINK, b"a.txt"),
}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
OWN: dict[str, Content] = {"images/api/Dockerfile": b"FROM scratch\nCOPY --from=site . /\n"}


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> EvaluatorSettings:
    return EvaluatorSettings(cache=tmp_path_factory.mktemp("evaluations") / "cache.sqlite", workers=1)


@pytest.fixture
def bench(tmp_path: Path, evaluations: EvaluatorSettings) -> Bench:
    return Bench(tmp_path, evaluations)


@pytest.fixture
def site(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "served" / "site.git", bare=True)
    repo.commit(SITE)
    return repo


@pytest.fixture
def server(site: Repo) -> Iterator[GitServer]:
    with git_server(site.path.parent) as running:
        yield running


def main_context(server: GitServer, more: str = "", beside: str = "") -> str:
    context = f'{{ git = "{server.url}/site.git"{more} }}'
    return f'site = lian.make_artifact {{ image = "shop/site", context = {context}{beside} }}'


def named_context(server: GitServer, more: str = "", name: str = "api") -> str:
    context = f'{{ git = "{server.url}/site.git"{more} }}'
    return (
        f'{name} = lian.make_artifact {{ image = "shop/{name}", context.path = "images/api", '
        f"contexts.site = {context} }}"
    )


def of(desired: Desired, name: str) -> Wanted:
    return next(wanted for wanted in desired.wanted.values() if wanted.artifact.name.artifact == name)


def materials(desired: Desired, name: str) -> Materials:
    wanted = of(desired, name)
    assert wanted.materials is not None, wanted.holds
    return wanted.materials


def held(desired: Desired, name: str) -> Problem:
    (problem,) = of(desired, name).holds
    return problem


def loaded(bench: Bench, files: dict[str, Content], **more: Any) -> tuple[GitSource, Desired]:
    bench.repo.commit(files)
    source = bench.source(**more)
    return source, asyncio.run(source.load())


def test_a_folder_of_another_repository_is_what_the_same_folder_would_be(
    bench: Bench, server: GitServer, site: Repo, tmp_path: Path
) -> None:
    """The same keys: what decides is what is sent."""
    own = 'own = lian.make_artifact { image = "shop/own", context.path = "copy" }'
    copied = {f"copy/{path}": content for path, content in SITE.items()}
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server), own), **copied}
    source, desired = loaded(bench, files)
    assert desired.problems == ()
    there, here = materials(desired, "site"), materials(desired, "own")
    assert (there.context.root, there.dockerfile, there.needs) == (here.context.root, here.dockerfile, here.needs)
    commit = str(site.git.references["refs/heads/main"].target)
    assert there.origins == {"": Origin(f"{server.url}/site.git", "HEAD", commit)}
    assert here.origins == {}
    entries = asyncio.run(source.listing(there.context))
    assert [entry.path for entry in entries] == [
        ".dockerignore", "Dockerfile", "docs/a.txt", "docs/link", "docs/run", "index.html",
    ]  # fmt: skip
    assert root(entries) == there.context.root
    asyncio.run(source.export(there.context, tmp_path / "sent"))
    asyncio.run(source.export_dockerfile(there, tmp_path / "dockerfile"))
    assert (tmp_path / "dockerfile" / "Dockerfile").read_bytes() == SITE["Dockerfile"]
    assert sorted(p.name for p in (tmp_path / "sent").rglob("*")) == [
        ".dockerignore", "Dockerfile", "a.txt", "docs", "index.html", "link", "run",
    ]  # fmt: skip
    blob = next(entry.id for entry in entries if entry.path == "index.html")
    assert (tmp_path / "sent" / "index.html").stat().st_mtime_ns == file_time(blob)


def test_a_folder_and_a_dockerfile_below_the_root(bench: Bench, server: GitServer, site: Repo) -> None:
    site.commit({"app/src/a": b"1", "app/.build-spec.ncl": "{ cpu = 9 }", "app/docker/D": b"FROM scratch\n"})
    text = main_context(server, ', path = "app"', ', dockerfile = "docker/D"')
    _, desired = loaded(bench, {"directives/shop.ncl": directives("shop", text)})
    found = materials(desired, "site")
    assert (found.context.path, found.dockerfile_path) == ("app", "app/docker/D")
    assert found.dockerfile == hashlib.sha256(b"FROM scratch\n").hexdigest()
    assert of(desired, "site").spec is None


def test_many_artifacts_are_one_question_in_each_pass(bench: Bench, server: GitServer, site: Repo) -> None:
    site.commit({"index.html": b"other"}, branch="other")
    each = [named_context(server, f', rev = "{rev}"', name) for name, rev in
            [("a", "main"), ("b", "other"), ("c", "main"), ("d", "refs/heads/main")]]  # fmt: skip
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", *each), **OWN}
    source, desired = loaded(bench, files)
    assert len({materials(desired, name).folders["site"].root for name in "acd"}) == 1
    assert materials(desired, "b").folders["site"].root != materials(desired, "a").folders["site"].root
    assert server.listed == 1
    server.fresh()
    again = asyncio.run(source.load())
    assert again.wanted == desired.wanted
    assert (server.listed, server.sent) == (1, 0)


def test_a_branch_that_moves_is_another_context_and_back_the_same(bench: Bench, server: GitServer, site: Repo) -> None:
    files: dict[str, Content] = {
        "directives/shop.ncl": directives("shop", named_context(server, ', rev = "main"')),
        **OWN,
    }
    source, desired = loaded(bench, files)
    first = materials(desired, "api").folders["site"]
    site.commit({**SITE, "index.html": b"new"})
    second = materials(asyncio.run(source.load()), "api").folders["site"]
    assert first.root != second.root
    site.commit(SITE)
    third = materials(asyncio.run(source.load()), "api").folders["site"]
    assert first.root == third.root
    assert first.origin and third.origin and first.origin.commit != third.origin.commit


def test_a_whole_commit_id_asks_nobody_once_it_is_here(bench: Bench, server: GitServer, site: Repo) -> None:
    commit = str(site.git.references["refs/heads/main"].target)
    site.commit({"other": b"x"})
    site.git.config["uploadpack.allowReachableSHA1InWant"] = True
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server, f', rev = "{commit}"'))}
    source, desired = loaded(bench, files)
    assert materials(desired, "site").origins[""].commit == commit
    server.fresh()
    server.status = 503
    assert materials(asyncio.run(source.load()), "site") == materials(desired, "site")
    assert server.seen == []


def test_a_pinned_rev_asks_nobody_once_it_is_here(bench: Bench, server: GitServer, site: Repo) -> None:
    commit = str(site.git.references["refs/heads/main"].target)
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server, ', rev = "main"'))}
    _, desired = loaded(bench, files)
    site.commit({**SITE, "index.html": b"new"})
    lock = Lock(git={(f"{server.url}/site.git", "main"): commit})
    server.fresh()
    _, pinned = loaded(bench, {**files, "lian.lock": str(lock)})
    assert materials(pinned, "site") == materials(desired, "site")
    assert server.seen == []


def test_what_a_rev_means_is_told_without_a_fetch(bench: Bench, server: GitServer, site: Repo) -> None:
    url, commit = f"{server.url}/site.git", str(site.git.references["refs/heads/main"].target)
    places = [(url, "main"), (url, "HEAD"), (url, "gone"), (url, "1" * 40), ("http://127.0.0.1:1/x", "main")]
    found = asyncio.run(bench.source().commits(places))
    told = {rev: each.code if isinstance(each, Problem) else each for (_, rev), each in list(found.items())[:4]}
    assert told == {"main": commit, "HEAD": commit, "gone": "git-rev-unknown", "1" * 40: "1" * 40}
    down = found["http://127.0.0.1:1/x", "main"]
    assert isinstance(down, Problem) and down.code == "git-unreachable"
    assert (server.listed, server.sent) == (1, 0)


def test_what_cannot_be_had_holds_who_names_it_and_nobody_else(bench: Bench, server: GitServer) -> None:
    gone = named_context(server, ', rev = "mian"', "typo")
    down = named_context(server, name="down").replace(server.url, "http://127.0.0.1:1")
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", gone, down, named_context(server)), **OWN}
    _, desired = loaded(bench, files)
    assert desired.problems == ()
    assert materials(desired, "api").origins
    typo, unreachable = held(desired, "typo"), held(desired, "down")
    assert (typo.code, typo.hint) == ("git-rev-unknown", "did you mean main?")
    assert typo.message == f"shop/typo: {server.url}/site.git: there is no branch and no tag 'mian'"
    assert (typo.file, bool(typo.line), typo.artifact) == ("directives/shop.ncl", True, "shop/typo")
    assert unreachable.code == "git-unreachable"


@pytest.mark.parametrize(
    ("files", "more", "code"),
    [
        ({"a": b"1"}, "", "dockerfile-missing"),
        (SITE, ', path = "gone"', "context-missing"),
        ({**SITE, "sub": (SUBMODULE, b"1" * 40)}, "", "submodule-in-context"),
        ({**SITE, "big": LFS}, "", "lfs-pointer-in-context"),
        ({**SITE, ".dockerignore": b"[\n"}, "", "ignore-syntax"),
        ({**SITE, "Dockerfile": b"FORM x\n"}, "", "dockerfile-syntax"),
    ],
)  # fmt: skip
def test_what_is_wrong_there_is_told_with_its_repository(
    bench: Bench, server: GitServer, site: Repo, files: dict[str, Content], more: str, code: str
) -> None:
    commit = site.commit(files)
    _, desired = loaded(bench, {"directives/shop.ncl": directives("shop", main_context(server, more))})
    (problem,) = desired.problems
    assert problem.code == code
    assert problem.artifact == "shop/site"
    assert "commit it" not in (problem.hint or ""), "that would be about this repository"
    told = f"{problem.message} {problem.file}"
    assert f"{server.url}/site.git" in told and commit[:12] in told


LOGIN = """{ git.credentials = { "HOST" = { source = 'Env, name = "GIT_TOKEN", user = "ci" } } }"""


def test_a_login_is_read_where_lian_ncl_says(bench: Bench, server: GitServer, site: Repo) -> None:
    server.login = "ci:s3cret"
    asked: list[tuple[str, str, str]] = []

    async def credential(source: SourceRef, purpose: str, host: str) -> Secret:
        asked.append((source.name, purpose, host))
        return Secret("s3cret")

    host = server.url.removeprefix("http://")
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server))}
    _, desired = loaded(bench, files, credential=credential)
    assert held(desired, "site").code == "git-login-missing"
    assert f'git.credentials."{host}"' in str(held(desired, "site").hint)
    assert asked == []
    source, desired = loaded(bench, {**files, "lian.ncl": LOGIN.replace("HOST", host)}, credential=credential)
    assert materials(desired, "site").origins
    assert asked == [("GIT_TOKEN", f"the login of {host}", host)]
    assert "s3cret" not in repr(desired)
    at_another = asyncio.run(source.at(desired.revision).load())
    assert materials(at_another, "site").origins


@pytest.mark.parametrize("alike", [True, False])
def test_another_commit_of_the_pass_binds_no_login(bench: Bench, server: GitServer, alike: bool) -> None:
    """What a branch says of credentials may not have been looked at by anybody. Whether or not the commit of the pass
    has git contexts itself."""
    server.login = "ci:s3cret"
    asked: list[str] = []

    async def credential(source: SourceRef, purpose: str, host: str) -> Secret:
        asked.append(source.name)
        return Secret("s3cret")

    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server))}
    settings = LOGIN.replace("HOST", server.url.removeprefix("http://"))
    other = bench.repo.commit({**files, "lian.ncl": settings}, branch="other")
    own: dict[str, Content] = {"directives/shop.ncl": directives("shop", "base"), "images/base/Dockerfile": b""}
    source, _ = loaded(bench, files if alike else own, credential=credential)
    assert held(asyncio.run(source.at(other).load()), "site").code == "git-login-missing"
    assert asked == []


def test_a_login_is_not_read_before_a_server_asks_for_one(bench: Bench, server: GitServer) -> None:
    """A variable that is not set holds no repository that everybody may read."""
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server))}
    settings = LOGIN.replace("HOST", server.url.removeprefix("http://"))
    _, desired = loaded(bench, {**files, "lian.ncl": settings})
    assert materials(desired, "site").origins
    server.login = "ci:s3cret"
    _, desired = loaded(bench, {**files, "lian.ncl": settings})
    assert (held(desired, "site").code, held(desired, "site").next) == ("credential-missing", Next.HOLD)


def test_nothing_of_logins_is_heeded_where_the_operator_names_the_registry(bench: Bench, server: GitServer) -> None:
    """So a revision is looked at that nobody has reviewed."""
    server.login = "ci:s3cret"
    asked: list[str] = []

    async def credential(source: SourceRef, purpose: str, host: str) -> Secret:
        asked.append(source.name)
        return Secret("s3cret")

    host = server.url.removeprefix("http://")
    settings = f"""{{ git.credentials."{host}" = {{ source = 'Command, name = "touch pwned" }} }}"""
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server)), "lian.ncl": settings}
    _, desired = loaded(bench, files, credential=credential, registry_override=f"oci-layout:{bench.folder}/registry")
    problem = held(desired, "site")
    assert (problem.code, asked) == ("git-login-missing", [])
    assert problem.hint is not None and "--registry" in problem.hint


def test_a_clone_that_is_damaged_between_load_and_export_is_healed(
    bench: Bench, server: GitServer, tmp_path: Path
) -> None:
    source, desired = loaded(bench, {"directives/shop.ncl": directives("shop", main_context(server))})
    for pack in (bench.folder / "cache" / "clones").rglob("*.pack"):
        pack.unlink()
    found = materials(desired, "site")

    async def late() -> int:
        await source.load()
        for pack in (bench.folder / "cache" / "clones").rglob("pack-*"):
            pack.unlink()
        return await source.export(found.context, tmp_path / "sent")

    assert asyncio.run(late()) > 0


@pytest.mark.parametrize("when", ["load", "export"])
def test_healing_a_clone_is_called_off_with_what_asked_for_it(
    bench: Bench, server: GitServer, tmp_path: Path, when: str
) -> None:
    """Though its server drips."""
    source, desired = loaded(bench, {"directives/shop.ncl": directives("shop", main_context(server))})
    found = materials(desired, "site")

    async def called_off() -> None:
        await source.load()
        for pack in (bench.folder / "cache" / "clones").rglob("*.pack"):
            pack.chmod(0o600)
            with pack.open("r+b") as damaged:  # who has it open sees it too
                damaged.seek(12)
                damaged.write(b"\xff" * (pack.stat().st_size - 12))
        server.drips, server.drips_from = True, "GET"
        work = source.load() if when == "load" else source.export(found.context, tmp_path / "sent")
        task = asyncio.ensure_future(work)
        while not server.dripped:
            assert not task.done()
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task}, timeout=20)
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "and nothing of it goes on"

    asyncio.run(called_off())
    assert not (tmp_path / "sent").exists()


def test_a_rule_that_its_dockerfile_breaks_is_told_at_the_other_repository(
    bench: Bench, server: GitServer, site: Repo
) -> None:
    site.commit({**SITE, "Dockerfile": b"FROM alpine:3\n"})
    rules = '{ rules.bases.bases.allow = ["registry.example/*"] }'
    text = directives("shop", main_context(server, ', rev = "main"'))
    source, _ = loaded(bench, {"directives/shop.ncl": text, "policy/bases.ncl": rules})
    desired = asyncio.run(judged(asyncio.run(source.load()), source))
    (problem,) = desired.problems
    assert problem.code == "policy-violation"
    assert problem.file is not None
    assert problem.file.startswith(f"{server.url}/site.git") and problem.file.endswith("Dockerfile")


def test_each_commit_of_a_pass_has_its_own_lock(bench: Bench, server: GitServer, site: Repo) -> None:
    """A pass that reads another commit as well (for a preview, say) does not take this one's pins for that one's."""
    url = f"{server.url}/site.git"
    old = str(site.git.references["refs/heads/main"].target)
    new = site.commit({**SITE, "index.html": b"new"})
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server, ', rev = "main"'))}
    bench.repo.commit({**files, "lian.lock": str(Lock(git={(url, "main"): old}))})
    before = str(bench.repo.git.head.target)
    source, desired = loaded(bench, {**files, "lian.lock": str(Lock(git={(url, "main"): new}))})
    other = asyncio.run(source.at(before).load())
    commits = [materials(one, "site").context.origin for one in (desired, other)]
    assert [origin and origin.commit for origin in commits] == [new, old]


def test_a_pull_request_that_only_moves_a_pin_is_told(bench: Bench, server: GitServer, site: Repo) -> None:
    url = f"{server.url}/site.git"
    old = str(site.git.references["refs/heads/main"].target)
    new = site.commit({**SITE, "index.html": b"new"})
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", main_context(server, ', rev = "main"'))}
    start = bench.repo.commit({**files, "lian.lock": str(Lock(git={(url, "main"): old}))})
    bench.repo.git.branches.local.create("topic", bench.repo.git[start].peel(pygit2.Commit))
    bench.repo.commit({**files, "lian.lock": str(Lock(git={(url, "main"): new}))}, "topic")
    more: dict[str, Any] = {"cache": bench.folder / "cache", "evaluator": bench.evaluator}
    source = MergedSource(str(bench.repo.path), "main", "topic", **more)
    after = asyncio.run(source.load())
    before = asyncio.run(source.before.load())
    assert {str(name) for name in touched(before, after)} == {"shop/site"}
