"""What earlier runs say: percentile, headroom, floor, and what is left out."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.run import Run
from reconciler.model.tier import Tier
from reconciler.sizing.evidence import Evidence, Statistic, percentile
from tests import strategies as some

GIB = 1 << 30


def run(memory: float | None = 1.0, cpu: float | None = 1.0, *, number: int = 0, alone: bool = True) -> Run:
    """A run of 100 s that used so many GiB and cores."""
    peak = None if memory is None else int(memory * GIB)
    spent = None if cpu is None else cpu * 100
    return Run(f"2026-11-01T00:{number:02}:00.000000Z", 100.0, Tier(2, 4, 30), peak, spent, 0, 0, 3, alone)


def of(*runs: Run) -> Evidence:
    return Evidence.of(runs, ["shop/api"])


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=40))
def test_the_percentile_is_the_inclusive_one(values: list[float]) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")[94]
    assert percentile(values, 0.95) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_a_percentile_lies_among_its_values(values: list[float]) -> None:
    assert min(values) <= percentile(values, 0.95) <= max(values)


@pytest.mark.parametrize("count", [1, 5, 9, 10, 11, 20])
def test_of_few_runs_the_maximum_of_ten_the_percentile(count: int) -> None:
    memory = of(*(run(10.0 + n, number=n) for n in range(count))).memory
    assert memory is not None
    values = [10.0 + n for n in range(count)]
    few = count < 10  # design section 6
    assert memory.statistic is (Statistic.MAXIMUM if few else Statistic.P95)
    assert memory.used == pytest.approx(max(values) if few else percentile(values, 0.95))
    assert memory.needed == pytest.approx(memory.used * 1.2)
    assert memory.runs == count


@given(st.lists(some.runs, max_size=25))
def test_what_is_needed_is_a_fifth_more_and_never_below_the_floor(runs: list[Run]) -> None:
    evidence = of(*runs)
    for measure, floor in ((evidence.cpu, 2.0), (evidence.memory, 4.0)):
        if measure is not None:
            assert measure.needed == max(floor, measure.used * 1.2)


@given(st.lists(some.runs, max_size=25), st.lists(some.runs, max_size=25))
def test_more_evidence_never_asks_for_less_than_the_floor_or_more_than_any_run_needed(
    runs: list[Run], more: list[Run]
) -> None:
    evidence = of(*runs, *more)
    peaks = [r.peak_memory / GIB for r in (*runs, *more) if r.peak_memory is not None]
    if evidence.memory is not None:
        assert 4.0 <= evidence.memory.needed <= max(4.0, max(peaks) * 1.2)


@given(st.lists(some.runs, min_size=1, max_size=25), st.data())
def test_a_run_that_needed_more_never_makes_the_size_smaller(runs: list[Run], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(runs) - 1))
    grown = list(runs)
    peak = grown[index].peak_memory
    if peak is None:
        return
    grown[index] = replace(grown[index], peak_memory=peak + data.draw(st.integers(0, 1 << 40)))
    before, after = of(*runs).memory, of(*grown).memory
    assert (before is None) == (after is None)
    assert before is None or after is None or after.needed >= before.needed


def test_what_is_not_known_never_counts_as_zero() -> None:
    known = of(*(run(8.0, 4.0, number=n) for n in range(3)))
    mixed = of(*(run(8.0, 4.0, number=n) for n in range(3)), *(run(None, None, number=9 + n) for n in range(17)))
    assert (mixed.cpu, mixed.memory) == (known.cpu, known.memory)
    assert (of(run(None, None)).cpu, of(run(None, None)).memory) == (None, None)
    assert (of().cpu, of().memory, of().artifacts) == (None, None, ())


def test_memory_may_be_known_where_cpu_is_not() -> None:
    evidence = of(run(8.0, None))
    assert evidence.cpu is None
    assert evidence.memory is not None and evidence.memory.used == 8.0


def test_runs_that_were_alone_are_believed_before_others() -> None:
    crowd = [run(30.0, 16.0, number=n, alone=False) for n in range(12)]
    together = of(*crowd)
    assert together.memory is not None
    assert (together.memory.used, together.memory.alone) == (30.0, False)
    some_alone = of(run(5.0, 2.0), *crowd)
    assert some_alone.memory is not None and some_alone.cpu is not None
    assert (some_alone.memory.used, some_alone.memory.alone, some_alone.memory.runs) == (5.0, True, 1)
    assert some_alone.cpu.used == 2.0


def test_a_run_in_which_nothing_ran_says_nothing() -> None:
    idle = [replace(run(0.01, 0.01, number=n), hits=3, steps=3) for n in range(19)]
    assert of(*idle).memory is None
    memory = of(run(9.0), *idle).memory
    assert memory is not None and memory.used == 9.0


def test_a_run_of_no_time_says_nothing_of_cpu() -> None:
    assert of(replace(run(), seconds=0.0)).cpu is None


def test_the_newest_come_first() -> None:
    shuffled = of(run(number=2), run(number=7), run(number=1))
    assert [one.started[14:16] for one in shuffled.runs] == ["07", "02", "01"]
