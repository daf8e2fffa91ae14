"""Secrets of builds in whole passes on fakes: who reads them, when, and what is told when they cannot be had."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.secrets import read_secrets
from reconciler.model.credential import Bindings, SourceKind, SourceRef
from reconciler.model.secret import SecretBytes
from reconciler.reconcile import Options, plan_once
from tests.apply.test_pass import both, ends, run, settled
from tests.commits import AMD64, ARM64, artifact, chain
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.problem import Problem
    from tests.commits import Commit

VALUE = b"canary-31d7"
BOUND = Bindings(
    {
        "shop": {name: SourceRef(SourceKind.ENV, name.upper()) for name in ("npm", "pip")},
        "*": {"npm": SourceRef(SourceKind.ENV, "NPM_OF_ALL")},
    }
)


def asking(*names: str, **more: object) -> Commit:
    secrets = {"token": "npm", "again": "npm", "pip": "pip"}
    return replace(both(*names, secrets=secrets, **more), secrets=BOUND)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(asking("shop/api"), tmp_path)
    made.secrets.held = {"NPM": VALUE, "PIP": b"other", "NPM_OF_ALL": b"of all"}
    return made


def problem_of(world: World) -> Problem:
    (result,) = run(world).results
    assert result.status == "held"
    assert result.problem
    assert VALUE.decode() not in repr(result)
    return result.problem


def test_a_build_is_given_what_it_asks_for_by_its_ids(world: World) -> None:
    run(world)
    (request,) = world.builder.requests
    assert request.secrets == {
        "token": SecretBytes(VALUE),
        "again": SecretBytes(VALUE),
        "pip": SecretBytes(b"other"),
    }
    assert VALUE.decode() not in repr(request)
    settled(world)


def test_a_source_is_read_once_for_a_name_of_an_artifact(world: World) -> None:
    world.source.commit = asking("shop/api", platforms=(AMD64, ARM64), checks=("test",))
    run(world)
    assert world.secrets.read == ["NPM", "PIP"]
    assert len(world.builder.requests) == 4
    assert {request.secrets["token"] for request in world.builder.requests} == {SecretBytes(VALUE)}


def test_secrets_are_read_right_before_the_build(world: World) -> None:
    run(world)
    seen = world.points.seen
    first, last = (one(n for n, point in enumerate(seen) if point == "secret") for one in (min, max))
    assert seen[last + 1 :].index("build shop/api") == 0
    assert {"rent", "export", "set up"} & set(seen[first:]) == set()


def test_a_plan_and_a_pass_with_nothing_to_build_read_no_secret(world: World) -> None:
    plan = asyncio.run(plan_once(world.ports(), Options())).plan
    assert world.secrets.read == []
    assert VALUE.decode() not in repr(plan)
    run(world)
    world.secrets.read.clear()
    settled(world)
    assert world.secrets.read == []


def test_an_artifact_that_asks_for_none_reads_none(world: World) -> None:
    world.source.commit = replace(both("shop/api"), secrets=BOUND)
    run(world)
    assert world.secrets.read == []
    assert world.builder.requests[0].secrets == {}


def test_a_workspaces_own_binding_goes_first(world: World) -> None:
    world.source.commit = replace(
        both("shop/api", "team/api"), artifacts=(artifact("team/api", secrets={"t": "npm"}),), secrets=BOUND
    )
    run(world)
    assert world.builder.requests[0].secrets == {"t": SecretBytes(b"of all")}


def test_what_cannot_be_had_holds_the_artifact_and_stops_nobody(world: World) -> None:
    commit = asking("shop/api", "web/site")
    world.source.commit = replace(commit, artifacts=(commit.artifacts[0], artifact("web/site")))
    del world.secrets.held["NPM"]
    outcome = run(world)
    assert ends(outcome) == {"shop/api": ("build", "held"), "web/site": ("build", "done")}
    problem = outcome.results[0].problem
    assert problem
    assert (problem.code, problem.artifact) == ("credential-missing", "shop/api")
    assert "the secret npm" in problem.message
    world.secrets.held["NPM"] = VALUE
    assert ends(run(world))["shop/api"] == ("build", "done")
    settled(world)


def test_all_that_cannot_be_had_is_told_at_once(world: World) -> None:
    world.secrets.held.clear()
    message = problem_of(world).message
    assert "the secret npm" in message
    assert "the secret pip" in message
    assert world.builder.requests == []


def test_what_stands_on_a_held_artifact_is_not_built(world: World) -> None:
    commit = chain("shop/base", "shop/api")
    base, api = commit.artifacts
    world.source.commit = replace(commit, artifacts=(replace(base, secrets={"t": "npm"}), api), secrets=BOUND)
    world.secrets.held.clear()
    assert ends(run(world)) == {"shop/base": ("build", "held"), "shop/api": ("build", "held")}


@pytest.mark.parametrize("written", [VALUE.decode(), f"x={VALUE.decode()};", base64.b64encode(b"u:" + VALUE).decode()])
@pytest.mark.parametrize("field", ["args", "labels"])
def test_a_secret_that_everyone_could_read_is_not_built(world: World, field: str, written: str) -> None:
    world.source.commit = asking("shop/api", **{field: {"TOKEN": written, "OTHER": "fine"}})
    problem = problem_of(world)
    assert problem.code == "secret-told"
    assert problem.message == f"{field}.TOKEN of shop/api holds the secret npm, and anyone can read it from the image"
    assert "git keeps the old one" in (problem.hint or "")
    assert world.builder.requests == []


def test_arguments_that_hold_no_secret_are_none_of_this(world: World) -> None:
    world.source.commit = asking("shop/api", args={"A": "canary"}, labels={"l": "other"})
    assert ends(run(world)) == {"shop/api": ("build", "done")}


def test_an_argument_that_has_a_line_in_common_with_a_file_tells_nothing(world: World) -> None:
    world.secrets.held["NPM"] = b"registry=https://npm.example.org/\n//npm.example.org/:_authToken=canary-31d7\n"
    world.source.commit = asking("shop/api", args={"REGISTRY": "registry=https://npm.example.org/"})
    assert ends(run(world)) == {"shop/api": ("build", "done")}


def test_a_name_is_part_of_the_key_and_a_value_is_not(world: World) -> None:
    run(world)
    world.secrets.held["NPM"] = b"rotated"
    settled(world)
    other = world.source.commit.changed(
        artifacts=tuple(replace(one, secrets={"token": "pip"}) for one in world.source.commit.artifacts)
    )
    world.source.commit = other
    (result,) = run(world).results
    assert (result.action, result.status) == ("build", "done")


def test_a_held_secret_is_never_looked_for(world: World) -> None:
    """The source holds what is not bound; whoever asks all the same is wrong."""
    with pytest.raises(ValueError, match="bound to nothing"):
        asyncio.run(read_secrets(world.secrets, world.source.commit.artifacts[0], Bindings()))
