"""What a build needs beside what it is, and what is handed on of its end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import wiring
from reconciler.cli.build import as_line
from reconciler.model.build_result import BuildResult
from reconciler.model.fleet import ComputeProvider
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Problem
from reconciler.single.once import Means, ssh_key_missing
from tests import strategies as some
from tests.schemas.evaluation import validator


@pytest.mark.parametrize(
    ("compute", "means", "missing"),
    [
        (ComputeProvider.SSH, Means(), True),
        (ComputeProvider.SSH, Means(ssh_key="id"), False),
        (ComputeProvider.SSH, Means(agent=True), False),
        (ComputeProvider.LOCAL, Means(), False),
    ],
)
def test_machines_reached_by_ssh_need_a_key(compute: ComputeProvider, means: Means, missing: bool) -> None:
    problem = ssh_key_missing(compute, means)
    assert (problem is not None) == missing
    assert problem is None or ("--ssh-key" in (problem.hint or "") and problem.file == "--ssh-key")


ends = some.results.filter(
    lambda result: (
        (result.status is not Status.DONE or result.digest is not None)
        and (result.status not in {Status.FAILED, Status.HELD} or result.problem is not None)
    )
)


@settings(max_examples=20)
@given(ends, some.changes, st.just("") | some.hexes(40))
def test_every_result_is_one_line_that_its_schema_describes(result, change, revision: str) -> None:  # type: ignore[no-untyped-def]
    built = BuildResult(revision, result, change)
    line = as_line(wiring.checked("build_result", built.to_json()))
    assert line.isascii()
    assert (line.count("\n"), line[-1]) == (1, "\n")
    document = json.loads(line)
    validator("build_result").validate(document)
    assert (document.get("revision"), document.get("origin")) == ((revision, None) if revision else (None, "Folder"))
    assert document["tags"] == [] or result.status in {Status.DONE, Status.NONE}


def test_an_artifact_whose_directive_is_wrong_has_a_line_as_well() -> None:
    problem = Problem("directive-invalid", "there is no tier smal", artifact="shop/bad")
    held = Result(ArtifactName("shop", "bad"), Action.HOLD, Status.HELD, problem=problem)
    document = BuildResult("0" * 40, held, None).to_json()
    validator("build_result").validate(document)
    assert (document["status"], document["problem"]["code"], "image" in document) == ("Held", problem.code, False)


def test_what_its_schema_does_not_describe_is_not_printed() -> None:
    with pytest.raises(LianError, match="document-invalid"):
        wiring.checked("build_result", {"kind": "build-result"})


def test_what_lian_starts_does_not_see_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_NKEY_SEED", "a-seed")
    assert "a-seed" not in wiring.handed_on().values()
