"""Images of what lies in other repositories: built from a real git server, by a real buildkitd."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.desired.repos import Content, Repo
from tests.e2e.bench import Bench, directive, interrupt, layout_files, leftovers, until
from tests.servers.files import serve_files
from tests.servers.git_http import GitServer, git_server
from tests.servers.sshd import sshd_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.buildkit

TOKEN = "t0p-s3cret-t0ken"
SITE: dict[str, Content] = {
    "site/Dockerfile": b"FROM scratch\nCOPY . /\n",
    "site/.dockerignore": b"*.md\n",
    "site/index.html": b"<p>one",
    "site/README.md": b"never sent",
    "more/text": b"more",
}


@pytest.fixture
def site(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "served" / "site.git", bare=True)
    repo.commit(SITE)
    return repo


@pytest.fixture
def server(site: Repo) -> Iterator[GitServer]:
    with git_server(site.path.parent) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, server: GitServer) -> Bench:
    """One image of another repository, one of this one with a folder of the other."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    git = f'git = "{server.url}/site.git", rev = "main"'
    artifacts = {
        "site": f'image = "shop/site", context = {{ {git}, path = "site" }}',
        "api": f'image = "shop/api", context.path = "api", contexts.texts = {{ {git}, path = "more" }}',
    }
    bench.commit(
        {
            "directives/shop.ncl": directive("shop", artifacts),
            "api/Dockerfile": "FROM scratch\nCOPY --from=texts text /\n",
        }
    )
    return bench


def reasons(bench: Bench, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.plan(2)[name]["reasons"]
    return found


def test_a_branch_that_moves_is_built_with_its_reason(
    bench: Bench, server: GitServer, site: Repo, tmp_path: Path
) -> None:
    built = bench.reconcile()
    assert {name: result["status"] for name, result in built.items()} == {"shop/api": "done", "shop/site": "done"}
    files = layout_files(tmp_path / "registry", "shop/site", built["shop/site"]["digest"])
    assert files == {"Dockerfile": SITE["site/Dockerfile"], "index.html": b"<p>one", ".dockerignore": b"*.md\n"}
    assert layout_files(tmp_path / "registry", "shop/api", built["shop/api"]["digest"]) == {"text": b"more"}
    old = str(site.git.references["refs/heads/main"].target)

    server.fresh()
    assert {result["status"] for result in bench.reconcile().values()} == {"none"}
    assert (server.listed, server.sent) == (1, 0)

    new = site.commit({**SITE, "site/index.html": b"<p>two", "site/new": b"x"})
    (reason,) = reasons(bench, "shop/site")
    assert reason["code"] == "context-changed"
    assert reason["files"] == [
        {"path": "site/index.html", "status": "modified"},
        {"path": "site/new", "status": "added"},
    ]
    assert reason["origin"] == {"url": f"{server.url}/site.git", "rev": "main", "old": old, "new": new}
    told = " ".join(bench.lian("diff", code=2).out.split())
    assert "context changed: site/index.html, +site/new" in told
    assert f"main at {old[:12]} → {new[:12]}" in told
    assert bench.plan(2)["shop/api"]["action"] == "none"

    rebuilt = bench.reconcile()
    assert {name: r["action"] for name, r in rebuilt.items()} == {"shop/api": "none", "shop/site": "build"}
    story = json.loads(bench.lian("why", "shop/site", "--json").out)
    assert story["record"]["contexts"] == {"": {"url": f"{server.url}/site.git", "rev": "main", "commit": new}}
    assert f"main at {new}" in " ".join(bench.lian("why", "shop/site").out.split())

    site.commit({**SITE, "site/index.html": b"<p>two", "site/new": b"x", "elsewhere": b"y"})
    assert {change["action"] for change in bench.plan(0).values()} == {"none"}
    assert leftovers(bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}


def test_a_lock_keeps_a_branch_where_it_is(bench: Bench, server: GitServer, site: Repo) -> None:
    old = str(site.git.references["refs/heads/main"].target)
    assert f"+ {server.url}/site.git#main" in bench.lian("lock").out
    bench.commit()
    bench.reconcile()
    site.commit({**SITE, "site/index.html": b"<p>two"})
    server.fresh()
    assert {change["action"] for change in bench.plan(0).values()} == {"none"}
    assert server.listed == 0
    new = str(site.git.references["refs/heads/main"].target)
    moved = bench.lian("lock", "--update", "*site.git*").out
    assert f"commit {old[:12]} → commit {new[:12]}" in moved
    bench.commit()
    assert bench.plan(2)["shop/site"]["reasons"][0]["code"] == "context-changed"
    bench.lian("lock", "--check")


def test_what_the_locked_commit_needs_is_what_is_locked(bench: Bench, server: GitServer, site: Repo) -> None:
    """And not what the branch's newest needs, which no pass reads."""
    with serve_files({"/one": b"1", "/two": b"2"}) as files:
        one, two = f"{files.url}/one", f"{files.url}/two"
        old = site.commit({**SITE, "site/Dockerfile": f"FROM scratch\nADD {one} /\n"})
        told = bench.lian("lock").out
        assert f"+ {one}" in told
        assert f"commit {old[:12]}" in told
        bench.commit()
        new = site.commit({**SITE, "site/Dockerfile": f"FROM scratch\nADD {two} /\n"})

        server.fresh()
        assert "pins all that moves: 2 entries" in " ".join(bench.lian("lock", "--check").out.split())
        assert "lian.lock: 2 kept" in bench.lian("lock").out
        assert not server.seen
        assert "lian.lock" not in bench.lian("diff", code=2).err

        moved = bench.lian("lock", "--update", "*site.git*").out
        assert f"commit {old[:12]} → commit {new[:12]}" in moved
        assert f"- {one}" in moved
        assert f"+ {two}" in moved
        bench.lian("lock", "--check")  # the commit's own is as right as it was
        bench.commit()
        server.fresh()
        bench.lian("lock", "--check")
        assert "lian.lock" not in bench.lian("diff", code=2).err
        assert not server.listed


def test_a_server_that_is_down_holds_what_it_serves_and_nothing_else(bench: Bench, server: GitServer) -> None:
    bench.commit({"own/Dockerfile": "FROM scratch\nCOPY . /\n"})
    text = (bench.repo / "directives/shop.ncl").read_text()
    own = 'own = lian.make_artifact { image = "shop/own", context.path = "own" },\n'
    bench.commit({"directives/shop.ncl": text.replace("artifacts = {", "artifacts = {\n" + own, 1)})
    server.status = 503
    results = {name: result["status"] for name, result in bench.reconcile(code=4).items()}
    assert results == {"shop/api": "held", "shop/site": "held", "shop/own": "done"}
    told = bench.lian("diff", code=4).out
    assert "503" in told
    assert "held, because something could not be read (git-unreachable)" in " ".join(told.split())
    server.status = 0
    assert {result["status"] for result in bench.reconcile().values()} == {"done", "none"}


def test_a_private_repository_by_token_that_is_seen_nowhere(bench: Bench, server: GitServer, tmp_path: Path) -> None:
    server.login = f"ci:{TOKEN}"
    host = server.url.removeprefix("http://")
    source = '{ source = \'Env, name = "SITE_TOKEN", user = "ci" }'
    bench.registry = None  # who names it looks at what nobody has reviewed
    registry = f'registry = {{ provider = \'OciLayout, path = "{tmp_path / "registry"}" }}'
    bench.commit({"lian.ncl": f'{{ {registry}, git.credentials = {{ "{host}" = {source} }} }}'})
    held = bench.lian("diff", code=4)
    assert "the variable SITE_TOKEN" in " ".join((held.out + held.err).split())
    bench.env["SITE_TOKEN"] = "wrong-" + TOKEN
    refused = bench.lian("diff", code=4)
    bench.env["SITE_TOKEN"] = TOKEN
    bench.env["LIAN_CREDENTIAL_HOSTS"] = "registry.example"
    assert {change["holds"][0]["code"] for change in bench.plan(4).values()} == {"credential-forbidden"}
    bench.env["LIAN_CREDENTIAL_HOSTS"] = f"registry.example {host}"
    told = [refused.out, refused.err]
    for words in (("diff", "--json"), ("reconcile", "--once", "--json"), ("why", "shop/site")):
        ran = bench.lian(*words, code=None)
        told += [ran.out, ran.err]
    assert bench.plan(0)
    assert not any(TOKEN in text for text in told)
    for path in (p for folder in ("cache", "registry", "repo") for p in (tmp_path / folder).rglob("*") if p.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path


def test_a_private_repository_by_ssh_from_a_known_host_alone(bench: Bench, site: Repo, tmp_path: Path) -> None:
    with sshd_server(tmp_path / "ssh") as sshd:
        url = f"ssh://root@127.0.0.1:{sshd.port}{site.path}"
        caches = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # where the parts are
        bench.env |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": caches}
        (tmp_path / "home" / ".ssh").mkdir(parents=True)
        key = f'{{ "127.0.0.1:{sshd.port}" = {{ source = \'File, name = "{sshd.key}" }} }}'
        artifacts = {"site": f'image = "shop/site", context = {{ git = "{url}", path = "site" }}'}
        bench.registry = None  # who names it looks at what nobody has reviewed
        bench.commit({"directives/shop.ncl": directive("shop", artifacts), "lian.ncl": f"{{ git.keys = {key} }}"})
        assert bench.plan(4)["shop/site"]["holds"][0]["code"] == "git-host-unknown"
        known = tmp_path / "home" / ".ssh" / "known_hosts"
        public = (sshd.folder / "host_key.pub").read_text()
        known.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'user_key.pub').read_text()}")
        assert bench.plan(4)["shop/site"]["holds"][0]["code"] == "git-host-unknown"
        known.write_text(f"[127.0.0.1]:{sshd.port} {public}")
        assert {r["status"] for r in bench.reconcile().values()} == {"done"}
        (sshd.folder / "authorized_keys").write_text("")
        assert bench.plan(4)["shop/site"]["holds"][0]["code"] == "git-login-refused"


def test_what_a_diff_has_fetched_is_there_for_all(bench: Bench, server: GitServer) -> None:
    bench.plan(2)
    server.fresh()
    bench.lian("validate")
    assert (server.listed, server.sent) == (1, 0)


@pytest.mark.parametrize("words", [("diff",), ("diff", "--repo", "URL"), ("watch", "--repo", "URL")])
def test_ctrl_c_ends_a_command_though_a_server_drips(bench: Bench, server: GitServer, words: tuple[str, ...]) -> None:
    """One that tells its branches and tags byte by byte, and would go on for hours."""
    server.drips, server.drips_from = True, "GET"
    process = bench.start(*(f"{server.url}/site.git" if word == "URL" else word for word in words))
    until(lambda: server.dripped > 3)
    began = time.monotonic()
    ran = interrupt(process, signal.SIGINT)
    assert time.monotonic() - began < 10
    assert ran.code == 130, ran.err
    assert "Traceback" not in ran.err, ran.err
    until(lambda: server.dripping == 0)


def test_a_talk_ends_with_the_command_that_is_killed(bench: Bench, server: GitServer) -> None:
    server.drips, server.drips_from = True, "GET"
    process = bench.start("diff")
    until(lambda: server.dripped > 3)
    process.kill()
    process.communicate()
    until(lambda: server.dripping == 0)
    server.drips = False
    assert bench.plan(2)
