"""The rights that a registry is given say what the rules say, for every fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.rights import READS, WRITES, Ground, Right, territories
from reconciler.model.access import Access, ActorAccess
from reconciler.model.cache import BuildMode, Ci, Session
from tests.cache import names as any_of
from tests.cache.rooms import holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cache.rooms import Room

PREFIXES = st.sampled_from([("cache", ""), ("cache", "images"), ("", "images"), ("a.b", "a-b")])
NONE: frozenset[Right] = frozenset()


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Access, Ground]:
    """Some have accounts that are several builders'."""
    known = draw(st.lists(any_of.names, min_size=1, max_size=3, unique=True))
    some_of_them = st.lists(st.sampled_from(known) | any_of.names, max_size=2, unique=True).map(tuple)
    actors = {}
    for actor in draw(st.lists(any_of.names, max_size=3, unique=True)):
        accounts = [f"account-of-{actor}", *draw(st.lists(st.sampled_from(["laptop", "shared", "ci-2"]), max_size=1))]
        actors[actor] = ActorAccess(tuple(accounts), draw(st.none() | some_of_them))
    (caches, sessions), projects = draw(PREFIXES), draw(st.booleans())
    products = st.tuples(st.sampled_from(known), any_of.names.map(lambda name: f"products/{name}"))
    ground = Ground(
        Layout(caches, projects),
        Layout(sessions, projects),
        tuple(draw(st.lists(products, max_size=3, unique=True))),
        tuple(known),
    )
    return Access(("ci", *draw(st.sampled_from([(), ("ci-2",)]))), actors), ground


def given_by(room: Room, access: Access, ground: Ground) -> dict[str, Any]:
    """Path of a folder or a repository -> its territory; a fleet whose registry has no such path is not looked at."""
    try:
        found = room.territories(access, ground)
    except ValueError:
        reject()
    assert len({(each.folder, each.exact) for each in found}) == len(found)
    return {each.folder: each for each in found}


def builders(access: Access) -> dict[str, list[BuildMode]]:
    """Whose each account is."""
    whose: dict[str, list[BuildMode]] = {account: [Ci()] for account in access.ci}
    for actor, each in access.actors.items():
        for account in each.accounts:
            whose.setdefault(account, []).append(Session(actor))
    return whose | {"stranger": []}


def of_one(access: Access) -> Iterator[tuple[str, BuildMode]]:
    """Accounts that are exactly one builder's."""
    for account, modes in builders(access).items():
        if len(modes) == 1:
            yield account, modes[0]


def admitted(access: Access, mode: BuildMode, workspace: str) -> bool:
    """Whether the builder builds in the workspace."""
    if isinstance(mode, Ci):
        return True
    only = access.actors[mode.actor].workspaces
    return only is None or workspace in only


def caches(access: Access, ground: Ground) -> Iterator[Namespace]:
    """All namespaces that there are."""
    yield from map(Namespace, ground.workspaces)
    for actor, each in access.actors.items():
        for workspace in ground.workspaces if each.workspaces is None else each.workspaces:
            yield Namespace(workspace, actor)


@holds(fleets())
def test_rights_are_what_the_rules_say(room: Room, fleet: tuple[Access, Ground]) -> None:
    """Pull where a builder may read, push and delete where it may write, and nothing else."""
    access, ground = fleet
    found = given_by(room, access, ground)
    for namespace in caches(access, ground):
        territory = found[room.folder(ground.caches, namespace)]
        for account, mode in of_one(access):
            let = admitted(access, mode, namespace.workspace)
            reads = let and room.may_read(mode, namespace.workspace, namespace)
            writes = let and room.may_write(mode, namespace.workspace, namespace)
            assert territory.of(account) == (READS if reads else NONE) | (WRITES if writes else NONE)


@holds(fleets())
def test_rights_are_given_on_what_there_is(room: Room, fleet: tuple[Access, Ground]) -> None:
    access, ground = fleet
    found = given_by(room, access, ground)
    namespaces = list(caches(access, ground))
    folders = {room.folder(ground.caches, each) for each in namespaces}
    folders |= {room.folder(ground.sessions, each) for each in namespaces if not each.is_ci}
    assert {path for path, each in found.items() if not each.exact} == folders
    assert {path for path, each in found.items() if each.exact} == {path for _, path in ground.products}


@holds(fleets())
def test_cis_accounts_have_nothing_in_dev(room: Room, fleet: tuple[Access, Ground]) -> None:
    access, ground = fleet
    found = given_by(room, access, ground)
    whose = builders(access)
    for namespace in caches(access, ground):
        if namespace.is_ci:
            continue
        for layout in (ground.caches, ground.sessions):
            territory = found[room.folder(layout, namespace)]
            assert not [account for account, modes in whose.items() if modes == [Ci()] and territory.of(account)]


@holds(fleets())
def test_nothing_that_ci_writes_is_an_actors_to_write(room: Room, fleet: tuple[Access, Ground]) -> None:
    """Neither caches nor products; and who is nobody has nothing."""
    access, ground = fleet
    found = given_by(room, access, ground)
    whose = builders(access)
    writers = {account for account, modes in whose.items() if Ci() in modes}
    cis = [room.folder(ground.caches, Namespace(each)) for each in ground.workspaces]
    for path in (*cis, *(path for _, path in ground.products)):
        assert {account for account in whose if found[path].of(account) & WRITES - READS} == writers
        assert {account for account, _ in found[path].rights} <= set(whose)


@holds(fleets())
def test_what_an_actor_writes_is_his_alone(room: Room, fleet: tuple[Access, Ground]) -> None:
    access, ground = fleet
    found = given_by(room, access, ground)
    for namespace in caches(access, ground):
        if namespace.is_ci:
            continue
        for layout in (ground.caches, ground.sessions):
            territory = found[room.folder(layout, namespace)]
            assert dict(territory.rights) == dict.fromkeys(access.actors[str(namespace.actor)].accounts, WRITES)


@holds(fleets())
def test_an_actor_sees_the_workspaces_he_has(room: Room, fleet: tuple[Access, Ground]) -> None:
    access, ground = fleet
    found = given_by(room, access, ground)
    for account, mode in of_one(access):
        for workspace in ground.workspaces:
            reads = found[room.folder(ground.caches, Namespace(workspace))].of(account)
            assert (Right.PULL in reads) == admitted(access, mode, workspace)
        for path in {path for _, path in ground.products}:
            owners = {workspace for workspace, each in ground.products if each == path}
            assert bool(found[path].of(account)) == any(admitted(access, mode, each) for each in owners)


@holds(fleets(), any_of.names)
def test_a_territory_holds_what_is_below_it(room: Room, fleet: tuple[Access, Ground], artifact: str) -> None:
    access, ground = fleet
    found = given_by(room, access, ground)
    for namespace in caches(access, ground):
        try:
            path = room.repository(ground.caches, namespace, artifact)
        except ValueError:
            continue
        holding = [each for each in found.values() if room.lies_in(path, each)]
        assert [each.folder for each in holding] == [room.folder(ground.caches, namespace)]
        assert [each for each in found.values() if room.lies_in(f"{path}-x", each)] == holding


@holds(fleets(), st.randoms())
def test_the_order_of_what_is_told_does_not_matter(room: Room, fleet: tuple[Access, Ground], random: Any) -> None:
    access, ground = fleet

    def mixed(told: Any) -> tuple[Any, ...]:
        return tuple(random.sample(list(told), len(told)))

    actors = {
        actor: ActorAccess(mixed(each.accounts), None if each.workspaces is None else mixed(each.workspaces))
        for actor, each in mixed(access.actors.items())
    }
    told_otherwise = Access(mixed(access.ci), actors)
    elsewhere = replace(ground, products=mixed(ground.products), workspaces=mixed(ground.workspaces))
    assert given_by(room, access, ground) == given_by(room, told_otherwise, elsewhere)
    assert tuple(given_by(room, access, ground)) == tuple(given_by(room, told_otherwise, elsewhere))


# -- prefixes that lie in one another ------------------------------------------------------------------------------

ADA = Access(("ci",), {"ada": ActorAccess(("ada",)), "ci": ActorAccess(("actor-ci",))})


@pytest.mark.parametrize(
    ("caches_at", "sessions_at"),
    [
        pytest.param(Layout("dev/ada-shop"), Layout(""), id="caches below a session's images"),
        pytest.param(Layout("dev", True), Layout("", True), id="an actor's project is CI's"),
        pytest.param(Layout("x.dev", True), Layout("x", True), id="an actor's project is CI's, with a prefix"),
        pytest.param(Layout("cache"), Layout("cache"), id="the same prefix for both"),
        pytest.param(Layout("cache"), Layout("cache/ci/shop"), id="session images below CI's caches"),
    ],
)
def test_no_place_is_given_away_twice(caches_at: Layout, sessions_at: Layout) -> None:
    """Whatever the prefixes: a registry that is told both gives an actor what is CI's, or mixes caches and images."""
    with pytest.raises(ValueError, match="in one another"):
        territories(ADA, Ground(caches_at, sessions_at, (), ("shop",)))


@given(st.sampled_from(["", "cache", "a/b", "dev", "ci"]), st.sampled_from(["", "cache", "a", "a/b", "dev/ci", "ci"]))
def test_places_that_are_given_away_lie_apart(caches_at: str, sessions_at: str) -> None:
    try:
        found = territories(ADA, Ground(Layout(caches_at), Layout(sessions_at), (), ("shop",)))
    except ValueError:
        return
    folders = [f"{each.folder}/" for each in found]
    assert not [(one, other) for n, one in enumerate(folders) for other in folders[n + 1 :] if other.startswith(one)]
