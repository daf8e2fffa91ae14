"""Saved cache mounts as documents: one form, read back as it was, and nothing else is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cache import mounts as forms
from reconciler.cache.mounts import SavedMount, formed, is_current, namespace, parsed
from reconciler.cache.notes import CREATED, FRESHNESS
from reconciler.model.cache import MAX_MOUNT_BYTES, MAX_MOUNT_MEMBERS, MAX_MOUNTS, CacheMount, Owner
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, MAX_MANIFEST, Descriptor, Manifest
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform

NUMBERS = st.integers(0, 2**32 - 1)
OWNERS = st.none() | st.builds(Owner, NUMBERS, NUMBERS, NUMBERS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
SAVED = st.builds(
    SavedMount,
    st.builds(CacheMount, TEXTS, OWNERS),
    st.builds(Descriptor, st.just(forms.LAYER), st.binary(max_size=8).map(Digest.of), st.integers(1, MAX_MOUNT_BYTES)),
    st.integers(0, MAX_MOUNT_BYTES // MAX_MOUNTS),
    st.integers(0, MAX_MOUNT_MEMBERS),
    st.none() | st.integers(0, 2**32).map(float),
)
ONE = SavedMount(CacheMount("/a"), Descriptor(forms.LAYER, Digest.of(b"x"), 5), 10, 1)
TIME = "2026-11-28T12:00:00Z"


def changed(**parts: Any) -> Manifest:
    """A good manifest with other parts; None takes one away."""
    document = formed([ONE], {}).document | parts
    return Manifest(IMAGE_MANIFEST, canonical({name: part for name, part in document.items() if part is not None}))


def layer(**parts: Any) -> Manifest:
    """A good manifest with another layer."""
    good = formed([ONE], {}).document["layers"][0]
    notes = good["annotations"] | parts.pop("annotations", {})
    document = good | {"annotations": {n: v for n, v in notes.items() if v is not None}} | parts
    return changed(layers=[{name: part for name, part in document.items() if part is not None}])


@given(st.lists(SAVED, max_size=MAX_MOUNTS, unique_by=lambda one: one.mount), st.randoms())
def test_forming_and_parsing_are_inverse(saved: list[SavedMount], random: Any) -> None:
    manifest = formed(saved, {})
    assert {one.mount: one for one in parsed(manifest)} == {one.mount: one for one in saved}
    random.shuffle(saved)
    assert formed(saved, {}) == manifest and len(manifest.data) < MAX_MANIFEST


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(IMAGE_MANIFEST, b"[]"),
        Manifest(IMAGE_MANIFEST, b"no json"),
        Manifest(IMAGE_MANIFEST, b"[" * 100_000),
        Manifest(IMAGE_INDEX, formed([ONE], {}).data),
        changed(artifactType="application/vnd.oci.image.config.v1+json"),
        changed(artifactType="application/vnd.lian.cache-mounts.v2"),
        changed(artifactType=None),
        changed(artifactType=["x"]),
        changed(layers=None),
        changed(layers={}),
        changed(layers=["x"]),
        changed(layers=[{}]),
        changed(subject={"digest": str(Digest.of(b"x"))}),
        changed(layers=formed([ONE], {}).document["layers"] * 2),
        changed(layers=formed([ONE], {}).document["layers"] * (MAX_MOUNTS + 1)),
        layer(urls=["http://127.0.0.1:1/secret"]),
        layer(data="e30="),
        layer(mediaType="application/vnd.oci.image.layer.v1.tar"),
        layer(size=0),
        layer(size=-1),
        layer(size=MAX_MOUNT_BYTES + 1),
        layer(size=True),
        layer(digest="sha256:x"),
        layer(annotations={forms.ID: None}),
        layer(annotations={forms.ID: ""}),
        layer(annotations={forms.ID: "x" * 2000}),
        layer(annotations={forms.SIZE: None}),
        layer(annotations={forms.SIZE: "-1"}),
        layer(annotations={forms.SIZE: "1e3"}),
        layer(annotations={forms.SIZE: "٣"}),
        layer(annotations={forms.SIZE: str(MAX_MOUNT_BYTES + 1)}),
        layer(annotations={forms.SIZE: "9" * 5000}),
        layer(annotations={forms.MEMBERS: str(MAX_MOUNT_MEMBERS + 1)}),
        layer(annotations={forms.MEMBERS: 3}),
        layer(annotations={forms.OWNER: "root"}),
        layer(annotations={forms.OWNER: "0:0"}),
        layer(annotations={forms.OWNER: "0:0:999"}),
        layer(annotations={forms.OWNER: "4294967296:0:755"}),
        changed(
            layers=[
                one
                for n in range(3)
                for one in formed([replace(ONE, mount=CacheMount(str(n)), size=MAX_MOUNT_BYTES)], {}).document["layers"]
            ]
        ),
    ],
)
def test_what_is_something_else_is_not_read(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(manifest)
    assert not is_current(manifest, [ONE], 0.0) if manifest.data.startswith(b"{") else True


@pytest.mark.parametrize(
    "saved",
    [
        [replace(ONE, mount=CacheMount(str(n))) for n in range(MAX_MOUNTS + 1)],
        [replace(ONE, mount=CacheMount(str(n)), size=MAX_MOUNT_BYTES) for n in range(3)],
        [ONE, replace(ONE, size=11)],
        [replace(ONE, mount=CacheMount("x" * 2000))],
        [replace(ONE, mount=CacheMount("/a", Owner(2**32)))],
        [replace(ONE, size=MAX_MOUNT_BYTES + 1)],
        [replace(ONE, members=MAX_MOUNT_MEMBERS + 1)],
        [replace(ONE, blob=Descriptor(forms.LAYER, Digest.of(b"x"), MAX_MOUNT_BYTES + 1))],
    ],
)
def test_what_would_not_be_read_is_not_formed(saved: list[SavedMount]) -> None:
    with pytest.raises(ValueError, match=r"."):
        formed(saved, {})


def test_a_date_that_is_none_is_not_believed() -> None:
    (one,) = parsed(layer(annotations={forms.SEEN: "yesterday"}))
    assert one.seen is None


def test_what_was_seen_long_ago_is_not_current() -> None:
    now = 1795867200.0
    manifest = formed([replace(ONE, seen=now)], {CREATED: TIME})
    assert is_current(manifest, [replace(ONE, seen=now + 60)], now + 60)
    assert not is_current(manifest, [replace(ONE, seen=now + forms.RENEWED_AFTER)], now + 60)


def test_what_is_of_another_freshness_is_not_current() -> None:
    now = 1795867200.0
    manifest = formed([ONE], {CREATED: TIME, FRESHNESS: "1"})
    assert is_current(manifest, [ONE], now, "1")
    assert not is_current(manifest, [ONE], now, "2") and not is_current(manifest, [ONE], now)
    assert not is_current(formed([ONE], {CREATED: TIME}), [ONE], now, "1")


def test_what_is_the_same_and_young_is_current() -> None:
    manifest, now = formed([ONE], {CREATED: TIME}), 1795867200.0
    assert is_current(manifest, [ONE], now) and is_current(manifest, [ONE], now - 60)
    assert not is_current(manifest, [ONE], now + forms.RENEWED_AFTER)
    other = SavedMount(ONE.mount, Descriptor(forms.LAYER, Digest.of(b"y"), 5), 10, 1)
    assert not is_current(manifest, [other], now) and not is_current(manifest, [], now)
    assert not is_current(formed([ONE], {}), [ONE], now) and not is_current(formed([ONE], {CREATED: "?"}), [ONE], now)


NAMES = st.from_regex(r"[a-z0-9]{1,3}(-[a-z0-9]{1,3}){0,2}", fullmatch=True)
PLATFORMS = st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6"]).map(Platform.parse)
OWN = st.tuples(st.builds(ArtifactName, NAMES, NAMES), PLATFORMS)


@given(OWN, OWN, TEXTS, TEXTS)
def test_no_two_builds_mean_the_same_mount(one: Any, other: Any, name: str, another: str) -> None:
    if one != other:
        assert f"{namespace(*one)}/{name}" != f"{namespace(*other)}/{another}"
