"""Dockerfiles by table and by property; BuildKit as the oracle is in test_dockerfile_oracle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.dockerfile import ImageNeed, Requirements, read_dockerfile, requirements
from reconciler.desired.dockerfile.directives import detect_frontend, is_built_in
from reconciler.desired.dockerfile.expand import MAX_STEPS, Quoting, expand
from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.dockerfile.names import NameFault, parse_platform, parse_reference
from reconciler.desired.dockerfile.remotes import RemoteKind, remote_kind
from reconciler.model.problem import LianError, Problem
from tests.desired.dockerfile_texts import Case, cases

if TYPE_CHECKING:
    from collections.abc import Mapping

CORPUS = Path(__file__).parent / "dockerfiles"
DIGEST = "@sha256:" + "a" * 64


def ask(
    text: str,
    target: str | None = None,
    platform: str = "linux/amd64",
    *,
    args: Mapping[str, str] | None = None,
    contexts: tuple[str, ...] = (),
) -> Requirements:
    facts = read_dockerfile(text.encode("utf-8", "surrogateescape"), "api/Dockerfile")
    return requirements(
        facts, target=target, args=args or {}, platform=platform, named_contexts=contexts, build_platform="linux/amd64"
    )


def images(
    text: str, target: str | None = None, platform: str = "linux/amd64", *, args: Mapping[str, str] | None = None
) -> list[str]:
    return [image.reference for image in ask(text, target, platform, args=args).images]


def problem(
    text: str, target: str | None = None, platform: str = "linux/amd64", *, args: Mapping[str, str] | None = None
) -> Problem:
    with pytest.raises(LianError) as caught:
        ask(text, target, platform, args=args)
    return caught.value.problems[0]


# -- stages


def test_only_what_the_target_reaches() -> None:
    text = (CORPUS / "platforms.Dockerfile").read_text()
    found = ask(text, platform="linux/arm64")
    assert [(image.reference, image.platform, image.written) for image in found.images] == [
        ("docker.io/library/golang:1.22", "linux/amd64", "golang:1.22"),
        ("docker.io/arm64v8/alpine:3.20", "linux/arm64", "arm64v8/alpine:3.20"),
        ("ghcr.io/astral-sh/uv:0.5", "linux/arm64", "ghcr.io/astral-sh/uv:0.5"),
    ]
    assert found.stages == (0, 2, 3)
    assert images(text, "build") == ["docker.io/library/golang:1.22"]
    assert images(text, "BUILD", args={"GO": "1.23"}) == ["docker.io/library/golang:1.23"]


def test_text_in_heredocs_and_comments_is_not_read() -> None:
    text = (CORPUS / "heredocs.Dockerfile").read_text()
    assert images(text) == ["docker.io/library/busybox:latest", "docker.io/library/alpine:latest"][::-1]


def test_an_image_is_named_where_it_stands() -> None:
    found = ask(
        "ARG T=3\n\nFROM alpine:$T AS base\nFROM base\nCOPY --from=base a b\nRUN \\\n --mount=from=uv,target=/u true\n"
    )
    assert found.images == (
        ImageNeed("docker.io/library/alpine:3", "alpine:3", "linux/amd64", 3, "alpine:3"),
        ImageNeed("docker.io/library/uv:latest", "uv", "linux/amd64", 6, "uv"),
    )


def test_no_pin_where_a_stage_has_the_name() -> None:
    pins = {
        image.reference: image.context
        for image in ask("FROM alpine AS alpine\nFROM alpine:3 AS x\nCOPY --from=alpine a b\n").images
    }
    assert pins == {"docker.io/library/alpine:latest": None, "docker.io/library/alpine:3": "alpine:3"}


def test_named_contexts() -> None:
    text = "FROM base AS build\nFROM alpine\nCOPY --from=build a b\nCOPY --from=files c d\n"
    assert ask(text, contexts=("base", "files", "unused")).contexts == ("base", "files")
    assert ask(text, contexts=("alpine::linux/amd64", "alpine")).contexts == ("alpine::linux/amd64",)
    assert ask(text, contexts=("docker.io/library/alpine",)).contexts == ()
    replaced = ask(text, contexts=("build",))
    assert replaced.contexts == ("build",)
    assert "docker.io/library/base:latest" not in [image.reference for image in replaced.images]


def test_remote_sources_that_a_base_image_decides() -> None:
    found = ask("FROM alpine\nARG A=x\nADD https://e/$A /a\nADD $B/c ./$D /d\nADD plain /e\n").remote_sources
    assert [(source.written, source.location, source.kind, source.line) for source in found] == [
        ("https://e/$A", "https://e/x", RemoteKind.HTTP, 3),
        ("$B/c", None, None, 4),
        ("./$D", None, None, 4),
    ]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("https://h/f", RemoteKind.HTTP),
        ("https://h/r.git", RemoteKind.GIT),
        ("https://h/r.git?ref=v1#main:sub", RemoteKind.GIT),
        ("https://h/x?r=.git", RemoteKind.HTTP),
        ("HTTPS://h/f", None),
        ("git@h:r", RemoteKind.GIT),
        ("ssh://git@h/r", RemoteKind.GIT),
        ("git://h/r", RemoteKind.GIT),
        ("./git@h:r", None),
        ("github.com/a/b", None),
        ("ftp://h/f", None),
        ("plain", None),
    ],
)
def test_remote_kind(source: str, kind: RemoteKind | None) -> None:
    assert remote_kind(source) is kind


# -- frontends


@pytest.mark.parametrize(
    ("text", "frontend"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a", "docker/dockerfile:1"),
        ("#syntax = docker/dockerfile:1 extra words\nFROM a", "docker/dockerfile:1"),
        ("\ufeff# SYNTAX=x\n", "x"),
        ("#!/usr/bin/env x\n# syntax=y\n", "y"),
        ("// syntax=z\n", "z"),
        ('{"syntax": "j"}', "j"),
        ("# escape=`\n# syntax=w\n", "w"),
        ("# other=1\n# syntax=w\n", None),
        ("\n# syntax=w\n", None),
        (" # syntax=w\n", None),
        ("FROM a\n# syntax=w\n", None),
    ],
)
def test_frontend(text: str, frontend: str | None) -> None:
    assert detect_frontend(text.encode()) == frontend


@pytest.mark.parametrize(
    ("frontend", "built_in"),
    [
        ("docker/dockerfile", True),
        ("docker/dockerfile:1", True),
        ("docker/dockerfile:1.7.0", True),
        ("docker.io/docker/dockerfile:latest", True),
        (f"docker/dockerfile:1{DIGEST}", True),
        (f"docker/dockerfile{DIGEST}", False),
        ("docker/dockerfile:1-labs", False),
        ("docker/dockerfile:master", False),
        ("docker/dockerfile-upstream:1", False),
        ("reg.example/docker/dockerfile:1", False),
        ("", False),
    ],
)
def test_built_in(frontend: str, built_in: bool) -> None:
    assert is_built_in(frontend) is built_in


def test_a_custom_frontend_holds() -> None:
    text = "# syntax=team/own:1\nBUILD { whatever }\n"
    assert read_dockerfile(text.encode(), "D").custom_frontend == "team/own:1"
    assert problem(text).code == "dockerfile-frontend-custom"
    assert problem("FROM a\n", args={"BUILDKIT_SYNTAX": "team/own"}).code == "dockerfile-frontend-custom"
    readable = "# syntax=team/own\nFROM a\n"
    assert images(readable, args={"BUILDKIT_SYNTAX": "docker/dockerfile:1"}) == ["docker.io/library/a:latest"]


LABS = "# syntax=docker/dockerfile:1-labs\nFROM a\n"


@pytest.mark.parametrize(
    ("line", "image"),
    [
        ("docker/dockerfile:1-labs", "docker.io/docker/dockerfile:1-labs"),
        ("docker/dockerfile-upstream", "docker.io/docker/dockerfile-upstream:latest"),
        ("reg.example/mirror/docker/dockerfile:1.7", "reg.example/mirror/docker/dockerfile:1.7"),
        (f"docker/dockerfile{DIGEST}", f"docker.io/docker/dockerfile{DIGEST}"),
        ("docker/dockerfile:1", None),
        ("docker/dockerfile:1.22", None),
    ],
)
def test_another_release_of_the_frontend_is_an_image_that_is_needed(line: str, image: str | None) -> None:
    assert ask(LABS.replace("docker/dockerfile:1-labs", line)).frontend == image


@pytest.mark.parametrize("line", ["team/dockerfile:1", "docker/dockerfiles", "x/docker/dockerfile/y", "dockerfile"])
def test_what_may_read_anything_holds(line: str) -> None:
    assert problem(LABS.replace("docker/dockerfile:1-labs", line)).code == "dockerfile-frontend-custom"


def test_what_only_a_newer_release_can_read_holds() -> None:
    assert problem(LABS + "RUN --quantum=yes x\n").code == "dockerfile-frontend-custom"
    assert (
        problem("FROM a\n", args={"BUILDKIT_SYNTAX": "docker/dockerfile:1-labs"}).code == "dockerfile-frontend-custom"
    )


# -- faults


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "dockerfile-empty", None),
        ("# only\n\n", "dockerfile-syntax", None),
        ("ARG A\n", "dockerfile-syntax", None),
        ("RUN x\nFROM a\n", "dockerfile-syntax", 1),
        ("FROM a\n\nFORM b\n", "dockerfile-syntax", 3),
        ("FROM a\nRUN a \\\n b\nCOPY x\n", "dockerfile-syntax", 4),
        ("FROM a\nRUN <<E\nx\n", "dockerfile-syntax", 2),
        ("FROM a b\n", "dockerfile-syntax", 1),
        ("FROM a AS 1b\n", "dockerfile-syntax", 1),
        ("# escape=x\nFROM a\n", "dockerfile-syntax", 1),
        ("FROM a\nCOPY --from=$B a b\n", "dockerfile-syntax", 2),
        ("FROM a\nRUN --mount=from=$B,target=/b true\n", "dockerfile-syntax", 2),
        ("ARG A\nFROM $A\n", "dockerfile-arg-unresolved", 2),
        ("ARG A\nFROM reg/$A\n", "dockerfile-arg-unresolved", 2),
        ("FROM x:${A:?set-it}\n", "dockerfile-arg-unresolved", 1),
        ("FROM x:${A!}\n", "dockerfile-expansion", 1),
        ("FROM Upper\n", "dockerfile-reference-invalid", 1),
        ("FROM a\nFROM b\nCOPY --from=No/Image a b\n", "dockerfile-reference-invalid", 3),
        ("FROM --platform=a/b/c/d x\n", "dockerfile-platform-invalid", 1),
        ("FROM a\nCOPY --from=7 a b\n", "dockerfile-stage-unknown", 2),
        ("FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nFROM x\n", "dockerfile-stage-order", 2),
        ("FROM a AS x\nCOPY --from=x a b\n", "dockerfile-cycle", 2),
        ("ARG SOURCE_DATE_EPOCH=context\nFROM a\n", "dockerfile-epoch-unsupported", None),
        ("FROM a\n" + "RUN " + "x" * 65536, "dockerfile-syntax", 2),
    ],
)
def test_faults(text: str, code: str, line: int | None) -> None:
    found = problem(text)
    assert (found.code, found.file, found.line) == (code, "api/Dockerfile", line)


def test_hints_name_the_nearest() -> None:
    text = "FROM a AS runtime\nFROM runtime\n"
    assert problem(text, "runtme").hint == "did you mean runtime?"
    assert problem(text, "runtme").code == "dockerfile-target-unknown"
    assert problem("FORM a\n").hint == "did you mean FROM?"
    assert problem("FROM a\nCOPY --form=a b c\n").hint == "did you mean from?"
    hint = problem("ARG VERSION\nFROM a:$VERSION\n").hint
    assert hint is not None and "VERSION" in hint


def test_all_faulty_instructions_together() -> None:
    with pytest.raises(LianError) as caught:
        read_dockerfile(b"FROM a\nFORM b\nRUN x\nUSER\n", "D")
    assert [(found.line, found.code) for found in caught.value.problems] == [
        (2, "dockerfile-syntax"),
        (4, "dockerfile-syntax"),
    ]


@settings(max_examples=500)
@given(content=st.one_of(st.binary(max_size=200), cases().map(lambda case: case.content)))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        facts = read_dockerfile(content, "D")
        requirements(facts, target=None, args={}, platform="linux/amd64", build_platform="linux/amd64")
    except LianError as error:
        assert all(found.code.startswith("dockerfile-") and found.file == "D" for found in error.problems)


@given(case=cases(), comment=st.text(st.characters(exclude_characters="\r\n", codec="utf-8")))
def test_comments_change_nothing(case: Case, comment: str) -> None:
    def answer(content: bytes) -> object:
        try:
            facts = read_dockerfile(content, "D")
            found = requirements(
                facts, target=case.target, args=case.args, platform=case.platform, build_platform=case.builder
            )
        except LianError as error:
            return [found.code for found in error.problems]
        return [(image.reference, image.platform) for image in found.images], found.contexts, found.stages

    end = b"" if case.content.endswith(b"\n") else b"\n"
    before = answer(case.content)
    assert answer(case.content + end + f"#{comment}\n".encode()) == before


# -- expansion and names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A${B}", "onetwo words"),
        ("${A:-x}${U:-x}${E:-x}${E-x}", "onexx"),
        ("${A:+x}${U:+x}${E:+x}${E+x}", "xx"),
        ("${U:-${A}}", "one"),
        ("'$A'\"$A\"\\$A", "$Aone$A"),
        ("${P#*/}|${P##*/}|${P%/*}|${P%%/*}", "b/c.d|c.d|a/b|a"),
        ("${P/[/]/x}${P//b/x}${P/b?/-}", "a/b/c.da/x/c.da/-c.d"),
        ("${P//\\//.}", "a.b.c.d"),
        ("$U$", "$"),
        ("${1}$1x", "x"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    env = {"A": "one", "B": "two words", "E": "", "P": "a/b/c.d"}
    assert expand(text, env, Quoting()).text == expected


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${A:#b}", "'", '"', "${A/b}", "${A#\\x}", "${A^}"])
def test_expansion_refused(text: str) -> None:
    with pytest.raises(Fault):
        expand(text, {"A": "b"}, Quoting())


def test_wildcards_cannot_take_for_ever() -> None:
    begin = time.process_time()
    with pytest.raises(Fault, match="too many"):
        expand("${A#*a*a*a*a*a*a*a*b}", {"A": "a" * 500}, Quoting())
    assert expand("${A##*a*b}", {"A": "a" * 5000}, Quoting()).text == "a" * 5000
    assert time.process_time() - begin < 20
    assert MAX_STEPS > 0


@pytest.mark.parametrize(
    ("text", "normal", "context"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine"),
        ("alpine:latest", "docker.io/library/alpine:latest", "alpine"),
        ("docker.io/library/alpine:3", "docker.io/library/alpine:3", "alpine:3"),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b"),
        ("localhost/x", "localhost/x:latest", "localhost/x"),
        ("h:5000/x:1", "h:5000/x:1", "h:5000/x:1"),
        (f"x{DIGEST}", f"docker.io/library/x{DIGEST}", f"x{DIGEST}"),
        (f"x:1{DIGEST}", f"docker.io/library/x:1{DIGEST}", f"x:1{DIGEST}"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b"),
        ("Host/x", "Host/x:latest", "Host/x"),
    ],
)
def test_references(text: str, normal: str, context: str) -> None:
    found = parse_reference(text)
    assert (str(found.with_tag), found.context) == (normal, context)
    assert parse_reference(str(found.with_tag)) == found.with_tag


@pytest.mark.parametrize("text", ["", "A", "a//b", "a:", "a@sha256:1", "f" * 64, "a b", "-a", "a_", "x" * 256, "h:x/y"])
def test_references_refused(text: str) -> None:
    with pytest.raises(NameFault):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("aarch64", "linux/arm64"),
        ("linux", "linux/amd64"),
        ("macOS/x86_64", "darwin/amd64"),
        ("windows(10.0.1)/amd64", "windows(10.0.1)/amd64"),
        ("Linux/i386/v2", "linux/386"),
    ],
)
def test_platforms(text: str, normal: str) -> None:
    builder = parse_platform("linux/amd64", None)
    assert str(parse_platform(text, builder).normal) == normal


def test_a_mistyped_instruction_is_told_as_people_write_it() -> None:
    assert problem("FROM scratch\nRUUN x\n").hint == "did you mean RUN?"
    assert problem("FROM scratch\ncoyp a b\n").hint == "did you mean COPY?"
