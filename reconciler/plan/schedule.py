"""In which order builds go, and how long all of them take: list scheduling, the longest remaining path first.

However long the builds are, the simulated time T for `jobs` places keeps (Graham, 1969)

    max(longest path, sum / jobs) <= T <= sum / jobs + (1 - 1 / jobs) * longest path

and so is never more than 2 - 1 / jobs times what no order could beat. It need not fall when there are more places:
a greedy order has anomalies. All here is linear in tasks and edges, but for the queue of those that are ready.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.name import ArtifactName


@dataclass(frozen=True, slots=True)
class Task:
    """A build of so many seconds, which begins when those it is `after` have ended."""

    name: ArtifactName
    seconds: float
    after: tuple[ArtifactName, ...] = ()


def remaining(tasks: Sequence[Task]) -> dict[ArtifactName, float]:
    """Task -> the seconds of the longest path that begins with it. `tasks` stand after those they are after; what they
    are after beside is done."""
    following: dict[ArtifactName, float] = defaultdict(float)
    found: dict[ArtifactName, float] = {}
    for task in reversed(tasks):
        found[task.name] = task.seconds + following[task.name]
        for parent in task.after:
            following[parent] = max(following[parent], found[task.name])
    return found


def longest_path(tasks: Sequence[Task]) -> tuple[ArtifactName, ...]:
    """The tasks on the path that takes longest, in their order; of equals the first by name."""
    paths = remaining(tasks)
    children: dict[ArtifactName, list[ArtifactName]] = defaultdict(list)
    firsts: list[ArtifactName] = []
    for task in tasks:
        before = [parent for parent in task.after if parent in paths]
        for parent in before:
            children[parent].append(task.name)
        if not before:
            firsts.append(task.name)
    found: list[ArtifactName] = []
    ready = firsts
    while ready:
        found.append(min(ready, key=lambda name: (-paths[name], name)))
        ready = children[found[-1]]
    return tuple(found)


def makespan(tasks: Sequence[Task], jobs: int, urgency: Mapping[ArtifactName, float]) -> float:
    """Seconds until all have ended, if of those that are ready the most urgent is begun whenever one of the `jobs`
    places is free; ties go by name."""
    seconds = {task.name: task.seconds for task in tasks}
    waits: dict[ArtifactName, int] = {}
    children: dict[ArtifactName, list[ArtifactName]] = defaultdict(list)
    ready: list[tuple[float, ArtifactName]] = []
    for task in tasks:
        before = [parent for parent in task.after if parent in seconds]
        waits[task.name] = len(before)
        for parent in before:
            children[parent].append(task.name)
        if not before:
            heappush(ready, (-urgency[task.name], task.name))
    at_work: list[tuple[float, ArtifactName]] = []
    now = 0.0
    while ready or at_work:
        while ready and len(at_work) < jobs:
            name = heappop(ready)[1]
            heappush(at_work, (now + seconds[name], name))
        now = at_work[0][0]
        while at_work and at_work[0][0] == now:  # what ends at one moment makes room, and others ready, together
            for child in children[heappop(at_work)[1]]:
                waits[child] -= 1
                if not waits[child]:
                    heappush(ready, (-urgency[child], child))
    return now
