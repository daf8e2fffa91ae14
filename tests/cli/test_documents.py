"""Every JSON document that a command prints is one that its schema describes."""

from __future__ import annotations

import argparse
import json
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import version
from reconciler.cli.views import problems as problems_view
from reconciler.cli.views.text import as_json
from reconciler.plan.story import Story
from tests import strategies as some
from tests.schemas.evaluation import ROOT, validator

if TYPE_CHECKING:
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Plan
    from reconciler.model.problem import Problem
    from reconciler.upkeep.runners import RunnerList


schema = cache(validator)


def checked(kind: str, text: str) -> Any:
    """The document, which must also be plain UTF-8 that steers no terminal."""
    assert text.encode("utf-8")
    assert text.endswith("\n")
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cs"}]
    document = json.loads(text)
    schema(kind).validate(document)
    assert (document["kind"], document["version"]) == (kind, 1)
    return document


@given(some.plans)
def test_plans(plan: Plan) -> None:
    document = checked("plan", as_json(plan.to_json()))
    assert sum(document["summary"].values()) == len(document["changes"])
    assert [c["reasons"] for c in document["changes"]] == [[r.to_json() for r in c.reasons] for c in plan.changes]


@given(some.outcomes)
def test_outcomes(outcome: Outcome) -> None:
    checked("outcome", as_json(outcome.to_json()))


@given(st.lists(some.problems, max_size=3))
def test_problems(problems: list[Problem]) -> None:
    document = checked("problems", problems_view.document(problems))
    assert [p["code"] for p in document["problems"]] == [p.code for p in problems]


stories = st.builds(
    Story,
    some.changes,
    some.hexes(40),
    content_tag=st.none() | some.hexes(40).map("lian-".__add__),
    tags=st.dictionaries(some.tags, st.none() | some.digests, max_size=2),
    unread=st.dictionaries(some.tags, st.just("the registry does not answer"), max_size=1),
    inputs=st.dictionaries(some.platforms, some.inputs, max_size=2),
    parents=st.lists(some.changes, max_size=2).map(tuple),
    record=st.none() | some.records,
    behind=st.lists(st.tuples(some.artifact_names, some.reasons), max_size=2).map(tuple),
)


@given(stories)
def test_stories(story: Story) -> None:
    document = checked("story", as_json(story.to_json()))
    assert (document["record"] is None) == (story.record is None)


@given(some.runner_lists)
def test_runners(told: RunnerList) -> None:
    checked("runners", as_json(told.to_json()))


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert version.run(argparse.Namespace(json=True)) == 0
    document = checked("version", capsys.readouterr().out)
    assert set(document["libraries"]) == set(version.LIBRARIES)


@pytest.mark.parametrize(
    "kind",
    [
        "plan",
        "outcome",
        "problems",
        "story",
        "version",
        "doctor",
        "images",
        "verify",
        "status",
        "cache_list",
        "cache_usage",
        "cache_prune",
        "lock",
        "lock_report",
        "runners",
        "init",
        "schema",
        "stats",
    ],
)
def test_each_schema_is_one_and_refuses_strangers(kind: str) -> None:
    check = schema(kind)
    check.check_schema(check.schema)
    assert isinstance(check.schema, dict)
    assert check.schema["$id"] == f"urn:lian:schema:{kind}:1"
    assert (ROOT / "schemas" / "json" / f"{kind}.json").is_file()
    assert not check.is_valid({"kind": kind, "version": 1, "tpyo": 1})
    assert not check.is_valid({"kind": kind, "version": 2})
    assert not check.is_valid([])


@pytest.mark.parametrize("text", ["\udcff", "\x9b31m", "\u202e", "\x7f", "\x1b[2J", "\u2028", "é😀"])
def test_a_document_says_every_text_as_it_was(text: str) -> None:
    written = as_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert text == "é😀" or text not in written
    written.encode("utf-8")
