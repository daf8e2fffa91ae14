"""What is told of rented runners: whose they are, how long they last, what they have cost."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.cli.views.runners import show
from reconciler.model.fleet import ComputeProvider
from reconciler.model.lease import Lease
from reconciler.model.problem import LianError, Problem
from reconciler.model.tier import Ladder, NamedTier, Sizes, Tier
from reconciler.ports.bundle import Renting
from reconciler.ports.compute import Keeper, LeaseRequest, Outstanding, RentalState
from reconciler.upkeep.runners import RunnerList, runners
from tests.commits import Commit, chain
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import Desired

MOMENT = 1_000_000_000.0
PRICED = Ladder((NamedTier("cx22", 2, 4.0, None, 0.006), NamedTier("cx32", 4, 8.0)), "EUR")


def out(name: str, tier: str, *, age: float = 1800.0, provider: str = "Hcloud") -> Outstanding:
    lease = Lease(name, "acme", "pass1", MOMENT - age, MOMENT + 600.0, "shop/api", tier)
    return Outstanding(name, provider, lease, RentalState.READY, Keeper.ALIVE)


def listed(*leases: Outstanding, ladder: Ladder = PRICED) -> RunnerList:
    return RunnerList(MOMENT, "acme", leases, provider="Hcloud", ladder=ladder)


def test_a_runner_has_cost_the_part_of_an_hour_that_it_is_old() -> None:
    one = out("one", "cx22")
    assert listed(one).cost(one) == 0.003
    assert listed(one).to_json()["runners"][0] | {"created": 0, "deadline": 0} == {
        "lease": "one",
        "provider": "Hcloud",
        "state": "ready",
        "keeper": "alive",
        "fleet": "acme",
        "pass": "pass1",
        "builds": "shop/api",
        "created": 0,
        "deadline": 0,
        "tier": "cx22",
        "cost": 0.003,
    }


def test_what_has_no_price_or_is_not_on_the_ladder_costs_nobody_knows_what() -> None:
    unread = replace(out("note", "cx22"), lease=None)
    for one in (out("a", "cx32"), out("b", "gone"), out("c", ""), out("d", "cx22", provider="Ssh"), unread):
        assert listed(one).cost(one) is None


def test_a_clock_that_is_behind_makes_nothing_cheaper_than_free() -> None:
    one = out("one", "cx22", age=-60.0)
    assert listed(one).cost(one) == 0.0


def test_the_table_has_what_a_runner_has_cost() -> None:
    stream = io.StringIO()
    show(listed(out("one", "cx22"), out("two", "cx32")), stream)
    one, _, two = stream.getvalue().partition("two")
    assert "0.0030 EUR" in one
    assert "EUR" not in two


def renting(commit: Commit, folder: Path) -> tuple[World, Renting]:
    world = World(commit, folder)
    return world, Renting(world.source, world.clock, world.compute)


def test_what_a_fleets_settings_say_of_prices_is_asked_of_its_commit(tmp_path: Path) -> None:
    sizes = Sizes(PRICED, Tier(2, 4, 30))
    world, ports = renting(replace(chain("shop/api"), compute=ComputeProvider.HCLOUD, sizes=sizes), tmp_path)

    async def look() -> RunnerList:
        request = LeaseRequest("acme", "pass1", "one", Tier(2, 4, 30, "cx22"), 60.0)
        async with world.compute.rent(request):
            return await runners(ports)

    told = asyncio.run(look())
    assert (told.fleet, told.provider, told.ladder) == (world.source.commit.fleet, "Hcloud", PRICED)
    assert [(one.name, one.lease.tier) for one in told.runners if one.lease] == [("one", "cx22")]


def test_without_a_commit_what_this_machine_rented_is_told_and_no_price(tmp_path: Path) -> None:
    unreadable = Problem("repo-missing", "there is no repository here")
    world, ports = renting(chain("shop/api"), tmp_path)

    async def load() -> Desired:
        raise LianError(unreadable)

    world.source.load = load  # type: ignore[method-assign]
    told = asyncio.run(runners(ports))
    assert (told.fleet, told.problems, told.ladder) == (None, (unreadable,), Ladder())
