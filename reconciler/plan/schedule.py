"""In which order builds go, and how long all of them take: list scheduling, the longest remaining path first.

However long the builds are, the simulated time T for `jobs` places keeps (Graham, 1969)

    max(longest path, sum / jobs) <= T <= sum / jobs + (1 - 1 / jobs) * longest path

and so is never more than 2 - 1 / jobs times what no order could beat. It need not fall when there are more places:
a greedy order has anomalies. All here is linear in builds and edges, but for the queue of those that are ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.name import ArtifactName


@dataclass(frozen=True, slots=True)
class Graph:
    """Builds by number, each after those that it waits for; numbers, because each is met many times. What a function
    here is given for each build stands at its number."""

    names: tuple[ArtifactName, ...]
    after: tuple[tuple[int, ...], ...]
    before: tuple[tuple[int, ...], ...]
    """The other way round: build -> those that wait for it."""
    places: tuple[int, ...]
    """Where each stands by name, by which ties go."""

    @classmethod
    def of(cls, after: Mapping[ArtifactName, Iterable[ArtifactName]]) -> Graph:
        """Build -> what it waits for; of that, what is no build here is done. Those waited for stand first."""
        names = tuple(after)
        number = {name: n for n, name in enumerate(names)}
        found = tuple(tuple(number[parent] for parent in parents if parent in number) for parents in after.values())
        before: list[list[int]] = [[] for _ in names]
        for child, parents in enumerate(found):
            for parent in parents:
                before[parent].append(child)
        places = [0] * len(names)
        for place, name in enumerate(sorted(names)):
            places[number[name]] = place
        return cls(names, found, tuple(map(tuple, before)), tuple(places))


def remaining(graph: Graph, seconds: Sequence[float]) -> list[float]:
    """Of each, the seconds of the longest path that begins with it."""
    found = list(seconds)
    for build in reversed(range(len(found))):
        if graph.before[build]:
            found[build] += max(found[child] for child in graph.before[build])
    return found


def longest_path(graph: Graph, seconds: Sequence[float]) -> tuple[ArtifactName, ...]:
    """The builds on the path that takes longest, in their order; of equals the first by name."""
    left = remaining(graph, seconds)
    found: list[ArtifactName] = []
    ready: Sequence[int] = [build for build, parents in enumerate(graph.after) if not parents]
    while ready:
        first = min(ready, key=lambda build: (-left[build], graph.places[build]))
        found.append(graph.names[first])
        ready = graph.before[first]
    return tuple(found)


def makespan(graph: Graph, seconds: Sequence[float], jobs: int, urgency: Sequence[float]) -> float:
    """Seconds until all have ended, if of those that are ready the most urgent is begun whenever one of the `jobs`
    places is free; ties go by name."""
    waits = [len(parents) for parents in graph.after]
    ready: list[tuple[float, int, int]] = []
    at_work: list[tuple[float, int]] = []
    now = 0.0
    for build in (build for build, parents in enumerate(waits) if not parents):
        heappush(ready, (-urgency[build], graph.places[build], build))
    while ready or at_work:
        while ready and len(at_work) < jobs:
            build = heappop(ready)[2]
            heappush(at_work, (now + seconds[build], build))
        now = at_work[0][0]
        while at_work and at_work[0][0] == now:  # what ends at one moment makes room, and others ready, together
            for child in graph.before[heappop(at_work)[1]]:
                waits[child] -= 1
                if not waits[child]:
                    heappush(ready, (-urgency[child], graph.places[child], child))
    return now
