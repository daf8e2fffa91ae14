"""A registry and a fleet in memory: who wrote what, and what it was made from.

The registry gives every account the rights that the room says, and nothing else. The fleet does with it what lian does,
each step under the credential of who does it, and looks after each step whether the promises hold. What it expects is
said here once more, in other words than the room's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.rights import Ground, Right
from reconciler.cache.rules import Generation, Slot
from reconciler.model.access import Access, ActorAccess
from reconciler.model.cache import BuildMode, Ci, Session
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.cache.rights import Territory
    from tests.cache.rooms import Room

HOST = "registry.example:5000"
CACHE, SESSION_IMAGE, PRODUCT = "cache", "session image", "product"
KINDS = (CACHE, SESSION_IMAGE, PRODUCT)
PULL, ALL, NONE = frozenset({Right.PULL}), frozenset(Right), frozenset[Right]()
STRANGER = "mallory"

T = TypeVar("T")


class Refused(Exception):
    """The registry does not let an account do something."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tag holds: the builder that wrote it, and the namespaces of all whose work is in it."""

    number: int
    writer: str
    tainted_by: frozenset[Namespace]


Place = tuple[str, str]
"""A repository's path, and a tag."""
Home = tuple[str, Namespace, str]
"""What a repository is for: a kind, whose, and which artifact's."""


class ModelRegistry:
    """Repositories that an account reads and writes as the territories say, and the room, what lies in one."""

    def __init__(self, territories: Iterable[Territory], lies_in: Callable[[str, Territory], bool]) -> None:
        self._territories = tuple(territories)
        self._lies_in = lies_in
        self._rights: dict[Place, frozenset[Right]] = {}
        self.contents: dict[Place, Entry] = {}
        self.touched: set[Place] = set()

    def may(self, account: str, path: str) -> frozenset[Right]:
        """All that the account may do with a repository."""
        found = self._rights.get((account, path))
        if found is None:
            given = [each.of(account) for each in self._territories if self._lies_in(path, each)]
            found = self._rights[account, path] = NONE.union(*given)
        return found

    def pull(self, account: str, place: Place) -> Entry | None:
        """What a tag holds. Raises Refused."""
        self._demand(account, place, Right.PULL)
        return self.contents.get(place)

    def push(self, account: str, place: Place, entry: Entry) -> None:
        """Raises Refused."""
        self._demand(account, place, Right.PUSH)
        self.contents[place] = entry
        self.touched.add(place)

    def delete(self, account: str, place: Place) -> None:
        """Raises Refused."""
        self._demand(account, place, Right.DELETE)
        if self.contents.pop(place, None) is not None:
            self.touched.add(place)

    def _demand(self, account: str, place: Place, right: Right) -> None:
        if right not in self.may(account, place[0]):
            raise Refused(f"{account} may not {right} {place[0]}")


@dataclass(frozen=True, eq=False)
class World:
    """A fleet's settings: where things lie, who there is, and the workspaces of each actor (None: all)."""

    name: str
    caches: Layout
    sessions: Layout
    actors: Mapping[str, tuple[str, ...] | None]
    workspaces: tuple[str, ...]
    artifacts: tuple[str, ...] = ("api", "a-b")
    platforms: tuple[Platform, ...] = (Platform("linux", "amd64"), Platform("linux", "arm", "v7"))

    @cached_property
    def access(self) -> Access:
        """Everyone has one account of his own name."""
        return Access(("ci",), {a: ActorAccess((f"{a}@registry",), only) for a, only in self.actors.items()})

    @cached_property
    def ground(self) -> Ground:
        """All of it."""
        products = [(w, self.product(w, a)) for w in self.workspaces for a in self.artifacts]
        return Ground(self.caches, self.sessions, tuple(products), self.workspaces)

    @cached_property
    def modes(self) -> tuple[BuildMode, ...]:
        """All that build."""
        return (Ci(), *map(Session, self.actors))

    @cached_property
    def accounts(self) -> tuple[str, ...]:
        """All that log in, and one that nobody knows."""
        return (*map(self.account, self.modes), STRANGER)

    @cached_property
    def namespaces(self) -> tuple[Namespace, ...]:
        """All that can be spoken of."""
        return tuple(Namespace(w, a) for w in self.workspaces for a in (None, *self.actors))

    def account(self, mode: BuildMode) -> str:
        """The one of a builder."""
        return "ci" if isinstance(mode, Ci) else f"{mode.actor}@registry"

    def admits(self, mode: BuildMode, workspace: str) -> bool:
        """Whether the builder builds in a workspace."""
        only = None if isinstance(mode, Ci) else self.actors[mode.actor]
        return only is None or workspace in only

    def product(self, workspace: str, artifact: str) -> str:
        """Where its image lies."""
        return "/".join(filter(None, (self.sessions.prefix, workspace, artifact)))

    def promised(self, account: str, kind: str, of: Namespace) -> frozenset[Right]:
        """What the design lets an account do."""
        mode = next((mode for mode in self.modes if self.account(mode) == account), None)
        if mode is None or not self.admits(mode, of.workspace):
            return NONE
        mine = getattr(mode, "actor", None)
        if kind == PRODUCT:
            return ALL if mine is None else PULL
        if mine == of.actor:
            return ALL if kind == CACHE or mine is not None else NONE
        return PULL if kind == CACHE and of.is_ci else NONE


def own(mode: BuildMode, workspace: str) -> Namespace:
    """The namespace that is the builder's."""
    return Namespace(workspace, getattr(mode, "actor", None))


@dataclass
class Fleet:
    """Builders at work on one registry. Every method that is a step says how it ended and checks the promises; one that
    is broken is an AssertionError."""

    room: Room
    world: World
    counts: Counter[str] = field(default_factory=Counter)
    """How the steps ended."""

    def __post_init__(self) -> None:
        found = self.room.territories(self.world.access, self.world.ground)
        self.registry = ModelRegistry(found, self.room.lies_in)
        self.homes: dict[str, Home] = {}
        self.sessions: set[tuple[str, str]] = set()
        self._numbers = 0

    # -- steps -----------------------------------------------------------------------------------------------------

    def build(self, mode: BuildMode, workspace: str, artifact: str, platform: Platform, mounts: bool) -> None:
        """A build with the caches that the rules give it."""
        if isinstance(mode, Session):
            self.sessions.add((mode.actor, workspace))
        done = self._try(lambda: self._built(mode, workspace, artifact, platform, mounts=mounts))
        assert done == self.world.admits(mode, workspace), f"{mode} builds {workspace}: {'done' if done else 'refused'}"
        self._check("build", "done" if done else "refused", self._territory_of(mode, workspace))

    def build_with(self, mode: BuildMode, slot: Slot, workspace: str, elsewhere: str) -> None:
        """A build that is asked to read a cache (`--cache-from`)."""
        admitted = self._admitted(self.room.admit_import, mode, slot, workspace, elsewhere)
        right = not elsewhere and slot.namespace in {own(mode, workspace), Namespace(workspace)}
        assert (admitted is not None) == right, f"{mode} of {workspace} asks for {slot}, {elsewhere or 'here'}"
        done = admitted is not None and self._try(
            lambda: self._built(mode, workspace, slot.artifact, slot.platform, asked=admitted)
        )
        assert done == (right and self.world.admits(mode, workspace))
        self._check("cache-from", "done" if done else "refused", self._territory_of(mode, workspace) if done else ())

    def build_into(self, mode: BuildMode, slot: Slot, workspace: str, elsewhere: str) -> None:
        """A build that is asked to write a cache (`--cache-to`)."""
        admitted = self._admitted(self.room.admit_export, mode, slot, workspace, elsewhere)
        right = not elsewhere and slot.namespace == own(mode, workspace)
        assert (admitted is not None) == right, f"{mode} of {workspace} asks for {slot}, {elsewhere or 'here'}"
        done = admitted is not None and self._try(
            lambda: self._built(mode, workspace, slot.artifact, slot.platform, into=admitted)
        )
        assert done == (right and self.world.admits(mode, workspace))
        self._check("cache-to", "done" if done else "refused", self._territory_of(mode, workspace) if done else ())

    def start(self, actor: str, workspace: str) -> None:
        """A session begins; nothing is written."""
        self.sessions.add((actor, workspace))
        self._check("start", "done", ())

    def discard(self, actor: str, workspace: str) -> None:
        """A session ends and what is its goes."""
        mode = Session(actor)
        if (actor, workspace) not in self.sessions or not self.world.admits(mode, workspace):
            return self._check("discard", "no session", ())
        self.sessions.discard((actor, workspace))
        for layout in (self.world.caches, self.world.sessions):
            self._own(lambda layout=layout: self._delete(self.world.account(mode), layout, own(mode, workspace)))
        left = [p for p in self.registry.contents if self.homes[p[0]][:2] in self._territory_of(mode, workspace)]
        assert not left, f"{left} are left of {mode}'s {workspace}"
        return self._check("discard", "done", self._territory_of(mode, workspace))

    def rollback(self, actor: str, workspace: str) -> None:
        """A session takes up what its builds before the last ones kept."""
        mode = Session(actor)
        if (actor, workspace) not in self.sessions or not self.world.admits(mode, workspace):
            return self._check("rollback", "no session", ())
        account, kept = self.world.account(mode), 0
        for artifact in self.world.artifacts:
            for platform in self.world.platforms:
                latest = self.room.export(mode, workspace, artifact, platform)
                place, aside = self._at(latest), self._at(self.room.previous(latest))
                if (found := self._own(lambda aside=aside: self.registry.pull(account, aside))) is not None:
                    self._own(lambda place=place, found=found: self.registry.push(account, place, found))
                    kept += 1
        return self._check("rollback", "done" if kept else "nothing", self._territory_of(mode, workspace))

    def promote(self, actor: str, slot: Slot) -> None:
        """A session's work is exported: CI builds it from a commit, and nothing is copied."""
        workspace = slot.namespace.workspace
        if (actor, workspace) not in self.sessions:
            return self._check("export", "no session", ())
        made = slot._replace(namespace=Namespace(workspace, actor), generation=Generation.LATEST)
        source = self.room.promoted_from(made)
        copied = self.registry.contents.get(self._at(source)) if source else None
        if copied is None:
            self._own(lambda: self._built(Ci(), workspace, slot.artifact, slot.platform))
        else:
            target = self._at(self.room.export(Ci(), workspace, slot.artifact, slot.platform))
            self._own(lambda: self.registry.push("ci", target, replace(copied, writer="ci")))
        return self._check("export", "done", self._territory_of(Ci(), workspace))

    def drop(self, mode: BuildMode, namespace: Namespace) -> None:
        """A namespace is deleted under somebody's credential: the owner's, or it is refused as soon as there is
        anything to delete."""
        mine = namespace == own(mode, namespace.workspace) and self.world.admits(mode, namespace.workspace)
        held = self._held(namespace)
        done = self._try(lambda: self._delete(self.world.account(mode), self.world.caches, namespace))
        assert done or not mine, f"{mode} cannot delete {namespace}, which is his own"
        assert mine or not held or not done, f"{mode} deleted {namespace}"
        assert not (mine and self._held(namespace)), f"{namespace} is deleted and still there"
        how = ("done" if mine else "refused") if held else "nothing"
        self._check("delete", how, {(CACHE, namespace)} if mine else ())

    def prune(self, mode: BuildMode, workspace: str, age: int) -> None:
        """What is older goes, of the builder's own."""
        old = [
            place
            for place, entry in self.registry.contents.items()
            if entry.number < self._numbers - age and self.room.taken(self.world.caches, own(mode, workspace), place[0])
        ]
        for place in old:
            self._own(lambda place=place: self.registry.delete(self.world.account(mode), place))
        self._check("prune", "done" if old else "nothing", {(CACHE, own(mode, workspace))})

    def attempt(self, account: str, right: Right, kind: str, slot: Slot) -> None:
        """Someone goes past lian and asks the registry itself."""
        if kind == PRODUCT:
            slot = slot._replace(namespace=Namespace(slot.namespace.workspace))
        elif kind == SESSION_IMAGE and slot.namespace.is_ci:
            slot = slot._replace(namespace=replace(slot.namespace, actor=next(iter(self.world.actors))))
        promised = right in self.world.promised(account, kind, slot.namespace)
        place = self._place(kind, slot)
        allowed = self._try(lambda: self._do(account, right, place, slot.namespace.workspace))
        assert allowed == promised, f"{account} may{'' if allowed else ' not'} {right} {kind} of {slot.namespace}"
        changes = promised and right is not Right.PULL
        self._check(f"bare {right}", "done" if allowed else "refused", {(kind, slot.namespace)} if changes else ())

    # -- what they are made of -------------------------------------------------------------------------------------

    def _built(
        self,
        mode: BuildMode,
        workspace: str,
        artifact: str,
        platform: Platform,
        *,
        mounts: bool = False,
        asked: Place | None = None,
        into: Place | None = None,
    ) -> None:
        account, registry = self.world.account(mode), self.registry
        build = (mode, workspace, artifact, platform)
        read = [self._at(slot) for slot in self.room.imports(*build)] + ([asked] if asked else [])
        entry = self._entry(mode, workspace, [registry.pull(account, place) for place in read])
        exported = self.room.export(*build)
        found = registry.pull(account, self._at(exported))
        if found is not None:
            registry.push(account, self._at(self.room.previous(exported)), found)
        registry.push(account, self._at(exported), entry)
        if into is not None:
            registry.push(account, into, entry)
        if mounts:
            restored = [registry.pull(account, self._at(slot)) for slot in self.room.mounts_read(*build)]
            first = [next((each for each in restored if each), None)]
            saved = self._entry(mode, workspace, [entry, *first])
            registry.push(account, self._at(self.room.mounts_written(*build)), saved)
            entry = replace(entry, tainted_by=entry.tainted_by | saved.tainted_by)
        kind = PRODUCT if isinstance(mode, Ci) else SESSION_IMAGE
        image = self._place(kind, Slot(own(mode, workspace), artifact, platform))
        registry.push(account, image, entry)

    def _entry(self, mode: BuildMode, workspace: str, read: Iterable[Entry | None]) -> Entry:
        self._numbers += 1
        tainted = frozenset({own(mode, workspace)}).union(*(each.tainted_by for each in read if each))
        return Entry(self._numbers, str(mode), tainted)

    def _do(self, account: str, right: Right, place: Place, workspace: str) -> None:
        match right:
            case Right.PULL:
                self.registry.pull(account, place)
            case Right.PUSH:
                who = next(
                    (mode for mode in self.world.modes if self.world.account(mode) == account), Session(STRANGER)
                )
                self.registry.push(account, place, self._entry(who, workspace, ()))
            case Right.DELETE:
                self.registry.delete(account, place)

    def _delete(self, account: str, layout: Layout, namespace: Namespace) -> None:
        for place in [p for p in self.registry.contents if self.room.taken(layout, namespace, p[0])]:
            self.registry.delete(account, place)

    def _held(self, namespace: Namespace) -> list[Place]:
        return [place for place in self.registry.contents if self.homes[place[0]][:2] == (CACHE, namespace)]

    def _admitted(
        self, admit: Callable[..., Any], mode: BuildMode, slot: Slot, workspace: str, elsewhere: str
    ) -> Place | None:
        host = "elsewhere.example" if elsewhere == "another host" else HOST
        layout = Layout(f"{self.world.caches.prefix}2") if elsewhere == "another prefix" else self.world.caches
        place = Reference(Repository(host, self.room.repository(layout, slot.namespace, slot.artifact)), slot.tag)
        try:
            found = admit(str(place), mode, workspace, HOST, self.world.caches)
        except LianError as error:
            assert {problem.code for problem in error.problems} == {"cache-forbidden"}
            return None
        self._at(slot)
        return found.repository.path, found.tag

    def _at(self, slot: Slot) -> Place:
        return self._place(CACHE, slot)

    def _place(self, kind: str, slot: Slot) -> Place:
        """Where something lies; whose it is is kept, and must stay so."""
        of, artifact = slot.namespace, slot.artifact
        match kind:
            case "cache":
                path, tag = self.room.repository(self.world.caches, of, artifact), self.room.tag(slot)
            case "session image":
                path, tag = self.room.repository(self.world.sessions, of, artifact), "latest"
            case _:
                path, tag = self.world.product(of.workspace, artifact), "latest"
        home = self.homes.setdefault(path, (kind, of, artifact))
        assert home == (kind, of, artifact), f"{path} is {home}'s and {(kind, of, artifact)}'s"
        return path, tag

    def _territory_of(self, mode: BuildMode, workspace: str) -> set[tuple[str, Namespace]]:
        """All that a builder may change."""
        kind = PRODUCT if isinstance(mode, Ci) else SESSION_IMAGE
        return {(CACHE, own(mode, workspace)), (kind, own(mode, workspace))}

    def _try(self, what: Callable[[], object]) -> bool:
        try:
            what()
        except Refused:
            return False
        return True

    def _own(self, what: Callable[..., T]) -> T:
        """What a builder does with its own is never refused."""
        try:
            return what()
        except Refused as error:
            raise AssertionError(f"refused to its owner: {error}") from error

    # -- promises --------------------------------------------------------------------------------------------------

    def _check(self, step: str, how: str, changeable: Iterable[tuple[str, Namespace]]) -> None:
        """After every step: it changed nothing but what it may, and what is CI's is CI's work through and through."""
        self.counts[f"{step}: {how}"] += 1
        allowed = set(changeable)
        for place in self.registry.touched:
            assert self.homes[place[0]][:2] in allowed, f"{step} changed {place}, which is {self.homes[place[0]]}'s"
        self.registry.touched.clear()
        for place, entry in self.registry.contents.items():
            _, of, _ = self.homes[place[0]]
            assert entry.writer == ("ci" if of.actor is None else f"session of {of.actor}"), f"{place}: {entry}"
            if len(entry.tainted_by) > 1 or of not in entry.tainted_by:
                foreign = entry.tainted_by - {of, Namespace(of.workspace)}
                assert not foreign, f"{place} holds work of {', '.join(map(str, foreign))}"


def slots(world: World) -> Iterator[Slot]:
    """Every place that can be spoken of."""
    for namespace in world.namespaces:
        for artifact in world.artifacts:
            for platform in world.platforms:
                yield from (Slot(namespace, artifact, platform, generation) for generation in Generation)
