"""Announcements of prunes: they come back as they were written, and threaten what they name while their time lasts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import layer_of
from reconciler.model.pruning import PRUNING_LAYER, PRUNING_TYPE, Announcement
from tests import strategies as some
from tests.strategies_documents import paths, replaced

ONE, OTHER = Digest.of(b"one"), Digest.of(b"other")


@given(some.announcements)
def test_an_announcement_comes_back(announced: Announcement) -> None:
    assert Announcement.from_json(json.loads(canonical(announced.to_json()))) == announced


@given(some.announcements)
def test_it_is_packed_as_an_artifact_of_its_own_type(announced: Announcement) -> None:
    manifest, blobs = announced.packed()
    assert Announcement.from_json(json.loads(blobs[layer_of(manifest, PRUNING_TYPE, PRUNING_LAYER)])) == announced
    assert all(digest.matches(data) for digest, data in blobs.items())
    assert (manifest, blobs) == replace(announced, tags=dict(reversed(list(announced.tags.items())))).packed()


_WRONG = [None, 1, -1, 10**400, True, "x", [], ["x"], {}, {"x": 1}, {"x": "y"}, float("nan"), float("inf")]


@given(some.announcements, st.data())
def test_a_damaged_announcement_is_refused_or_harmless(announced: Announcement, data: st.DataObject) -> None:
    document = json.loads(canonical(announced.to_json()))
    place = data.draw(st.sampled_from(paths(document)))
    damaged = replaced(document, place, data.draw(st.sampled_from(_WRONG)))
    try:
        read = Announcement.from_json(damaged)
    except ValueError:
        return
    assert Announcement.from_json(json.loads(canonical(read.to_json()))) == read
    assert read.threatens(["x"], [ONE], 0.0) in {True, False}


@pytest.mark.parametrize("gone", ["kind", "version", "tags", "digests", "until"])
def test_an_announcement_without_one_of_its_parts_is_refused(gone: str) -> None:
    document = {name: value for name, value in Announcement().to_json().items() if name != gone}
    with pytest.raises(ValueError, match="not an announcement"):
        Announcement.from_json(document)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions_are_not_guessed_at(version: object) -> None:
    with pytest.raises(ValueError, match="version 1"):
        Announcement.from_json({"kind": "pruning", "version": version})


@pytest.mark.parametrize("until", [10**400, float("inf"), float("nan"), -1, -0.5, True, "1", None])
def test_what_is_no_time_is_refused(until: object) -> None:
    with pytest.raises(ValueError, match="no time"):
        Announcement.from_json({**Announcement().to_json(), "until": until})


@pytest.mark.parametrize(
    ("tags", "digests", "now", "threatened"),
    [
        (["old"], [], 9.9, True),
        (["new", "old"], [], 9.9, True),
        ([], [ONE], 9.9, True),
        (["new"], [OTHER, ONE], 9.9, True),
        (["new"], [OTHER], 9.9, False),
        (["old"], [ONE], 10.0, False),
        (["old"], [ONE], 11.0, False),
        ([], [], 0.0, False),
    ],
)
def test_what_is_named_is_threatened_until_the_time_is_over(
    tags: list[str], digests: list[Digest], now: float, threatened: bool
) -> None:
    announced = Announcement({"old": OTHER}, frozenset({ONE}), 10.0)
    assert announced.threatens(tags, digests, now) == threatened


@given(st.lists(some.tags), st.lists(some.digests), st.floats(0, 1 << 40))
def test_an_announcement_of_nothing_threatens_nothing(tags: list[str], digests: list[Digest], now: float) -> None:
    assert not Announcement(until=float(1 << 41)).threatens(tags, digests, now)
