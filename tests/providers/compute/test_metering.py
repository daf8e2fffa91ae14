"""How much memory was needed, whatever the pages of files take."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from reconciler.providers.compute.cgroups import MemoryReading
from reconciler.providers.compute.metering import MemoryMeter

_BYTES = st.integers(0, 1 << 40)


@st.composite
def readings(draw: st.DrawFn) -> list[MemoryReading]:
    """As a cgroup gives them: files are part of what is used, the peak never falls and is never below what is used."""
    found, peak = [], 0
    for _ in range(draw(st.integers(1, 8))):
        used = draw(_BYTES)
        peak = max(peak, used, draw(_BYTES))
        found.append(MemoryReading(used, draw(st.integers(0, used)), peak))
    return found


@given(readings())
def test_it_never_falls_and_lies_between_what_was_seen_and_the_peak(given_: list[MemoryReading]) -> None:
    meter, last = MemoryMeter(), 0
    for reading in given_:
        needed = meter.take(reading)
        assert needed is not None
        assert max(last, reading.used - reading.files) <= needed <= (reading.peak or 0)
        last = needed


def test_pages_of_files_do_not_count() -> None:
    meter = MemoryMeter()
    meter.take(MemoryReading(10, 0, 10))
    for written in range(100, 1000, 100):
        meter.take(MemoryReading(30 + written, written, 30 + written))
    assert meter.needed == 30


def test_what_came_and_went_between_two_looks_counts() -> None:
    meter = MemoryMeter()
    meter.take(MemoryReading(10, 0, 10))
    assert meter.take(MemoryReading(15, 5, 500)) == 495


def test_nothing_is_known_where_nothing_can_be_read() -> None:
    meter = MemoryMeter()
    assert meter.take(None) is None
    meter.take(MemoryReading(10, 2, None))
    assert meter.take(None) == 8


def test_it_looks_by_itself_and_stops() -> None:
    async def run() -> int:
        looks = 0

        def look() -> MemoryReading:
            nonlocal looks
            looks += 1
            return MemoryReading(looks, 0, looks)

        meter = MemoryMeter()
        async with meter.running(look):
            await asyncio.sleep(0.6)
        seen = looks
        await asyncio.sleep(0.3)
        assert looks == seen
        return seen

    assert asyncio.run(run()) >= 2


def test_what_was_used_between_the_beginning_and_the_first_look_counts() -> None:
    """A step that is over before a control group was looked at for the first time."""
    meter = MemoryMeter()
    assert meter.take(None) is None
    assert meter.take(MemoryReading(used=8, files=4, peak=100)) == 96
    unknown = MemoryMeter()
    assert unknown.take(MemoryReading(used=8, files=4, peak=100)) == 4, "who used that is not known"
