"""Who reads and writes which cache: what the rules say for every build, and that they follow from nothing else."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from reconciler.cache import rules
from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.rules import Generation, Slot
from reconciler.model.cache import BuildMode, Ci, Session
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from tests import strategies as some
from tests.cache import names as any_of
from tests.cache.rooms import holds

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.platform import Platform
    from tests.cache.rooms import Room

Build = tuple[BuildMode, str, str, "Platform"]
KEPT = (Generation.LATEST, Generation.PREVIOUS)

ci_builds = st.tuples(st.just(Ci()), any_of.names, any_of.names, any_of.platforms)
session_builds = st.tuples(st.builds(Session, any_of.names), any_of.names, any_of.names, any_of.platforms)


def read_by(room: Room, build: Build) -> tuple[Slot, ...]:
    """All that a build reads."""
    return (*room.imports(*build), *room.mounts_read(*build))


def written_by(room: Room, build: Build) -> tuple[Slot, ...]:
    """All that a build writes."""
    slot = room.export(*build)
    return slot, room.previous(slot), room.mounts_written(*build)


def own(build: Build) -> Namespace:
    """The namespace that is the builder's, said another way than the rules do."""
    return Namespace(build[1], getattr(build[0], "actor", None))


# -- what is read and written --------------------------------------------------------------------------------------


@holds(ci_builds)
def test_ci_reads_nothing_but_its_own(room: Room, build: Build) -> None:
    assert {slot.namespace for slot in read_by(room, build)} == {Namespace(build[1])}


@holds(session_builds)
def test_a_session_reads_its_own_and_then_cis(room: Room, build: Build) -> None:
    readable = [own(build), Namespace(build[1])]
    assert [slot.namespace for slot in room.mounts_read(*build)] == readable
    assert list(dict.fromkeys(slot.namespace for slot in room.imports(*build))) == readable


@holds(any_of.builds)
def test_a_build_writes_its_own_alone(room: Room, build: Build) -> None:
    assert {slot.namespace for slot in written_by(room, build)} == {own(build)}


@holds(any_of.builds)
def test_nothing_is_of_another_workspace_or_artifact_or_platform(room: Room, build: Build) -> None:
    for slot in (*read_by(room, build), *written_by(room, build)):
        assert (slot.namespace.workspace, slot.artifact, slot.platform) == build[1:]
        assert slot.namespace.actor in {None, own(build).actor}


@holds(any_of.builds)
def test_what_is_written_is_looked_at_by_the_next(room: Room, build: Build) -> None:
    """What a build finds in its place it puts aside, and the next reads both; mounts are kept apart from layers."""
    exported, aside, mounts = written_by(room, build)
    assert [slot.generation for slot in (exported, aside, mounts)] == [*KEPT, Generation.MOUNTS]
    found = room.imports(*build)
    assert found[:2] == (exported, aside)
    assert len(set(found)) == len(found)
    assert room.mounts_read(*build)[0] == mounts
    assert {slot.generation for slot in room.mounts_read(*build)} == {Generation.MOUNTS}


RULES = ("imports", "export", "mounts_read", "mounts_written")


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_told_of_nothing_else(rule: str) -> None:
    assert list(inspect.signature(getattr(rules, rule)).parameters) == ["mode", "workspace", "artifact", "platform"]


@holds(any_of.builds, any_of.builds, st.sampled_from(RULES))
def test_one_rule_for_all(room: Room, one: Build, other: Build, rule: str) -> None:
    """Exchange who builds, the workspace, the artifact and the platform, and exactly these are exchanged in what the
    rule says: so it follows from these and from nothing else."""
    assume(isinstance(one[0], Ci) == isinstance(other[0], Ci))
    ask: Callable[..., Any] = getattr(room, rule)
    said, said_of_other = ask(*one), ask(*other)
    assert ask(*one) == said
    assert _exchanged(said, one, other) == said_of_other


def _exchanged(said: Any, one: Build, other: Build) -> Any:
    if not isinstance(said, Slot):
        return tuple(_exchanged(slot, one, other) for slot in said)
    mine, theirs = own(one), own(other)
    found = said.namespace
    return said._replace(
        namespace=Namespace(
            theirs.workspace if found.workspace == mine.workspace else found.workspace,
            theirs.actor if found.actor == mine.actor else found.actor,
        ),
        artifact=other[2] if said.artifact == one[2] else said.artifact,
        platform=other[3] if said.platform == one[3] else said.platform,
    )


# -- what may be ---------------------------------------------------------------------------------------------------


@holds(any_of.builds)
def test_what_is_read_may_be_and_what_is_written_may_be(room: Room, build: Build) -> None:
    assert all(room.may_read(build[0], build[1], slot.namespace) for slot in read_by(room, build))
    assert all(room.may_write(build[0], build[1], slot.namespace) for slot in written_by(room, build))


@holds(any_of.builders, any_of.names, any_of.namespaces)
def test_who_may_write_may_read(room: Room, mode: BuildMode, workspace: str, namespace: Namespace) -> None:
    for found in (namespace, Namespace(workspace, namespace.actor), Namespace(workspace, getattr(mode, "actor", None))):
        assert room.may_read(mode, workspace, found) or not room.may_write(mode, workspace, found)


@holds(st.builds(Session, any_of.names), any_of.names, any_of.names)
def test_no_session_may_write_what_is_cis(room: Room, mode: Session, workspace: str, other: str) -> None:
    assert not any(room.may_write(mode, workspace, Namespace(each)) for each in (workspace, other, mode.actor))


@holds(any_of.names, any_of.pairs)
def test_ci_may_not_touch_what_is_an_actors(room: Room, workspace: str, pair: tuple[str, str]) -> None:
    for found in (Namespace(workspace, pair[0]), Namespace(pair[1], pair[0]), Namespace(workspace, workspace)):
        assert not room.may_read(Ci(), workspace, found)
        assert not room.may_write(Ci(), workspace, found)


@holds(any_of.builds, any_of.namespaces)
def test_nobody_may_touch_what_is_anothers(room: Room, build: Build, namespace: Namespace) -> None:
    mode, workspace = build[:2]
    for found in (namespace, Namespace(workspace, namespace.actor), Namespace(namespace.workspace, own(build).actor)):
        assert room.may_write(mode, workspace, found) == (found == own(build))
        assert room.may_read(mode, workspace, found) == (found in {own(build), Namespace(workspace)})


# -- what is asked for ---------------------------------------------------------------------------------------------

_TARGETS = st.sampled_from(["own", "ci", "another actor", "another workspace", "ci of another workspace", "any"])
_LAYOUTS = st.sampled_from([Layout("cache"), Layout(""), Layout("cache", True), Layout("team/cache"), Layout("a.b")])


def _target(kind: str, build: Build, other: Namespace) -> Namespace:
    match kind:
        case "own":
            return own(build)
        case "ci":
            return Namespace(build[1])
        case "another actor":
            return Namespace(build[1], other.actor)
        case "another workspace":
            return Namespace(other.workspace, own(build).actor)
        case "ci of another workspace":
            return Namespace(other.workspace)
    return other


def _place(slot: Slot, host: str, layout: Layout) -> Reference:
    try:
        return slot.at(host, layout)
    except ValueError:
        assume(False)
        raise


_ASKED = (any_of.builds, _TARGETS, any_of.slots, some.hosts, _LAYOUTS)


def codes(error: pytest.ExceptionInfo[LianError]) -> list[str]:
    """Of its problems."""
    return [problem.code for problem in error.value.problems]


def _refused(admit: Callable[..., Any], text: str, build: Build, host: str, layout: Layout, code: str) -> None:
    try:
        admitted = admit(text, build[0], build[1], host, layout)
    except LianError as error:
        assert [problem.code for problem in error.problems] == [code]
        assert repr(text[:20])[:-1] in error.problems[0].message
        assert error.problems[0].cause or code != "cache-forbidden"
        assert error.problems[0].hint
    else:
        raise AssertionError(f"{text!r} was admitted as {admitted}")


@holds(*_ASKED, max_examples=200)
def test_what_may_be_read_is_admitted(
    room: Room, build: Build, kind: str, slot: Slot, host: str, layout: Layout
) -> None:
    slot = slot._replace(namespace=_target(kind, build, slot.namespace))
    place = _place(slot, host, layout)
    for asked in (place, place._replace(digest=_digest()), place._replace(tag=None, digest=_digest())):
        if slot.namespace in {own(build), Namespace(build[1])}:
            assert room.admit_import(str(asked), build[0], build[1], host, layout) == asked
        else:
            _refused(room.admit_import, str(asked), build, host, layout, "cache-forbidden")


@holds(*_ASKED, max_examples=200)
def test_what_may_be_written_is_admitted(
    room: Room, build: Build, kind: str, slot: Slot, host: str, layout: Layout
) -> None:
    slot = slot._replace(namespace=_target(kind, build, slot.namespace))
    place = _place(slot, host, layout)
    mine = slot.namespace == own(build)
    if mine:
        assert room.admit_export(str(place), build[0], build[1], host, layout) == place
    else:
        _refused(room.admit_export, str(place), build, host, layout, "cache-forbidden")
    code = "cache-reference" if mine else "cache-forbidden"
    for asked in (place._replace(digest=_digest()), place._replace(tag=None, digest=_digest())):
        _refused(room.admit_export, str(asked), build, host, layout, code)


def _digest() -> Any:
    return Reference.parse(f"x@sha256:{'0' * 64}").digest


@holds(any_of.builds, any_of.slots, some.hosts, some.hosts, _LAYOUTS, _LAYOUTS, max_examples=200)
def test_what_lies_elsewhere_is_refused(
    room: Room, build: Build, slot: Slot, host: str, other_host: str, layout: Layout, other: Layout
) -> None:
    """On another host or below another prefix, also if the path names the builder's own namespace."""
    assume((host, layout) != (other_host, other))
    place = _place(slot._replace(namespace=own(build)), other_host, other)
    for admit in (room.admit_import, room.admit_export):
        _refused(admit, str(place), build, host, layout, "cache-forbidden")


@holds(any_of.builds, some.references, _LAYOUTS)
def test_an_image_is_no_cache(room: Room, build: Build, image: Reference, layout: Layout) -> None:
    assume(not layout.reserves(image.repository.path))
    for admit in (room.admit_import, room.admit_export):
        _refused(admit, str(image), build, image.repository.host, layout, "cache-forbidden")


@holds(
    any_of.builds, _LAYOUTS, st.sampled_from(["ci/{0}", "ci", "dev/{0}/api", "ci/{0}/api/more", "{0}/api", "ci//api"])
)
def test_what_names_no_cache_is_refused(room: Room, build: Build, layout: Layout, path: str) -> None:
    """Near to the own namespace, yet not in it."""
    whole = "/".join(filter(None, ("h:1", layout.prefix, path.format(build[1]))))
    for admit in (room.admit_import, room.admit_export):
        code = "cache-reference" if "//" in whole else "cache-forbidden"
        _refused(admit, f"{whole}:linux-amd64", build, "h:1", layout, code)


_JUNK = (
    st.text()
    | st.text("ab01/:@.-_[] \0\n\udcff", max_size=40)
    | any_of.damaged(st.builds(lambda slot: f"h:1/cache/{slot.namespace}/{slot.artifact}:{slot.tag}", any_of.slots))
    | any_of.damaged(some.references.map(str))
)


@holds(any_of.builds, _JUNK, max_examples=400)
def test_any_text_is_admitted_or_refused(room: Room, build: Build, text: str) -> None:
    """And what is admitted lies where it may: nothing that a text holds leads elsewhere."""
    layout = Layout("cache")
    for admit, allowed in (
        (room.admit_import, {own(build), Namespace(build[1])}),
        (room.admit_export, {own(build)}),
    ):
        try:
            found = admit(text, build[0], build[1], "h:1", layout)
        except LianError as error:
            assert {problem.code for problem in error.problems} <= {"cache-forbidden", "cache-reference"}
        else:
            assert found.repository.host == "h:1"
            assert any(found.repository.path.startswith(f"cache/{each}/") for each in allowed)
            assert found.repository == Repository.parse(str(found.repository), "docker.io")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":", "@", "/", "..", "../..", "h:1", "h:1/", "h:1/cache/ci/shop/../../dev/a-shop/api:x",
        "h:1/cache/ci/shop/api:", "h:1/cache/ci/shop/api:x@", "h:1/cache/ci/shop/api@sha256:00",
        "h:1/cache/ci/SHOP/api", "h:1/cache/ci/shop\0/api", "h:1/cache/ci/sh\u043ep/api", "h:1/cache/ci/shop/api:x\n",
        "https://h:1/cache/ci/shop/api", "h:1/cache/ci/shop/api:" + "x" * 129, "h:1/" + "a/" * 200 + "b",
        "type=registry,ref=h:1/cache/ci/shop/api:x",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_told_so(text: str) -> None:
    for admit in (rules.admit_import, rules.admit_export):
        with pytest.raises(LianError) as error:
            admit(text, Ci(), "shop", "h:1", Layout("cache"))
        assert codes(error) == ["cache-reference"] or (codes(error) == ["cache-forbidden"] and text == "h:1")


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Ci(), "a CI build of shop reads ci/shop, not dev/bob-shop"),
        (Session("ada"), "a session of ada of shop reads dev/ada-shop and ci/shop, not dev/bob-shop"),
    ],
)
def test_a_refusal_says_what_would_be_right(mode: BuildMode, said: str) -> None:
    with pytest.raises(LianError) as error:
        rules.admit_import("h:1/cache/dev/bob-shop/api:linux-amd64", mode, "shop", "h:1", Layout("cache"))
    assert error.value.problems[0].cause == said


@pytest.mark.parametrize(
    ("layout", "shown"),
    [
        (Layout("cache"), "h:1/cache/ci/shop/api:linux-amd64"),
        (Layout(""), "h:1/ci/shop/api:linux-amd64"),
        (Layout("cache", projects=True), "h:1/cache.ci.shop/api:linux-amd64"),
    ],
)
def test_the_hint_shows_what_would_be_admitted(layout: Layout, shown: str) -> None:
    with pytest.raises(LianError) as error:
        rules.admit_import("!", Ci(), "shop", "h:1", layout)
    hint = error.value.problems[0].hint or ""
    form = hint.removeprefix("write ").partition(",")[0]
    text = form.replace("WORKSPACE", "shop").replace("ARTIFACT", "api").replace("PLATFORM", "linux-amd64")
    assert text == shown
    assert str(rules.admit_import(text, Ci(), "shop", "h:1", layout)) == text
