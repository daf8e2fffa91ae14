"""The order of builds: bounds that hold for every graph, and the case for which there is an order at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.name import ArtifactName
from reconciler.plan import schedule
from reconciler.plan.schedule import Graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JOBS = st.integers(1, 6)


@dataclass(frozen=True)
class Task:
    """A build of so many seconds, after others."""

    name: ArtifactName
    seconds: float
    after: tuple[ArtifactName, ...] = ()


def graph_of(tasks: Sequence[Task]) -> tuple[Graph, list[float]]:
    return Graph.of({task.name: task.after for task in tasks}), [task.seconds for task in tasks]


def remaining(tasks: Sequence[Task]) -> dict[ArtifactName, float]:
    graph, seconds = graph_of(tasks)
    return dict(zip(graph.names, schedule.remaining(graph, seconds), strict=True))


def longest_path(tasks: Sequence[Task]) -> tuple[ArtifactName, ...]:
    return schedule.longest_path(*graph_of(tasks))


def makespan(tasks: Sequence[Task], jobs: int, urgency: Mapping[ArtifactName, float]) -> float:
    graph, seconds = graph_of(tasks)
    return schedule.makespan(graph, seconds, jobs, [urgency[name] for name in graph.names])


def named(text: str) -> ArtifactName:
    return ArtifactName("shop", text)


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Up to twelve tasks, each after any of those before it; whole seconds, so that sums are exact."""
    names = draw(st.permutations([named(f"a{n}") for n in range(draw(st.integers(0, 12)))]))
    tasks = []
    for place, name in enumerate(names):
        after = draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3)) if place else []
        tasks.append(Task(name, float(draw(st.integers(0, 9))), tuple(after)))
    return tasks


def path_of(tasks: Sequence[Task]) -> float:
    return max(remaining(tasks).values(), default=0.0)


@given(graphs(), JOBS)
def test_no_order_is_faster_than_the_bounds_and_this_one_never_twice_as_slow(tasks: list[Task], jobs: int) -> None:
    """Graham's bound of list scheduling, whatever the order is."""
    total, path = sum(task.seconds for task in tasks), path_of(tasks)
    taken = makespan(tasks, jobs, remaining(tasks))
    least = max(path, total / jobs)
    assert least - 1e-9 <= taken <= total / jobs + (1 - 1 / jobs) * path + 1e-9
    assert taken <= (2 - 1 / jobs) * least + 1e-9


@given(graphs())
def test_one_place_takes_the_sum_and_enough_of_them_the_longest_path(tasks: list[Task]) -> None:
    order = remaining(tasks)
    assert makespan(tasks, 1, order) == sum(task.seconds for task in tasks)
    assert makespan(tasks, max(1, len(tasks)), order) == path_of(tasks)


@given(graphs())
def test_the_longest_path_is_one_and_takes_that_long(tasks: list[Task]) -> None:
    by_name = {task.name: task for task in tasks}
    path = longest_path(tasks)
    assert sum(by_name[name].seconds for name in path) == path_of(tasks)
    for parent, child in pairwise(path):
        assert parent in by_name[child].after
    assert bool(path) == bool(tasks)


@given(graphs(), JOBS, st.randoms())
def test_it_is_a_function_of_the_graph_alone(tasks: list[Task], jobs: int, random: Any) -> None:
    """Any order of the tasks that has parents first gives the same."""
    left, shuffled = list(tasks), list[Task]()
    while left:
        waiting = {task.name for task in left}
        ready = [task for task in left if not waiting & set(task.after)]
        shuffled.append(random.choice(ready))
        left.remove(shuffled[-1])
    assert remaining(shuffled) == remaining(tasks)
    assert longest_path(shuffled) == longest_path(tasks)
    assert makespan(shuffled, jobs, remaining(shuffled)) == makespan(tasks, jobs, remaining(tasks))


@pytest.mark.parametrize(("jobs", "longest_first", "by_name"), [(1, 8.0, 8.0), (2, 4.0, 6.0), (3, 4.0, 5.0)])
def test_the_longest_path_first_beats_the_order_of_names(jobs: int, longest_first: float, by_name: float) -> None:
    alone = [Task(named(f"a{n}"), 1.0) for n in range(4)]
    chain = [Task(named(f"z{n}"), 1.0, (named(f"z{n - 1}"),) if n else ()) for n in range(4)]
    tasks = [*alone, *chain]
    assert makespan(tasks, jobs, remaining(tasks)) == longest_first
    assert makespan(tasks, jobs, dict.fromkeys(remaining(tasks), 0.0)) == by_name


def test_what_a_task_is_after_and_is_no_task_is_done() -> None:
    tasks = [Task(named("a"), 2.0, (named("gone"),))]
    assert (makespan(tasks, 2, remaining(tasks)), longest_path(tasks)) == (2.0, (named("a"),))


def test_more_places_can_take_longer() -> None:
    """Graham's own example of an anomaly (1969, figure 3): why nothing here promises that it never does."""
    seconds = {1: 3, 2: 2, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 8: 4, 9: 9}
    after = {5: (4,), 6: (4,), 7: (4,), 8: (4,), 9: (1,)}
    tasks = [
        Task(named(f"t{n}"), float(s), tuple(named(f"t{p}") for p in after.get(n, ()))) for n, s in seconds.items()
    ]
    listed = {task.name: -float(n) for n, task in enumerate(tasks)}
    assert (makespan(tasks, 3, listed), makespan(tasks, 4, listed)) == (12.0, 15.0)


def test_ten_thousand_ten_levels_deep_take_no_time() -> None:
    names = [[named(f"l{level}-{n}") for n in range(1000)] for level in range(10)]
    tasks = [
        Task(name, float(1 + n % 7), (names[level - 1][n], names[level - 1][(n * 7) % 1000]) if level else ())
        for level, those in enumerate(names)
        for n, name in enumerate(those)
    ]
    began = time.process_time()
    makespan(tasks, 16, remaining(tasks))
    longest_path(tasks)
    assert time.process_time() - began < 3.0, "linear but for a queue: a fifth of a second of one that is free"
