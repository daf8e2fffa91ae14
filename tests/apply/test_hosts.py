"""Which builds share a runner, and which registries these speak to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.apply.hosts import frontends_of_shares, hosts_of_shares, share_of
from reconciler.identity.resolve import Resolution
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.cache import CacheMode, CachePolicy
from reconciler.model.desired import Needs
from reconciler.model.name import ArtifactName
from reconciler.model.reference import Reference, Repository
from tests.commits import Commit, artifact

if TYPE_CHECKING:
    from reconciler.model.artifact import NamedContext


def test_what_is_pulled_and_pushed_checks_included_and_nothing_else() -> None:
    api = artifact("shop/api")
    contexts: dict[str, NamedContext] = {
        "base": ParentImage(ArtifactName("team", "base")),
        "tool": BaseImage(Reference(Repository("tools.example", "tool"), "1")),
    }
    api = replace(api, image=Repository("shop.example", "shop/api"), contexts=contexts)
    base = replace(artifact("team/base"), image=Repository("team.example", "team/base"))
    other = replace(artifact("team/other"), image=Repository("other.example", "team/other"))
    desired = Commit((api, base, other)).desired
    wanted = desired.wanted[api.name]
    assert wanted.materials is not None
    platform = api.platforms[0]
    needs = {platform: Needs({"debian": Reference(Repository("docker.io", "library/debian"), "12")})}
    checks = {platform: Needs({"lint": Reference(Repository("lint.example", "lint"), "1")})}
    materials = replace(wanted.materials, needs=needs, check_needs=checks)
    desired = replace(desired, wanted={**desired.wanted, api.name: replace(wanted, materials=materials)})

    assert hosts_of_shares(desired, [(api.name, "shop"), (base.name, "team")]) == {
        "shop": {"shop.example", "team.example", "tools.example", "docker.io", "lint.example"},
        "team": {"team.example"},
    }
    assert hosts_of_shares(desired, []) == {}


def test_only_those_who_need_a_frontend_image_are_given_one() -> None:
    commit = Commit((artifact("shop/a"), artifact("team/b")))
    plain, read = commit.desired, replace(commit, frontend="reg.example/docker/dockerfile:1-labs").desired
    names = [(name, name.workspace) for name in plain.wanted]
    assert frontends_of_shares(plain, names) == {}
    repository = Repository("reg.example", "docker/dockerfile")
    assert frontends_of_shares(read, names) == {"shop": {repository}, "team": {repository}}


def test_a_cache_elsewhere_is_spoken_to_unless_there_is_none() -> None:
    api = replace(artifact("shop/api"), image=Repository("shop.example", "shop/api"), registry="fleet.example")
    for policy, hosts in (
        (CachePolicy(), {"shop.example", "fleet.example"}),
        (CachePolicy(CacheMode.OFF), {"shop.example"}),
    ):
        desired = Commit((replace(api, cache=policy),)).desired
        assert hosts_of_shares(desired, [(api.name, "shop")]) == {"shop": hosts}


def test_builds_of_one_workspace_and_one_freshness_share_a_runner() -> None:
    plain, other = artifact("shop/a"), artifact("shop/b")
    fresh, newer = (replace(artifact(f"shop/{name}"), os_epoch=name) for name in ("c", "d"))
    as_fresh, elsewhere = replace(artifact("shop/e"), os_epoch="c"), artifact("team/a")
    aging, too = (replace(artifact(f"shop/{name}"), max_age=604_800) for name in ("f", "g"))
    desired = Commit((plain, other, fresh, newer, as_fresh, elsewhere)).desired
    shares = [share_of(one.name, Resolution(desired, 0.0)) for one in (plain, other, fresh, newer, as_fresh, elsewhere)]
    assert shares[0] == shares[1] == "shop"
    assert shares[2] == shares[4]
    assert len(set(shares)) == 4
    desired = Commit((aging, too)).desired
    assert share_of(aging.name, Resolution(desired, 0.0)) != share_of(too.name, Resolution(desired, 0.0)), (
        "their windows begin apart"
    )
