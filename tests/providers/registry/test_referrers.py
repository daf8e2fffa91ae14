"""The list of referrers under the fallback tag, as a value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_CONFIG, IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest
from reconciler.model.problem import LianError
from reconciler.model.record import TIME_ANNOTATION
from reconciler.providers.registry.layout.index import LayoutIndex
from reconciler.providers.registry.referrers import (
    KEPT,
    descriptor_of,
    entries_of,
    fallback_tag,
    index_of,
    merged,
    selected,
    subject_of,
    unsaid,
)
from tests.ports.registry_suite import KIND, OTHER_KIND, Image, record
from tests.providers.registry.places import http_place
from tests.servers.faulty_registry import FaultyRegistry, body, status

if TYPE_CHECKING:
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry


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


def test_an_entry_that_does_not_say_what_it_is() -> None:
    entries = [entry(1).to_json(), entry(2, None).to_json(), entry(3, EMPTY_CONFIG).to_json(), entry(2, "").to_json()]
    assert unsaid(entries) == (entry(2).digest, entry(3).digest)
    with pytest.raises(ValueError, match="not a descriptor"):
        unsaid([{"digest": "sha256:none"}])


@pytest.mark.parametrize("taken", [None, EMPTY_CONFIG])
@pytest.mark.parametrize("api", [False, True])
def test_what_a_list_does_not_say_is_looked_up(api: bool, taken: str | None) -> None:
    """cosign lists without artifact types under the fallback tag, go-containerregistry's registry with the config's."""
    image = Image()
    manifest, blobs = record(image.descriptor, "one", created="2026-01-01T00:00:00Z")
    other, other_blobs = record(image.descriptor, "two", OTHER_KIND)
    gone, _ = record(image.descriptor, "gone")
    bare = [Descriptor(IMAGE_MANIFEST, m.digest, len(m.data), taken).to_json() for m in (manifest, other, gone)]
    listed = index_of(bare)

    async def use(registry: Registry, publisher: Publisher) -> None:
        repository = place.repository()
        await publisher.publish(repository, image.manifest, blobs=image.blobs)
        for each, its_blobs in ((manifest, blobs), (other, other_blobs)):
            await publisher.publish(repository, each, blobs=its_blobs)
        if api:
            server.fault("GET", "/referrers/", body(listed.data))
        else:
            server.manifests[repository.path, str(listed.digest)] = (IMAGE_INDEX, listed.data)
            server.tags[repository.path, fallback_tag(image.manifest.digest)] = str(listed.digest)
        found = await registry.referrers(repository, image.manifest.digest, KIND)
        assert found == (descriptor_of(manifest),)

    with FaultyRegistry(referrers=api).running() as server:
        place = http_place(server.host)
        place.run(use)


def test_a_list_of_any_number_that_says_nothing_is_not_looked_through() -> None:
    subject = Image().manifest.digest
    listed = index_of([entry(n, None).to_json() for n in range(501)])

    async def use(registry: Registry, _: Publisher) -> None:
        with pytest.raises(LianError) as error:
            await registry.referrers(place.repository(), subject, KIND)
        assert error.value.problems[0].cause == "of 501 artifacts its list does not say what they are"
        assert server.asked("GET", "/manifests/") == []

    with FaultyRegistry(referrers=True).running() as server:
        server.fault("GET", "/referrers/", status(200, listed.data, Content_Type=IMAGE_INDEX))
        place = http_place(server.host)
        place.run(use)


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
