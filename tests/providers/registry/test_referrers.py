"""The list of referrers under the fallback tag, as a value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest
from reconciler.model.record import TIME_ANNOTATION
from reconciler.providers.registry.layout_index import LayoutIndex
from reconciler.providers.registry.referrers import (
    KEPT,
    descriptor_of,
    entries_of,
    fallback_tag,
    index_of,
    merged,
    selected,
    subject_of,
)
from tests.ports.registry_suite import KIND, Image, record


def entry(n: int, kind: str | None = KIND, created: str = "") -> Descriptor:
    annotations = {TIME_ANNOTATION: created} if created else {}
    return Descriptor(IMAGE_MANIFEST, Digest.of(str(n).encode()), 10, kind, annotations)


numbers = st.lists(st.integers(0, 90), unique=True, max_size=80)


@given(numbers, st.lists(st.integers(100, 130), unique=True, max_size=20), st.integers(0, 200))
def test_the_new_entry_is_in_foreign_ones_stay_and_own_ones_are_bounded(
    own: list[int], foreign: list[int], new: int
) -> None:
    entries = [entry(n, created=f"{n:03}").to_json() for n in own]
    entries += [{**entry(n, "application/vnd.example").to_json(), "urls": ["x"]} for n in foreign]
    after = merged(entries, entry(new, created="999"))
    digests = [e["digest"] for e in after]
    assert len(digests) == len(set(digests))
    assert str(entry(new).digest) in digests
    assert [e for e in entries if "urls" in e and e["digest"] != str(entry(new).digest)] == [
        e for e in after if "urls" in e
    ]
    kept = [e for e in after if e["artifactType"] == KIND]
    assert len(kept) <= KEPT
    newest = sorted({f"{n:03}" for n in own if n != new} | {"999"})[-KEPT:]
    assert sorted(e["annotations"][TIME_ANNOTATION] for e in kept) == newest


@given(numbers)
def test_entering_twice_is_entering_once(own: list[int]) -> None:
    entries: list[dict[str, object]] = []
    for n in own:
        entries = merged(entries, entry(n, created=f"{n:03}"))
    again = merged(entries, entry(own[-1], created=f"{own[-1]:03}")) if own else []
    assert again == entries


def test_the_list_as_a_manifest_and_back() -> None:
    manifest = index_of([entry(1).to_json()])
    assert manifest.media_type == IMAGE_INDEX == manifest.document["mediaType"]
    assert selected(entries_of(manifest), KIND) == (entry(1),)
    assert selected(entries_of(manifest), "other") == ()
    with pytest.raises(ValueError, match="not an image index"):
        entries_of(Image().manifest)


def test_tags_as_the_specification_says() -> None:
    assert fallback_tag(Digest("sha256", "a" * 64)) == "sha256-" + "a" * 64
    assert fallback_tag(Digest("sha512", "b" * 128)) == "sha512-" + "b" * 64


def test_the_kind_of_an_artifact_without_one_is_its_configs() -> None:
    manifest, _ = record(Image().descriptor, "one")
    document = manifest.document
    assert descriptor_of(manifest).artifact_type == KIND
    assert subject_of(manifest) == Digest.parse(document["subject"]["digest"])
    del document["artifactType"], document["subject"]
    old = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    assert descriptor_of(old).artifact_type == document["config"]["mediaType"]
    assert subject_of(old) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_json_is_a_layout_index_or_an_error(document: object) -> None:
    try:
        index = LayoutIndex.parse(json.dumps(document).encode())
    except ValueError:
        return
    assert LayoutIndex.parse(index.to_bytes()) == index
