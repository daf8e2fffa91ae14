"""What a Dockerfile needs is the same on all platforms, wherever its reader says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings

from reconciler.desired.dockerfile import DockerfileFacts, read_dockerfile, requirements
from reconciler.model.problem import LianError
from tests.desired.dockerfile_texts import Case, cases

TWICE = b"FROM --platform=linux/amd64 alpine AS base\nCOPY --from=alpine / /\n"
OTHERS = ("linux/amd64", "linux/arm64", "linux/arm/v6", "linux/s390x")


def needs(facts: DockerfileFacts, case: Case, platform: str, builder: str) -> Any:
    """But for the platforms of images, and where one is named again for another; or what is wrong."""
    try:
        found = requirements(
            facts,
            target=case.target,
            args=case.args,
            platform=platform,
            named_contexts=case.contexts,
            build_platform=builder,
        )
    except LianError as error:
        return [(problem.code, problem.message, problem.place) for problem in error.problems]
    images = (replace(image, platform="", line=None) for image in found.images)
    return replace(found, images=tuple(dict.fromkeys(images)))


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(cases())
@example(Case(TWICE, None, {}, "linux/arm64", "linux/amd64", ()))
def test_it_is_enough_to_ask_once(case: Case) -> None:
    try:
        facts = read_dockerfile(case.content, "Dockerfile")
    except LianError:
        assume(False)
    if not facts.by_builder:
        assert len({repr(needs(facts, case, case.platform, each)) for each in OTHERS}) == 1
    if not facts.by_target and not any("::" in name for name in case.contexts):
        assert len({repr(needs(facts, case, each, case.builder)) for each in OTHERS}) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM alpine\nRUN x", (False, False)),
        ("FROM --platform=linux/amd64 alpine", (True, False)),
        ("FROM alpine:$TARGETARCH", (False, True)),
        ("FROM alpine:$TAR\\\nGETARCH", (False, True)),
        ("FROM alpine\nARG BUILDPLATFORM\nADD https://a.example/$BUILDPLATFORM /x", (True, False)),
        ("FROM alpine\nRUN <<E\necho $TARGETOS\nE", (False, True)),
        ("FROM alpine\nONBUILD RUN --mount=type=cache,target=/x,id=$TARGETVARIANT y", (False, True)),
        ("ARG V=$TARGETPLATFORM\nFROM alpine:$V", (False, True)),
    ],
)
def test_names_of_variables_are_found_wherever_they_stand(text: str, told: tuple[bool, bool]) -> None:
    facts = read_dockerfile(text.encode(), "Dockerfile")
    assert (facts.by_builder, facts.by_target) == told
