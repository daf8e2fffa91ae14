"""What a person chooses for one pass: what is built anew, and how much at most."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import exits
from reconciler.model.globs import is_unclosed
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.policy import Policy
from reconciler.model.problem import LianError
from reconciler.plan.select import Selection, named, narrowed, select, sole
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Plan

FILES = {"w/base/Dockerfile": b"FROM scratch\n", "w/other/Dockerfile": b"FROM scratch\nLABEL a=b\n"}
FILES |= {f"w/{name}/Dockerfile": b"FROM base\n" for name in ("child", "leaf")}


PLAIN = Options()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A base, a child on it, a leaf on that, and another one."""
    made = (
        artifact("w/base"),
        artifact("w/child", contexts={"base": "artifact:w/base"}),
        artifact("w/leaf", contexts={"base": "artifact:w/child"}),
        artifact("w/other"),
    )
    return World(Commit(made, FILES), tmp_path)


def planned(world: World, options: Options) -> Plan:
    return asyncio.run(plan_once(world.ports(), options)).plan


def passed(world: World, options: Options = PLAIN) -> Outcome:
    return asyncio.run(reconcile_once(world.ports(), options))[1]


def statuses(outcome: Outcome) -> dict[str, Status]:
    return {result.artifact.artifact: result.status for result in outcome.results}


def test_what_is_forced_is_built_anew_and_what_stands_on_it_only_if_it_comes_out_different(world: World) -> None:
    passed(world)
    plan = planned(world, Options(forced=("w/base",)))
    actions = {change.artifact.artifact: (change.action, change.conditional) for change in plan.changes}
    assert actions == {
        "base": (Action.BUILD, False),
        "child": (Action.BUILD, True),
        "leaf": (Action.BUILD, True),
        "other": (Action.NONE, False),
    }
    assert [reason.code for reason in plan.changes[0].reasons] == [ReasonCode.FORCED]
    built = len(world.builder.built)
    assert statuses(passed(world, Options(forced=("w/base",)))) == {
        "base": Status.DONE,
        "child": Status.NONE,
        "leaf": Status.NONE,
        "other": Status.NONE,
    }
    assert len(world.builder.built) == built + 1
    world.builder.reproducible = False
    assert set(statuses(passed(world, Options(forced=("w/base",)))).values()) == {Status.DONE, Status.NONE}
    assert len(world.builder.built) == built + 4
    assert {change.action for change in planned(world, Options()).changes} == {Action.NONE}


@pytest.mark.parametrize("reproducible", [True, False])
def test_what_is_forced_is_built_though_what_it_stands_on_came_out_the_same(world: World, reproducible: bool) -> None:
    passed(world)
    world.builder.reproducible = reproducible
    built = len(world.builder.built)
    done = statuses(passed(world, Options(forced=("w/base", "w/child"))))
    assert (done["base"], done["child"]) == (Status.DONE, Status.DONE)
    assert world.builder.built[built : built + 2] == ["w/base linux/amd64", "w/child linux/amd64"]
    assert {change.action for change in planned(world, Options()).changes} == {Action.NONE}


def test_a_tag_that_must_not_move_holds_what_is_forced(world: World) -> None:
    """As it holds any other build: whoever deploys it by its tag was promised this image."""
    passed(world)
    commit = world.source.commit
    world.source.commit = commit.changed(policy=Policy(immutable_tags=("latest",)))
    assert {change.action for change in planned(world, PLAIN).changes} == {Action.NONE}
    held = next(change for change in planned(world, Options(forced=("w/base",))).changes)
    assert (held.action, [problem.code for problem in held.holds]) == (Action.HOLD, ["tag-immutable"])
    assert not held.replaces


def test_what_is_forced_and_was_never_there_says_both(world: World) -> None:
    base, *_ = planned(world, Options(forced=("w/base",))).changes
    assert [reason.code for reason in base.reasons] == [ReasonCode.FORCED, ReasonCode.ABSENT]


def test_what_is_forced_takes_nothing_from_before(world: World) -> None:
    """Its steps run again; what it leaves others may go on from."""
    world.builder.keeps = True
    passed(world)
    passed(world, Options(forced=("w/base",)))
    assert [request.cache_from for request in world.builder.requests if request.artifact == "w/base"] == [(), ()]
    world.source.commit = world.source.commit.changed({"w/base/app": b"2"})
    passed(world)
    assert world.builder.requests[-3].artifact == "w/base"
    assert len(world.builder.requests[-3].cache_from) >= 1


def test_what_is_forced_and_not_there_is_an_error(world: World) -> None:
    with pytest.raises(LianError, match="selection-empty"):
        planned(world, Options(forced=("w/bse",)))


def test_no_more_builds_than_that_and_the_rest_is_held_and_named(world: World) -> None:
    outcome = passed(world, Options(max_builds=1))
    assert statuses(outcome) == {
        "base": Status.DONE,
        "child": Status.HELD,
        "leaf": Status.HELD,
        "other": Status.HELD,
    }
    assert {r.problem.code for r in outcome.results if r.problem} == {"max-builds"}
    assert exits.of_outcome(outcome) == exits.HELD
    assert list(statuses(passed(world, Options(max_builds=2))).values()).count(Status.HELD) == 1
    assert set(statuses(passed(world, Options(max_builds=9))).values()) == {Status.DONE, Status.NONE}


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4])
def test_what_waits_for_what_is_held_is_held(world: World, most: int) -> None:
    plan = planned(world, Options(max_builds=most))
    held = {change.artifact for change in plan.changes if change.action is Action.HOLD}
    assert sum(change.action is Action.BUILD for change in plan.changes) == most
    assert all(change.artifact in held for change in plan.changes if set(change.waits_for) & held)


def test_a_pass_that_leaves_something_out_touches_nothing_of_it(world: World) -> None:
    outcome = passed(world, Options(Selection(excluded=("w/child",))))
    assert statuses(outcome) == {"base": Status.DONE, "other": Status.DONE}
    outcome = passed(world, Options(Selection(("w/child",), dependants=True)))
    assert statuses(outcome) == {"base": Status.NONE, "child": Status.DONE, "leaf": Status.DONE}
    with pytest.raises(LianError, match="nothing is left"):
        passed(world, Options(Selection(("w/leaf",), ("w/base",))))


def since(world: World, *, then: Commit, **more: Any) -> Plan:
    """The plan of what has changed since the branch `main`, which has parted from this commit at `then`."""
    world.revisions.others.append(then)
    world.revisions.forks["main"] = then.revision
    return planned(world, Options(Selection(since="main", **more)))


def actions(plan: Plan) -> dict[str, Action]:
    return {str(change.artifact): change.action for change in plan.changes}


def test_only_what_has_changed_since_and_what_stands_on_it(world: World) -> None:
    files = {**FILES, "w/child/Dockerfile": b"FROM base\nLABEL a=b\n"}
    then = world.source.commit.changed(files=files)
    plan = since(world, then=then)
    assert actions(plan) == {"w/base": Action.BUILD, "w/child": Action.BUILD, "w/leaf": Action.BUILD}


def test_of_what_has_changed_globs_choose(world: World) -> None:
    then = world.source.commit.changed(files={**FILES, "w/base/a": b"1", "w/other/a": b"1"})
    assert set(actions(since(world, then=then, only=("w/other",)))) == {"w/other"}


def test_nothing_has_changed_since(world: World) -> None:
    plan = since(world, then=world.source.commit.changed())
    assert plan.changes == ()
    assert exits.of_plan(plan) == exits.DONE


def test_another_builder_changes_everything(world: World) -> None:
    then = world.source.commit.changed(builder="0.1")
    assert len(since(world, then=then).changes) == 4


NAMES = [ArtifactName(workspace, each) for workspace in ("a", "ab") for each in ("x", "y", "xy", "x-1")]
GLOBS = st.one_of(st.sampled_from([str(name) for name in NAMES]), st.text("ab/xy*?[]!-1", max_size=6))


@given(st.lists(GLOBS, max_size=4))
def test_a_name_is_found_as_its_glob_would_find_it(globs: list[str]) -> None:
    commit = Commit(tuple(artifact(str(name)) for name in NAMES), {}).desired
    each = [{name for name in NAMES if fnmatchcase(str(name), glob)} for glob in globs]
    if all(each):
        assert named(commit, globs) == set().union(*each)
        return
    with pytest.raises(LianError, match="no artifact matches"):
        named(commit, globs)


def test_thousands_of_names_are_looked_up() -> None:
    commit = Commit((artifact("w/a"),), {}).desired
    (one,) = commit.wanted.values()
    many = replace(commit, wanted={ArtifactName("w", f"a{number}"): one for number in range(10_000)})
    started = time.process_time()
    assert len(named(many, [f"w/a{number}" for number in range(10_000)])) == 10_000
    assert time.process_time() - started < 5, "each name was matched against all"


def test_an_artifact_is_meant_by_its_own_name_where_one_is_called_so() -> None:
    two = Commit((artifact("shop/api"), artifact("shop/web"), artifact("pay/api"))).desired
    assert sole(two, "web") == ArtifactName("shop", "web")
    assert sole(two, "shop/api") == ArtifactName("shop", "api")
    with pytest.raises(LianError, match=r"artifact-ambiguous.*pay/api, shop/api"):
        sole(two, "api")
    with pytest.raises(LianError, match="selection-empty"):
        sole(two, "nothing")


SHOP = Commit(
    (
        *(artifact(f"shop/s{n:02}") for n in range(1, 14)),
        artifact("shop/base"),
        artifact("ops/o07"),
        artifact("ops/api"),
    )
).desired


def told(error: pytest.ExceptionInfo[LianError]) -> tuple[str, str, str]:
    """Code, message with its place, hint."""
    problem = error.value.problems[-1]
    return problem.code, f"{problem.message} {problem.place}".strip(), problem.hint or ""


@pytest.mark.parametrize(
    ("glob", "message", "hint"),
    [
        ("ops", "no artifact matches 'ops'", "did you mean ops/*?"),
        ("ops/", "no artifact matches 'ops/'", "did you mean ops/*?"),
        ("opps/*", "no artifact matches 'opps/*'", "did you mean ops/*?"),
        ("api", "no artifact matches 'api'", "did you mean ops/api?"),
        ("shop/bas", "no artifact matches 'shop/bas'", "did you mean shop/base?"),
        ("shop/s00", "no artifact matches 'shop/s00'", "did you mean shop/s01, shop/s02, shop/s03 or one of 7 more?"),
        ("far/away", "no artifact matches 'far/away'", "choose one of the 16 that `lian diff --detailed` lists"),
        (
            "shop/[a",
            "no artifact matches 'shop/[a': its [ is never closed",
            "close it: [abc] takes one of these letters",
        ),
    ],
)
def test_what_may_have_been_meant_by_a_glob(glob: str, message: str, hint: str) -> None:
    for selection in (Selection((glob,)), Selection(("shop/base", glob))):
        with pytest.raises(LianError) as error:
            select(SHOP, selection)
        assert told(error) == ("selection-empty", message, hint)
    with pytest.raises(LianError) as error:
        select(SHOP, Selection(excluded=(glob,)))
    assert told(error) == ("selection-empty", f"{message} --except", hint)


@pytest.mark.parametrize("glob", ["shop/s01", "shop/*"])
def test_what_is_left_out_is_there_all_the_same(glob: str) -> None:
    chosen = narrowed(SHOP, frozenset({ArtifactName("ops", "o07")}))
    with pytest.raises(LianError) as error:
        named(chosen, [glob], "--force")
    message = f"no artifact that is chosen matches {glob!r}: there is such a one, and it is left out --force"
    assert told(error) == ("selection-empty", message, "choose it too, or leave --force out")


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("nope", "no artifact is called nope", "name one of the 16 that `lian diff --detailed` lists"),
        ("s1", "no artifact is called s1", "did you mean shop/s01, shop/s10, shop/s11 or one of 2 more?"),
        ("bse", "no artifact is called bse", "did you mean shop/base?"),
        ("ops/ap", "no artifact is called ops/ap", "did you mean ops/api?"),
    ],
)
def test_what_may_have_been_meant_by_a_name(typed: str, message: str, hint: str) -> None:
    with pytest.raises(LianError) as error:
        sole(SHOP, typed)
    assert told(error) == ("selection-empty", message, hint)


def test_one_that_could_not_be_read_is_not_missing() -> None:
    with pytest.raises(LianError) as error:
        sole(replace(SHOP, unread=frozenset({"shop/broken"})), "broken")
    assert told(error) == ("selection-empty", "what broken is cannot be read", "mend what is told of its file")


@pytest.mark.parametrize("glob", ["[", "a[b", "[]", "[!]", "[]a", "[a][b"])
def test_a_set_that_is_never_closed(glob: str) -> None:
    assert is_unclosed(glob)
    assert not fnmatchcase(glob.rpartition("[")[0].replace("[a]", "a") + "b", glob), "to fnmatch it is a set"


@pytest.mark.parametrize("glob", ["", "a]", "[a]", "[]]", "[!a]", "[!]]", "[[]", "[a][b]", "shop/*"])
def test_a_set_that_is_closed(glob: str) -> None:
    assert not is_unclosed(glob)
