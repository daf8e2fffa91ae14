"""Build records: they come back as they were written, and what is no record is told, never half-read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import canonical
from reconciler.model.desired import Origin
from reconciler.model.digest import Digest
from reconciler.model.record import BuildRecord, listing_from_json, listing_to_json
from reconciler.model.run import RUNS_KEPT, Run, newest
from reconciler.model.tier import Tier
from reconciler.model.tree import Entry, root
from tests import strategies as some
from tests.strategies_documents import at, paths, replaced


@given(some.records)
def test_a_record_comes_back(record: BuildRecord) -> None:
    assert BuildRecord.from_json(json.loads(canonical(record.to_json()))) == record


@given(some.records)
def test_a_folder_has_no_revision_and_says_so(record: BuildRecord) -> None:
    document = record.to_json()
    assert ("origin" in document) == (document["revision"] is None) == (record.revision == "")


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
    gone = data.draw(st.sampled_from(sorted(document.keys() - {"origin", "fleet", "log", "caches", "runs", "tries"})))
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


def test_a_record_of_a_release_without_runs_has_none() -> None:
    record = RECORD.to_json()
    old = {name: value for name, value in record.items() if name not in {"runs", "tries"}}
    assert BuildRecord.from_json(old) == replace(RECORD, runs=(), tries=())


def test_a_record_that_was_read_has_the_bytes_it_had() -> None:
    """What is signed of a record is signed of these bytes."""
    for memory in (4, 4.0, 0.5):
        record = replace(RECORD, runs=(replace(RUN, tier=Tier(2, memory, 30)),), tier=Tier(2, memory, 30).to_json())
        data = canonical(record.to_json())
        assert canonical(BuildRecord.from_json(json.loads(data)).to_json()) == data


@pytest.mark.parametrize(
    "runs", [None, 7, "x", {}, [None], [{}], [{"started": "2026"}], [{"tier": {"cpu": 10**400}}], [[1]], ["run"]]
)
def test_runs_that_another_release_wrote_otherwise_are_left_out(runs: Any) -> None:
    kept = RECORD.to_json()["runs"]
    mixed = [*runs, *kept] if isinstance(runs, list) else runs
    read = BuildRecord.from_json({**RECORD.to_json(), "runs": mixed})
    assert read.runs == (RECORD.runs if isinstance(runs, list) else ())


def test_the_newest_runs_are_kept_once_each() -> None:
    many = [replace(RUN, started=f"2026-01-01T00:{minute:02}:00.000000Z") for minute in range(30)]
    kept = newest([*many, *many])
    assert len(kept) == RUNS_KEPT
    assert [run.started for run in kept] == sorted((run.started for run in many), reverse=True)[:RUNS_KEPT]


def test_where_contexts_are_from_comes_back_and_is_left_out_where_there_is_nothing_to_tell() -> None:
    origin = Origin("https://git.example.org/site.git", "main", "7" * 40)
    record = replace(RECORD, origins={"": origin, "texts": origin})
    assert BuildRecord.from_json(record.to_json()) == record
    assert "contexts" not in RECORD.to_json()


@pytest.mark.parametrize("fetched", [["x"], {"x": 1}])
def test_inputs_that_could_not_be_compared_are_no_record(fetched: object) -> None:
    build = {"key": "1" * 64, "inputs": {"fetched": fetched}, "digest": "sha256:" + "2" * 64}
    with pytest.raises(ValueError, match="texts"):
        BuildRecord.from_json({**RECORD.to_json(), "platforms": {"linux/amd64": build}})


@pytest.mark.parametrize("told", [3, [1], {"": None}, {"": {"url": "x"}}, {"": {"url": 1, "rev": "r", "commit": "c"}}])
def test_a_damaged_origin_costs_no_record(told: object) -> None:
    assert BuildRecord.from_json({**RECORD.to_json(), "contexts": told}) == RECORD


def test_an_older_release_reads_the_tier_of_a_new_record() -> None:
    """It takes numbers there, and nothing else."""
    document = RECORD.to_json()
    assert all(isinstance(value, int | float) for value in document["tier"].values())


RUN = Run("2026-01-01T00:00:00.000000Z", 12.5, Tier(4, 8, 30, "medium"), 1 << 30, 40.25, 1000, 1, 3, alone=True)
RECORD = BuildRecord(
    "shop/api",
    "0" * 40,
    "1" * 64,
    Digest("sha256", "2" * 64),
    {},
    "2026-01-01T00:00:00.000000Z",
    12.5,
    tier=Tier(4, 8, 30, "medium").to_json(),
    runs=(RUN,),
)
