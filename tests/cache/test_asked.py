"""Caches that a person names for one build: the rules' word, and nobody else's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.caching import Caches
from reconciler.cache.asked import with_caches
from reconciler.model.cache import CacheMode, CachePolicy, Ci
from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError
from tests.commits import AMD64, HOST, Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import Desired

CI = f"{HOST}/cache/ci/shop"


def asked(*cache_from: str, to: str | None = None, policy: CachePolicy | None = None) -> Desired:
    commit = Commit((artifact("shop/api", cache=policy or CachePolicy()),))
    return with_caches(commit.desired, cache_from, to)


def policy_of(desired: Desired) -> CachePolicy:
    return desired.wanted[ArtifactName("shop", "api")].artifact.cache


def test_without_names_nothing_changes() -> None:
    assert policy_of(asked()) == CachePolicy()


def test_names_are_artifacts_of_the_workspace() -> None:
    desired = asked(f"{CI}/base", f"{CI}/base:linux-amd64", f"{CI}/tool:linux-amd64.previous", to=f"{CI}/common")
    assert policy_of(desired) == CachePolicy(beside=("base", "tool"), instead="common")


def test_what_is_named_is_looked_at_after_the_own(tmp_path: Path) -> None:
    desired = asked(f"{CI}/base", to=f"{CI}/common")
    world = World(Commit((artifact("shop/api"),)), tmp_path)
    caches = Caches(world.ports(), desired, desired.wanted[ArtifactName("shop", "api")].artifact, Ci())
    found = asyncio.run(caches.look(AMD64))
    slots = ("linux-amd64", "linux-amd64.previous")
    assert [look.reference for look in found.looks] == [
        f"{CI}/{a}:{s}" for a in ("api", "common", "base") for s in slots
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"{HOST}/cache/ci/web/base", "cache-forbidden"),
        (f"{HOST}/cache/dev/ada-shop/base", "cache-forbidden"),
        (f"{HOST}/shop/api", "cache-forbidden"),
        ("elsewhere.example/cache/ci/shop/base", "cache-forbidden"),
        (f"{CI}/base:linux-arm64", "cache-reference"),
        (f"{CI}/base:linux-amd64.mounts", "cache-reference"),
        (f"{CI}/base@sha256:" + "0" * 64, "cache-reference"),
        ("UPPER", "cache-reference"),
    ],
)
def test_what_the_rules_do_not_admit_is_refused(name: str, code: str) -> None:
    for arguments in ((name,), ()):
        with pytest.raises(LianError) as raised:
            asked(*arguments, to=None if arguments else name)
        assert [problem.code for problem in raised.value.problems] == [code]


def test_where_caches_are_off_none_is_named() -> None:
    with pytest.raises(LianError, match="cache-off"):
        asked(f"{CI}/base", policy=CachePolicy(CacheMode.OFF))


def test_a_folder_is_given_no_cache_to_write() -> None:
    desired = replace(Commit((artifact("shop/api"),)).desired, revision="")
    assert policy_of(with_caches(desired, [f"{CI}/base"], None)).beside == ("base",)
    with pytest.raises(LianError, match="cache-forbidden"):
        with_caches(desired, [], f"{CI}/common")
