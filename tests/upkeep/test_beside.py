"""Commands that are about images pass the build caches by: none is foreign, orphaned or broken, and none goes."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest

from reconciler.audit.status import Options as StatusOptions
from reconciler.audit.status import status
from reconciler.audit.verify import Options as VerifyOptions
from reconciler.audit.verify import verify
from reconciler.cli import exits
from reconciler.cli.views import status as view
from reconciler.cli.views.text import as_json
from reconciler.prune.plan import PruneOptions, plan_prune
from reconciler.reconcile import Options, Orphans, plan_once
from tests.audit.shop import API, BASE, SITE, shop_world, surveying
from tests.cli.test_documents import checked
from tests.upkeep.shelf import DAY, LAYOUT, fill, spot, where

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.ports.signer import Verifier
    from tests.fakes import World


@pytest.fixture
def shop(tmp_path: Path) -> World:
    """Three images, and the caches of two, of one that is gone, and of a session's."""
    world = shop_world(tmp_path)
    for name in ("shop/base", "shop/api", "shop/gone"):
        fill(world, name, 30 * DAY)
    fill(world, "shop/api", 30 * DAY, actor="alice")
    return world


def test_a_status_counts_them_in_one_line(shop: World) -> None:
    told = asyncio.run(status(surveying(shop), StatusOptions()))
    (shelf,) = told.shelves
    assert [holding.repository for holding in shelf.holdings] == [API, BASE, SITE]
    assert shelf.caches == 4
    assert exits.of_status(told) == 0
    stream = io.StringIO()
    view.show(told, stream)
    assert "4 repositories of build caches: see `lian cache ls`" in stream.getvalue()
    assert checked("status", as_json(told.to_json()))["registries"][0]["caches"] == 4


def test_a_prune_does_not_judge_them(shop: World) -> None:
    """Not even if someone has put there what looks like an image of lian's."""
    cache = where(spot("shop/gone"))
    shop.registry.tags[cache, "lian-" + "0" * 40] = shop.registry.tags[cache, "linux-amd64"]
    plan = asyncio.run(plan_prune(shop.removing(), PruneOptions(allow_most=True)))
    assert {removal.repository for removal in plan.removals} == {API, BASE, SITE}
    assert not plan.images


def test_a_diff_asks_nothing_about_them(shop: World) -> None:
    shop.registry.asked.clear()
    work = asyncio.run(plan_once(shop.ports(), Options(orphans=Orphans.TOLD)))
    assert not work.plan.orphans
    assert exits.of_plan(work.plan) == 0
    asked = {reference.repository.path for some in shop.registry.asked for reference in some}
    assert not [path for path in asked if LAYOUT.reserves(path)]


def test_verify_looks_at_images_alone(shop: World) -> None:
    def verifier(pem: bytes, name: str) -> Verifier:
        raise AssertionError

    told = asyncio.run(verify(shop.ports(), VerifyOptions(), verifier))
    assert {str(result.artifact) for result in told.results} == {"shop/base", "shop/api", "web/site"}
    assert exits.of_verification(told) == 0
