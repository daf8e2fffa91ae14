"""BuildKit's own Dockerfile frontend as the oracle: which images and named contexts does a target ask for?"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from reconciler.desired.dockerfile import RemoteKind, read_dockerfile, requirements
from reconciler.desired.dockerfile.directives import detect_frontend
from reconciler.model.problem import LianError
from reconciler.providers.builder.source_policy import git_identifier
from tests.desired.dockerfile_texts import Case, cases
from tests.oracles.program import oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[[dict[str, Any]], dict[str, Any]]

CORPUS = sorted((Path(__file__).parent / "dockerfiles").glob("*.Dockerfile"))
# What hangs on a base image, which is an empty one here: lian leaves it to the build.
WHILE_BUILDING = re.compile(r"failed to process|invalid mount target")


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with oracle("dockerfile", tmp_path_factory.mktemp("oracle")) as asking:
        yield asking


def _theirs(answer: dict[str, Any]) -> tuple[set[str], set[str]] | str:
    if "error" in answer:
        return str(answer["error"])
    images, contexts = set(), set()
    for asked in answer["images"]:
        named = re.match(r"context\.invalid/c([0-9a-f]*):latest ", asked)
        if named:
            contexts.add(bytes.fromhex(named[1]).decode())
        else:
            images.add(asked)
    return images, contexts


def _ours(case: Case) -> tuple[set[str], set[str]] | LianError:
    try:
        found = requirements(
            read_dockerfile(case.content, "Dockerfile"),
            target=case.target,
            args=case.args,
            platform=case.platform,
            named_contexts=case.contexts,
            build_platform=case.builder,
        )
    except LianError as error:
        return error
    return {f"{image.reference} {image.platform}" for image in found.images}, set(found.contexts)


def _question(case: Case) -> dict[str, Any]:
    return {
        "dockerfile": base64.b64encode(case.content).decode(),
        "target": case.target or "",
        "args": case.args,
        "platform": case.platform,
        "builder": case.builder,
        "contexts": list(case.contexts),
    }


def _agree(ask: Ask, case: Case) -> None:
    theirs, ours = _theirs(ask(_question(case))), _ours(case)
    if isinstance(ours, LianError):
        assert isinstance(theirs, str), (ours, theirs)
    elif isinstance(theirs, str):
        assert WHILE_BUILDING.search(theirs), (ours, theirs)
    else:
        assert ours == theirs


@settings(max_examples=1200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases())
def test_same_as_buildkit(ask: Ask, case: Case) -> None:
    _agree(ask, case)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "linux/arm/v7"])
def test_corpus(ask: Ask, path: Path, platform: str) -> None:
    content = path.read_bytes()
    names = [stage.name for stage in read_dockerfile(content, path.name).stages]
    contexts = ((), ("base", "files", "alpine"), ("alpine::linux/arm64", "tools", "context"), ("a", "one"))
    for target in (None, "missing", *names):
        for given_contexts in contexts:
            for args in ({}, {"TAG": "2", "GO": "1.23", "TARGETARCH": "amd64"}):
                _agree(ask, Case(content, target, args, platform, "linux/amd64", given_contexts))


REMOTES = [
    ("https://files.example/v1/a.tar.gz", RemoteKind.HTTP, False),
    ("http://files.example/b", RemoteKind.HTTP, False),
    ("https://git.example/r.git#main:sub", RemoteKind.GIT, False),
    ("git@git.example:team/r.git", RemoteKind.GIT, False),
    ("https://files.example/sum?a=b", RemoteKind.HTTP, True),
    ("https://user:word@git.example:8443/team/../r.git#v1", RemoteKind.GIT, False),
    ("git://git.example//deep/r.git#:sub/", RemoteKind.GIT, False),
    ("https://git.example/pinned.git#" + "a" * 40 + ":docs", RemoteKind.GIT, True),
    ("https://git.example/checked.git#main", RemoteKind.GIT, True),
    ("https://files.example/here", RemoteKind.HTTP, False),
    ("https://files.example/onbuild/1", RemoteKind.HTTP, False),
]


def test_remote_sources(ask: Ask) -> None:
    """What an ADD fetches is named as BuildKit names it, so that a source policy meets it."""
    content = (Path(__file__).parent / "dockerfiles" / "adds.Dockerfile").read_bytes()
    case = Case(content, None, {}, "linux/amd64", "linux/amd64", ())
    found = requirements(
        read_dockerfile(content, "Dockerfile"),
        target=None,
        args={},
        platform=case.platform,
        build_platform=case.builder,
    ).remote_sources
    assert sorted((str(source.location), source.kind, source.pinned) for source in found) == sorted(REMOTES)
    ours = {
        git_identifier(source.location) if source.kind is RemoteKind.GIT else source.location
        for source in found
        if source.location is not None
    }
    assert set(ask(_question(case))["sources"]) == ours


FRONTENDS = [
    b"# syntax=docker/dockerfile:1\nFROM a\n",
    b"#syntax = docker/dockerfile:1-labs cmdline words\nFROM a\n",
    b"# check=skip=all\n# syntax=x/y@sha256:" + b"a" * 64 + b"\nFROM a\n",
    b"# SynTax=team/front\nFROM a\n",
    b"\xef\xbb\xbf# syntax=bom/front\nFROM a\n",
    b"#!/usr/bin/env x\n# syntax=after/shebang\nFROM a\n",
    b"// syntax=slash/front\nwhat: ever\n",
    b'{"syntax": "json/front", "stages": []}',
    b"# comment\n# syntax=too/late\nFROM a\n",
    b"\n# syntax=after/blank\nFROM a\n",
    b"# syntax=\nFROM a\n",
    b"# syntax=a/b\n# syntax=c/d\nFROM a\n",
    b"# syntax=crlf/front\r\n# escape=`\r\nFROM a\r\n",
    b"# syntax=docker/dockerfile:1\\\nFROM a\n",
    b"FROM a\n# syntax=in/the/middle\n",
]


@pytest.mark.parametrize("content", FRONTENDS, ids=range(len(FRONTENDS)))
def test_syntax_lines(ask: Ask, content: bytes) -> None:
    theirs = ask(_question(Case(content, None, {}, "linux/amd64", "linux/amd64", ())))["frontend"]
    assert detect_frontend(content) == theirs
