"""Circles are each told once, whatever else the artifacts stand on; and who wants one tag with many others."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.graph import checked
from tests.commits import Commit, artifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.artifact import Artifact

_WORDS = "artifacts stand on one another in a circle: "


def standing(graph: Mapping[int, Iterable[int]]) -> tuple[Artifact, ...]:
    """Artifact -> what it stands on."""
    return tuple(
        artifact(f"w/{name:05}", contexts={f"p{n}": f"artifact:w/{n:05}" for n in parents})
        for name, parents in graph.items()
    )


def told(artifacts: Iterable[Artifact]) -> list[tuple[str, str]]:
    """Of whom each circle is told, and its path."""
    problems = checked(Commit(tuple(artifacts), {}).desired).problems
    assert all(problem.code == "cycle" and problem.message.startswith(_WORDS) for problem in problems)
    return [(problem.artifact or "", problem.message.removeprefix(_WORDS)) for problem in problems]


def rings(graph: Mapping[int, Iterable[int]]) -> list[list[int]]:
    """The circles told of it, each told of every artifact on it and of no other."""
    whose: dict[str, list[str]] = {}
    for name, path in told(standing(graph)):
        whose.setdefault(path, []).append(name)
    found = []
    for path, names in whose.items():
        *ring, first = path.split(" → ")
        assert names == ring
        assert first == ring[0] == min(ring)
        found.append([int(name.removeprefix("w/")) for name in ring])
    return found


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    names = range(draw(st.integers(1, 9)))
    return {name: draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) for name in names}


@given(graphs())
def test_every_circle_is_told_and_nothing_else_is(graph: dict[int, list[int]]) -> None:
    """What is told is a circle; no artifact is on two of them; and without these artifacts none is left."""
    found = rings(graph)
    for ring in found:
        assert all(parent in graph[one] for one, parent in zip(ring, [*ring[1:], ring[0]], strict=True))
    on_one = [name for ring in found for name in ring]
    assert len(on_one) == len(set(on_one))
    left = {name: set(parents).difference(on_one) for name, parents in graph.items() if name not in on_one}
    TopologicalSorter(left).prepare()


@given(graphs(), st.randoms())
def test_the_order_of_directives_says_nothing(graph: dict[int, list[int]], random: Any) -> None:
    shuffled = list(graph)
    random.shuffle(shuffled)
    assert told(standing(graph)) == told(standing({name: graph[name] for name in shuffled}))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        pytest.param({1: [1]}, [[1]], id="on itself"),
        pytest.param({1: [2], 2: [1], 3: [4], 4: [3]}, [[1, 2], [3, 4]], id="two that do not meet"),
        pytest.param({1: [2], 2: [1, 3], 3: [2]}, [[1, 2]], id="two with one in common"),
        pytest.param({1: [2], 2: [3], 3: [2]}, [[2, 3]], id="one that is stood on"),
        pytest.param({1: [2], 2: [1, 3], 3: []}, [[1, 2]], id="one that stands on something"),
    ],
)
def test_circles(graph: dict[int, list[int]], expected: list[list[int]]) -> None:
    assert rings(graph) == expected


def test_a_circle_of_many_is_no_depth_to_fall_into() -> None:
    size = 5_000
    of, paths = zip(*told(standing({n: [(n + 1) % size] for n in range(size)})), strict=True)
    assert (len(of), len(set(paths))) == (size, 1)
    assert paths[0].endswith("w/00018 → w/00019 → 4,980 more → w/00000")


def test_who_else_wants_a_tag_is_named_as_far_as_it_can_be_read() -> None:
    def conflict(size: int) -> str:
        desired = checked(Commit(tuple(artifact(f"w/a{n}", image="w/one") for n in range(size)), {}).desired)
        return desired.problems[0].message

    image = "registry.example:5000/w/one:latest"
    assert conflict(2) == f"w/a0 and w/a1 (directives/w.ncl) both want {image}"
    assert conflict(3) == f"w/a0 and w/a1 (directives/w.ncl), w/a2 (directives/w.ncl) all want {image}"
    assert conflict(9) == (
        "w/a0 and w/a1 (directives/w.ncl), w/a2 (directives/w.ncl), w/a3 (directives/w.ncl) and 5 more all "
        f"want {image}"
    )
