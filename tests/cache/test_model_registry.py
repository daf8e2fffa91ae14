"""No sequence of builds, sessions, deletions and attempts breaks the cache's promises: 100,000 steps of several actors,
workspaces and CI against a registry in memory (`model_registry`).

Hypothesis draws seeds, and a seed's steps come from a table in which every kind of step has its share. Hypothesis' own
state machine was tried: it takes 0.45 ms for a step where this takes a fifth of that, and as it leaves out kinds of
steps in each run, those that need others before them hardly happen; a list of steps that it draws is half builds of the
first few kinds. What a seed breaks is made short here: the steps up to the one that fails, without those that do not
matter.

Each world is a test of its own, so that two workers share them.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice, product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reconciler.cache.namespace import Layout
from reconciler.cache.rights import Right
from tests.cache.model_registry import KINDS, Fleet, World, own, slots
from tests.cache.rooms import PROPERTIES, REAL, Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.model.cache import BuildMode

STEPS = 100_000
STEPS_OF_ONE = 250
"""How many a sequence has."""

CONFUSABLE = {"a": None, "a-b": ("c", "b"), "c": ("b-c", "b")}
"""Actors and their workspaces whose pairs join alike if that is done without care."""
WORLDS = (
    World("folders", Layout("cache"), Layout(""), CONFUSABLE, ("b", "c", "b-c")),
    World("folders at the root", Layout(""), Layout("images"), CONFUSABLE, ("c", "b", "b-c")),
    World("projects", Layout("cache", True), Layout("", True), CONFUSABLE, ("b", "b-c", "c")),
    World("names of kinds", Layout("team/ci"), Layout("team"), {"ci": None, "dev": ("ci",)}, ("ci", "dev", "cache")),
)
SEEN = (
    "build: done", "build: refused", "cache-from: done", "cache-from: refused", "cache-to: done", "cache-to: refused",
    "start: done", "discard: done", "discard: no session", "rollback: done", "export: done", "export: no session",
    "delete: done", "delete: refused", "delete: nothing", "prune: done", "prune: nothing", "bare pull: done",
    "bare pull: refused", "bare push: done", "bare push: refused", "bare delete: done", "bare delete: refused",
)  # fmt: skip
"""What has to happen often for the promises to have been tried."""


@dataclass(frozen=True, slots=True)
class Step:
    """A method of Fleet, called with these."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.name, *map(str, self.arguments)))


@cache
def table(world: World) -> tuple[Step, ...]:
    """All steps, the kinds in the shares that they are to have."""
    modes, workspaces, places = world.modes, world.workspaces, tuple(slots(world))
    sessions = tuple(product(world.actors, workspaces))
    own_places = ((mode, slot) for mode in modes for slot in places if slot.namespace in _near(mode, workspaces))
    asked = [
        *product(modes, places, workspaces, [""]),
        *((mode, slot, slot.namespace.workspace, "") for mode, slot in own_places),
        *product(modes, places, workspaces[:1], ["another host", "another prefix"]),
    ]
    kinds: tuple[tuple[str, int, Iterable[tuple[Any, ...]]], ...] = (
        ("build", 30, product(modes, workspaces, world.artifacts, world.platforms, [False, True])),
        ("build_with", 7, asked),
        ("build_into", 7, asked),
        ("start", 3, sessions),
        ("discard", 4, sessions),
        ("rollback", 5, sessions),
        ("promote", 8, product(world.actors, places)),
        ("drop", 6, product(modes, world.namespaces)),
        ("prune", 5, product(modes, workspaces, [5, 20, 60])),
        ("attempt", 25, product(world.accounts, Right, KINDS, places)),
    )
    spread = (_some(list(calls), share * 200) for _, share, calls in kinds)
    names = (name for name, _, _ in kinds)
    return tuple(Step(name, call) for name, calls in zip(names, spread, strict=True) for call in calls)


def _near(mode: BuildMode, workspaces: tuple[str, ...]) -> set[Any]:
    return {own(mode, workspace) for workspace in workspaces}


def _some(calls: list[Any], count: int) -> Iterable[Any]:
    """As many as that, from all over the list or some of them more than once."""
    return islice(cycle(random.Random(0).sample(calls, len(calls))), count)


def steps_of(seed: int, world: World) -> list[Step]:
    """Always the same for a seed."""
    return random.Random(seed).choices(table(world), k=STEPS_OF_ONE)


def broken_at(
    room: Room, world: World, steps: Sequence[Step], counts: Counter[str]
) -> tuple[int, AssertionError] | None:
    """Do the steps on an empty registry: which one broke a promise, if one did. How they end is added to `counts`."""
    fleet = Fleet(room, world, counts)
    for number, step in enumerate(steps):
        try:
            getattr(fleet, step.name)(*step.arguments)
        except AssertionError as error:
            return number, error
    return None


def shortened(room: Room, world: World, steps: Sequence[Step]) -> list[Step]:
    """The fewest of the steps that still break a promise, as far as leaving out one after the other leads."""
    kept = list(steps)
    for number in reversed(range(len(steps))):
        fewer = kept[:number] + kept[number + 1 :]
        if (broken := broken_at(room, world, fewer, Counter())) is not None:
            kept = fewer[: broken[0] + 1]
    return kept


def run(
    room: Room, world: World, counts: Counter[str], max_examples: int, *, short: bool = True, **chosen: Any
) -> None:
    """Follow some seeds. A broken promise is an AssertionError that tells, if `short`, by which steps."""

    def promises_hold(seed: int) -> None:
        steps = steps_of(seed, world)
        if (broken := broken_at(room, world, steps, counts)) is not None:
            number, error = broken
            fewest = shortened(room, world, steps[: number + 1]) if short else ()
            error.add_note("\n".join((f"in the world of {world.name}, after", *map(str, fewest))))
            raise error

    seeds = given(st.integers(0, 2**64 - 1))
    settings(**{**chosen, "max_examples": max_examples, "phases": [Phase.generate]})(seeds(promises_hold))()


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_no_sequence_of_steps_breaks_a_promise(world: World) -> None:
    counts: Counter[str] = Counter()
    wanted = STEPS // len(WORLDS)
    while (missing := wanted - counts.total()) > 0:
        run(REAL, world, counts, max(missing // STEPS_OF_ONE, 10))
    assert counts.total() >= wanted
    assert [each for each in SEEN if counts[each] < 20] == []


def test_what_breaks_a_promise_is_made_short() -> None:
    """Copying what a session made is found out after a build and its export, and these two are told."""
    room = Room("copies", promoted_from=lambda slot: slot)
    with pytest.raises(AssertionError, match="holds work of") as error:
        run(room, WORLDS[0], Counter(), 20, derandomize=True, database=None)
    told = error.value.__notes__[0].splitlines()
    assert [line.split()[0] for line in told[1:]] == ["build", "promote"]


def _against(room: Room, max_examples: int = 20, **chosen: Any) -> None:
    for world in WORLDS:
        run(room, world, Counter(), max_examples, short=False, **chosen)


PROPERTIES["no_sequence_of_steps_breaks_a_promise"] = _against
