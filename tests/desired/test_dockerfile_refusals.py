"""What BuildKit refuses only of stages that are built; BuildKit as the oracle is in test_dockerfile_refusals_oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.desired.dockerfile import read_dockerfile, requirements
from reconciler.model.problem import LianError, Problem
from tests.desired.step_texts import REFUSED, TAKEN, TOP

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE = TOP.count("\n") + 1


def problems(text: str, target: str | None = None, *, args: Mapping[str, str] | None = None) -> list[Problem]:
    try:
        facts = read_dockerfile(text.encode(), "api/Dockerfile")
        requirements(facts, target=target, args=args or {}, platform="linux/amd64", build_platform="linux/amd64")
    except LianError as error:
        return list(error.problems)
    return []


def lines(text: str, target: str | None = None, *, args: Mapping[str, str] | None = None) -> list[int | None]:
    return [problem.line for problem in problems(text, target, args=args)]


@pytest.mark.parametrize(("step", "message"), REFUSED)
def test_a_step_is_refused(step: str, message: str) -> None:
    (problem,) = problems(f"{TOP}{step}\n")
    assert message in problem.message
    assert (problem.file, problem.line) == ("api/Dockerfile", LINE)
    assert problem.code in ("dockerfile-syntax", "dockerfile-expansion", "dockerfile-arg-unresolved")


@pytest.mark.parametrize("step", TAKEN)
def test_a_step_is_taken(step: str) -> None:
    assert problems(f"{TOP}{step}\n") == []


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        ("RUN --mount=type=bogus true", "it is one of bind, cache, tmpfs, secret, ssh"),
        ("RUN --mount=type=cach,target=/x true", "did you mean cache?"),
        ("RUN --mount=taget=/x true", "did you mean target?"),
        ("STOPSIGNAL SIGTREM", "did you mean TERM?"),
        ("STOPSIGNAL FOO", "a signal is a name or a number: SIGTERM, 15"),
        ("EXPOSE 80/tpc", "did you mean tcp?"),
        ("COPY https://e.com/f /f", "use ADD, which fetches"),
    ],
)
def test_hints(step: str, hint: str) -> None:
    assert [problem.hint for problem in problems(f"FROM scratch\n{step}\n")] == [hint]


def test_all_of_them_together() -> None:
    text = "FROM alpine AS base\nEXPOSE abc\nENV A=${A!}\nSTOPSIGNAL FOO\nFROM base\nRUN \\\n --mount=type=bogus x\n"
    assert lines(text) == [2, 3, 4, 6]


def test_only_in_stages_that_the_target_reaches() -> None:
    text = "FROM scratch AS a\nEXPOSE abc\nFROM scratch AS b\nCOPY --from=a x y\nFROM scratch\nRUN x\n"
    assert (lines(text), lines(text, "a"), lines(text, "b")) == ([], [2], [2])


def test_what_a_base_image_may_set_is_left_to_the_build() -> None:
    top = "FROM alpine\nARG GIVEN\n"
    assert problems(f"{top}EXPOSE $PORT ${{GIVEN:?}}\nUSER ${{NAME:?}}\nSTOPSIGNAL $S\nVOLUME $V\n") == []
    assert problems(f"{top}COPY --chmod=$M $S /x\nADD --checksum=$C a /x\n") == []
    assert problems(f"{top}RUN --mount=type=$T,size=x,uid=x --mount=type=secret,id=$I true\n") != []
    assert problems(f"{top}RUN --mount=type=$T,size=1,uid=1 --mount=type=secret,id=$I true\n") == []
    assert problems(f"{top}ENV $NAME=x PORT=y\nENV PORT=$Z\nEXPOSE $PORT\n") == []
    assert lines(f"{top}ENV PORT=x\nEXPOSE 80 $PORT $OTHER\n") == [4]
    assert lines(f"{top}EXPOSE $GIVEN\n", args={"GIVEN": "x"}) == [3]
    assert lines(f"{top}USER ${{NAME\n") == [3]


def test_where_a_base_image_runs_its_steps_is_left_to_the_build() -> None:
    run = "RUN --mount=type=cache true\n"
    assert problems(f"FROM alpine\n{run}") == problems(f"FROM alpine\nWORKDIR x\n{run}") == []
    assert lines(f"FROM alpine\nWORKDIR /\n{run}") == [3]
    assert problems(f"FROM alpine\nWORKDIR /x\n{run}") == []
    assert problems(f"FROM scratch AS a\nWORKDIR x\nFROM a\n{run}") == []
    assert lines("FROM alpine\nRUN --mount=type=cache,target=/ true\n") == [2]


def test_what_the_builder_adds_to_the_arguments_is_left_to_the_build() -> None:
    text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nEXPOSE ${SOURCE_DATE_EPOCH:?}\nUSER ${PATH:?}\n"
    assert problems(text) == []


def test_triggers_are_told_where_they_are_written() -> None:
    text = "FROM scratch AS a\nONBUILD EXPOSE abc\nONBUILD COPY https://e.com/f /f\nFROM scratch AS b\nFROM a\n"
    assert lines(text) == [2, 3]
    assert problems(text, "a") == problems(text, "b") == []


def test_another_frontend_may_take_it() -> None:
    text = "FROM scratch\nRUN --mount=type=bogus true\nENV A=${A!}\n"
    assert problems(f"# syntax=docker/dockerfile:1-labs\n{text}") == []
    assert lines(f"# syntax=docker/dockerfile:1\n{text}") == [3, 4]


def test_patterns_that_take_long_are_left_to_the_build() -> None:
    stars, value = "*a" * 20, "a" * 500
    assert problems(f"FROM scratch\nENV A={value}\nEXPOSE ${{A##{stars}b}}\n") == []
    assert problems("FROM scratch\nENV A=a\nUSER ${A#\\a}\n") == []


def test_what_is_escaped_is_not_looked_at_twice() -> None:
    assert lines('# escape=`\nFROM scratch\nLABEL a="C:\\" b=`"\nLABEL a="x`"\n') == [4]
