"""Descriptors and manifests: round trips, exact bytes, and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest, artifact, index
from reconciler.model.platform import Platform
from tests import strategies as some

_GOOD = {"mediaType": IMAGE_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 3}


@given(some.descriptors)
def test_a_descriptor_comes_back(descriptor: Descriptor) -> None:
    assert Descriptor.from_json(json.loads(json.dumps(descriptor.to_json()))) == descriptor


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "text",
        {**_GOOD, "digest": "sha256:1"},
        {**_GOOD, "digest": 1},
        {**_GOOD, "size": "many"},
        {**_GOOD, "size": -1},
        {**_GOOD, "size": 1.5},
        {**_GOOD, "size": float("inf")},
        {**_GOOD, "size": None},
        {**_GOOD, "mediaType": 1},
        {**_GOOD, "annotations": {"a": 1}},
        {**_GOOD, "annotations": ["a"]},
        {**_GOOD, "annotations": "ab"},
        {**_GOOD, "platform": "linux"},
        {**_GOOD, "artifactType": 1},
    ],
)
def test_anything_else_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"not a (descriptor|digest)"):
        Descriptor.from_json(document)


def test_missing_parts_may_be_null() -> None:
    assert Descriptor.from_json({**_GOOD, "annotations": None, "platform": None}) == Descriptor.from_json(_GOOD)


@given(st.dictionaries(some.platforms, some.descriptors, min_size=2), st.randoms())
def test_the_same_children_give_the_same_index(children: dict[Platform, Descriptor], random: Any) -> None:
    items = list(children.items())
    random.shuffle(items)
    first = index(children)
    assert first == index(dict(items))
    assert (first.media_type, first.document["mediaType"]) == (IMAGE_INDEX, IMAGE_INDEX)
    named = {json.dumps(m["platform"], sort_keys=True): m["digest"] for m in first.document["manifests"]}
    assert named == {json.dumps(p.to_json(), sort_keys=True): str(d.digest) for p, d in children.items()}


def test_an_index_carries_nothing_but_its_children() -> None:
    child = Descriptor(IMAGE_MANIFEST, Digest.of(b"x"), 1, annotations={"when": "now"})
    assert "when" not in index({Platform.parse("linux/amd64"): child}).data.decode()


@given(some.descriptors, st.lists(some.descriptors, max_size=2), some.mappings)
def test_an_artifact_refers_to_its_subject(
    subject: Descriptor, layers: list[Descriptor], annotations: dict[str, str]
) -> None:
    manifest = artifact("application/x", subject, tuple(layers), annotations)
    document = manifest.document
    assert Descriptor.from_json(document["subject"]) == subject
    assert [Descriptor.from_json(layer) for layer in document["layers"]] == layers
    assert (document["artifactType"], document["annotations"]) == ("application/x", annotations)
    assert document["config"]["digest"] == str(Digest.of(EMPTY_BLOB))
    assert manifest.digest == Digest.of(manifest.data)


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"null", b"{", b"\xff\xfe", b"[" * 200_000])
def test_a_manifest_is_a_json_object(data: bytes) -> None:
    with pytest.raises(ValueError):
        _ = Manifest(IMAGE_MANIFEST, data).document
