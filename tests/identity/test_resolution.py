"""Identities level by level: rounds, early facts, what is pending or held and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.identity.ancestry import parents_first
from reconciler.identity.held import Held
from reconciler.identity.resolve import Keyed, Pending, Resolution
from reconciler.model.name import ArtifactName
from reconciler.model.observed import Observed, Unknown
from reconciler.model.problem import Next, Problem
from reconciler.model.reference import Reference, Repository
from tests.commits import AMD64, ARM64, Commit, artifact, chain
from tests.plan.evidence import MOMENT, Evidence

if TYPE_CHECKING:
    from reconciler.model.digest import Digest


def resolved(commit: Commit, evidence: Evidence) -> Resolution:
    resolution, observed = Resolution(commit.desired, MOMENT), Observed()
    asked: set[object] = set()
    while questions := resolution.still_needed(observed):
        assert not asked & {*questions.heads, *questions.records}, "asked twice"
        asked |= {*questions.heads, *questions.records}
        observed.take(evidence.answer(questions))
    assert set(resolution.identities) == set(commit.desired.wanted)
    return resolution


def names(depth: int) -> list[str]:
    return [f"deep/a{n:04}" for n in range(depth)]


def applied(commit: Commit) -> Evidence:
    evidence = Evidence()
    evidence.apply(commit.desired)
    return evidence


@pytest.mark.parametrize("depth", [1, 2, 5, 60])
def test_one_round_for_each_level(depth: int) -> None:
    commit = chain(*names(depth))
    evidence = applied(commit)
    resolution = resolved(commit, evidence)
    assert all(isinstance(identity, Keyed) for identity in resolution.identities.values())
    assert evidence.rounds <= depth + 1


def test_a_deep_chain_that_is_not_there_takes_two_rounds() -> None:
    evidence = Evidence()
    resolution = resolved(chain(*names(1500)), evidence)
    assert evidence.rounds <= 2
    first, *others = resolution.order
    assert isinstance(resolution.identities[first], Keyed)
    assert all(isinstance(resolution.identities[name], Pending) for name in others)


def test_what_is_known_early_is_asked_for_early() -> None:
    commit = chain("shop/a", "shop/b").changed(
        {"shop/b/Dockerfile": b"FROM base\nFROM alpine:3\n"},
    )
    questions = Resolution(commit.desired, MOMENT).still_needed(Observed())
    asked = {str(ref) for ref in questions.heads}
    assert {"registry.example:5000/shop/a:latest", "registry.example:5000/shop/b:latest"} < asked
    assert "docker.io/library/alpine:3" in asked
    assert sum(":lian-" in ref for ref in asked) == 1


def test_pending_names_the_parents_and_lacks_their_leaves_alone() -> None:
    commit = chain("shop/a", "shop/b")
    identity = resolved(commit, Evidence()).identities[ArtifactName("shop", "b")]
    assert isinstance(identity, Pending)
    assert identity.waits_for == (ArtifactName("shop", "a"),)
    full = resolved(commit, applied(commit)).identities[ArtifactName("shop", "b")]
    assert isinstance(full, Keyed)
    assert {**full.inputs[AMD64], "contexts": {}} == {**identity.inputs[AMD64], "contexts": {}}


def test_one_missing_platform_makes_children_of_that_parent_pending() -> None:
    commit = chain("shop/a", "shop/b")
    commit = replace(commit, artifacts=tuple(replace(a, platforms=(AMD64, ARM64)) for a in commit.artifacts))
    evidence = applied(commit)
    before = resolved(commit, evidence).identities[ArtifactName("shop", "a")]
    assert isinstance(before, Keyed)
    evidence.heads[Reference(commit.artifacts[0].image, before.tag(ARM64))] = None
    identity = resolved(commit, evidence).identities[ArtifactName("shop", "b")]
    assert isinstance(identity, Pending)
    assert "contexts" in identity.inputs[AMD64]
    assert "contexts" not in identity.inputs[ARM64]


def test_unknown_is_never_absent() -> None:
    commit = chain("shop/a", "shop/b", "shop/c")
    evidence = applied(commit)
    keyed = resolved(commit, evidence).identities[ArtifactName("shop", "a")]
    assert isinstance(keyed, Keyed)
    evidence.heads[Reference(commit.artifacts[0].image, keyed.tag())] = Unknown(Problem("registry-down", "no answer"))
    identities = resolved(commit, evidence).identities
    assert isinstance(identities[ArtifactName("shop", "a")], Keyed)
    for child in ("b", "c"):
        identity = identities[ArtifactName("shop", child)]
        assert isinstance(identity, Held)
        assert identity.because_of == ArtifactName("shop", "a")
        assert identity.problems[0].code == "registry-down"


def held_for(commit: Commit, evidence: Evidence, name: str) -> Problem:
    identity = resolved(commit, evidence).identities[ArtifactName("shop", name)]
    assert isinstance(identity, Held)
    (problem,) = identity.problems
    return problem


def test_a_base_that_cannot_be_looked_up_is_said_of_the_dockerfile() -> None:
    commit = chain("shop/a").changed({"shop/a/Dockerfile": b"FROM nosuchbase:1\n"})
    evidence = Evidence()
    down = Problem("registry-down", "no answer", "ca.pem", cause="timed out", hint="wait", next=Next.RETRY)
    base = Reference(Repository("docker.io", "library/nosuchbase"), "1")
    evidence.heads[base] = Unknown(down)
    problem = held_for(commit, evidence, "a")
    assert problem == Problem(
        "registry-down",
        f"the base image {base} of this artifact could not be looked up",
        "shop/a/Dockerfile",
        artifact="shop/a",
        cause="ca.pem: no answer: timed out",
        hint="check the image's name; if it is right, wait",
        next=Next.RETRY,
    )
    evidence.heads[base] = None
    problem = held_for(commit, evidence, "a")
    assert (problem.code, problem.place) == ("base-missing", "shop/a/Dockerfile")


def test_a_base_that_may_be_a_mistyped_stage_is_asked_back() -> None:
    commit = Commit((artifact("shop/a"),), {"shop/a/Dockerfile": b"FROM scratch AS builder\nFROM biulder\n"})
    evidence = Evidence()
    evidence.heads[Reference(Repository("docker.io", "library/biulder"), "latest")] = None
    problem = held_for(commit, evidence, "a")
    assert problem.code == "base-missing"
    assert (problem.hint or "").startswith("did you mean the stage builder? If not, check the name in the Dockerfile;")


@pytest.mark.parametrize("base", ["node:20", "node", "quay.io/team/node"])
def test_a_stage_that_is_called_as_its_base_is_no_mistake(base: str) -> None:
    """`FROM node:20 AS node` is how people write it."""
    commit = Commit((artifact("shop/a"),), {"shop/a/Dockerfile": f"FROM {base} AS node\n".encode()})
    evidence = Evidence()
    evidence.heads[Reference.parse(base)] = None
    assert (held_for(commit, evidence, "a").hint or "").startswith("check the name in the Dockerfile;")


def test_a_base_of_a_named_context_is_said_of_the_directive() -> None:
    dockerfile = {"shop/a/Dockerfile": b"FROM tools\n"}
    declared = artifact("shop/a", contexts={"tools": "image:docker.io/library/nosuchbase:1"})
    commit = Commit((declared,)).changed(dockerfile)
    evidence = Evidence()
    evidence.heads[Reference(Repository("docker.io", "library/nosuchbase"), "1")] = None
    problem = held_for(commit, evidence, "a")
    assert (problem.code, problem.file) == ("base-missing", declared.place.file)


def test_children_inherit_a_hold_from_where_it_began() -> None:
    commit = replace(
        chain("shop/a", "shop/b", "shop/c"), holds={"shop/a": Problem("dockerfile-missing", "no Dockerfile")}
    )
    identities = resolved(commit, Evidence()).identities
    told = [identities[ArtifactName("shop", name)] for name in "abc"]
    assert all(isinstance(identity, Held) for identity in told)
    assert [getattr(identity, "because_of", "") for identity in told] == [
        None,
        ArtifactName("shop", "a"),
        ArtifactName("shop", "a"),
    ]


def test_nothing_is_asked_about_what_is_held() -> None:
    commit = replace(chain("shop/a"), holds={"shop/a": Problem("dockerfile-missing", "no Dockerfile")})
    assert not Resolution(commit.desired, MOMENT).still_needed(Observed())


@settings(max_examples=30)
@given(st.permutations(range(8)), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12))
def test_parents_come_before_children(places: list[int], edges: list[tuple[int, int]]) -> None:
    parents: dict[int, set[int]] = {n: set() for n in range(8)}
    for one, other in edges:
        if places[one] < places[other]:
            parents[other].add(one)
    commit = Commit(
        tuple(artifact(f"w/a{n}", contexts={f"p{p}": f"artifact:w/a{p}" for p in ps}) for n, ps in parents.items())
    )
    order = [int(name.artifact[1:]) for name in parents_first(commit.desired)]
    assert sorted(order) == list(range(8))
    assert all(order.index(p) < order.index(n) for n, ps in parents.items() for p in ps)


def test_only_drift_asks_for_records() -> None:
    commit = Commit((artifact("shop/a"), artifact("shop/b")), {"shop/a/app": b"1", "shop/b/app": b"1"})
    evidence = applied(commit)
    resolution, observed = Resolution(commit.changed({"shop/a/app": b"2"}).desired, MOMENT), Observed()
    records: set[tuple[Repository, Digest]] = set()
    while questions := resolution.still_needed(observed):
        records |= questions.records
        observed.take(evidence.answer(questions))
    assert {str(repository) for repository, _ in records} == {"registry.example:5000/shop/a"}
