"""What cannot be read is held: it is not taken for what nobody declares, or for what is not wanted any more."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.artifact import Place
from reconciler.model.desired import Unclear
from reconciler.model.name import ArtifactName
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import Problem
from reconciler.plan.graph import checked
from reconciler.plan.unclear import with_unclear
from tests.commits import Commit, artifact
from tests.plan.evidence import MOMENT, Evidence, plan

SYNTAX = Problem("nickel-syntax", "Nickel cannot read this", "directives/shop.ncl", 7, 3)
TIER = Problem("directive-invalid", "there is no tier x", "directives/shop.ncl", 5, 9, artifact="shop/base")
BASE = ArtifactName.parse("shop/base")
CHILDREN = tuple(artifact(f"ops/o{n}", contexts={"b": "artifact:shop/base"}) for n in range(8))
FILES = {f"ops/o{n}/Dockerfile": b"FROM b\n" for n in range(8)}
GRANDCHILD = artifact("ops/z", contexts={"b": "artifact:ops/o0"})
OPS = Commit((*CHILDREN, GRANDCHILD), {**FILES, "ops/z/Dockerfile": b"FROM b\n"})
UNREAD = replace(OPS, problems=(SYNTAX,), unclear=Unclear({"directives/shop.ncl": SYNTAX}))
MISDECLARED = replace(OPS, problems=(TIER,), unclear=Unclear(artifacts={BASE: TIER}))


def test_what_stands_on_what_cannot_be_read_is_held_for_that_alone() -> None:
    desired = checked(UNREAD.desired)
    assert desired.problems == (SYNTAX,)
    held = {hold for wanted in desired.wanted.values() for hold in (replace(p, artifact=None) for p in wanted.holds)}
    (problem,) = held
    assert (problem.code, problem.place) == ("parent-unread", "directives/shop.ncl:7:3")
    assert "directives/shop.ncl cannot be" in problem.message
    assert problem.hint == "mend directives/shop.ncl"


def test_the_reasons_name_what_it_is_about() -> None:
    made = plan(UNREAD, Evidence(), MOMENT)
    assert {change.action for change in made.changes} == {Action.HOLD}
    assert {(r.code, r.new, r.subject) for change in made.changes for r in change.reasons} == {
        (ReasonCode.UNKNOWN, "parent-unread", "shop/base")
    }


def test_what_stands_on_a_wrong_artifact_is_held_for_that_mistake() -> None:
    made = plan(MISDECLARED, Evidence(), MOMENT)
    assert made.problems == (TIER,)
    assert {hold for change in made.changes for hold in change.holds} == {TIER}
    assert {(r.code, r.new, r.subject) for change in made.changes for r in change.reasons} == {
        (ReasonCode.INVALID, "directive-invalid", "shop/base")
    }


def test_what_no_directive_declares_is_unknown_where_all_are_read() -> None:
    assert {problem.code for problem in checked(OPS.desired).problems} == {"parent-unknown"}
    elsewhere = replace(OPS, unclear=Unclear(artifacts={ArtifactName.parse("shop/other"): TIER}))
    assert {problem.code for problem in checked(elsewhere.desired).problems} == {"parent-unknown"}


NAMES = ("a/one", "a/two", "b/one", "c/one")
places = st.sampled_from(["directives/a.ncl", "directives/b.ncl", "directives/c.ncl"])


@st.composite
def commits(draw: st.DrawFn) -> Commit:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    made = tuple(artifact(name, place=Place(draw(places), 3, 5)) for name in names)
    files = {path: replace(SYNTAX, file=path) for path in sorted(draw(st.sets(places, max_size=2)))}
    wrong = {
        ArtifactName.parse(name): replace(TIER, artifact=name)
        for name in draw(st.sets(st.sampled_from(NAMES), max_size=2)) - set(names)
    }
    return Commit(made, unclear=Unclear(files, wrong))


@given(commits(), commits())
def test_nothing_is_gone_that_may_be_asked_for(old: Commit, new: Commit) -> None:
    before, after = old.desired, new.desired
    told = with_unclear(before, after)
    for name, wanted in before.wanted.items():
        if name in after.wanted:
            assert told.wanted[name] == after.wanted[name]
        elif after.unclear.files or name in after.unclear.artifacts:
            (hold,) = told.wanted[name].holds
            assert (told.wanted[name].materials, hold.artifact) == (None, str(name))
            assert hold.file in {*after.unclear.files, "directives/shop.ncl"}
            if name not in after.unclear.artifacts and wanted.artifact.place.file in after.unclear.files:
                assert hold.file == wanted.artifact.place.file
        else:
            assert name not in told.wanted
    assert told.wanted.keys() <= before.wanted.keys() | after.wanted.keys()
