"""Build records: they come back as they were written, and what is no record is told, never half-read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import canonical
from reconciler.model.record import BuildRecord, listing_from_json, listing_to_json
from reconciler.model.tree import Entry, root
from tests import strategies as some
from tests.strategies_documents import at, paths, replaced


@given(some.records)
def test_a_record_comes_back(record: BuildRecord) -> None:
    assert BuildRecord.from_json(json.loads(canonical(record.to_json()))) == record


@given(some.listings())
def test_a_listing_comes_back(listing: tuple[Entry, ...]) -> None:
    data = canonical(listing_to_json(listing))
    back = listing_from_json(json.loads(data.decode("utf-8", "surrogateescape")))
    assert sorted(back, key=lambda e: e.path) == sorted(listing, key=lambda e: e.path)
    assert root(back) == root(listing)


@given(some.listings(), st.randoms())
def test_a_listing_is_written_in_one_order(listing: tuple[Entry, ...], random: Any) -> None:
    shuffled = list(listing)
    random.shuffle(shuffled)
    assert listing_to_json(shuffled) == listing_to_json(listing)


_WRONG = [None, 1, -1, 10**400, True, "x", [], ["x"], {}, {"x": 1}, {"x": "y"}, float("nan")]


@given(some.records, st.data())
def test_a_damaged_record_is_refused_or_harmless(record: BuildRecord, data: st.DataObject) -> None:
    document = json.loads(canonical(record.to_json()))
    place = data.draw(st.sampled_from(paths(document)))
    damaged = replaced(document, place, data.draw(st.sampled_from(_WRONG)))
    try:
        read = BuildRecord.from_json(damaged)
    except ValueError:
        return
    assert BuildRecord.from_json(json.loads(canonical(read.to_json()))) == read
    assert (read.peak_memory or 0) + read.steps.get("total", 0) + read.seconds >= 0
    assert ", ".join(read.builder.values()) is not None
    for build in read.platforms.values():
        for leaf in ("args", "labels", "bases", "secrets"):
            assert all(isinstance(value, str) for value in build.inputs.get(leaf, {}).values())
        for context in build.inputs.get("contexts", {}).values():
            assert all(isinstance(value, str) for value in context.values())


@given(some.records, st.data())
def test_a_record_without_one_of_its_parts_is_refused(record: BuildRecord, data: st.DataObject) -> None:
    document = record.to_json()
    gone = data.draw(st.sampled_from(sorted(document.keys() - {"fleet", "log", "caches"})))
    with pytest.raises(ValueError, match="not a build record"):
        BuildRecord.from_json({name: value for name, value in document.items() if name != gone})


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions_are_not_guessed_at(version: object) -> None:
    with pytest.raises(ValueError, match="version 1"):
        BuildRecord.from_json({"kind": "build-record", "version": version})


@pytest.mark.parametrize("document", [None, 1, [1], [["a", "b"]], [[1, 2, 3, 4]], "abc", {"a": "b"}, [None]])
def test_what_is_no_listing_is_refused(document: object) -> None:
    with pytest.raises(ValueError):
        listing_from_json(document)


def test_a_damaged_place_can_be_found() -> None:
    assert at({"a": [1]}, ("a", 0)) == 1
