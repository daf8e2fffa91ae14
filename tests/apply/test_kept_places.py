"""Whole passes in which places are kept for what is about to come: nobody may wait for ever for one that is."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.outcome import Status
from reconciler.model.plan import Action
from reconciler.model.policy import Policy, SignPolicy
from reconciler.observe.ask import read_records
from reconciler.plan.select import Selection
from reconciler.reconcile import Options, reconcile_once
from tests.apply.test_order import Timed, commit_of
from tests.commits import AMD64, ARM64, Commit, artifact
from tests.fakes import World, problem
from tests.plan.test_schedule import Task, graphs
from tests.turns import TurnsLoop

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.artifact import Artifact
    from reconciler.model.outcome import Outcome

SIGNED = Policy(sign=SignPolicy(SourceRef(SourceKind.FILE, "/etc/lian/sign.key")))


def commit(artifacts: Mapping[str, Artifact], policy: Policy | None = None) -> Commit:
    """Each on its contexts, and with a file of its own; `shop/copy` has the same inputs as `shop/api`."""
    files: dict[str, bytes] = {}
    for name, one in artifacts.items():
        used = "".join(f"FROM {context}\n" for context in one.contexts) or "FROM scratch\n"
        mine = "shop/api" if name == "shop/copy" else name
        files |= {f"{name}/Dockerfile": used.encode(), f"{name}/app": mine.encode()}
    return Commit(tuple(artifacts.values()), files, policy=policy or Policy())


def named(*names: str, **more: object) -> dict[str, Artifact]:
    return {name: artifact(name, **more) for name in names}  # type: ignore[arg-type]


def on(name: str, *parents: str) -> dict[str, Artifact]:
    return named(name, contexts={f"p{n}": f"artifact:{parent}" for n, parent in enumerate(parents)})


def run(world: World, timed: Timed, jobs: int = 2) -> Outcome:
    """One pass, whose builds take so long. An error if it can never go on."""
    world.builder.points = timed

    async def one() -> Outcome:
        _, outcome = await reconcile_once(world.ports(), Options(jobs=jobs))
        return outcome

    with asyncio.Runner(loop_factory=lambda: TurnsLoop(lambda: False)) as runner:
        return runner.run(one())


class Failing(Timed):
    """Some builds take their time and then fail."""

    def __init__(self, seconds: Mapping[str, float], failing: Collection[str]) -> None:
        super().__init__(seconds)
        self.failing = failing

    async def at(self, point: str) -> None:
        await super().at(point)
        kind, _, name = point.partition(" ")
        if kind == "build" and name in self.failing:
            raise problem("step-failed", "it fails")


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(2, 4), st.data())
def test_what_does_not_stand_on_what_fails_is_built(tasks: list[Task], jobs: int, data: st.DataObject) -> None:
    failing = data.draw(st.sets(st.sampled_from([str(task.name) for task in tasks]))) if tasks else set()
    lost: set[str] = set()
    for task in tasks:
        if str(task.name) in failing or not lost.isdisjoint(map(str, task.after)):
            lost.add(str(task.name))
    with tempfile.TemporaryDirectory(prefix="lian-test-") as folder:
        world = World(commit_of(tasks), Path(folder))
        outcome = run(world, Failing({str(task.name): task.seconds for task in tasks}, failing), jobs)
    assert {str(r.artifact) for r in outcome.results if r.status is not Status.DONE} == lost


def test_what_found_its_base_in_the_registry_is_not_waited_for_again(tmp_path: Path) -> None:
    """A pass was interrupted when one platform of the base was there: what stands on that one begins at once, and is
    long done when the other is."""
    base = named("shop/base", platforms=(AMD64, ARM64))
    children = on("shop/c1", "shop/base") | on("shop/c2", "shop/base")
    world = World(commit(base | children), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options(selection=Selection(("shop/base",)))))
    image = base["shop/base"].image
    whole = world.tag(image, "latest")
    assert whole is not None
    (record,) = asyncio.run(read_records(world.registry, image, whole))
    world.registry.tags = {
        key: digest for key, digest in world.registry.tags.items() if digest == record.platforms[AMD64].digest
    }
    world.source.commit = commit(base | children | named("shop/w1", "shop/w2", "shop/w3"))
    outcome = run(
        world, Timed({"shop/base": 100.0, "shop/c1": 1.0, "shop/c2": 1.0, "shop/w1": 150.0, "shop/w2": 150.0})
    )
    assert [(r.action, r.status) for r in outcome.results] == [(Action.BUILD, Status.DONE)] * 6


def test_no_place_is_kept_from_a_copy_that_turns_into_a_build(tmp_path: Path) -> None:
    """`c1` and `c2` stand on a build each, and both on what was to be copied, which was not signed."""
    world = World(commit(named("shop/api")), tmp_path)
    run(world, Timed({}))
    bases = named("shop/api", "shop/copy", "shop/b1", "shop/b2")
    children = on("shop/c1", "shop/b1", "shop/copy") | on("shop/c2", "shop/b2", "shop/copy")
    world.source.commit = commit(bases | children, SIGNED)
    outcome = run(world, Timed(dict.fromkeys(("shop/b1", "shop/b2"), 60.0)))
    ended = {str(result.artifact): (result.action, result.status) for result in outcome.results}
    assert ended.pop("shop/api") == (Action.NONE, Status.NONE)
    assert set(ended.values()) == {(Action.BUILD, Status.DONE)}
