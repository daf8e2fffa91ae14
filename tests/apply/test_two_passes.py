"""Two passes at once: every order of their steps where there are few, each interrupted anywhere where there are more,
and a fixed choice of all other orders (design section 5; docs/how-it-works.md, "Two pipelines at once")."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count, product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from reconciler.model.outcome import Outcome, Status
from reconciler.model.policy import Policy
from reconciler.model.pruning import PRUNING_TAG
from reconciler.plan.compare import Overrides
from reconciler.reconcile import Options, reconcile_once
from tests.commits import AMD64, APPLIED_TAG, ARM64, Commit, artifact
from tests.fakes import FakeRegistry, FakeSource, World, image
from tests.turns import Bursts, EveryOrder, LoopClock, Parked, Turns, who

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from reconciler.model.plan import Plan
    from reconciler.model.reference import Reference, Repository

SHARED_STEPS = frozenset({"look", "look content", "tag", "content tag", "announced", "applied", "read back"})
"""Steps at which something is read or written that another pass may write or read: tags. All else is content by its
digest, which never changes, or a pass's own."""
CONTENT_STEPS = frozenset({"look content", "content tag"})
"""Those that passes on different commits do not share: other inputs, other content tags."""
FEWEST_STEPS = frozenset({"look", "tag", "applied"})
SWITCHES = 5
"""Of all orders those in which one pass cuts in on another so often."""
TO_THE_END = 10**6
CONFIG = b'"lines":'
"""What stands in every image's config here, and in nothing else."""
GOOD = {Status.DONE, Status.NONE}


@dataclass(frozen=True)
class Move:
    """A tag that was pointed somewhere, when, and what whoever did it had last seen there, when."""

    moment: int
    who: str
    repository: Repository
    tag: str
    old: Digest | None
    new: Digest
    looked: int
    seen: Digest | None

    @property
    def knowing(self) -> bool:
        """It named another image before, and whoever moved it knew."""
        return self.old is not None and self.old != self.new and self.seen == self.old


class WatchedTags(dict[tuple[Any, str], Digest]):
    """Tags that tell of every move."""

    def __init__(self, registry: WatchedRegistry) -> None:
        super().__init__()
        self.registry = registry

    def __setitem__(self, key: tuple[Any, str], digest: Digest) -> None:
        self.registry.moved(*key, self.get(key), digest)
        super().__setitem__(key, digest)


class WatchedRegistry(FakeRegistry):
    """Remembers who looked at which tag, and who moved it."""

    def __init__(self, points: Turns) -> None:
        super().__init__(points)
        self.tags = WatchedTags(self)
        self.moment = 0
        self.looks: dict[tuple[str, Any, str], tuple[int, Digest | None]] = {}
        self.moves: list[Move] = []

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        await self.points.at(self._kind({r.tag or "" for r in references}))
        self.moment += 1
        for reference in references:
            if reference.tag:
                named = self.tags.get((reference.repository, reference.tag))
                self.looks[who(), reference.repository, reference.tag] = (self.moment, named)
        return {reference: self._head(reference) for reference in references}

    @staticmethod
    def _kind(tags: set[str]) -> str:
        if tags == {PRUNING_TAG}:
            return "look at announcement"
        others = {tag for tag in tags if tag == APPLIED_TAG or not tag.startswith("lian-")} - {""}
        return "look" if others else "look content"

    def moved(self, repository: Repository, tag: str, old: Digest | None, new: Digest) -> None:
        """A tag is about to be set."""
        self.moment += 1
        looked, seen = self.looks.get((who(), repository, tag), (0, None))
        self.moves.append(Move(self.moment, who(), repository, tag, old, new, looked, seen))


@dataclass(repr=False)
class Scene:
    """The commits of the passes, and what was there before them."""

    commits: dict[str, Commit]
    newest: str
    before: tuple[Commit, ...] = ()
    reproducible: bool = True
    knows: bool = False
    """The clone of the older pass holds the newer commit."""
    foreign: tuple[str, ...] = ()
    """Tags of the newest commit's artifacts that point at an image that nobody of the fleet made."""
    broken: bool = False
    """The configs of all images that were there are gone."""
    held: frozenset[str] = frozenset()
    """Artifacts of the newest commit that its pass may hold."""
    state: tuple[Any, ...] = ()
    """The registry as it was before; made once."""
    judged: set[Any] = field(default_factory=set)
    """Ends that were seen to be good."""

    def __repr__(self) -> str:
        commits = {name: (c.revision[:4], [str(a.name) for a in c.artifacts]) for name, c in self.commits.items()}
        before = [c.revision[:4] for c in self.before]
        return f"{commits}, {before=}, {self.reproducible=}, {self.knows=}, {self.foreign=}"

    @property
    def one_commit(self) -> bool:
        """All passes are on one commit."""
        return len({commit.revision for commit in self.commits.values()}) == 1

    @property
    def one_image(self) -> bool:
        """Nobody can have built on another image than the others: only children of what is built twice may."""
        return self.reproducible or not any(a.parents for a in self.commits[self.newest].artifacts)

    def older(self, name: str) -> bool:
        """Whether that is the pass of an ancestor of the newest commit."""
        return name in self.commits and self.commits[name].revision in self.commits[self.newest].before


class Stage:
    """Where a scene is played."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        folder.mkdir()
        self.scene, self.folder, self.turns = scene, folder, Turns()
        self.newest = scene.commits[scene.newest]
        self.world = World(self.newest, folder)
        self.registry = WatchedRegistry(self.turns)
        self.world.registry = self.world.builder.registry = self.registry
        self.world.compute.points = self.world.builder.points = self.turns
        self.world.builder.reproducible = scene.reproducible
        self.world.clock = LoopClock()
        self.foreigners: set[Digest] = set()
        self._passes: Iterator[int] = count()
        self._prepare()

    def _prepare(self) -> None:
        """Have there what was there before."""
        registry = self.registry
        if not self.scene.state:
            for commit in self.scene.before:
                self.alone(commit, older=True)
            self.scene.state = (dict(registry.blobs), dict(registry.manifests), dict(registry.tags))
        blobs, manifests, tags = self.scene.state
        registry.blobs.update(blobs)
        if self.scene.broken:
            registry.blobs = {key: data for key, data in blobs.items() if CONFIG not in data}
        registry.manifests.update(manifests)
        registry.tags.update(tags)
        for a in self.newest.artifacts:
            for tag in set(self.scene.foreign) & set(a.tags):
                self.push_foreign(a.image, tag)
        registry.moves.clear()

    def push_foreign(self, repository: Repository, tag: str) -> None:
        """Someone who knows nothing of lian pushes an image."""
        config = f"foreign {repository}:{tag}".encode()
        self.registry.blobs[repository, Digest.of(config)] = config
        manifest = image(config)
        self.registry.put(repository, manifest)
        self.registry.tags[repository, tag] = manifest.digest
        self.foreigners.add(manifest.digest)

    def a_pass(self, commit: Commit, *, older: bool = False) -> Coroutine[Any, Any, tuple[Plan, Outcome]]:
        """One pass, ready to run."""
        source = FakeSource(commit, self.turns)
        if self.scene.knows:
            source.descendants = {c.revision for c in self.scene.commits.values() if commit.revision in c.before}
        pass_id = f"pass{next(self._passes)}"
        ports = replace(self.world.ports(), source=source, logs=self.folder / f"logs-{pass_id}", pass_id=pass_id)
        return reconcile_once(ports, Options(overrides=Overrides(older=older)))

    def alone(self, commit: Commit, *, older: bool = False) -> Outcome:
        """One pass that nobody disturbs."""
        self.turns.choose, self.turns.only = Bursts([]), ()
        ended = self.turns.run({"alone": self.a_pass(commit, older=older)})["alone"]
        if isinstance(ended, BaseException):
            raise ended
        return ended[1]

    def play(
        self, choose: Any, kill: tuple[str, int] | None = None, only: Collection[str] | None = None
    ) -> dict[str, Outcome | None]:
        """All passes at once; how each ended, None for the one that was killed. Only at some steps do they wait for
        one another."""
        steps = SHARED_STEPS if self.scene.one_commit else SHARED_STEPS - CONTENT_STEPS
        self.turns.steps.clear()
        self.turns.choose, self.turns.kill, self.turns.only = choose, kill, steps if only is None else only
        ends = self.turns.run({name: self.a_pass(commit) for name, commit in self.scene.commits.items()})
        self.turns.kill = None
        for end in ends.values():
            if isinstance(end, Exception):
                raise end
        return {name: None if isinstance(end, BaseException) else end[1] for name, end in ends.items()}

    def tag(self, tag: str = "latest") -> Digest | None:
        """What a tag of the one artifact names."""
        return self.world.tag(self.newest.artifacts[0].image, tag)

    # -- what must hold -------------------------------------------------------------------------------------------

    def judge(self, ends: Mapping[str, Outcome | None], order: object) -> None:
        """All of it; the last passes included. `order` is told if it does not."""
        try:
            self._judge(ends)
        except AssertionError as error:
            steps = "\n".join(map(str, [*self.turns.trace, *self.registry.moves]))
            raise AssertionError(f"{order}\n{steps}") from error

    def _judge(self, ends: Mapping[str, Outcome | None]) -> None:
        moves = self.registry.moves
        assert not [m for m in moves if m.knowing and self.newest.policy.immutable(m.tag)]
        assert not [m for m in moves if m.knowing and m.old in self.foreigners]
        lost = self.nothing_newer_was_rolled_back()
        assert not self.world.compute.out
        assert sorted(self.world.compute.returned) == sorted(r.lease for r in self.world.compute.rented)
        for outcome in ends.values():
            assert outcome is None or not [r for r in outcome.results if r.status is Status.FAILED], outcome
        at_once = not lost and self.settled(ends)
        left = (at_once, frozenset(self.registry.tags.items()), frozenset(self.registry.manifests))
        if left not in self.scene.judged:  # what more passes make of it is a function of what is there
            self.converges(at_once=at_once)
            self.scene.judged.add(left)

    def settled(self, ends: Mapping[str, Outcome | None]) -> bool:
        """Whether all tags must be right already: nobody was killed, and the newest commit's pass had something to do
        everywhere, so that its documents are there (a pass that changes nothing writes nothing)."""
        newest = ends[self.scene.newest]
        if newest is None or None in ends.values():
            return False
        moved = all(result.status is Status.DONE for result in newest.results)
        return self.scene.one_image and (self.scene.one_commit or moved)

    def nothing_newer_was_rolled_back(self) -> bool:
        """Once the newest commit's document is there, no other pass of its line moves a tag that it looks at after
        that, unless the document was lost to someone who had not seen it. True if it was."""
        written: dict[Any, int] = {}
        lost = set()
        for move in self.registry.moves:
            where = move.repository
            if move.tag == APPLIED_TAG and move.who == self.scene.newest:
                if move.old is None or not self.registry.announces(where, move.old, move.new):
                    written.setdefault(where, move.moment)
            elif move.tag == APPLIED_TAG and where in written and move.seen != move.old:
                lost.add(where)
            elif not move.tag.startswith("lian-") and self.scene.older(move.who) and where not in lost:
                after = move.looked > written.get(where, move.looked)
                assert not after or self.gives_back(move), move
        return bool(lost)

    def gives_back(self, move: Move) -> bool:
        """Whether a tag is moved to where the newest pass had it."""
        return any(m.who == self.scene.newest and (m.tag, m.new) == (move.tag, move.new) for m in self.registry.moves)

    def converges(self, *, at_once: bool) -> None:
        """One more pass of the newest commit makes all good, and finds all good if that must be so `at_once`; the one
        after has nothing to do."""
        statuses = {str(r.artifact): r.status for r in self.alone(self.newest).results}
        held = {name for name, status in statuses.items() if status is Status.HELD}
        assert set(statuses.values()) - {Status.HELD} <= ({Status.NONE} if at_once else GOOD), statuses
        assert held <= self.scene.held
        journal = list(self.registry.journal)
        after = self.alone(self.newest)
        assert {r.status for r in after.results} <= {Status.NONE, *([Status.HELD] if held else [])}
        assert self.registry.journal == journal
        ended = {result.artifact: result.digest for result in after.results}
        for a in self.newest.artifacts:
            assert str(a.name) in held or {self.world.tag(a.image, tag) for tag in a.tags} == {ended[a.name]}


def files(*names: str) -> dict[str, bytes]:
    """Two files for each artifact."""
    return {f"{n}/Dockerfile": b"FROM scratch\n" for n in names} | {f"{n}/app": n.encode() for n in names}


def branch(commit: Commit, name: str, tags: tuple[str, ...], edit: dict[str, bytes]) -> Commit:
    """A commit on a branch of its own, that wants tags of its own."""
    artifacts = tuple(replace(a, tags=tags) for a in commit.artifacts)
    return replace(commit.changed(edit, artifacts=artifacts), revision=Digest.of(name.encode()).hex[:40])


ONE = Commit((artifact("shop/api"),), files("shop/api"))
PLATFORMS = replace(ONE, artifacts=(artifact("shop/api", platforms=(AMD64, ARM64)),))
VERSIONS = Commit(
    (artifact("shop/api", tags=("1.0", "latest")),), files("shop/api"), policy=Policy(immutable_tags=("1.*",))
)
TWO = artifact("shop/two", image="shop/all", tags=("two",))
SHARED = Commit((artifact("shop/one", image="shop/all", tags=("extra", "one")), TWO), files("shop/one", "shop/two"))
"""Two artifacts in one repository."""


def line(old: Commit, new: Commit, **more: Any) -> Scene:
    """An older and a newer commit of one line."""
    assert old.revision in new.before
    return Scene({"old": old, "new": new}, "new", **more)


def same(commit: Commit, **more: Any) -> Scene:
    """Two passes on one commit."""
    return Scene({"a": commit, "b": commit}, "b", **more)


OLD = ONE.changed({"shop/api/app": b"old"})
NEW = OLD.changed({"shop/api/app": b"new"})
_TWO_OLD = SHARED.changed({"shop/one/app": b"old", "shop/two/app": b"old"})
_TWO_NEW = _TWO_OLD.changed(
    {"shop/one/app": b"new", "shop/two/app": b"new"}, artifacts=(replace(SHARED.artifacts[0], tags=("one",)), TWO)
)
_X0, _Y0 = (branch(ONE, name, (name,), {}) for name in "xy")
_X, _Y = _X0.changed({"shop/api/app": b"x"}), _Y0.changed({"shop/api/app": b"y"})
_NEXT_Y = _Y.changed({"shop/api/app": b"next y"})
_NEW_VERSION = VERSIONS.changed({"shop/api/app": b"new"}, artifacts=(artifact("shop/api", tags=("1.1", "latest")),))
_NO_VERSION = VERSIONS.changed({"shop/api/app": b"new"})
_BUILT = (ONE.changed({"shop/api/app": b"new"}), ONE)
_API = frozenset({"shop/api"})

SCENES = {
    "same": same(ONE),
    "same, not reproducible": same(ONE, reproducible=False),
    "same, not reproducible, a tag that must not move": same(VERSIONS, reproducible=False),
    "same, not reproducible, two platforms": same(PLATFORMS, reproducible=False),
    "same, not reproducible, broken": same(ONE, reproducible=False, before=(ONE,), broken=True),
    "older": line(OLD, NEW, before=(OLD, NEW, ONE)),
    "older, known to its clone": line(OLD, NEW, before=(OLD, NEW, ONE), knows=True),
    "older, and a revert": line(OLD, OLD.changed(ONE.files), before=(OLD, ONE)),
    "older, two in a repository": line(_TWO_OLD, _TWO_NEW, before=(_TWO_OLD, _TWO_NEW, SHARED)),
    "older, and a new version": line(VERSIONS, _NEW_VERSION, before=_BUILT),
    "older, and no new version": line(VERSIONS, _NO_VERSION, before=_BUILT, held=_API),
    "older, foreign": line(OLD, NEW, foreign=("latest",), held=_API),
    "branches": Scene({"x": _X, "y": _Y}, "y", before=(_X, _Y, _X0, _Y0)),
    "branches, one older": Scene({"old": _Y, "x": _X, "new": _NEXT_Y}, "new", before=(_X, _Y, _NEXT_Y, _X0, _Y0)),
}


@pytest.mark.parametrize("name", SCENES)
def test_each_pass_is_interrupted_anywhere(name: str, tmp_path: Path) -> None:
    """One makes some steps, then another some, then each goes on to its end: half of such orders of two passes, and of
    three a quarter, with each number of steps of each."""
    scene = SCENES[name]
    counted = Stage(scene, tmp_path / "counted")
    counted.play(Bursts([]))
    steps = max(counted.turns.steps.values()) + 1
    pairs = [pair for pair in product(scene.commits, repeat=2) if pair[0] != pair[1]]
    if scene.one_commit:
        pairs = pairs[:1]  # the other is its mirror image
    share = 4 if len(scene.commits) > 2 else 2
    for number, ((first, second), i, j) in enumerate(product(pairs, range(steps), range(1, steps))):
        if (i + j) % share:
            continue
        stage = Stage(scene, tmp_path / f"{number}")
        order = [(first, i), (second, j), (first, TO_THE_END), (second, TO_THE_END)]
        stage.judge(stage.play(Bursts(order.copy())), order)


class TogetherFrom:
    """A chooser that lets everybody come to a step of this name, and then another chooser choose. From there on they
    wait for one another at the steps of `only`."""

    def __init__(self, stage: Stage, step: str, then: EveryOrder, only: Collection[str]) -> None:
        self.stage, self.step, self.then, self.only = stage, step, then, only
        self.there: set[str] = set()

    def __call__(self, parked: Sequence[Parked]) -> int:
        self.there |= {call.who for call in parked if call.point == self.step}
        for number, call in enumerate(parked):
            if call.who not in self.there:
                return number
        self.stage.turns.only = self.only
        return self.then(parked)


def _both_look(one: Parked, other: Parked) -> bool:
    return one.point == other.point == "look"


@pytest.mark.parametrize("name", ["older", "branches"])
def test_tags_move_in_every_order(name: str, tmp_path: Path) -> None:
    """All orders of all looks and moves with at most SWITCHES, from where both passes are about to tell what they will
    do."""
    scene, orders, runs = SCENES[name], EveryOrder(_both_look, SWITCHES), 0
    while True:
        stage = Stage(scene, tmp_path / f"{runs}")
        choose = TogetherFrom(stage, "announced", orders, FEWEST_STEPS)
        stage.judge(stage.play(choose, only=SHARED_STEPS), orders)
        runs += 1
        if not orders.again():
            break


MANY = Commit(
    (
        artifact("shop/base"),
        artifact("shop/api", contexts={"base": "artifact:shop/base"}, tags=("latest", "1.0")),
        *SHARED.artifacts,
        artifact("web/site", platforms=(AMD64, ARM64), checks=("test",)),
    ),
    files("shop/base", "shop/api", "shop/one", "shop/two", "web/site") | {"shop/api/Dockerfile": b"FROM base\n"},
)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Two or three passes on one commit, on a line of commits, or on a line and a branch; some of their artifacts
    differ, some stand on tags that others pushed."""
    edits = st.dictionaries(st.sampled_from([f"{a.name}/app" for a in MANY.artifacts]), st.just(b""), max_size=3)

    def after(commit: Commit) -> Commit:
        return commit.changed({path: commit.revision[:7].encode() for path in draw(edits)})

    start = replace(MANY, artifacts=tuple(draw(st.permutations(MANY.artifacts))[: draw(st.integers(1, 3))]))
    if any(a.parents for a in start.artifacts):
        start = replace(start, artifacts=tuple({a.name: a for a in (MANY.artifacts[0], *start.artifacts)}.values()))
    old = after(start)
    new = after(old)
    kind = draw(st.sampled_from(["same", "line", "three", "branch"]))
    commits = {"a": new, "b": new} if kind == "same" else {"old": old, "new": new}
    if kind == "three":
        commits = {"oldest": start, **commits}
    if kind == "branch":
        theirs = replace(after(start), revision="b" * 40)
        commits["other"] = replace(theirs, artifacts=tuple(replace(a, tags=("other",)) for a in theirs.artifacts))
    before = draw(st.sampled_from([(), (start,), (old, new, start), (new, start)]))
    foreign = draw(st.sampled_from([(), (), ("one",), ("latest",)]))
    held = {str(a.name) for a in new.artifacts if set(a.tags) & set(foreign)}
    held |= {str(a.name) for a in new.artifacts if held & {str(p) for p in a.parents}}
    return Scene(
        commits,
        "b" if kind == "same" else "new",
        before,
        reproducible=draw(st.booleans()),
        knows=draw(st.booleans()),
        foreign=foreign,
        held=frozenset(held),
    )


@settings(derandomize=True, max_examples=150)
@given(st.data())
def test_any_order_and_anybody_killed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Long runs of one, then of another; every port call is a step; one of them may be killed at any."""
    scene = data.draw(scenes())
    names = st.sampled_from(sorted(scene.commits))
    order = data.draw(st.lists(st.tuples(names, st.integers(1, 60)), max_size=8))
    kill = data.draw(st.none() | st.tuples(names, st.integers(0, 120)))
    stage = Stage(scene, tmp_path_factory.mktemp("stage") / "stage")
    stage.judge(stage.play(Bursts(order.copy()), kill, only=()), (order, kill))


# -- the window that is left ------------------------------------------------------------------------------------------


def steps_until(point: str, folder: Path) -> int:
    """How many steps the older pass makes before the first of this name."""
    stage = Stage(SCENES["older"], folder)
    stage.play(Bursts([("old", TO_THE_END)]))
    return [step for name, step in stage.turns.trace if name == "old"].index(point)


def test_a_newer_pass_between_the_last_look_and_the_move_is_given_way_to(tmp_path: Path) -> None:
    """No registry compares and swaps. What the older pass moves over the newer one's tag it puts back."""
    stage, look = Stage(SCENES["older"], tmp_path / "stage"), steps_until("tag", tmp_path / "counted")
    before = stage.tag()
    ends = stage.play(Bursts([("old", look), ("new", TO_THE_END)]))
    told = ends["old"].results[0] if ends["old"] else None
    assert told is not None
    assert (told.status, told.problem and told.problem.code) == (Status.HELD, "superseded")
    latest = [(m.who, m.old, m.new) for m in stage.registry.moves if m.tag == "latest"]
    new = ends["new"].results[0].digest if ends["new"] else None
    assert [(name, old) for name, old, _ in latest] == [("new", before), ("old", new), ("old", latest[1][2])]
    assert stage.tag() == latest[2][2] == new


def test_one_that_is_killed_in_that_moment_leaves_the_older_image_to_the_next_pass(tmp_path: Path) -> None:
    """The race that remains (ADR 031): one request wide, and only if whoever runs into it does not come to its end."""
    stage, look = Stage(SCENES["older"], tmp_path / "stage"), steps_until("tag", tmp_path / "counted")
    ends = stage.play(Bursts([("old", look), ("new", TO_THE_END)]), kill=("old", look + 1))
    new = ends["new"].results[0].digest if ends["new"] else None
    assert ends["old"] is None
    assert (ends["new"].results[0].status if ends["new"] else None) is Status.DONE
    assert stage.tag() != new, "rolled back"
    healed = stage.alone(stage.newest)
    assert [(r.action.value, r.status) for r in healed.results] == [("retag", Status.DONE)]
    assert stage.tag() == new
