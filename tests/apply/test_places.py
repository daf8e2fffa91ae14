"""Who gets a place: the most urgent of those that wait, and never more than there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.apply.places import AT_ONCE, Places
from reconciler.model.name import ArtifactName

if TYPE_CHECKING:
    from collections.abc import Sequence


def named(text: str) -> ArtifactName:
    return ArtifactName("shop", text)


class Worked:
    """Who had a place, in order, and the most at one time."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.order: list[str] = []
        self.most = self.now = 0

    async def work(self, name: str, urgency: float | None = None) -> None:
        async with self.places.of(named(name), urgency):
            self.order.append(name)
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1


async def _all(worked: Worked, names: Sequence[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(worked.work(name))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3).map(float), min_size=1), st.randoms())
def test_one_place_goes_to_the_most_urgent_then_by_name(urgency: dict[str, float], random: object) -> None:
    names = list(urgency)
    random.shuffle(names)  # type: ignore[attr-defined]
    worked = Worked(Places(1, {named(name): value for name, value in urgency.items()}))
    asyncio.run(_all(worked, names))
    assert worked.order == sorted(urgency, key=lambda name: (-urgency[name], name))


@given(st.integers(1, 4), st.integers(1, 8))
def test_never_more_than_there_are(free: int, many: int) -> None:
    places = Places(free)
    worked = Worked(places)
    asyncio.run(_all(worked, "abcdefgh"[:many]))
    assert worked.most == min(free, many)
    assert places.free == free


def test_moving_tags_goes_first_and_what_nobody_ranked_last() -> None:
    worked = Worked(Places(1, {named("build"): 9.0}))

    async def some() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(worked.work("unranked"))
            group.create_task(worked.work("build"))
            group.create_task(worked.work("tags", AT_ONCE))

    asyncio.run(some())
    assert worked.order == ["tags", "build", "unranked"]


def test_who_goes_while_waiting_takes_no_place_with_it() -> None:
    async def some() -> None:
        places = Places(1)
        async with places.of(named("first")):
            waiting = asyncio.create_task(Worked(places).work("second"))
            await asyncio.sleep(0)
            assert places.all_taken
            waiting.cancel()
            await asyncio.wait({waiting})
        async with asyncio.timeout(5), places.of(named("third")):
            assert places.free == 0
        assert places.free == 1

    asyncio.run(some())


def test_who_is_given_a_place_and_goes_in_the_same_moment_leaves_it() -> None:
    async def some() -> None:
        places = Places(1)
        waiting = asyncio.create_task(Worked(places).work("first"))
        for _ in range(2):
            await asyncio.sleep(0)  # it has come, and has been given its place, but has not gone on
        waiting.cancel()
        await asyncio.wait({waiting})
        async with asyncio.timeout(5), places.of(named("second")):
            pass
        assert places.free == 1

    asyncio.run(some())


def test_a_place_is_kept_for_what_is_about_to_come_and_more_urgent() -> None:
    """`child` stands on `parent`, whose image is being recorded while `other` waits."""

    async def some(child_comes: bool) -> list[str]:
        parent, child, other = map(named, ("parent", "child", "other"))
        places = Places(1, {parent: 3.0, child: 2.0, other: 1.0}, {child: [parent]})
        worked = Worked(places)
        async with places.of(parent):
            less = asyncio.create_task(worked.work("other"))
            await asyncio.sleep(0)
            places.built(parent)
        for _ in range(5):
            await asyncio.sleep(0)
        assert worked.order == []
        if child_comes:
            await worked.work("child")
        places.ended(child)
        await less
        return worked.order

    assert asyncio.run(some(child_comes=True)) == ["child", "other"]
    assert asyncio.run(some(child_comes=False)) == ["other"], "nothing is kept for what failed"


def test_no_place_is_kept_for_what_still_waits_for_another_build() -> None:
    async def some() -> None:
        one, two, child = map(named, ("one", "two", "child"))
        places = Places(1, {child: 9.0}, {child: [one, two]})
        async with places.of(one):
            places.built(one)
            places.built(one)
        async with asyncio.timeout(5):
            await Worked(places).work("other")

    asyncio.run(some())


def test_no_place_is_kept_for_what_has_come_before_what_it_stands_on_was_built() -> None:
    """A child that finds what it needs in the registry waits for no build, and is not about to come a second time."""

    async def some() -> None:
        parent, child = named("parent"), named("child")
        places = Places(1, {child: 9.0}, {child: [parent]})
        await Worked(places).work("child")
        places.ended(child)
        places.ended(parent)
        async with asyncio.timeout(5):
            await Worked(places).work("other")

    asyncio.run(some())
