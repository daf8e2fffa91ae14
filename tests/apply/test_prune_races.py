"""A prune while others push, and while another prune is at work: nothing that a pass says it has done is ever lost, and
what a killed prune leaves is found by the next (ADR 032 and 047)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count, product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from reconciler.model.outcome import Outcome, Status
from reconciler.model.policy import Policy, PrunePolicy
from reconciler.model.pruning import PRUNING_TYPE
from reconciler.model.removal import Pruned, PruneStatus
from reconciler.model.stock import of_lian
from reconciler.prune.once import prune_once
from reconciler.prune.plan import PruneOptions, plan_prune
from reconciler.reconcile import Options, reconcile_once
from tests.commits import AMD64, APPLIED_TAG, ARM64, Commit, artifact
from tests.fakes import FakeRegistry, FakeSource, World
from tests.turns import Bursts, LoopClock, Turns, who

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.manifest import Manifest
    from reconciler.model.reference import Repository

DAY = 86_400.0
_GOOD = {PruneStatus.DONE, PruneStatus.NONE, PruneStatus.HELD}
SHARED = frozenset(
    {"heads", "list", "tag", "content tag", "applied", "untag", "delete", "publish manifest", "publish record"}
)
"""Points before which something is read or written that a prune and a pass may both change."""
KEEP_LITTLE = Policy(prune=PrunePolicy(keep_last=0, min_age=3600))


def files(*names: str, text: str = "1") -> dict[str, bytes]:
    return {f"{n}/Dockerfile": b"FROM scratch\n" for n in names} | {f"{n}/app": f"{n}{text}".encode() for n in names}


def lineage(first: Commit, *edits: dict[str, bytes]) -> list[Commit]:
    found = [first]
    for edit in edits:
        found.append(found[-1].changed(edit))
    return found


@dataclass
class Scene:
    """What was applied before, in this order, a month ago; what the prune takes for wanted; what passes want now."""

    before: Sequence[Commit]
    wanted: Commit
    passes: Mapping[str, Commit] = field(default_factory=dict)
    prunes: int = 1
    state: tuple[dict[Any, Any], ...] = ()


def scenes() -> dict[str, Scene]:
    """Each has something to prune that a pass comes to want."""
    one = Commit((artifact("shop/api"),), files("shop/api"), policy=KEEP_LITTLE)
    old, new = lineage(one, {"shop/api/app": b"new"})
    revert = new.changed(old.files)
    comment = new.changed({**old.files, "shop/api/Dockerfile": b"# a comment\nFROM scratch\n"})
    wide = replace(one, artifacts=(replace(artifact("shop/api"), platforms=(AMD64, ARM64)),))
    wide_old, wide_new = lineage(wide, {"shop/api/app": b"new"})
    wide_revert = wide_new.changed(wide_old.files)
    narrow_old, narrow_new = lineage(one, {"shop/api/app": b"new"})
    widened = replace(narrow_new.changed(narrow_old.files), artifacts=wide.artifacts)
    two = replace(one, artifacts=(artifact("shop/api"), artifact("shop/gone")), files=files("shop/api", "shop/gone"))
    fewer = two.changed(artifacts=two.artifacts[:1])
    again = fewer.changed({"shop/gone/Dockerfile": b"# back\nFROM scratch\n"}, artifacts=two.artifacts)
    return {
        "revert": Scene([old, new], new, {"pass": revert}),
        "another key, the same image": Scene([old, new], new, {"pass": comment}),
        "revert of two platforms": Scene([wide_old, wide_new], wide_new, {"pass": wide_revert}),
        "a new index of an old platform": Scene([narrow_old, narrow_new], narrow_new, {"pass": widened}),
        "wanted again": Scene([two, fewer], fewer, {"pass": again}),
    }


class Killed(BaseException):
    """The process is gone: nothing that it still tries has an effect."""


@dataclass
class Mortal(Turns):
    """Turns in which one can be killed as by kill -9, after so many steps of its own."""

    kill9: tuple[str, int] | None = None

    async def at(self, point: str) -> None:
        if self.kill9 and who() == self.kill9[0] and self.steps[who()] >= self.kill9[1]:
            raise Killed
        await super().at(point)


@dataclass
class Yard:
    """Where a scene is played."""

    scene: Scene
    folder: Path
    turns: Mortal = field(default_factory=Mortal)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.world = World(self.scene.wanted, self.folder)
        self.registry = self.world.registry = self.world.builder.registry = FakeRegistry(self.turns)
        self.world.revisions.points = self.world.compute.points = self.world.builder.points = self.turns
        self.world.clock = LoopClock()
        self._passes = count()
        if not self.scene.state:
            for commit in self.scene.before:
                self.alone(self.a_pass(commit))
            held = (self.registry.blobs, self.registry.manifests, self.registry.tags)
            self.scene.state = tuple(dict(part) for part in held)
        self.registry.blobs, self.registry.manifests, self.registry.tags = (dict(part) for part in self.scene.state)
        self.world.clock.now += 30 * DAY

    def a_pass(self, commit: Commit) -> Any:
        """One pass, ready to run."""
        name = f"pass{next(self._passes)}"
        source = FakeSource(commit, self.turns)
        ports = replace(self.world.ports(), source=source, logs=self.folder / f"logs-{name}", pass_id=name)
        return reconcile_once(ports, Options())

    async def a_prune(self, wanted: Commit | None = None) -> tuple[Pruned, ...]:
        """One prune, ready to run."""
        source = FakeSource(wanted or self.scene.wanted, self.turns)
        ports = replace(self.world.removing(), source=source)
        plan = await plan_prune(ports, PruneOptions(allow_most=True))
        return await prune_once(ports, plan)

    def alone(self, work: Any) -> Any:
        """What one of them returns that nobody disturbs."""
        self.turns.choose, self.turns.only, self.turns.kill, self.turns.kill9 = Bursts([]), (), None, None
        ended = self.turns.run({"alone": work})["alone"]
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def play(
        self,
        choose: Any,
        kill: tuple[str, int] | None = None,
        kill9: tuple[str, int] | None = None,
        only: Collection[str] = SHARED,
    ) -> dict[str, Any]:
        """All at once; how each ended, None for the one that was cancelled or killed."""
        self.turns.steps.clear()
        self.turns.trace.clear()
        self.turns.choose, self.turns.kill, self.turns.kill9, self.turns.only = choose, kill, kill9, only
        work = {f"prune{n}": self.a_prune() for n in range(self.scene.prunes)}
        work |= {name: self.a_pass(commit) for name, commit in self.scene.passes.items()}
        ends = self.turns.run(work)
        for end in ends.values():
            if isinstance(end, Exception):
                raise end
        return {name: None if isinstance(end, BaseException) else end for name, end in ends.items()}

    # -- what must hold -----------------------------------------------------------------------------------------------

    def judge(self, ends: Mapping[str, Any], order: object, *, at_once: bool = False) -> None:
        """All of it, or only what must hold `at_once`. `order` is told if it does not."""
        try:
            self._judge(ends, at_once)
        except (AssertionError, Exception) as error:
            steps = "\n".join(map(str, self.turns.trace))
            raise AssertionError(f"{order}\n{error}\n{steps}\n{ends}") from error

    def _judge(self, ends: Mapping[str, Any], at_once: bool) -> None:
        for name, commit in self.scene.passes.items():
            if ends.get(name):
                self.what_is_done_is_there(commit, ends[name][1])
        for end in (ends.get(f"prune{n}") for n in range(self.scene.prunes)):
            assert not end or {pruned.status for pruned in end} <= _GOOD, end
        if at_once:
            return
        for commit in self.scene.passes.values() or [self.scene.wanted]:
            self.converges(commit)
        last = list(self.scene.passes.values())[-1] if self.scene.passes else self.scene.wanted
        self.alone(self.a_prune(last))
        self.is_whole(last)
        self.world.clock.now += 60.0  # by then the claim of one that was killed is over
        self.alone(self.a_prune(last))
        self.nothing_else_is_there(last)

    def what_is_done_is_there(self, commit: Commit, outcome: Outcome) -> None:
        """A pass that says it pushed has its image whole and its record there, whatever prunes did meanwhile."""
        for result in outcome.results:
            if result.status is Status.DONE:
                repository = next(a.image for a in commit.artifacts if a.name == result.artifact)
                self.holds(repository, result.digest)
                tags = next(a.tags for a in commit.artifacts if a.name == result.artifact)
                assert {self.world.tag(repository, tag) for tag in tags} == {result.digest}

    def holds(self, repository: Repository, digest: Digest | None) -> None:
        """All parts of an image, and a record of it."""
        assert digest is not None
        assert list(self.registry._lacking(repository, digest)) == []
        subjects = [
            m.document.get("subject", {}).get("digest")
            for (w, _), m in self.registry.manifests.items()
            if w == repository
        ]
        assert str(digest) in subjects, "its records are gone"

    def converges(self, commit: Commit) -> None:
        """The next pass makes good whatever is not as it should be, and the one after it has nothing to do."""
        outcome = self.alone(self.a_pass(commit))[1]
        assert {r.status for r in outcome.results} <= {Status.DONE, Status.NONE}, outcome
        again = self.alone(self.a_pass(commit))[1]
        assert {r.status for r in again.results} == {Status.NONE}, again

    def is_whole(self, commit: Commit) -> None:
        """Everything that is wanted."""
        for a in commit.artifacts:
            for tag in a.tags:
                self.holds(a.image, self.world.tag(a.image, tag))

    def nothing_else_is_there(self, commit: Commit) -> None:
        """Neither claims nor announcements, nor images that nobody wants."""
        left = {tag for _, tag in self.registry.tags if of_lian(tag)}
        assert left <= {APPLIED_TAG}, left
        images = {a.image for a in commit.artifacts}
        assert {where for where, _ in self.registry.tags} <= images
        plan = self.alone(_planned(self, commit))
        assert [removal for removal in plan.removals if removal.chores] == []
        assert not self.dangling()

    def content(self) -> tuple[set[Any], dict[Any, Any]]:
        """All manifests and tags, but for claims that were killed between two of them: nothing names these."""
        held = self.registry.manifests
        kept = {key for key, manifest in held.items() if manifest.document.get("artifactType") != PRUNING_TYPE}
        return kept, dict(self.registry.tags)

    def dangling(self) -> list[str]:
        """What refers to something that is not there."""
        return [
            str(digest)
            for (where, digest), manifest in self.registry.manifests.items()
            if (subject := _subject(manifest)) and (where, subject) not in self.registry.manifests
        ]


async def _planned(yard: Yard, commit: Commit) -> Any:
    ports = replace(yard.world.removing(), source=FakeSource(commit, yard.turns))
    return await plan_prune(ports, PruneOptions(allow_most=True))


def _subject(manifest: Manifest) -> Digest | None:
    subject = manifest.document.get("subject")
    return Digest.parse(subject["digest"]) if subject else None


def orphans() -> Scene:
    """Images of several platforms and of one, in repositories of their own and in one that stays; shared parts."""
    names = ("shop/api", "shop/wide", "web/site", "web/old")
    made = (
        artifact("shop/api"),
        replace(artifact("shop/wide", image="shop/api", tags=("wide", "1.0")), platforms=(AMD64, ARM64)),
        replace(artifact("web/site"), platforms=(AMD64, ARM64)),
        artifact("web/old"),
    )
    first = Commit(made, files(*names), policy=KEEP_LITTLE)
    second = first.changed({"shop/wide/Dockerfile": b"FROM scratch\n", "web/site/app": b"2"})
    return Scene([first, second], second.changed(artifacts=(made[0],)))


ORPHANS = orphans()
SCENES = scenes()
FOLDERS = count()


def yard(scene: Scene, folder: Path) -> Yard:
    """One that nobody has used yet."""
    return Yard(scene, folder / f"{next(FOLDERS)}")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_a_concurrent_push_is_never_pruned(name: str, tmp_path: Path) -> None:
    """One makes some steps, then the other some, then the first ends, then the other: of such orders a third, so that
    each number of steps of the one meets every third of the other's. Now and then also what follows is looked at."""
    scene = SCENES[name]
    tried = yard(scene, tmp_path)
    tried.play(Bursts([("prune0", 10**6)]))
    steps = dict(tried.turns.steps)
    for first, second in (("prune0", "pass"), ("pass", "prune0")):
        orders = product(range(steps[first] + 1), range(1, steps[second] + 1))
        for i, j in ((i, j) for i, j in orders if (i + j) % 3 == 0):
            here = yard(scene, tmp_path)
            order = [(first, i), (second, j), (first, 10**6), (second, 10**6)]
            here.judge(here.play(Bursts(list(order))), order, at_once=(i + j) % 21 != 0)


BURSTS = st.lists(st.tuples(st.sampled_from(["prune0", "prune1", "pass", "other"]), st.integers(1, 12)), max_size=12)


@pytest.mark.parametrize("name", SCENES)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bursts=BURSTS)
def test_in_any_order_nothing_is_lost(name: str, bursts: list[tuple[str, int]], tmp_path: Path) -> None:
    """Two prunes and two passes at once."""
    scene = SCENES[name]
    busy = replace(scene, prunes=2, passes={**scene.passes, "other": scene.passes["pass"]})
    here = yard(busy, tmp_path)
    scene.state = busy.state
    here.judge(here.play(Bursts(list(bursts))), bursts)


@pytest.mark.parametrize("how", ["kill", "kill9"])
@pytest.mark.parametrize("name", ["revert", "revert of two platforms", "orphans"])
def test_a_killed_prune_is_finished_by_the_next(name: str, how: str, tmp_path: Path) -> None:
    """At every step. What is there in the end is what an undisturbed prune leaves, and no more."""
    scene = replace(SCENES.get(name) or ORPHANS, passes={})
    whole = yard(scene, tmp_path)
    whole.play(Bursts([]), only=())
    expected = whole.content()
    for step in range(whole.turns.steps["prune0"] + 1):
        here = yard(scene, tmp_path)
        ends = here.play(Bursts([]), **{how: ("prune0", step)}, only=())
        here.judge(ends, step)
        assert here.content() == expected, step


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bursts=st.lists(st.tuples(st.sampled_from(["prune0", "prune1"]), st.integers(1, 15)), max_size=10),
    kills=st.dictionaries(
        st.sampled_from(["kill", "kill9"]), st.tuples(st.just("prune0"), st.integers(0, 60)), max_size=1
    ),
)
def test_two_prunes_at_once_take_away_what_one_does(
    bursts: list[tuple[str, int]], kills: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    scene = replace(ORPHANS, prunes=2)
    here = yard(scene, tmp_path)
    ORPHANS.state = scene.state
    here.judge(here.play(Bursts(list(bursts)), **kills, only=()), (bursts, kills))
