"""Which registries the builds of a workspace speak to."""

from __future__ import annotations

from dataclasses import replace

from reconciler.apply.hosts import hosts_of_workspaces
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.desired import Needs
from reconciler.model.name import ArtifactName
from reconciler.model.reference import Reference, Repository
from tests.commits import Commit, artifact


def test_what_is_pulled_and_pushed_checks_included_and_nothing_else() -> None:
    api = artifact("shop/api")
    contexts = {
        "base": ParentImage(ArtifactName("team", "base")),
        "tool": BaseImage(Reference(Repository("tools.example", "tool"), "1")),
    }
    api = replace(api, image=Repository("shop.example", "shop/api"), contexts=contexts)
    base = replace(artifact("team/base"), image=Repository("team.example", "team/base"))
    other = replace(artifact("team/other"), image=Repository("other.example", "team/other"))
    desired = Commit([api, base, other]).desired
    wanted = desired.wanted[api.name]
    assert wanted.materials is not None
    platform = api.platforms[0]
    needs = {platform: Needs({"debian": Reference(Repository("docker.io", "library/debian"), "12")})}
    checks = {platform: Needs({"lint": Reference(Repository("lint.example", "lint"), "1")})}
    materials = replace(wanted.materials, needs=needs, check_needs=checks)
    desired = replace(desired, wanted={**desired.wanted, api.name: replace(wanted, materials=materials)})

    assert hosts_of_workspaces(desired, [api.name, base.name]) == {
        "shop": {"shop.example", "team.example", "tools.example", "docker.io", "lint.example"},
        "team": {"team.example"},
    }
    assert hosts_of_workspaces(desired, []) == {}
