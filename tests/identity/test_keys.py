"""Keys: what changes them, what never does, and the golden vectors that hold them still for ever."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.identity.ancestry import images_of, parents_in_use
from reconciler.identity.inputs import freshness, platform_inputs
from reconciler.identity.keys import artifact_key, content_tag, platform_key
from reconciler.identity.resolve import identify
from reconciler.model.artifact import Artifact, BaseImage, Folder, ParentImage, Place
from reconciler.model.cache import CacheMode, CachePolicy
from reconciler.model.desired import Materials, Needs, SentFolder, Wanted
from reconciler.model.digest import Digest
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.reference import Reference
from reconciler.model.tier import RunnerOverride
from tests import strategies as some
from tests.commits import AMD64, ARM64, artifact
from tests.strategies_documents import at, paths, replaced

if TYPE_CHECKING:
    from reconciler.identity.resolve import Keyed

MOMENT = 1_000_000_000.0


def _digest(text: str) -> Digest:
    return Digest.of(text.encode())


def _wanted(a: Artifact, seed: str = "") -> Wanted:
    """Every named context is used, and two base images."""
    folders = {
        n: SentFolder(_digest(f"folder {n}{seed}").hex, "libs") for n, c in a.contexts.items() if isinstance(c, Folder)
    }
    images = {"alpine:3": Reference.parse("alpine:3"), "pinned": Reference.parse(f"alpine@{_digest('pinned')}")}
    needs = Needs(images, tuple(sorted(a.contexts)))
    return Wanted(
        a,
        Materials(
            SentFolder(_digest("context" + seed).hex, "."),
            "Dockerfile",
            _digest("dockerfile" + seed).hex,
            folders,
            dict.fromkeys(a.platforms, needs),
        ),
    )


def _keyed(wanted: Wanted, *, moment: float = MOMENT, builder: str | None = None, seed: str = "") -> Keyed:
    assert wanted.materials
    images = {r: _digest(f"image {r}{seed}") for r in images_of(wanted.artifact, wanted.materials)}
    parents = {
        (p, platform): _digest(f"parent {p} {platform}{seed}")
        for p in parents_in_use(wanted.artifact, wanted.materials)
        for platform in wanted.artifact.platforms
    }
    return identify(wanted, images, parents, builder=builder, moment=moment)


def _shuffled(a: Artifact, random: Any) -> Artifact:
    def mixed(mapping: Any) -> dict[str, Any]:
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    platforms = list(a.platforms)
    random.shuffle(platforms)
    return replace(
        a,
        args=mixed(a.args),
        labels=mixed(a.labels),
        contexts=mixed(a.contexts),
        secrets=mixed(a.secrets),
        platforms=tuple(platforms),
    )


@given(some.artifacts, st.randoms())
def test_order_never_changes_a_key(a: Artifact, random: Any) -> None:
    one, other = _keyed(_wanted(a)), _keyed(_wanted(_shuffled(a, random)))
    assert (one.key, one.keys) == (other.key, other.keys)


@given(some.artifacts, some.artifacts)
def test_what_is_not_an_input_never_changes_a_key(a: Artifact, other: Artifact) -> None:
    """An artifact with another name, image, place, tags, checks, language and runner, in another folder."""
    a = replace(a, max_age=None)
    not_inputs = ("name", "image", "place", "tags", "checks", "language", "runner")
    same = replace(a, **{field: getattr(other, field) for field in not_inputs})
    moved = _wanted(same)
    assert moved.materials
    elsewhere = replace(
        moved.materials,
        context=replace(moved.materials.context, path="other", include=("x",), ignore=".dockerignore"),
        dockerfile_path="other/Dockerfile.prod",
        check_needs=dict.fromkeys(a.platforms, Needs({"x": Reference.parse("x")})),
    )
    assert _keyed(Wanted(same, elsewhere), moment=MOMENT + 10**7) == _keyed(_wanted(a))


INPUTS: dict[str, Any] = {
    "target": "other",
    "args": {"V": "2"},
    "labels": {"l": "2"},
    "contexts": {"libs": Folder("libs")},
    "secrets": {"npm": "other"},
    "max_age": 7200,
    "os_epoch": "2",
    "source_date_epoch": 1,
}
NOT_INPUTS: dict[str, Any] = {
    "name": ArtifactName("other", "other"),
    "image": artifact("other/other").image,
    "place": Place("x.ncl", 1, 1),
    "tags": ("other",),
    "checks": ("test",),
    "language": "rust",
    "runner": RunnerOverride(1, 1, 1),
    "cache": CachePolicy(CacheMode.OFF, mounts=True),
    "registry": "registry.example",
    "context": Folder("elsewhere"),
    "dockerfile": "Other",
}
BASE = artifact(
    "shop/api",
    target="t",
    args={"V": "1"},
    labels={"l": "1"},
    secrets={"npm": "token"},
    os_epoch="1",
    contexts={"base": "artifact:shop/base", "img": "image:busybox", "libs": "libs"},
)


def test_every_field_of_an_artifact_is_known_to_be_an_input_or_not() -> None:
    """A new field has to be put in one of the two tables, and in `identity.inputs` if it decides the image."""
    assert {field.name for field in fields(Artifact)} == {*INPUTS, *NOT_INPUTS, "platforms"}


@pytest.mark.parametrize("field", INPUTS)
def test_an_input_changes_the_key(field: str) -> None:
    assert _keyed(_wanted(replace(BASE, **{field: INPUTS[field]}))).key != _keyed(_wanted(BASE)).key


@pytest.mark.parametrize("field", NOT_INPUTS)
def test_what_is_no_input_does_not(field: str) -> None:
    assert _keyed(_wanted(replace(BASE, **{field: NOT_INPUTS[field]}))).key == _keyed(_wanted(BASE)).key


@given(some.artifacts, st.data())
def test_any_change_of_any_leaf_changes_the_key(a: Artifact, data: st.DataObject) -> None:
    keyed = _keyed(_wanted(a), builder="pin")
    document = dict(keyed.inputs[a.platforms[0]])
    place = data.draw(st.sampled_from([p for p in paths(document) if p and not isinstance(at(document, p), dict)]))
    value = at(document, place)
    other = data.draw((st.integers() if isinstance(value, int) else some.texts).filter(lambda v: v != value))
    assert platform_key(replaced(document, place, other)) != platform_key(document)


@given(some.artifacts)
def test_every_outside_fact_is_an_input(a: Artifact) -> None:
    keyed = _keyed(_wanted(a))
    assert _keyed(_wanted(a), seed="moved").key != keyed.key
    assert _keyed(_wanted(a, "changed")).key != keyed.key
    assert _keyed(_wanted(a), builder="pin").key != keyed.key


@given(some.artifacts)
def test_defaults_are_left_out(a: Artifact) -> None:
    for platform, document in _keyed(_wanted(a)).inputs.items():
        assert None not in document.values()
        assert {} not in document.values()
        assert document["platform"] == str(platform)
    bare = Artifact(a.name, a.image, a.place, a.tags, (AMD64,))
    needs = Materials(SentFolder("c", "."), "Dockerfile", "d", needs={AMD64: Needs()})
    least = platform_inputs(bare, needs, AMD64, {}, {}, builder=None, moment=MOMENT)
    assert least == {"platform": "linux/amd64", "context": "c", "dockerfile": "d"}


@given(some.artifacts)
def test_one_platform_has_the_key_of_its_platform(a: Artifact) -> None:
    keyed = _keyed(_wanted(a))
    if len(a.platforms) == 1:
        assert keyed.key == keyed.keys[a.platforms[0]]
        assert keyed.tag() == keyed.tag(a.platforms[0])
    else:
        assert keyed.key not in keyed.keys.values()
    assert artifact_key(dict(sorted(keyed.keys.items(), reverse=True))) == keyed.key
    alone = _keyed(_wanted(replace(a, platforms=a.platforms[:1])))
    assert alone.key == keyed.keys[a.platforms[0]]


@given(some.hexes(64))
def test_the_content_tag_is_forty_digits_of_the_key(key: str) -> None:
    tag = content_tag(key)
    assert (tag[:5], tag[5:]) == ("lian-", key[:40])


@given(some.artifact_names, st.integers(60, 10**7), st.floats(0, 10**10), st.floats(0, 10**7))
def test_freshness_counts_windows(name: ArtifactName, age: int, moment: float, later: float) -> None:
    first, second = freshness(name, age, moment), freshness(name, age, moment + later)
    assert first <= second
    assert abs((second - first) - later / age) <= 1.0001
    assert freshness(name, age, moment + age) in {first + 1, first + 2}


def test_a_fleet_does_not_expire_all_at_once() -> None:
    age = 7 * 86400
    names = [ArtifactName("shop", f"a{n}") for n in range(200)]
    expired = [
        sum(freshness(n, age, MOMENT + h * 3600) != freshness(n, age, MOMENT + (h - 1) * 3600) for n in names)
        for h in range(168)
    ]
    assert sum(expired) == 200
    assert max(expired) < 12


def test_the_window_is_no_input_without_a_max_age() -> None:
    assert _keyed(_wanted(BASE), moment=0).key == _keyed(_wanted(BASE), moment=10**10).key
    aged = _wanted(replace(BASE, max_age=60))
    assert _keyed(aged, moment=0).key != _keyed(aged, moment=60).key


GOLDEN = Path(__file__).with_name("golden.json")


def _golden_artifacts() -> dict[str, Artifact]:
    least = artifact("shop/api")
    return {
        "least": least,
        "everything": replace(BASE, max_age=3600, source_date_epoch=7),
        "two platforms": replace(BASE, platforms=(AMD64, ARM64)),
        "another variant": replace(least, platforms=(Platform.parse("linux/arm/v6"),)),
        "unicode": replace(least, args={"é": "e\u0301", "emoji": "😀", 'quote"': "\\ \n\t\x7f"}),
        "a pinned context": replace(
            least, contexts={"img": BaseImage(Reference.parse(f"busybox@{_digest('p')}")), "p": ParentImage(least.name)}
        ),
    }


@pytest.mark.parametrize("name", _golden_artifacts())
def test_golden_vectors(name: str) -> None:
    """Written once. They must never change: a changed key rebuilds every image of every fleet.

    If a vector breaks, take the change of identity back. If the change is truly wanted, raise `identity.keys.VERSION`,
    teach the planner to adopt records of the version before by retag, and add vectors beside these; never edit these.
    """
    golden = json.loads(GOLDEN.read_text("utf-8"))[name]
    keyed = _keyed(_wanted(_golden_artifacts()[name]), builder=golden["builder"])
    assert {str(p): dict(i) for p, i in keyed.inputs.items()} == golden["inputs"]
    assert {str(p): k for p, k in keyed.keys.items()} == golden["keys"]
    assert (keyed.key, keyed.tag()) == (golden["key"], golden["tag"])
    # Straight from what is written down, so that a test's own error cannot hide a change.
    keys = {Platform.parse(p): platform_key(inputs) for p, inputs in golden["inputs"].items()}
    assert artifact_key(keys) == golden["key"]


def test_every_golden_vector_is_looked_at() -> None:
    assert set(json.loads(GOLDEN.read_text("utf-8"))) == set(_golden_artifacts())
