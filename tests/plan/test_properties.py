"""Rules of every plan, on generated fleets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.identity.keys import content_tag
from reconciler.model.artifact import ParentImage
from reconciler.model.name import ArtifactName
from reconciler.model.observed import Unknown
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, FileChange, FileStatus, ReasonCode
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.problem import LianError, Problem
from reconciler.model.tree import FILE, Entry
from reconciler.plan.compare import Overrides
from reconciler.plan.files import changed_files
from reconciler.plan.graph import checked
from reconciler.plan.select import Selection, select
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import Commit, artifact, chain
from tests.fakes import World
from tests.plan.evidence import Evidence, plan
from tests.plan.fleets import edited

if TYPE_CHECKING:
    from reconciler.model.plan import Plan
    from tests.fakes import FakeRegistry

HEALS = Policy(drift=DriftPolicy(foreign=Response.HEAL))
ALL = Options(overrides=Overrides(vanished=True))


@settings(max_examples=50)
@given(edited(("scratch",)), st.data())
def test_planning_again_after_a_plan_was_carried_out_only_keeps(
    tmp_path_factory: pytest.TempPathFactory, pair: tuple[Commit, Commit], data: st.DataObject
) -> None:
    """Whatever was there, and whatever of it was lost; and the tags name what one who starts from nothing gets."""
    before, now = (replace(commit, policy=HEALS) for commit in pair)
    world = World(before, tmp_path_factory.mktemp("world"))
    carried_out(world)
    lose(world.registry, data)
    world.source.commit = now
    planned = carried_out(world)
    fresh = World(now, tmp_path_factory.mktemp("fresh"))
    carried_out(fresh)
    for change in planned.changes:
        named = {tag: world.tag(change.image, tag) for tag in change.tags}
        assert named == {tag: fresh.tag(change.image, tag) for tag in change.tags}
        assert change.key is None or world.tag(change.image, content_tag(change.key)) in named.values()
        assert change.digest is None or set(named.values()) == {change.digest}
    again = asyncio.run(plan_once(world.ports(), ALL)).plan
    assert {change.action for change in again.changes} == {Action.NONE}


def carried_out(world: World) -> Plan:
    """What a pass planned, all of which was done."""
    made, outcome = asyncio.run(reconcile_once(world.ports(), ALL))
    assert all(r.status in {Status.DONE, Status.NONE} for r in outcome.results), [r.problem for r in outcome.results]
    return made


def lose(registry: FakeRegistry, data: st.DataObject) -> None:
    """Some tags, manifests and blobs, of whatever is there: of images, build records and applied documents alike."""
    parts: tuple[dict[Any, Any], ...] = (registry.tags, registry.manifests, registry.blobs)
    for held in parts:
        if held:
            places = st.sampled_from(sorted(held, key=str))
            for place in data.draw(st.lists(places, unique=True, max_size=4)):
                del held[place]


@settings(max_examples=60)
@given(edited(), st.randoms())
def test_the_order_of_directives_does_not_matter(pair: tuple[Commit, Commit], random: Any) -> None:
    before, now = pair
    evidence = Evidence()
    evidence.apply(before.desired)
    shuffled = list(now.artifacts)
    random.shuffle(shuffled)
    assert plan(replace(now, artifacts=tuple(shuffled)), evidence) == plan(now, evidence)


@settings(max_examples=60)
@given(edited())
def test_every_artifact_appears_once_after_all_it_stands_on(pair: tuple[Commit, Commit]) -> None:
    before, now = pair
    evidence = Evidence()
    evidence.apply(before.desired)
    changes = plan(now, evidence).changes
    assert sorted(c.artifact for c in changes) == sorted(a.name for a in now.artifacts)
    place = {change.artifact: n for n, change in enumerate(changes)}
    for a in now.artifacts:
        assert all(place[parent] < place[a.name] for parent in a.parents)
    for change in changes:
        assert change.reasons
        assert set(change.waits_for) <= {c.artifact for c in changes if c.action in {Action.BUILD, Action.RETAG}}
        assert (change.key is None) == bool(change.waits_for)


@settings(max_examples=60)
@given(edited(), st.data())
def test_unknown_is_never_absent(pair: tuple[Commit, Commit], data: st.DataObject) -> None:
    before, now = pair
    evidence = Evidence()
    evidence.apply(before.desired)
    known = {change.artifact: change for change in plan(now, evidence).changes}
    lost = data.draw(st.sampled_from(sorted(evidence.heads)))
    evidence.heads[lost] = Unknown(Problem("registry-down", "no answer"))
    for change in plan(now, evidence).changes:
        if change.action is not known[change.artifact].action:
            assert change.action is Action.HOLD
            assert {reason.code for reason in change.reasons} == {ReasonCode.UNKNOWN}


def test_a_selection_brings_what_it_stands_on() -> None:
    commit = chain("a/x", "a/y", "b/z")
    desired = checked(commit.desired)
    names = {glob: {str(n) for n in select(desired, Selection((glob,))) or ()} for glob in ("b/z", "a/*", "*/y", "a/x")}
    assert names == {"b/z": {"a/x", "a/y", "b/z"}, "a/*": {"a/x", "a/y"}, "*/y": {"a/x", "a/y"}, "a/x": {"a/x"}}
    assert select(desired, Selection()) is None
    assert select(desired, Selection(("a/x", "b/*"))) == frozenset(desired.wanted)


@given(
    st.lists(st.sampled_from(["a/x", "a/y", "b/z", "b/*", "a/*"]), max_size=2).map(tuple),
    st.lists(st.sampled_from(["a/x", "a/y", "b/z"]), max_size=2).map(tuple),
    st.booleans(),
)
def test_what_is_chosen_has_all_that_it_stands_on_and_nothing_that_is_left_out(
    only: tuple[str, ...], excluded: tuple[str, ...], dependants: bool
) -> None:
    desired = chain("a/x", "a/y", "b/z").desired
    try:
        chosen = select(desired, Selection(only, excluded, dependants))
    except LianError as error:
        assert error.problems[0].code == "selection-empty"
        return
    if chosen is None:
        assert (only, excluded) == ((), ())
        return
    assert chosen
    assert not {str(name) for name in chosen} & set(excluded)
    assert all(parent in chosen for name in chosen for parent in desired.wanted[name].artifact.parents)
    if dependants and not excluded:
        children = (name for name, wanted in desired.wanted.items() if set(wanted.artifact.parents) & chosen)
        matched = {name for name in chosen if any(fnmatchcase(str(name), glob) for glob in only)}
        assert all(name in chosen for name in children if set(desired.wanted[name].artifact.parents) & matched)


@pytest.mark.parametrize(
    ("glob", "hint"),
    [("a/xx", "did you mean a/x?"), ("????????", "lian diff --detailed"), ("", "lian diff --detailed")],
)
def test_a_glob_that_matches_nothing_is_an_error(glob: str, hint: str) -> None:
    with pytest.raises(LianError) as raised:
        select(chain("a/x", "a/y", "b/z").desired, Selection(("a/x", glob)))
    (problem,) = raised.value.problems
    assert problem.code == "selection-empty"
    assert hint in (problem.hint or "")


@given(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12")),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12")),
)
def test_changed_files_are_those_that_differ(old: dict[str, str], new: dict[str, str]) -> None:
    listings = [[Entry(path, FILE, blob) for path, blob in side.items()] for side in (old, new)]
    named = changed_files(listings[0], listings[1], "images/api")
    assert list(named) == sorted(
        [FileChange(f"images/api/{path}", FileStatus.ADDED) for path in new.keys() - old.keys()]
        + [FileChange(f"images/api/{path}", FileStatus.REMOVED) for path in old.keys() - new.keys()]
        + [FileChange(f"images/api/{path}") for path in old.keys() & new.keys() if old[path] != new[path]],
        key=lambda file: file.path,
    )


def test_circles_are_printed_once_for_each_artifact_on_them() -> None:
    ring = [artifact(f"r/a{n}", contexts={"x": f"artifact:r/a{(n + 1) % 5}"}) for n in range(5)]
    child = artifact("r/child", contexts={"x": "artifact:r/a0"})
    desired = checked(Commit((*ring, child)).desired)
    assert sorted(p.artifact or "" for p in desired.problems) == [f"r/a{n}" for n in range(5)]
    assert len({p.message for p in desired.problems}) == 1
    assert not desired.wanted[ArtifactName("r", "child")].holds
    assert all(
        not isinstance(c, ParentImage)
        for n in range(5)
        for c in desired.wanted[ArtifactName("r", f"a{n}")].artifact.contexts.values()
    )


def test_what_is_right_is_left_alone() -> None:
    desired = chain("a/x", "a/y").desired
    assert checked(desired) is desired
