"""Which caches go, as properties: whatever there is, and whatever is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cache.content import CacheContent, CacheKind, moment, rfc3339
from reconciler.cache.holding import Fate, FoundCache, slot_of
from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.rules import Generation, Slot
from reconciler.cache.upkeep import GRACE, Limits, Wishes, judge
from reconciler.model.digest import Digest
from reconciler.model.manifest import Manifest
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from tests import strategies as some

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from reconciler.cache.holding import Verdict

NOW = 1_000_000_000.0
HOSTS = ("registry.example:5000", "oci-layout:/srv")
LAYOUT = Layout("cache")
PLATFORMS = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))
BLOBS = [Digest.of(str(number).encode()) for number in range(12)]

ages = st.sampled_from([0.0, GRACE - 1, GRACE, 10 * GRACE, 1e6, 9e8, -1e6]) | st.floats(0, 1e8)
contents = st.builds(
    CacheContent,
    kind=st.sampled_from(CacheKind),
    blobs=st.dictionaries(st.sampled_from(BLOBS), st.just(100), max_size=6),
    created=st.none() | ages.map(lambda age: NOW - age),
    after=st.none() | ages.map(lambda age: NOW - age),
    fleet=st.sampled_from([None, "acme", "others"]),
    revision=st.none() | st.just("0" * 40),
)
namespaces = st.builds(Namespace, st.sampled_from(["shop", "web"]), st.sampled_from([None, "alice", "bob"]))
tags = st.sampled_from([*(f"linux-amd64{g}" for g in Generation), "linux-arm64", "latest"])


@st.composite
def found(draw: st.DrawFn) -> FoundCache:
    """One tag somewhere."""
    namespace, artifact = draw(namespaces), draw(st.sampled_from(["api", "old"]))
    repository = Repository(draw(st.sampled_from(HOSTS)), LAYOUT.repository(namespace, artifact))
    return FoundCache(repository, namespace, artifact, draw(tags), draw(st.sampled_from(BLOBS)), draw(contents))


shelves = st.lists(found(), max_size=14, unique_by=lambda cache: (cache.repository, cache.tag))
wishes = st.builds(
    Wishes,
    fleet=st.just("acme"),
    wanted=st.frozensets(
        st.tuples(
            st.sampled_from(HOSTS), st.sampled_from([ArtifactName("shop", "api"), ArtifactName("web", "old")])
        ).flatmap(lambda pair: st.sampled_from(PLATFORMS).map(lambda platform: (*pair, platform)))
    ),
    workspaces=st.frozensets(st.sampled_from(["shop", "web"])),
    known=st.booleans(),
)
limits = st.builds(
    Limits,
    older_than=st.none() | ages.map(abs),
    max_size=st.none() | st.integers(0, 1500),
    undated=st.booleans(),
    strange=st.booleans(),
)


def going(verdicts: Iterable[Verdict]) -> set[tuple[Repository, str]]:
    return {(v.cache.repository, v.cache.tag) for v in verdicts if v.fate.goes}


@given(shelves, wishes, limits)
def test_all_are_judged_and_none_twice(caches: list[FoundCache], wants: Wishes, asked: Limits) -> None:
    verdicts = judge(caches, wants, asked, NOW)
    assert sorted((v.cache.repository, v.cache.tag) for v in verdicts) == sorted((c.repository, c.tag) for c in caches)


@given(shelves, wishes, limits)
def test_what_was_just_written_and_what_others_wrote_never_goes(
    caches: list[FoundCache], wants: Wishes, asked: Limits
) -> None:
    for verdict in judge(caches, wants, asked, NOW):
        if verdict.fate.goes:
            assert wants.own(verdict.cache)
            assert verdict.at_most is None or verdict.at_most >= GRACE


@given(shelves, wishes)
def test_without_limits_only_what_ci_made_and_nobody_wants_goes(caches: list[FoundCache], wants: Wishes) -> None:
    for verdict in judge(caches, wants, Limits(), NOW):
        if verdict.fate.goes:
            slot = verdict.cache.slot
            assert (verdict.fate, verdict.cache.namespace.is_ci, wants.known) == (Fate.UNWANTED, True, True)
            assert verdict.age is not None
            assert slot is not None
            assert not wants.want(verdict.cache.repository.host, slot)


@given(shelves, wishes, limits)
def test_what_is_wanted_goes_by_a_limit_alone(caches: list[FoundCache], wants: Wishes, asked: Limits) -> None:
    for verdict in judge(caches, wants, asked, NOW):
        slot = verdict.cache.slot
        if verdict.fate.goes and slot and wants.want(verdict.cache.repository.host, slot):
            assert verdict.fate in {Fate.EXPIRED, Fate.OVER_SIZE}
            assert (asked.older_than, asked.max_size) != (None, None)


@given(shelves, wishes, limits, st.randoms())
def test_the_order_in_which_they_are_told_does_not_matter(
    caches: list[FoundCache], wants: Wishes, asked: Limits, chance: Random
) -> None:
    mixed = list(caches)
    chance.shuffle(mixed)
    assert judge(caches, wants, asked, NOW) == judge(mixed, wants, asked, NOW)


@given(shelves, wishes, limits)
def test_once_it_is_done_nothing_is_left_to_do(caches: list[FoundCache], wants: Wishes, asked: Limits) -> None:
    gone = going(judge(caches, wants, asked, NOW))
    rest = [cache for cache in caches if (cache.repository, cache.tag) not in gone]
    assert not going(judge(rest, wants, asked, NOW))


@given(shelves, wishes, limits)
def test_what_lies_in_one_namespace_decides_nothing_in_another(
    caches: list[FoundCache], wants: Wishes, asked: Limits
) -> None:
    whole = going(judge(caches, wants, asked, NOW))
    apart: dict[tuple[str, Namespace], list[FoundCache]] = {}
    for cache in caches:
        apart.setdefault((cache.repository.host, cache.namespace), []).append(cache)
    assert whole == {each for those in apart.values() for each in going(judge(those, wants, asked, NOW))}


@given(shelves, wishes, limits)
def test_what_belongs_together_goes_together(caches: list[FoundCache], wants: Wishes, asked: Limits) -> None:
    fates: dict[tuple[Repository, Platform], set[Fate]] = {}
    for verdict in judge(caches, wants, asked, NOW):
        if slot := verdict.cache.slot:
            fates.setdefault((verdict.cache.repository, slot.platform), set()).add(verdict.fate)
    assert all(len(those) == 1 for those in fates.values())


@given(shelves, wishes, st.integers(0, 1500))
def test_a_namespace_is_small_enough_or_all_that_may_go_goes(
    caches: list[FoundCache], wants: Wishes, most: int
) -> None:
    verdicts = judge(caches, wants, Limits(max_size=most), NOW)
    left: dict[tuple[str, Namespace], list[Verdict]] = {}
    for verdict in verdicts:
        if not verdict.fate.goes and verdict.fate is not Fate.KEPT_FOREIGN:
            left.setdefault((verdict.cache.repository.host, verdict.cache.namespace), []).append(verdict)
    for those in left.values():
        blobs = {
            (v.cache.repository if v.cache.repository.layout else 0, d) for v in those for d in v.cache.content.blobs
        }
        assert 100 * len(blobs) <= most or not {v.fate for v in those} & {Fate.KEPT_WANTED, Fate.KEPT_SESSION}


@given(namespaces, some.platforms, st.sampled_from(Generation), some.tags)
def test_a_tag_and_its_place_are_inverse(
    namespace: Namespace, platform: Platform, generation: Generation, tag: str
) -> None:
    slot = Slot(namespace, "api", platform, generation)
    assert slot_of(namespace, "api", slot.tag) == slot
    other = slot_of(namespace, "api", tag)
    assert other is None or other.tag == tag


@pytest.mark.parametrize(
    "tag", ["linux-arm64-v8", "linux-x86_64", "linux-amd64-v1", "linux", "linux-amd64.other", ".mounts"]
)
def test_a_tag_that_lian_never_writes_has_no_place(tag: str) -> None:
    assert slot_of(Namespace("shop"), "api", tag) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_some_content(data: bytes) -> None:
    content = CacheContent.of(Manifest("application/x", data))
    assert content.size >= len(data)


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers() | st.booleans(), lambda x: st.lists(x, max_size=3)))
def test_any_member_may_be_of_any_kind(value: object) -> None:
    from reconciler.model.canonical import canonical

    for member in ("config", "layers", "manifests", "annotations", "artifactType"):
        for shape in (value, [value], [{"digest": value}], {"mediaType": value}):
            assert CacheContent.of(Manifest("application/x", canonical({member: shape}))).kind is CacheKind.STRANGE


@given(st.text(max_size=30) | st.floats(0, 4e9).map(rfc3339).filter(bool))
def test_a_time_is_read_or_is_none(text: str) -> None:
    read = moment(text)
    assert read is None or moment(rfc3339(read)) is not None


def test_times_as_buildkit_writes_them() -> None:
    assert moment("2026-11-20T10:00:00.123456789Z") is not None
    assert moment("2026-11-20T10:00:00") is None, "nobody knows where"
    assert rfc3339(1e300) is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "soon"])
def test_a_time_that_cannot_be_is_none(text: str) -> None:
    assert CacheContent(CacheKind.LAYERS, created=moment(text), after=moment(text)).at_most(NOW) is None
