"""What lian.lock pins is what is built, for real: URLs and git sources, whatever they have become since."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.providers.builder.source_policy import git_identifier, source_policy
from tests.providers.workshop import image_of, open_bench, write_context
from tests.servers.files import serve_files

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.problem import Problem


@pytest.mark.parametrize(
    ("location", "identifier"),
    [
        ("https://git.example/r.git", "git://git.example/r.git"),
        ("https://user:word@git.example:8443/a/../r.git#main", "git://git.example:8443/r.git#main"),
        ("git@git.example:team/r.git#v1:docs/", "git://git.example/team/r.git#v1:docs"),
        ("ssh://git@git.example:22/r.git#:sub", "git://git.example:22/r.git#:sub"),
        ("git://git.example//r.git#v1:", "git://git.example/r.git#v1"),
    ],
)
def test_git_sources_are_named_as_buildkit_names_them(location: str, identifier: str) -> None:
    assert git_identifier(location) == identifier


def test_the_policy_is_the_same_for_the_same_pins() -> None:
    pins = {"https://a.example/x": "sha256:" + "a" * 64, "https://git.example/r.git": "b" * 40}
    assert source_policy(pins) == source_policy(dict(reversed(pins.items())))


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def built(folder: Path, dockerfile: str, pinned: dict[str, str]) -> dict[str, bytes] | Problem:
    """The files of the image, or why there is none."""

    async def run() -> dict[str, bytes] | Problem:
        context = write_context(folder / "context", dockerfile, busybox=False)
        async with open_bench(folder / "bench") as bench:
            try:
                image = image_of(await bench.build(bench.request(context, pinned=pinned)))
            except LianError as error:
                return error.problems[0]
            return image.files()

    return asyncio.run(run())


@pytest.mark.buildkit
def test_a_url_has_the_content_it_is_pinned_to(tmp_path: Path) -> None:
    with serve_files({"/tool": b"one", "/free": b"free"}) as server:
        url = f"{server.url}/tool"
        dockerfile = f"FROM scratch\nADD {url} /tool\nADD {server.url}/free /free\n"
        files = built(tmp_path / "1", dockerfile, {url: digest_of(b"one")})
        assert files == {"tool": b"one", "free": b"free"}
        server.files["/tool"] = b"two"
        problem = built(tmp_path / "2", dockerfile, {url: digest_of(b"one")})
        assert not isinstance(problem, dict)
        assert problem.code == "download-moved", problem
        assert digest_of(b"two") in problem.message and digest_of(b"one") in problem.message
        assert problem.hint is not None and "lian lock --update" in problem.hint


@pytest.mark.buildkit
def test_a_git_source_is_the_commit_it_is_pinned_to(tmp_path: Path) -> None:
    work = tmp_path / "work"

    def git(*words: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        done = subprocess.run(["git", "-C", work, *identity, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    work.mkdir()
    git("init", "-q", "-b", "main")
    commits = []
    for text in ("one", "two"):
        (work / "docs").mkdir(exist_ok=True)
        (work / "docs" / "page").write_text(text)
        git("add", "-A")
        git("commit", "-qm", text)
        commits.append(git("rev-parse", "HEAD"))
    bare = tmp_path / "served" / "r.git"
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], check=True)
    subprocess.run(["git", "-C", bare, "update-server-info"], check=True)
    served = {f"/r.git/{path.relative_to(bare)}": path.read_bytes() for path in bare.rglob("*") if path.is_file()}
    with serve_files(served) as server:
        location = f"{server.url}/r.git#main:docs"
        files = built(tmp_path / "1", f"FROM scratch\nADD {location} /docs\n", {location: commits[0]})
        assert files == {"docs/page": b"one"}
