"""What builds are expected to take: out of runs, through the graph, and never invented."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.forecast import Basis, Expected, PassForecast, Span, Warmth
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, Change, Plan, Reason, ReasonCode
from reconciler.model.run import Run
from reconciler.model.tier import Ladder
from reconciler.plan.forecast import expected, forecast, of_build, urgency
from reconciler.plan.score import accuracy, score
from reconciler.sizing.choose import size
from reconciler.sizing.evidence import Evidence
from reconciler.sizing.sized import Sized
from tests import strategies as some
from tests.commits import LADDER, SIZES, Commit, artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.desired import Desired

API = ArtifactName.parse("shop/api")


def named(text: str) -> ArtifactName:
    return ArtifactName("shop", text)


def runs(*seconds: float, hits: int = 0) -> list[Run]:
    tier = size(artifact("shop/api"), None, Evidence(), SIZES).tier
    return [
        Run(f"2026-01-01T00:{n:02}:00.000000Z", taken, tier, None, None, 0, hits, 3, alone=True)
        for n, taken in enumerate(seconds)
    ]


def evidence(*seconds: float, of: str = "shop/api", hits: int = 0) -> Evidence:
    return Evidence.of(runs(*seconds, hits=hits), [of])


# -- one build


@given(some.evidences, st.sampled_from(Warmth))
def test_the_median_is_never_more_than_the_95th_percentile(known: Evidence, warmth: Warmth) -> None:
    told = expected(known, API, warmth)
    assert (told is None) == (not known.runs)
    if told is not None:
        seconds = [run.seconds for run in known.runs]
        assert min(seconds) <= told.p50 <= told.p95 <= max(seconds)
        assert 1 <= told.runs <= len(seconds)


def test_of_few_runs_the_longest_stands_for_the_95th_percentile() -> None:
    assert expected(evidence(1.0, 2.0, 9.0), API, Warmth.COLD) == Expected(2.0, 9.0, 3)
    told = expected(evidence(*map(float, range(1, 21))), API, Warmth.COLD)
    assert told is not None
    assert (told.p50, round(told.p95, 2), told.runs) == (10.5, 19.05, 20)


def test_runs_that_found_a_cache_tell_of_builds_that_will() -> None:
    mixed = Evidence.of([*runs(60.0, 62.0), *runs(5.0, 7.0, hits=2)], ["shop/api"])
    assert expected(mixed, API, Warmth.WARM) == Expected(6.0, 7.0, 2)
    assert expected(mixed, API, Warmth.COLD) == Expected(61.0, 62.0, 2)
    assert expected(mixed, API, Warmth.UNKNOWN) == Expected(33.5, 62.0, 4)
    assert expected(evidence(60.0), API, Warmth.WARM) == Expected(60.0, 60.0, 1), "where there is none of the kind, all"


def test_where_a_cache_is_new_what_is_known_is_a_bound() -> None:
    def at_most(warmth: Warmth, *hits: int) -> bool:
        known = Evidence.of([run for n in hits for run in runs(60.0 + n, hits=n)], ["shop/api"])
        return of_build(size(artifact("shop/api"), None, known, SIZES), API, warmth).at_most

    assert at_most(Warmth.WARM, 0)
    assert not at_most(Warmth.WARM, 0, 1)
    assert not at_most(Warmth.COLD, 0)
    assert not at_most(Warmth.WARM)


def test_others_of_the_workspace_are_named_as_what_they_are() -> None:
    told = expected(evidence(5.0, of="shop/web"), API, Warmth.COLD)
    assert told is not None and told.basis is Basis.WORKSPACE
    own = expected(evidence(5.0), API, Warmth.COLD)
    assert own is not None and own.basis is Basis.ARTIFACT


# -- all of them


def planned(
    seconds: Mapping[str, Sequence[float]],
    after: Mapping[str, str] | None = None,
    conditional: Sequence[str] = (),
    jobs: int = 2,
    ladder: Ladder = LADDER,
) -> tuple[Plan, Desired]:
    """A plan of builds; of each the runs it had, none for one that was never built."""
    after = after or {}
    changes, files, artifacts, sizings = [], {}, [], {}
    for name, taken in seconds.items():
        a = artifact(f"shop/{name}", contexts={"p": f"artifact:shop/{after[name]}"} if name in after else {})
        artifacts.append(a)
        files[f"shop/{name}/Dockerfile"] = b"FROM p\n" if name in after else b"FROM scratch\n"
        waits = (named(after[name]),) if name in after else ()
        change = Change(a.name, a.image, a.tags, a.platforms, Action.BUILD, (Reason(ReasonCode.ABSENT),))
        changes.append(replace(change, waits_for=waits, conditional=name in conditional))
        known = evidence(*taken, of=f"shop/{name}") if taken else Evidence()
        sizings[a.name] = size(a, None, known, replace(SIZES, ladder=ladder))
    desired = Commit(tuple(artifacts), files).desired
    warmth = {change.artifact: Warmth.COLD for change in changes}
    return forecast(Plan("0" * 40, tuple(changes)), desired, Sized(ladder, sizings), warmth, jobs), desired


def of_pass(plan: Plan) -> PassForecast:
    assert plan.forecast is not None
    return plan.forecast


def test_a_chain_is_the_longest_path_whatever_the_jobs() -> None:
    plan, _ = planned({"base": [10.0], "api": [20.0], "web": [5.0], "docs": [12.0]}, {"api": "base", "web": "api"})
    told = of_pass(plan)
    assert [str(name) for name in told.longest] == ["shop/base", "shop/api", "shop/web"]
    assert (told.longest_seconds, told.wall.most, told.compute.most) == (35.0, 35.0, 47.0)
    assert (told.builds, told.known, told.fewest) == (4, 4, 1)


def test_nothing_to_build_has_no_forecast() -> None:
    in_sync = Change(API, artifact("shop/api").image, ("latest",), (), Action.NONE, (Reason(ReasonCode.IN_SYNC),))
    for plan in (Plan("0" * 40), Plan("0" * 40, (in_sync,))):
        told = forecast(plan, Commit((artifact("shop/api"),)).desired, Sized(), {}, 2)
        assert told == plan
        assert "forecast" not in told.to_json()


def test_what_only_may_be_built_makes_a_range() -> None:
    plan, _ = planned({"base": [10.0], "api": [20.0]}, {"api": "base"}, conditional=["api"])
    assert of_pass(plan).wall == Span(10.0, 30.0, 30.0)


def test_what_is_unknown_counts_as_nothing_and_is_counted() -> None:
    plan, _ = planned({"base": [10.0], "new": []})
    told = of_pass(plan)
    assert (told.builds, told.known, told.wall.most) == (2, 1, 10.0)
    forecasts = {str(change.artifact): change.forecast for change in plan.changes}
    assert (new := forecasts["shop/new"]) is not None and new.time is None
    nothing, _ = planned({"new": []})
    assert (of_pass(nothing).known, of_pass(nothing).longest) == (0, ())


def test_what_is_unknown_is_put_in_order_as_a_typical_one() -> None:
    plan, desired = planned({"a": [10.0], "b": [30.0], "c": [50.0], "new": []})
    assert urgency(plan, desired) == {named("a"): 10.0, named("b"): 30.0, named("c"): 50.0, named("new"): 30.0}
    plan, desired = planned({"base": [], "api": []}, {"api": "base"})
    assert urgency(plan, desired) == {named("base"): 2.0, named("api"): 1.0}


def test_a_price_is_that_of_the_time_on_the_tier() -> None:
    priced = Ladder(tuple(replace(tier, hourly=0.36) for tier in LADDER.tiers), "EUR")
    plan, _ = planned({"base": [100.0, 100.0, 200.0], "new": []}, ladder=priced)
    told = of_pass(plan)
    assert (told.cost, told.currency) == (Span(0.01, 0.01, 0.02), "EUR")
    free, _ = planned({"base": [100.0]})
    assert of_pass(free).cost is None


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.integers(0, 90).map(float), max_size=12), min_size=1, max_size=6
    ),
    st.integers(1, 4),
    st.data(),
)
def test_a_forecast_is_in_order_and_the_same_each_time(
    seconds: dict[str, list[float]], jobs: int, data: st.DataObject
) -> None:
    names = sorted(seconds)
    after = {
        child: data.draw(st.sampled_from(names[:place]))
        for place, child in enumerate(names)
        if place and data.draw(st.booleans())
    }
    conditional = [name for name in after if data.draw(st.booleans())]
    ordered = {name: seconds[name] for name in names}
    plan, _ = planned(ordered, after, conditional, jobs)
    told = of_pass(plan)
    for span in (told.wall, told.compute):
        assert 0 <= span.least <= span.most <= span.p95
    assert told.wall.most >= max(told.longest_seconds, told.compute.most / jobs) - 1e-9
    assert json.dumps(plan.to_json()) == json.dumps(planned(ordered, after, conditional, jobs)[0].to_json())


# -- how good they were


def test_forecasts_are_scored_by_what_builds_took() -> None:
    told = accuracy([(Expected(10.0, 20.0, 5), 10.0), (Expected(10.0, 20.0, 5), 16.0), (Expected(10.0, 20.0, 5), 40.0)])
    assert (told.builds, told.within_p50, told.within_p95, told.median_error) == (3, 1, 2, 0.375)
    assert accuracy([]).median_error is None


@pytest.mark.parametrize(
    ("status", "known", "compared"),
    [(Status.DONE, True, True), (Status.FAILED, True, False), (Status.DONE, False, False)],
)
def test_a_pass_is_held_against_its_forecast_only_if_all_of_it_was_foreseen_and_done(
    status: Status, known: bool, compared: bool
) -> None:
    plan, _ = planned({"base": [10.0], "api": [20.0] if known else []})
    results = tuple(
        Result(c.artifact, Action.BUILD, status, build_seconds=12.0, forecast=c.forecast.time if c.forecast else None)
        for c in plan.changes
    )
    told = score(plan, Outcome("0" * 40, results, seconds=21.0))
    assert told is not None
    assert (told.wall is not None, told.took, told.builds.builds) == (compared, 21.0, 2 if known else 1)
    assert score(Plan("0" * 40), Outcome("0" * 40)) is None
