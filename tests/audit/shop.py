"""A commit of three artifacts, built on fakes, and what others do to its registry."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.reference import Repository
from reconciler.ports.abilities import Able
from reconciler.ports.bundle import Surveying
from reconciler.reconcile import Options, reconcile_once
from tests.commits import HOST, Commit, artifact, chain
from tests.fakes import World, image

if TYPE_CHECKING:
    from pathlib import Path

BASE, API, SITE = (Repository(HOST, path) for path in ("shop/base", "shop/api", "www/site"))


def shop_commit() -> Commit:
    """`shop/base`, `shop/api` upon it with two tags, and `web/site` in a repository of another name."""
    commit = chain("shop/base", "shop/api")
    base, api = commit.artifacts
    site = artifact("web/site", image=SITE.path)
    files = {**commit.files, "web/site/Dockerfile": b"FROM scratch\n", "web/site/index": b"hello"}
    return Commit((base, replace(api, tags=("1.4", "stable")), site), files)


def built(world: World) -> World:
    """After one more pass."""
    asyncio.run(reconcile_once(world.ports(), Options()))
    return world


def shop_world(folder: Path) -> World:
    """All of it built."""
    return built(World(shop_commit(), folder))


def move(world: World, repository: Repository, tag: str) -> Digest:
    """Someone else points a tag at an image of their own."""
    config = b'{"by":"someone else"}'
    manifest = image(config)
    world.registry.blobs[repository, Digest.of(config)] = config
    world.registry.put(repository, manifest)
    world.registry.tags[repository, tag] = manifest.digest
    return manifest.digest


def pierce(world: World, repository: Repository) -> None:
    """All blobs of a repository are gone."""
    for key in [key for key in world.registry.blobs if key[0] == repository]:
        del world.registry.blobs[key]


class FakeAbilities:
    """Says what it is told to."""

    def __init__(self, world: World, able: Able) -> None:
        self.world, self.able = world, able

    async def of(self, repository: Repository) -> Able:
        await self.world.points.at("abilities")
        return self.able


def surveying(world: World, able: Able | None = None) -> Surveying:
    """The ports of a report."""
    return Surveying(
        source=world.source,
        registry=world.registry,
        inventory=world.registry,
        clock=world.clock,
        memory=world.ports().memory,
        revisions=world.revisions,
        abilities=FakeAbilities(world, able or Able(referrers=True)),
    )
