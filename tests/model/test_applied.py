"""Applied documents: they come back as they were written, and tell a newer commit from an older one, as far as anybody
can know."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.applied import (
    ANCESTORS,
    APPLIED_LAYER,
    APPLIED_TYPE,
    Applied,
    AppliedTag,
    History,
)
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import layer_of
from tests import strategies as some
from tests.strategies_documents import paths, replaced

IMAGE = Digest.of(b"image")


# -- the document -----------------------------------------------------------------------------------------------------


@given(some.applieds)
def test_a_document_comes_back(applied: Applied) -> None:
    assert Applied.from_json(json.loads(canonical(applied.to_json()))) == applied


@given(some.applieds)
def test_it_is_packed_as_an_artifact_of_its_own_type(applied: Applied) -> None:
    manifest, blobs = applied.packed()
    layer = layer_of(manifest, APPLIED_TYPE, APPLIED_LAYER)
    assert Applied.from_json(json.loads(blobs[layer])) == applied
    assert all(digest.matches(data) for digest, data in blobs.items())
    assert (manifest, blobs) == replace(applied, tags=dict(reversed(list(applied.tags.items())))).packed()


_WRONG: list[object] = [None, 1, -1, 10**400, True, "x", [], ["x"], [1], {}, {"x": 1}, {"x": {}}, float("nan"), 1.5]


@given(some.applieds, st.data())
def test_a_damaged_document_is_refused_or_harmless(applied: Applied, data: st.DataObject) -> None:
    document = json.loads(canonical(applied.to_json()))
    place = data.draw(st.sampled_from(paths(document)))
    damaged = replaced(document, place, data.draw(st.sampled_from(_WRONG)))
    try:
        read = Applied.from_json(damaged)
    except ValueError:
        return
    assert Applied.from_json(json.loads(canonical(read.to_json()))) == read
    ours = History("0" * 40, 5)
    for tag in (*read.tags, "other"):
        assert read.newer_than(ours, tag, {}) is None or isinstance(read.newer_than(ours, tag, {}), str)


@given(some.applieds, st.data())
def test_a_document_without_one_of_its_parts_is_refused(applied: Applied, data: st.DataObject) -> None:
    document = applied.to_json()
    gone = data.draw(st.sampled_from(sorted(document)))
    with pytest.raises(ValueError, match="not an applied document"):
        Applied.from_json({name: value for name, value in document.items() if name != gone})


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions_are_not_guessed_at(version: object) -> None:
    with pytest.raises(ValueError, match="version 1"):
        Applied.from_json({"kind": "applied", "version": version})


@given(some.applieds, some.histories, st.dictionaries(some.tags, some.applied_tags, max_size=2))
def test_what_was_moved_replaces_what_is_known_of_those_tags_alone(
    applied: Applied, history: History, tags: dict[str, AppliedTag]
) -> None:
    after = applied.moved(history, tags)
    assert (after.fleet, after.history) == (applied.fleet, history)
    assert after.tags == {**applied.tags, **tags}


# -- histories --------------------------------------------------------------------------------------------------------


def test_a_history_keeps_the_newest_ancestors_and_says_when_these_are_not_all() -> None:
    all_of_them = tuple(f"{number:040x}"[::-1] for number in range(ANCESTORS + 1))
    whole = History.of("a" * 40, 0, all_of_them[:-1], complete=True)
    cut = History.of("a" * 40, 0, all_of_them, complete=True)
    assert (whole.complete, cut.complete, len(cut.ancestors)) == (True, False, ANCESTORS)
    assert [h.descends_from(all_of_them[-2]) for h in (whole, cut)] == [True, True]
    assert [h.descends_from(all_of_them[-1]) for h in (whole, cut)] == [False, None]
    assert [h.descends_from("a" * 40) for h in (whole, cut)] == [False, False]


# -- who is newer -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Past:
    """Commits, each with its parents among those before it."""

    parents: tuple[frozenset[int], ...]

    def ancestors(self, number: int) -> set[int]:
        found: set[int] = set()
        for parent in self.parents[number]:
            found |= {parent} | self.ancestors(parent)
        return found

    def descends(self, number: int, from_: int) -> bool:
        return from_ in self.ancestors(number)

    def history(self, number: int, depth: int | None) -> History:
        """As a clone of this depth tells it; None for a whole one."""
        newest = sorted(self.ancestors(number), reverse=True)
        kept = newest if depth is None else newest[:depth]
        return History.of(name(number), number, tuple(map(name, kept)), complete=depth is None)


def name(number: int) -> str:
    """A commit's id."""
    return f"{number:02x}" * 20


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    """Lines, branches and merges, of up to nine commits."""
    parents = [
        draw(st.frozensets(st.sampled_from(range(number)), max_size=2)) if number else frozenset()
        for number in range(draw(st.integers(1, 9)))
    ]
    return Past(tuple(parents))


@dataclass(frozen=True)
class Case:
    """Our commit, the one that the document was written for, and the one that moved the tag."""

    past: Past
    ours: int
    last: int
    mover: int

    def applied(self, depth: int | None) -> Applied:
        entry = AppliedTag(IMAGE, "shop/api", name(self.mover), self.mover)
        return Applied("acme", self.past.history(self.last, depth), {"latest": entry})

    def known(self) -> dict[str, bool | None]:
        """All that a whole clone tells."""
        return {name(n): self.past.descends(n, self.ours) for n in (self.last, self.mover)}

    @property
    def newer(self) -> set[str]:
        """The commits that are really newer than ours."""
        return {name(n) for n in (self.last, self.mover) if self.past.descends(n, self.ours)}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    past = draw(pasts())
    commits = st.sampled_from(range(len(past.parents)))
    return Case(past, draw(commits), draw(commits), draw(commits))


_DEPTHS = st.none() | st.integers(0, 3)


@given(cases(), _DEPTHS, _DEPTHS)
def test_a_whole_clone_knows(case: Case, ours: int | None, theirs: int | None) -> None:
    found = case.applied(theirs).newer_than(case.past.history(case.ours, ours), "latest", case.known())
    assert found in case.newer if case.newer else found is None


@given(cases(), _DEPTHS, _DEPTHS, st.data())
def test_nothing_is_certain_that_is_not_true(
    case: Case, ours: int | None, theirs: int | None, data: st.DataObject
) -> None:
    """Whatever a clone knows, and however little: beside ancestry only the time of the tag's own move decides."""
    asked = data.draw(st.sets(st.sampled_from(sorted(case.known()))))
    known = {revision: answer for revision, answer in case.known().items() if revision in asked}
    applied, history = case.applied(theirs), case.past.history(case.ours, ours)
    if applied.stands_after(history, known):
        assert case.past.descends(case.last, case.ours)
    overtaking = applied.overtaking(history, "latest", known)
    if overtaking is not None:
        assert overtaking == applied.tags["latest"]
        assert case.past.descends(case.mover, case.ours) or case.mover > case.ours
    elif case.mover != case.ours and case.past.descends(case.mover, case.ours):
        raise AssertionError("it was newer: ancestry says so, and if that is not known, the time does")


@given(cases(), _DEPTHS)
def test_the_ancestors_in_the_document_are_enough(case: Case, ours: int | None) -> None:
    """A clone that was made before the newer commit was pushed knows nothing of it."""
    applied = case.applied(None)
    assert applied.stands_after(case.past.history(case.ours, ours), {}) == case.past.descends(case.last, case.ours)


@given(cases(), _DEPTHS, _DEPTHS)
def test_our_own_commit_is_never_newer(case: Case, ours: int | None, theirs: int | None) -> None:
    same = replace(case, last=case.ours, mover=case.ours)
    assert same.applied(theirs).newer_than(same.past.history(same.ours, ours), "latest", {}) is None


def test_a_branch_that_wrote_last_does_not_hide_who_moved_the_tag() -> None:
    """0 ← 1 ← 2 is a line, 0 ← 3 a branch beside it: 2 moved the tag, 3 wrote the document last."""
    past = Past((frozenset(), frozenset({0}), frozenset({1}), frozenset({0})))
    case = Case(past, ours=1, last=3, mover=2)
    ours = past.history(1, None)
    assert case.applied(None).newer_than(ours, "latest", {name(3): False, name(2): True}) == name(2)
    assert case.applied(None).newer_than(ours, "latest", {}) == name(2)
    assert case.applied(None).newer_than(ours, "other", {}) is None
    assert case.applied(None).revisions(["latest", "other"]) == {name(3), name(2)}


@pytest.mark.parametrize(("theirs", "newer"), [(4, False), (5, False), (6, True)])
def test_where_nobody_can_tell_the_later_time_of_the_tags_own_move_decides(theirs: int, newer: bool) -> None:
    applied = Applied("acme", History("b" * 40, 9), {"latest": AppliedTag(IMAGE, "shop/api", "c" * 40, theirs)})
    ours = History("a" * 40, 5)
    assert (applied.newer_than(ours, "latest", {}) is not None) == newer
    assert applied.newer_than(ours, "other", {}) is None


def test_what_came_before_a_commit_that_is_not_newer_is_not_newer_either() -> None:
    """Time decides nothing where the document's own ancestors can: clocks differ."""
    entry = AppliedTag(IMAGE, "shop/api", "b" * 40, 99)
    applied = Applied("acme", History.of("c" * 40, 3, ("b" * 40, "0" * 40), complete=True), {"latest": entry})
    ours = History("a" * 40, 5)
    assert applied.newer_than(ours, "latest", {}) is None


@given(some.applieds, some.histories, some.tags, some.digests)
def test_what_a_folder_did_is_newer_than_no_commit(applied: Applied, ours: History, tag: str, digest: Digest) -> None:
    entry = AppliedTag(digest, "shop/api", "")
    assert applied.moved(applied.history, {tag: entry}).overtaking(ours, tag, {}) is None
    assert Applied("acme", History(""), {tag: entry}).newer_than(ours, tag, {}) is None
