"""docs/sizing.md says of the ladder and of the languages what is so."""

from __future__ import annotations

import re

from reconciler.desired.tiers import read_sizes
from reconciler.model.artifact import Place
from reconciler.model.tier import Ladder, NamedTier
from tests.schemas.evaluation import ROOT, evaluate

PAGE = (ROOT / "docs" / "sizing.md").read_text("utf-8")
DEFAULTS = evaluate('import "defaults/tiers.ncl"')
SETTINGS = '({}) | (import "schemas/fleet.ncl").FleetSettings'


def ladder_of(settings: str) -> Ladder:
    sizes, problem = read_sizes(DEFAULTS, evaluate(SETTINGS.replace("{}", settings)), lambda field: Place("lian.ncl"))
    assert problem is None
    return sizes.ladder


def test_the_example_is_a_ladder() -> None:
    (example,) = re.findall(r"```nickel\n(.*?)```", PAGE, re.DOTALL)
    assert [tier.name for tier in ladder_of(example).tiers] == ["half", "small", "medium", "huge"]


def test_the_languages_are_those_of_the_data() -> None:
    row = re.sub(r"( cpu| GB| min)", "", PAGE.partition("build spec: ")[2].partition(" |")[0])
    told = {
        name.strip(): tuple(map(int, numbers.split(", ")))
        for names, numbers in re.findall(r"([a-z, ]+?) ([0-9]+, [0-9]+, [0-9]+)", row)
        for name in names.split(",")
    }
    sizes = DEFAULTS["languages"] | {"any other": DEFAULTS["otherwise"]}
    assert told == {name: (size["cpu"], size["memory_gb"], size["time_budget"]) for name, size in sizes.items()}


def test_a_clouds_tiers_have_prices_and_a_fleets_own_do_not() -> None:
    cloud = ladder_of("{ compute.provider = 'Hcloud }")
    assert [(tier.name, tier.cpu, tier.memory_gb) for tier in cloud.tiers] == [
        ("cx22", 2, 4),
        ("cx32", 4, 8),
        ("cx42", 8, 16),
        ("cx52", 16, 32),
    ]
    prices = [tier.hourly or 0 for tier in cloud.tiers]
    assert prices == sorted(prices) and prices[0] > 0
    assert cloud.currency == "EUR"
    own = ladder_of(
        "{ compute.provider = 'Hcloud, tiers = { cx22 = { cpu = 2, memory_gb = 4 }, x = { cpu = 4, memory_gb = 9 } } }"
    )
    assert own.tiers == (NamedTier("cx22", 2, 4, None, prices[0]), NamedTier("x", 4, 9))


def test_every_provider_has_a_ladder_that_grows() -> None:
    for provider in ("Local", "DockerLocal", "Hcloud", "Proxmox", "Orchestrator"):
        tiers = ladder_of(f"{{ compute.provider = '{provider} }}").tiers
        assert [(tier.cpu, tier.memory_gb) for tier in tiers] == [(2, 4), (4, 8), (8, 16), (16, 32)]
