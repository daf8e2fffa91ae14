"""Namespaces: two never share a repository, each is a path that registries take, and what is none is not taken for
one."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cache.namespace import Layout, Namespace, join, split
from reconciler.cache.rules import Generation, Slot
from reconciler.model.cache import Session
from reconciler.model.reference import MAX_NAME, Reference
from tests import strategies as some
from tests.cache import names as any_of
from tests.cache.names import NAME
from tests.cache.rooms import holds

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.platform import Platform
    from tests.cache.rooms import Room

Pair = tuple[str, str]

PATH = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
"""`<name>` of the OCI distribution-spec, "Pulling manifests"."""
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
"""`<reference>` of the same."""
PROJECT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
"""A project's name (goharbor/harbor: src/controller/project, restrictedNameChars)."""


# -- joining -------------------------------------------------------------------------------------------------------


@holds(any_of.pairs)
def test_splitting_undoes_joining(room: Room, pair: Pair) -> None:
    assert room.split(room.join(*pair)) == pair


@holds(any_of.two_pairs, max_examples=300)
def test_two_pairs_never_join_alike(room: Room, two: tuple[Pair, Pair]) -> None:
    assert room.join(*two[0]) != room.join(*two[1])


@holds(any_of.pairs)
def test_what_is_joined_is_one_part_of_a_path(room: Room, pair: Pair) -> None:
    joined = room.join(*pair)
    assert PATH.fullmatch(joined)
    assert "/" not in joined


@holds(st.text() | any_of.damaged(any_of.pairs.map(lambda pair: join(*pair))) | any_of.names, max_examples=300)
def test_what_joining_never_returns_is_not_split(room: Room, text: str) -> None:
    found = room.split(text)
    if found is not None:
        assert all(NAME.fullmatch(name) for name in found)
        assert room.join(*found) == text


def test_the_pairs_that_a_lone_dash_makes_one_of() -> None:
    assert join("a-b", "c") == "a--b-c"
    assert join("a", "b-c") == "a-b--c"
    assert len({join(*pair) for pair in (("a-b", "c"), ("a", "b-c"), ("c", "a-b"), ("b-c", "a"), ("a--b", "c"))}) == 5


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "--", "a", "a-", "-a", "a--b", "a-b-c", "a---b", "a--b-c-d", "..", "a-..", "a/b-c", "a-b@c", "A-b",
        "a-B", "a\0-b", "a-b\0", "a-b\n", "\na-b", " a-b", "\u0430-b", "\uff41-b", "a-\u0661", "a\u2010b", "a\u2013b",
        "a" * 64 + "-b", "a-" + "b" * 64, "a" + "--" * 62 + "b-c", "a" * 10**6,
    ],
)  # fmt: skip
def test_no_pair_is_joined_to_it(text: str) -> None:
    assert split(text) is None


# -- names ---------------------------------------------------------------------------------------------------------

BAD_NAMES = (
    "", ".", "..", "a..b", "a/b", "/a", "a/", "a@b", "a:b", "a_b", "a.b", "a+b", "a b", " a", "-a", "a-", "-", "A",
    "aB", "a\0", "\0", "a\0b", "a\n", "\na", "a\r\n", "a\t", "\u0430", "p\u0430yments", "\uff41", "\uff10",
    "\u0661", "\u00e9", "e\u0301", "\u00df", "\u0131",
    "a\u200bb", "a\u2010b", "a\u2013b", "\u212a", "\udcff", "a" * 64, "a-" * 40 + "a",
    "../../etc", "%2e%2e", "a%2fb", "a" * 10**6,
)  # fmt: skip
PARTS: dict[str, Callable[[str], object]] = {
    "a workspace": Namespace,
    "an actor": lambda text: Namespace("shop", text),
    "an artifact": lambda text: Layout("cache").repository(Namespace("shop"), text),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("text", BAD_NAMES, ids=lambda text: ascii(text)[:20])
def test_a_bad_name_is_refused_and_named(part: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"not {part}'s name") as error:
        PARTS[part](text)
    assert repr(text[:140]) in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("text", BAD_NAMES, ids=lambda text: ascii(text)[:20])
def test_no_session_has_a_bad_name(text: str) -> None:
    with pytest.raises(ValueError, match="not an actor's name"):
        Session(text)


@given(st.text(max_size=70) | any_of.damaged(any_of.names))
def test_a_name_is_what_the_design_says(text: str) -> None:
    good = NAME.fullmatch(text) is not None
    for make in PARTS.values():
        if good:
            with suppress(ValueError):  # the path may be too long
                make(text)
        else:
            with pytest.raises(ValueError, match="'s name"):
                make(text)


@given(st.lists(any_of.namespaces, max_size=6))
def test_namespaces_have_an_order(found: list[Namespace]) -> None:
    """CI's of a workspace comes before its actors'."""
    expected = sorted(found, key=lambda each: (each.workspace, each.actor or ""))
    assert sorted(found) == expected
    assert max(found, default=None) == (expected[-1] if expected else None)


# -- places --------------------------------------------------------------------------------------------------------


@holds(any_of.layouts, any_of.namespaces, any_of.names, max_examples=300)
def test_a_registry_takes_the_path(room: Room, layout: Layout, owned: Namespace, artifact: str) -> None:
    """Or there is none, and that is said."""
    with suppress(ValueError):
        folder = room.folder(layout, owned)
        assert PATH.fullmatch(folder)
        assert len(folder) <= MAX_NAME - len("/a")
    with suppress(ValueError):
        path = room.repository(layout, owned, artifact)
        assert PATH.fullmatch(path)
        assert len(path) <= MAX_NAME
        assert path == f"{room.folder(layout, owned)}/{artifact}"


@holds(st.sampled_from(["", "cache", "team/cache"]), any_of.pairs, any_of.names)
def test_names_of_a_usual_length_have_a_place(room: Room, prefix: str, pair: Pair, artifact: str) -> None:
    if sum(map(len, (*pair, artifact))) <= 100:
        assert room.repository(Layout(prefix), Namespace(pair[1], pair[0]), artifact)
        if "/" not in prefix and "--" not in "".join(pair):
            assert room.repository(Layout(prefix, projects=True), Namespace(pair[1], pair[0]), artifact)


@holds(any_of.layouts, any_of.namespaces, any_of.names)
def test_parsing_undoes_repository(room: Room, layout: Layout, owned: Namespace, artifact: str) -> None:
    with suppress(ValueError):
        assert room.parse(layout, room.repository(layout, owned, artifact)) == (owned, artifact)


_PATHS = st.builds(
    lambda layout, owned, artifact: "/".join(filter(None, (layout.prefix, str(owned), artifact))),
    any_of.layouts, any_of.namespaces, any_of.names,
)  # fmt: skip
_PROJECTS = st.builds(
    lambda layout, owned, artifact: ".".join(
        filter(None, (layout.prefix, "dev" if owned.actor else "ci", owned.actor, f"{owned.workspace}/{artifact}"))
    ),
    any_of.layouts, any_of.namespaces, any_of.names,
)  # fmt: skip
_DEEPER = st.builds("/".join, st.lists(_PATHS | _PROJECTS | any_of.names, min_size=1, max_size=2))
_ANY_PATH = st.text() | _DEEPER | any_of.damaged(_PATHS | _PROJECTS) | some.repositories.map(lambda r: r.path)


@holds(any_of.layouts, _ANY_PATH, max_examples=400)
def test_what_is_no_caches_path_is_not_parsed(room: Room, layout: Layout, path: str) -> None:
    found = room.parse(layout, path)
    if found is not None:
        assert room.repository(layout, *found) == path
        assert room.reserves(layout, path)


@holds(any_of.layouts, any_of.two_namespaces(), any_of.names, any_of.names, max_examples=300)
def test_two_namespaces_share_nothing(
    room: Room, layout: Layout, two: tuple[Namespace, Namespace], artifact: str, other: str
) -> None:
    """No folder holds another's, so to give or to delete one never touches another."""
    with suppress(ValueError):
        mine, theirs = (room.folder(layout, each) for each in two)
        assert not f"{mine}/".startswith(f"{theirs}/")
        assert not f"{theirs}/".startswith(f"{mine}/")
        assert room.repository(layout, two[0], artifact) != room.repository(layout, two[1], other)


@holds(any_of.layouts, any_of.two_namespaces(), any_of.names)
def test_deleting_takes_the_own_and_nothing_else(
    room: Room, layout: Layout, two: tuple[Namespace, Namespace], artifact: str
) -> None:
    with suppress(ValueError):
        mine, theirs = (room.repository(layout, each, artifact) for each in two)
        assert room.taken(layout, two[0], mine)
        assert not room.taken(layout, two[0], theirs)
        assert not room.taken(layout, two[1], mine)


@holds(st.sampled_from(any_of.PREFIXES), any_of.namespaces, any_of.names)
def test_harbor_takes_the_project(room: Room, prefix: str, owned: Namespace, artifact: str) -> None:
    layout = Layout(prefix, projects=True)
    with suppress(ValueError):
        path = room.repository(layout, owned, artifact)
        project, slash, rest = path.partition("/")
        assert PROJECT.fullmatch(project)
        assert (project, slash, rest) == (room.folder(layout, owned), "/", artifact)


@holds(any_of.layouts, any_of.namespaces, any_of.names)
def test_no_image_may_lie_where_a_cache_does(room: Room, layout: Layout, owned: Namespace, artifact: str) -> None:
    with suppress(ValueError):
        path = room.repository(layout, owned, artifact)
        assert all(room.reserves(layout, each) for each in (path, f"{path}/more", room.folder(layout, owned)))


@holds(any_of.layouts, st.sampled_from(["ci", "dev"]), any_of.names)
def test_what_may_yet_become_a_cache_is_kept_free(room: Room, layout: Layout, kind: str, rest: str) -> None:
    joint = "." if layout.projects else "/"
    kept = joint.join(filter(None, (layout.prefix, kind)))
    assert room.reserves(layout, f"{kept}{joint}{rest}/x")
    assert room.reserves(layout, f"{kept}/{rest}")


@holds(any_of.layouts, _PATHS | _PROJECTS | some.repositories.map(lambda r: r.path))
def test_images_elsewhere_are_free(room: Room, layout: Layout, path: str) -> None:
    joint = "." if layout.projects else "/"
    lead = re.escape(layout.prefix + joint) if layout.prefix else ""
    inside = re.match(rf"{lead}(ci|dev)({re.escape(joint)}|/|\Z)", path) is not None
    assert room.reserves(layout, path) == inside


@pytest.mark.parametrize(
    "path", ["cache", "cache-ci/a", "cache/other/a", "cache/cix/a", "cache/ci-x/a", "x/cache/ci/a"]
)
def test_beside_the_caches_is_room_for_images(path: str) -> None:
    assert not Layout("cache").reserves(path)
    assert not Layout("cache", projects=True).reserves(path)


# -- tags ----------------------------------------------------------------------------------------------------------


@holds(any_of.slots)
def test_a_registry_takes_the_tag(room: Room, slot: Slot) -> None:
    assert TAG.fullmatch(room.tag(slot))


@holds(any_of.slots, any_of.platforms, st.sampled_from(Generation))
def test_two_slots_have_two_tags(room: Room, slot: Slot, platform: Platform, generation: Generation) -> None:
    kin = (slot.platform._replace(variant=platform.variant), slot.platform._replace(architecture=platform.architecture))
    for each in (platform, *kin):
        other = slot._replace(platform=each, generation=generation)
        assert (room.tag(slot) == room.tag(other)) == ((slot.platform, slot.generation) == (each, generation))


@given(some.hosts, any_of.layouts, any_of.slots)
def test_a_place_can_be_read_back(host: str, layout: Layout, slot: Slot) -> None:
    with suppress(ValueError):
        place = slot.at(host, layout)
        assert Reference.parse(str(place)) == place
        assert layout.parse(place.repository.path) == (slot.namespace, slot.artifact)
