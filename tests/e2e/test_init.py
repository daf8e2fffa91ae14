"""From nothing, or from another tool's files, to images: each command that `lian init` names is run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tests.adopt.buildx import on_path
from tests.adopt.test_compose import FILES as COMPOSE
from tests.desired.repos import Repo
from tests.e2e.bench import Bench, layout_tags
from tests.schemas.evaluation import validator
from tests.servers.git_http import git_server

if TYPE_CHECKING:
    from pathlib import Path


def begin(folder: Path, files: dict[str, str], code: int = 0, git: bool = True) -> tuple[Bench, dict[str, Any]]:
    """What `lian init` makes of these files, committed by the commands that it names."""
    bench = Bench.new(folder)
    if not git:
        import shutil

        shutil.rmtree(bench.repo / ".git")
    bench.write(files)
    document = bench.lian("init", "--json", "--workspace", "shop", code=code).json
    validator("init").validate(document)
    for command in document["next"]:
        name, *words = shlex.split(command)
        if name == "git":
            bench.git(*words)
    return bench, document


def test_a_compose_project_is_valid_as_committed(tmp_path: Path) -> None:
    """With a folder of another repository, which is fetched, and a secret that has to be bound first."""
    proto = Repo(tmp_path / "served" / "proto.git", bare=True)
    proto.commit({"shop/a.proto": b"syntax = 'proto3';\n"})
    with git_server(proto.path.parent) as server:
        text = COMPOSE["compose.yaml"].replace("https://example.org/proto.git#v3:", f"{server.url}/proto.git#main:")
        bench, _ = begin(tmp_path, {**COMPOSE, "compose.yaml": text, ".gitignore": ".lian/\n"})
        bench.commit(message="contexts")
        told = bench.lian("validate", code=4).out
        assert server.listed
    assert "2 artifacts valid, 1 held" in told
    assert told.count("held[") == 1
    assert "held[secret-unbound]: shop/api asks for the secret 'key'" in told


def test_dockerfiles_are_valid_as_committed(tmp_path: Path) -> None:
    bench, document = begin(
        tmp_path, {"a/Dockerfile": "FROM scratch\nCOPY . /\n", "b/Dockerfile": "FROM scratch\nCOPY . /\n"}
    )
    bench.commit(message="contexts")
    assert [each["artifact"] for each in document["artifacts"]] == ["shop/a", "shop/b"]
    assert "2 artifacts valid" in bench.lian("validate").out
    assert "2 to build" in bench.lian("diff", code=2).out


def test_hcl_is_valid_as_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("PATH", f"{on_path(tmp_path / 'bin')}:{os.environ['PATH']}")
    text = 'target "default" { contexts = { base = "target:base" } }\ntarget "base" { context = "base" }\n'
    files = {"docker-bake.hcl": text, "Dockerfile": "FROM base\n", "base/Dockerfile": "FROM scratch\nCOPY . /\n"}
    bench, _ = begin(tmp_path / "x", files)
    bench.commit(message="contexts")
    assert "2 artifacts valid" in bench.lian("validate").out


@pytest.mark.buildkit
def test_an_empty_folder_becomes_an_image(tmp_path: Path) -> None:
    bench, document = begin(tmp_path, {}, git=False)
    assert document["next"][0] == "git init"
    assert bench.lian("validate").out.endswith("1 artifact valid\n")
    bench.lian("diff", code=2)
    bench.lian("reconcile", "--once")
    assert "latest" in layout_tags(bench.repo / ".lian/registry", "shop/hello")
    bench.lian("diff")
    assert bench.git("status", "--porcelain") == ""
