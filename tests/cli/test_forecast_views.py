"""How forecasts are told: what is known, no more exactly than it is known, on 80 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from reconciler.cli.views import forecast as view
from reconciler.cli.views import outcome as outcome_view
from reconciler.cli.views import plan as plan_view
from reconciler.cli.views.text import measured, roughly
from reconciler.model.forecast import (
    Accuracy,
    Basis,
    BuildForecast,
    Expected,
    PassForecast,
    Score,
    Span,
    Warmth,
)
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome
from reconciler.model.plan import Action, Plan, Reason, ReasonCode
from reconciler.model.tier import Tier
from tests import strategies as some
from tests.cli.test_views import change, shown

TIER = Tier(4, 8, 30, "medium")
ALL = Span(250.0, 250.0, 430.0)
TOLD = PassForecast(
    2,
    12,
    12,
    compute=Span(400.0, 400.0, 700.0),
    wall=ALL,
    longest=tuple(ArtifactName("shop", name) for name in ("base", "api", "web")),
    longest_seconds=240.0,
    warm=3,
    fewest=14,
    cost=Span(0.02, 0.02, 0.04),
    currency="EUR",
)


def lines(told: PassForecast) -> list[str]:
    plan = Plan("0" * 40, (change(Action.BUILD, Reason(ReasonCode.ABSENT)),), forecast=told)
    written = shown(plan_view.show, plan).splitlines()
    return [line for line in written if line.startswith(("forecast", "longest", "     ")) and "registry" not in line]


def test_a_pass_on_two_lines() -> None:
    assert lines(TOLD) == [
        "forecast  about 4 min (P95 7 min) with 2 jobs, 3 of 12 from warm caches, about",
        "          0.02 EUR",
        "longest   shop/base → shop/api → shop/web, 4 min",
    ]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"known": 0, "fewest": 0, "longest": ()}, "unknown: nothing like it was built before"),
        ({"wall": Span(0.0, 250.0, 430.0)}, "at most about 4 min (P95 7 min) with 2 jobs"),
        ({"wall": Span(125.0, 250.0, 430.0)}, "about 2 to 4 min (P95 7 min) with 2 jobs"),
        ({"wall": Span(25.0, 250.0, 430.0)}, "about 25 s to 4 min (P95 7 min) with 2 jobs"),
        ({"wall": Span(0.5, 250.0, 430.0)}, "under 1 s to 4 min (P95 7 min) with 2 jobs"),
        ({"wall": Span(0.0, 0.6, 1.4)}, "under 1 s (P95 1.4 s) with 2 jobs"),
        ({"known": 10}, "about 4 min (P95 7 min) with 2 jobs, and 2 of 12 builds of unknown"),
        ({"fewest": 3}, "about 4 min (P95 7 min) with 2 jobs, by 3 runs or more each"),
        ({"fewest": 1, "known": 1, "builds": 1, "jobs": 1}, "about 4 min (P95 7 min) with 1 job, by 1 run"),
    ],
)
def test_what_is_less_certain_says_so(more: dict[str, object], line: str) -> None:
    told = replace(TOLD, warm=0, cost=None, **more)  # type: ignore[arg-type]
    assert lines(told)[0] == f"forecast  {line}"


def test_a_long_path_names_its_ends() -> None:
    told = replace(TOLD, longest=tuple(ArtifactName("s", f"n{n}") for n in range(20)))
    assert "s/n0 → s/n1 → s/n2 → 14 more → s/n17 → s/n18 → s/n19, 4 min" in lines(told)[-1]


def test_one_build_is_no_path() -> None:
    assert not [line for line in lines(replace(TOLD, longest=TOLD.longest[:1])) if line.startswith("longest")]


def test_each_build_in_detail() -> None:
    told = BuildForecast(TIER, Warmth.WARM, Expected(12.0, 20.0, 7), 0.02)
    assert view.of_build(told, "EUR", conditional=True) == (
        "at most about 12 s (P95 20 s) by 7 runs, a warm cache, medium (4 cpu, 8 GiB), about 0.02 EUR"
    )
    others = replace(told, time=Expected(12.0, 20.0, 1, Basis.WORKSPACE), warmth=Warmth.COLD, cost=None)
    assert view.of_build(others, None, conditional=False) == (
        "about 12 s (P95 20 s) by 1 run of others in the workspace, no cache, medium (4 cpu, 8 GiB)"
    )
    quick = replace(told, time=Expected(0.4, 2.0, 7), cost=None)
    assert view.of_build(quick, None, conditional=True).startswith("at most under 1 s (P95 2.0 s) by 7 runs, ")
    unknown = view.of_build(replace(others, time=None), None, conditional=False)
    assert unknown.startswith("time unknown, nothing like it was built before, no cache")
    plan = Plan("0" * 40, (change(Action.BUILD, forecast=told),), forecast=TOLD)
    assert "about 12 s (P95 20 s) by 7 runs" in shown(plan_view.show, plan, detailed=True)
    assert "by 7 runs" not in shown(plan_view.show, plan)


@given(some.pass_forecasts)
def test_no_line_is_wider_than_the_terminal(told: PassForecast) -> None:
    longest = max(map(len, map(str, told.longest)), default=0)
    assert all(len(line) <= max(80, longest + 12) for line in lines(told))


def test_the_outcome_tells_how_it_was_foreseen() -> None:
    score = Score(270.0, ALL, Accuracy(4, 2, 3, 0.123))
    told = shown(lambda outcome, stream: outcome_view.show(outcome, stream, None), Outcome("0" * 40, forecast=score))
    assert " ".join(told.split()).startswith(
        "forecast: took 4 min, expected about 4 min (P95 7 min); 3 of 4 builds within P95, median error 12%"
    )
    assert view.scored(replace(score, wall=None)) == "3 of 4 builds within P95, median error 12%"
    assert view.scored(Score(270.0, ALL)) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "under 1 s"),
        (0.94, "under 1 s"),
        (1.0, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (99.4 * 60, "99 min"),
        (100 * 60, "1.7 h"),
        (3.6e6, "1,000.0 h"),
    ],
)
def test_no_more_exactly_than_it_is_known(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.31, "310 ms"), (0.949, "949 ms"), (0.96, "1.0 s"), (1.04, "1.0 s"), (120.0, "2 min")],
)
def test_what_has_been_is_told_more_exactly(seconds: float, text: str) -> None:
    assert measured(seconds) == text
