"""What the builds of a plan will take: each by the runs of those before it, all of them by going through them in the
order in which they are begun (ADR 072). What is not known is said to be unknown, and counts as nothing."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from reconciler.identity.resolve import parents_of_checks
from reconciler.model.forecast import Basis, BuildForecast, Expected, PassForecast, Span, Warmth
from reconciler.model.plan import Action
from reconciler.plan.schedule import Graph, longest_path, makespan, remaining
from reconciler.sizing.evidence import long_run, percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change, Plan
    from reconciler.sizing.choose import Sizing
    from reconciler.sizing.evidence import Evidence
    from reconciler.sizing.sized import Sized

ANY_SECONDS = 1.0
"""What a build is taken for when builds are put in order and of none of them it is known: all are alike then."""


def may_build(plan: Plan, desired: Desired) -> tuple[ArtifactName, ...]:
    """What the plan builds, and what is to be copied, if it may turn out that it must not be."""
    signed = desired.fleet.policy.sign is not None
    return tuple(
        c.artifact
        for c in plan.changes
        if c.action is Action.BUILD or (signed and c.action is Action.RETAG and c.source is not None)
    )


def forecast(plan: Plan, desired: Desired, sized: Sized, warmth: Mapping[ArtifactName, Warmth], jobs: int) -> Plan:
    """The plan, with a forecast of each build and of all of them, `jobs` at a time; as it is where nothing is built."""
    changes = tuple(
        replace(change, forecast=of_build(sized.sizings[change.artifact], change.artifact, warmth[change.artifact]))
        if change.action is Action.BUILD
        else change
        for change in plan.changes
    )
    told = replace(plan, changes=changes)
    return replace(told, forecast=_of_pass(told, desired, jobs, sized.ladder.currency))


def of_build(sizing: Sizing, name: ArtifactName, warmth: Warmth) -> BuildForecast:
    """One build, which gets this size and these caches."""
    time, hourly = expected(sizing.evidence, name, warmth), sizing.machine.hourly if sizing.machine else None
    cost = None if time is None or hourly is None else hourly * time.p50 / 3600
    at_most = time is not None and warmth is Warmth.WARM and not any(run.hits for run in sizing.evidence.runs)
    return BuildForecast(sizing.tier, warmth, time, cost, at_most)


def expected(evidence: Evidence, name: ArtifactName, warmth: Warmth) -> Expected | None:
    """By the runs that found a cache where one is expected, by those that found none where not; where there are none of
    the kind, by all. With fewer than ten the longest stands for the P95, as in sizing. None without any run."""
    warm = warmth is Warmth.WARM
    alike = [] if warmth is Warmth.UNKNOWN else [run.seconds for run in evidence.runs if (run.hits > 0) == warm]
    seconds = alike or [run.seconds for run in evidence.runs]
    if not seconds:
        return None
    own = evidence.artifacts == (str(name),)
    basis = Basis.ARTIFACT if own else Basis.WORKSPACE
    return Expected(percentile(seconds, 0.5), long_run(seconds), len(seconds), basis)


def urgency(plan: Plan, desired: Desired) -> dict[ArtifactName, float]:
    """Build -> the seconds of the longest path of builds that begins with it: the one with more goes first. A build of
    which nothing is known is taken for a typical one of the plan."""
    builds = _builds(plan)
    graph = _graph(builds, desired)
    return dict(zip(graph.names, _order(builds, graph), strict=True))


def _order(builds: Sequence[Change], graph: Graph) -> list[float]:
    times = [_time(change) for change in builds]
    known = [time.p50 for time in times if time]
    typical = median(known) if known else ANY_SECONDS
    return remaining(graph, [time.p50 if time else typical for time in times])


def _of_pass(plan: Plan, desired: Desired, jobs: int, currency: str | None) -> PassForecast | None:
    builds = _builds(plan)
    if not builds:
        return None
    graph = _graph(builds, desired)
    times = [_time(change) for change in builds]
    most = [time.p50 if time else 0.0 for time in times]
    slow = [time.p95 if time else 0.0 for time in times]
    sure = [taken if _is_certain(change) else 0.0 for change, taken in zip(builds, most, strict=True)]
    order = _order(builds, graph)
    known = [time for time in times if time]
    return PassForecast(
        jobs,
        len(builds),
        len(known),
        compute=Span(sum(sure), sum(most), sum(slow)),
        wall=_rising(*(makespan(graph, seconds, jobs, order) for seconds in (sure, most, slow))),
        longest=longest_path(graph, most) if known else (),
        longest_seconds=max(remaining(graph, most)),
        warm=sum(c.forecast is not None and c.forecast.warmth is Warmth.WARM for c in builds),
        fewest=min((time.runs for time in known), default=0),
        cost=_cost(builds),
        currency=currency,
    )


def _rising(least: float, most: float, p95: float) -> Span:
    """A greedy order may end later when there is less to do (Graham's anomalies); what is told never says so."""
    return Span(min(least, most), most, max(most, p95))


def _cost(builds: Sequence[Change]) -> Span | None:
    """None where no build has a price."""
    priced = [(c, f.cost, f.time) for c in builds if (f := c.forecast) and f.cost is not None and f.time is not None]
    if not priced:
        return None
    least = sum(cost for change, cost, _ in priced if _is_certain(change))
    most = sum(cost for _, cost, _ in priced)
    return Span(least, most, sum(cost * time.p95 / time.p50 if time.p50 else cost for _, cost, time in priced))


def _is_certain(change: Change) -> bool:
    return not change.conditional and not (change.forecast and change.forecast.at_most)


def _builds(plan: Plan) -> list[Change]:
    return [change for change in plan.changes if change.action is Action.BUILD]


def _graph(builds: Sequence[Change], desired: Desired) -> Graph:
    """Of builds, parents before children, each after those that it waits for."""
    return Graph.of({change.artifact: _after(change, desired.wanted[change.artifact]) for change in builds})


def _after(change: Change, wanted: Wanted) -> tuple[ArtifactName, ...]:
    materials = wanted.materials
    if materials is None or not materials.check_needs:
        return change.waits_for
    return tuple(dict.fromkeys((*change.waits_for, *parents_of_checks(wanted.artifact, materials))))


def _time(change: Change) -> Expected | None:
    return change.forecast.time if change.forecast else None
