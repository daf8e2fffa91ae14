"""BuildKit's own frontend as the oracle: which steps does it refuse only once their stage is built, where, and why?"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from reconciler.desired.dockerfile import read_dockerfile, requirements
from reconciler.model.problem import LianError, Problem
from tests.desired.step_texts import REFUSED, TAKEN, TOP, steps
from tests.oracles.program import oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[[dict[str, Any]], dict[str, Any]]

LEFT = ("invalid pattern", "unexpected query", "checksum requires HTTP(S) or Git sources")
"""What may be left to the build: releases of BuildKit differ in it, or it is about URLs that nobody writes."""
LINE = TOP.count("\n") + 1


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with oracle("dockerfile", tmp_path_factory.mktemp("oracle")) as asking:
        yield asking


def theirs(ask: Ask, text: str) -> tuple[str, int] | None:
    """BuildKit's word and the line it points to, 0 if none; None if it takes the file."""
    question = {
        "dockerfile": base64.b64encode(text.encode()).decode(),
        "target": "",
        "args": {},
        "platform": "linux/amd64",
        "builder": "linux/amd64",
        "contexts": [],
    }
    answer = ask(question)
    return (str(answer["error"]), answer.get("line", 0)) if "error" in answer else None


def ours(text: str) -> list[Problem]:
    try:
        facts = read_dockerfile(text.encode(), "Dockerfile")
        requirements(facts, target=None, args={}, platform="linux/amd64", build_platform="linux/amd64")
    except LianError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(("step", "message"), REFUSED)
def test_words_are_buildkits(ask: Ask, step: str, message: str) -> None:
    told = theirs(ask, TOP + step + "\n")
    assert told is not None and message in told[0] and told[1] == LINE


@pytest.mark.parametrize("step", TAKEN)
def test_buildkit_takes_it(ask: Ask, step: str) -> None:
    assert theirs(ask, TOP + step + "\n") is None


@settings(max_examples=3000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=steps())
def test_the_same_is_refused(ask: Ask, text: str) -> None:
    """Where no base image has a say, at the same line."""
    told, found = theirs(ask, TOP + text), ours(TOP + text)
    if told is None:
        assert not found, (text, found)
    elif not any(left in told[0] for left in LEFT):
        assert found, (text, told)
        assert told[1] in (0, *(problem.line for problem in found)), (text, told, found)


@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=steps())
def test_nothing_else_is_refused(ask: Ask, text: str) -> None:
    """On top of an image, here an empty one; as a trigger that is run, and one that is not; in a stage that nothing
    reaches."""
    for whole in (
        TOP.replace("FROM scratch", "FROM alpine") + text,
        f"FROM scratch AS a\nONBUILD {text}\nFROM a\n",
        f"{TOP}ONBUILD {text}",
        f"{TOP}{text}\nFROM scratch\n",
    ):
        if theirs(ask, whole) is None:
            assert not ours(whole), (whole, ours(whole))
