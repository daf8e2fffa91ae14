"""In which order a pass builds: on fakes whose builds take so many seconds of a time that jumps."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.apply.artifact import Limits
from reconciler.apply.carry_out import carry_out
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Status
from reconciler.reconcile import Options, foreseen, plan_once
from tests.commits import Commit, artifact
from tests.fakes import Points, World
from tests.plan.test_schedule import Task, graphs, makespan, remaining
from tests.turns import TurnsLoop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.artifact import Artifact


class Timed(Points):
    """A build takes as long as its artifact is said to."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        super().__init__()
        self._taken = seconds
        self.began: list[str] = []

    async def at(self, point: str) -> None:
        kind, _, name = point.partition(" ")
        if kind == "build" and name in self._taken:
            self.began.append(name)
            await asyncio.sleep(self._taken[name])


def commit_of(tasks: Sequence[Task]) -> Commit:
    """An artifact for each, on those that it is after."""
    artifacts: list[Artifact] = []
    files: dict[str, bytes] = {}
    for task in tasks:
        contexts = {f"p{n}": f"artifact:{parent}" for n, parent in enumerate(task.after)}
        artifacts.append(artifact(str(task.name), contexts=contexts))
        used = "".join(f"FROM {name}\n" for name in contexts) or "FROM scratch\n"
        files |= {f"{task.name}/Dockerfile": used.encode(), f"{task.name}/app": str(task.name).encode()}
    return Commit(tuple(artifacts), files)


def a_pass(tasks: Sequence[Task], jobs: int, urgency: Mapping[ArtifactName, float] | None) -> tuple[float, list[str]]:
    """The seconds that building all of it takes, in which order they began; by the pass's own order for None."""
    timed = Timed({str(task.name): task.seconds for task in tasks})
    with tempfile.TemporaryDirectory(prefix="lian-test-") as folder:
        world = World(commit_of(tasks), Path(folder))
        world.builder.points = timed

        async def one() -> float:
            options = Options(jobs=jobs)
            work = await foreseen(world.ports(), await plan_once(world.ports(), options), options)
            work = work if urgency is None else replace(work, urgency=urgency)
            began = asyncio.get_running_loop().time()
            outcome = await carry_out(work, world.ports(), jobs, Limits())
            assert {result.status for result in outcome.results} <= {Status.DONE}
            return asyncio.get_running_loop().time() - began

        with asyncio.Runner(loop_factory=lambda: TurnsLoop(lambda: False)) as runner:
            return runner.run(one()), timed.began


ALONE = [Task(ArtifactName("shop", f"a{n}"), 60.0) for n in range(4)]
CHAIN = [Task(ArtifactName("shop", f"z{n}"), 60.0, (ArtifactName("shop", f"z{n - 1}"),) if n else ()) for n in range(4)]


def test_the_longest_path_goes_first_and_beats_the_order_of_names() -> None:
    """Nothing was ever built here: all count as alike, and the chain is longer all the same."""
    taken, began = a_pass([*ALONE, *CHAIN], 2, None)
    assert taken == 240.0
    assert [set(began[n : n + 2]) for n in range(0, 8, 2)] == [{f"shop/a{n}", f"shop/z{n}"} for n in range(4)]
    by_name, _ = a_pass([*ALONE, *CHAIN], 2, {})
    assert by_name == 360.0


def test_of_those_that_are_alike_the_first_by_name_goes_first() -> None:
    assert a_pass(ALONE[::-1], 1, None)[1] == ["shop/a0", "shop/a1", "shop/a2", "shop/a3"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_longest_build_goes_first(jobs: int) -> None:
    tasks = [Task(ArtifactName("shop", name), seconds) for name, seconds in (("a", 10.0), ("b", 20.0), ("c", 30.0))]
    taken, began = a_pass(tasks, jobs, remaining(tasks))
    assert began == ["shop/c", "shop/b", "shop/a"]
    assert taken == {1: 60.0, 2: 30.0}[jobs]


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_a_pass_takes_what_was_worked_out_for_it(tasks: list[Task], jobs: int) -> None:
    """The forecast of a pass is about the order that the pass really keeps. Builds take a second at least: what ends
    and begins in one moment has no order."""
    tasks = [replace(task, seconds=task.seconds + 1) for task in tasks]
    order = remaining(tasks)
    assert a_pass(tasks, jobs, order)[0] == makespan(tasks, jobs, order)
