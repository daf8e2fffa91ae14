"""What lies in a cache's place and is none, or is crafted, is told apart; nothing in it makes lian fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cache import notes
from reconciler.cache.notes import Note
from reconciler.cache.vet import CONFIG, LIMIT, unfit
from reconciler.model.cache_use import CachedStep, LookStatus, StepRun
from reconciler.model.manifest import DOCKER_MANIFEST, IMAGE_INDEX, IMAGE_MANIFEST, Manifest

DIGEST = f"sha256:{'0f' * 32}"
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 7}
GOOD: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": IMAGE_MANIFEST,
    "config": {"mediaType": CONFIG, "digest": DIGEST, "size": 100},
    "layers": [LAYER, LAYER],
}
FOREIGN, TOO_LARGE = LookStatus.FOREIGN, LookStatus.TOO_LARGE


def manifest(media_type: str = IMAGE_MANIFEST, **changes: Any) -> Manifest:
    return Manifest(media_type, json.dumps(GOOD | changes).encode())


def config(**changes: Any) -> dict[str, Any]:
    return {**GOOD["config"], **changes}


def test_a_cache_as_buildkit_writes_it_is_good_with_and_without_a_note() -> None:
    assert unfit(manifest()) is None
    assert unfit(notes.noted(manifest(), Note("shop/api", seconds={"0" * 12: 1.5}))) is None


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (manifest(IMAGE_INDEX, manifests=[]), FOREIGN),
        (manifest(DOCKER_MANIFEST), FOREIGN),
        (manifest(config=config(mediaType="application/vnd.oci.image.config.v1+json")), FOREIGN),
        (manifest(config=None), FOREIGN),
        (manifest(config=[]), FOREIGN),
        (manifest(layers={}), FOREIGN),
        (manifest(layers=["sha256:00"]), FOREIGN),
        (manifest(layers=[LAYER | {"urls": ["http://169.254.169.254/latest"]}]), FOREIGN),
        (manifest(layers=[LAYER | {"data": "AAAA"}]), FOREIGN),
        (manifest(config=config(urls=["https://elsewhere.example/x"])), FOREIGN),
        (manifest(layers=[LAYER | {"mediaType": "text/html"}]), FOREIGN),
        (manifest(layers=[LAYER | {"mediaType": None}]), FOREIGN),
        (manifest(subject=GOOD["config"]), FOREIGN),
        (manifest(layers=[LAYER | {"size": -5}]), FOREIGN),
        (manifest(layers=[LAYER | {"size": 10**400}]), FOREIGN),
        (manifest(layers=[LAYER | {"digest": "sha256:xyz"}]), FOREIGN),
        (manifest(layers=[LAYER | {"annotations": {"a": 1}}]), FOREIGN),
        (manifest(config=config(digest=None)), FOREIGN),
        (manifest(config=config(size=LIMIT + 1)), TOO_LARGE),
        (manifest(config=config(size="7")), TOO_LARGE),
        (manifest(annotations={"a": "x" * LIMIT}), TOO_LARGE),
        (Manifest(IMAGE_MANIFEST, b"[]"), FOREIGN),
        (Manifest(IMAGE_MANIFEST, b"<html>"), FOREIGN),
    ],
)
def test_everything_else_is_not_given_to_a_build(found: Manifest, status: LookStatus) -> None:
    wrong = unfit(found)
    assert wrong is not None
    assert wrong[0] is status
    assert wrong[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["config", "layers", "subject", "annotations", "mediaType"]), JSON))
def test_any_document_gets_a_verdict_and_a_note(changes: dict[str, Any]) -> None:
    found = manifest(**changes)
    unfit(found)
    notes.note_of(found)


@given(
    st.builds(
        Note,
        st.text(max_size=20),
        st.text(max_size=20),
        st.text(max_size=20),
        st.text(max_size=20),
        st.text(max_size=20),
        st.dictionaries(st.text(alphabet="0123456789abcdef", min_size=12, max_size=12), st.floats(0, 1e6), max_size=5),
    )
)
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    once = notes.noted(manifest(), note)
    assert notes.note_of(once) == note
    assert notes.is_same(once, manifest())
    assert notes.noted(once, note) == once


@pytest.mark.parametrize(
    "seconds", ["[]", "{", '{"a": -1}', '{"a": true}', '{"a": "1"}', '{"a": 1e300}', "[" * 10_000, '{"a": NaN}']
)
def test_seconds_that_mean_nothing_are_none(seconds: str) -> None:
    assert notes.note_of(manifest(annotations={notes.SECONDS: seconds})).seconds == {}


def test_a_step_that_ran_for_a_check_has_run() -> None:
    check = [StepRun("[1/2] RUN make", False, 60.0), StepRun("[2/2] RUN test", False, 9.0)]
    image = [StepRun("[1/2] RUN make", True, 0.0), StepRun("[2/2] COPY a b", False, 0.1)]
    assert notes.as_first_met([check, image]) == (check[0], image[1])
    assert notes.as_first_met([image]) == tuple(image)


def test_a_step_that_was_spared_is_known_by_what_it_took_when_it_last_ran() -> None:
    ran = notes.tally([StepRun("[1/2] RUN make", False, 60.0), StepRun("[2/2] COPY a b", False, 0.1)], {})
    known = notes.seconds_of(ran)
    assert notes.tally([StepRun("[1/2] RUN make", True, 0.0), StepRun("[2/2] COPY c d", True, 0.0)], known) == (
        CachedStep("[1/2] RUN make", True, 60.0),
        CachedStep("[2/2] COPY c d", True, None),
    )
