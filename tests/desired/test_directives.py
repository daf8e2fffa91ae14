"""Evaluated documents become model values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.directives import Declared, DirectiveReader, read_fleet, registry_flag
from reconciler.desired.places import DirectiveText
from reconciler.model.artifact import BaseImage, Folder, GitFolder, ParentImage
from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.fleet import ComputeSettings, Fleet, RegistryProvider, RegistrySettings
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.policy import DriftPolicy, Policy, PrunePolicy, Response, SignPolicy
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.model.tier import RunnerOverride
from tests.desired.repos import Repo
from tests.schemas.evaluation import ROOT, evaluate

HOME = Path("/srv/repo")
SETTINGS: dict[str, Any] = {
    "fleet": "acme",
    "registry": {"provider": "OciLayout", "path": ".lian/registry"},
    "compute": {"provider": "Local"},
    "directives": ["directives/**/*.ncl"],
    "source_date_epoch": 0,
    "secrets": {},
    "git": {"credentials": {}, "keys": {}},
    "policy": {
        "drift": {"retagged": "Heal", "foreign": "Hold", "broken": "Heal", "orphaned": "Report"},
        "trust": [],
        "prune": {
            "revisions": ["refs/heads/*", "refs/remotes/*", "refs/tags/*"],
            "keep_tags": [],
            "keep_last": 5,
            "min_age": "7d",
        },
        "verify": {"keys": []},
        "access": {"ci": ["ci"], "actors": {}, "readers": [], "admins": []},
    },
    "cache": {"mode": "Max", "build_mode": "Ci", "mounts": False},
    "immutable_tags": [],
}
ARTIFACT: dict[str, Any] = {
    "image": "shop/api",
    "tags": ["latest"],
    "context": {"path": "."},
    "dockerfile": "Dockerfile",
    "platforms": ["linux/amd64"],
    "args": {},
    "labels": {},
    "contexts": {},
    "secrets": {},
    "checks": [],
    "rebuild_on_rotate": False,
}
TEXT = """{
  workspace = "shop",
  artifacts = {
    api = {
      image = "shop/api",
      contexts = { api = { artifact = "base" } },
    },
    "web" = make { image = "shop/web" },
    unseen = import "unseen.ncl",
  },
}
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> DirectiveText:
    tree = Repo(tmp_path_factory.mktemp("directives") / "repo", bare=True).tree({"shop.ncl": TEXT})
    node = tree.at("shop.ncl")
    assert node is not None
    return DirectiveText("shop.ncl", node, tree)


def fleet(override: RegistrySettings | None = None, **changes: Any) -> Fleet:
    return read_fleet(SETTINGS | changes, HOME, override)


def read(
    text: DirectiveText,
    artifact: dict[str, Any],
    *,
    settings: Fleet | None = None,
    override: RegistrySettings | None = None,
    **file: Any,
) -> Declared:
    value = {"workspace": "shop", "artifacts": {"api": ARTIFACT | artifact}, **file}
    return DirectiveReader(settings or fleet(override), HOME, override).read(text, value)


def test_settings_become_a_fleet() -> None:
    found = fleet(jobs=4, builder="pin-1", source_date_epoch=5.0)
    assert found == Fleet(
        "acme",
        RegistrySettings(RegistryProvider.OCI_LAYOUT, path="/srv/repo/.lian/registry"),
        ComputeSettings(),
        ("directives/**/*.ncl",),
        4,
        "pin-1",
        5,
    )
    assert found.registry.host == "oci-layout:/srv/repo/.lian/registry"


def test_the_contracts_default_policy_is_the_models() -> None:
    value = evaluate('{} | (import "schemas/fleet.ncl").FleetSettings')
    assert value["policy"] == SETTINGS["policy"]
    assert read_fleet(value, HOME, None).policy == Policy() == fleet().policy


def test_every_rule_of_a_policy_is_kept() -> None:
    full = ROOT / "tests/schemas/fixtures/good/lian_full.ncl"
    value = evaluate(f'(import "{full}") | (import "schemas/fleet.ncl").FleetSettings')
    assert read_fleet(value, HOME, None).policy == Policy(
        drift=DriftPolicy(Response.HOLD, Response.REPORT, Response.HOLD, Response.HEAL),
        immutable_tags=("v*", "1.[0-9]*"),
        trust=(frozenset({"shop", "store"}), frozenset({"site", "shop"})),
        prune=PrunePolicy(("refs/heads/*", "refs/tags/v*"), ("v*",), 0, 4 * 604_800),
        sign=SignPolicy(
            SourceRef(SourceKind.FILE, "/etc/lian/sign.key"),
            provenance=False,
            scanner=Reference.parse(f"scan.example.org/syft:1@sha256:{'5c' * 32}"),
        ),
        verify_keys=("keys/fleet.pub", "keys/last-year.pub"),
    )


@pytest.mark.parametrize("kind", SourceKind)
def test_a_signing_key_may_lie_in_each_kind_of_place(kind: SourceKind) -> None:
    sign = {"key": {"source": str(kind), "name": "/k"}, "provenance": True, "sbom": False}
    found = fleet(policy={**SETTINGS["policy"], "sign": sign}).policy.sign
    assert found == SignPolicy(SourceRef(kind, "/k"))


def test_a_scanner_that_is_not_used_is_none() -> None:
    pinned = f"scan.example.org/syft:1@sha256:{'5c' * 32}"
    sign = {"key": {"source": "Env", "name": "K"}, "provenance": True, "sbom": False, "scanner": pinned}
    found = fleet(policy={**SETTINGS["policy"], "sign": sign}).policy.sign
    assert found is not None
    assert found.scanner is None


@pytest.mark.parametrize(
    ("flag", "host"),
    [
        ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("https://registry.example.org/", "registry.example.org"),
        ("http://[::1]:5000", "[::1]:5000"),
        ("oci-layout:/var/lib/images", "oci-layout:/var/lib/images"),
    ],
)
def test_the_flag_beats_the_settings_and_the_directive(text: DirectiveText, flag: str, host: str) -> None:
    override = registry_flag(flag)
    own = {"provider": "Zot", "url": "https://own.example.org"}
    declared = read(text, {}, override=override, registry=own)
    assert declared.artifacts[0].image == Repository(host, "shop/api")
    assert fleet(override).registry.host == host


@pytest.mark.parametrize(
    "flag", ["", "oci-layout:", "ftp://x", "127.0.0.1:5000", "http://", "https://h/path", "http://u:p@h"]
)
def test_a_flag_that_names_no_registry_is_refused(flag: str) -> None:
    with pytest.raises(LianError, match="registry-invalid") as caught:
        registry_flag(flag)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "prefix", "expected"),
    [
        ("shop/api", "", Repository("reg.example.org:5000", "shop/api")),
        ("shop/api", "team/prod", Repository("reg.example.org:5000", "team/prod/shop/api")),
        ("api", "", Repository("reg.example.org:5000", "api")),
        ("ghcr.io/acme/api", "team", Repository("ghcr.io", "acme/api")),
        ("localhost:5000/api", "team", Repository("localhost:5000", "api")),
    ],
)
def test_images_lie_in_the_registry_in_force(
    text: DirectiveText, image: str, prefix: str, expected: Repository
) -> None:
    own = {"provider": "Zot", "url": "https://reg.example.org:5000/", **({"images_prefix": prefix} if prefix else {})}
    assert read(text, {"image": image}, registry=own).artifacts[0].image == expected
    assert read(text, {"image": image}, settings=fleet(registry=own)).artifacts[0].image == expected


def test_everything_an_artifact_says_is_kept(text: DirectiveText) -> None:
    declared = read(
        text,
        {
            "tags": ["1.4", "stable"],
            "context": {"path": "app", "include": ["src", "lib"]},
            "dockerfile": "docker/Dockerfile",
            "target": "runtime",
            "platforms": ["linux/arm64/v8", "linux/arm64", "linux/amd64"],
            "args": {"A": "1"},
            "labels": {"l": "v"},
            "contexts": {
                "near": {"artifact": "base"},
                "far": {"artifact": "other/base"},
                "img": {"image": "python:3.12"},
                "dir": {"path": "x", "include": ["y"]},
                "repo": {"git": "https://example.org/r", "rev": "main", "path": "."},
            },
            "secrets": {"npm": {"name": "npm-token"}},
            "checks": ["test"],
            "language": "go",
            "max_age": "7d",
            "os_epoch": "2026-01",
            "source_date_epoch": 17,
            "runner": {"cpu": 4},
        },
        runner={"cpu": 2, "memory_gb": 8.5},
    )
    (artifact,) = declared.artifacts
    assert (declared.wrong, declared.holds) == ({}, ())
    assert (artifact.name, artifact.place.line) == (ArtifactName("shop", "api"), 4)
    assert artifact.tags == ("1.4", "stable")
    assert artifact.context == Folder("app", ("src", "lib"))
    assert (artifact.dockerfile, artifact.target, artifact.checks) == ("docker/Dockerfile", "runtime", ("test",))
    assert artifact.platforms == (Platform("linux", "arm64"), Platform("linux", "amd64"))
    assert (artifact.args, artifact.labels, artifact.secrets) == ({"A": "1"}, {"l": "v"}, {"npm": "npm-token"})
    assert artifact.contexts == {
        "near": ParentImage(ArtifactName("shop", "base")),
        "far": ParentImage(ArtifactName("other", "base")),
        "img": BaseImage(Reference.parse("docker.io/library/python:3.12")),
        "dir": Folder("x", ("y",)),
        "repo": GitFolder("https://example.org/r", "main", "."),
    }
    assert (artifact.language, artifact.max_age, artifact.os_epoch) == ("go", 604_800, "2026-01")
    assert (artifact.source_date_epoch, artifact.runner) == (17, RunnerOverride(4, 8.5, None))


@pytest.mark.parametrize(("written", "seconds"), [("90m", 5400), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600)])
def test_durations(text: DirectiveText, written: str, seconds: int) -> None:
    assert read(text, {"max_age": written}).artifacts[0].max_age == seconds


def test_the_fleets_epoch_holds_unless_the_artifact_has_its_own(text: DirectiveText) -> None:
    settings = fleet(source_date_epoch=1_700_000_000)
    assert read(text, {}, settings=settings).artifacts[0].source_date_epoch == 1_700_000_000
    assert read(text, {"source_date_epoch": 0}, settings=settings).artifacts[0].source_date_epoch == 0


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        ({"image": "Shop/API"}, 5, "repository path"),
        ({"image": "a/" * 126 + "a-very-long-name"}, 5, "255"),
        ({"contexts": {"api": {"image": "python:3.12@sha256:short"}}}, 6, "digest"),
        ({"contexts": {"api": {"artifact": "Not A Name"}}}, 6, "artifact"),
    ],
)
def test_what_the_contract_cannot_say_is_a_problem_with_its_place(
    text: DirectiveText, change: dict[str, Any], line: int, said: str
) -> None:
    declared = read(text, change)
    assert declared.artifacts == ()
    (problem,) = declared.wrong.values()
    assert (problem.code, problem.file, problem.line, problem.artifact) == (
        "directive-invalid",
        "shop.ncl",
        line,
        "shop/api",
    )
    assert said in problem.message


def test_another_compute_than_the_fleets_is_held(text: DirectiveText) -> None:
    assert read(text, {}, compute={"provider": "Local"}).holds == ()
    elsewhere = fleet(compute={"provider": "Ssh", "hosts": ["a@b"]})
    same = {"provider": "Ssh", "hosts": ["a@b"]}
    for compute in (same, {"provider": "Ssh"}):
        assert read(text, {}, settings=elsewhere, compute=compute).holds == ()
    for settings, compute in (
        (fleet(), {"provider": "Hcloud"}),
        (fleet(), same),
        (elsewhere, {"provider": "Ssh", "hosts": ["a@b", "c"]}),
        (elsewhere, {"provider": "Local"}),
    ):
        (hold,) = read(text, {}, settings=settings, compute=compute).holds
        assert hold.code == "compute-unsupported"
    (hold,) = read(text, {}, settings=elsewhere, compute={"provider": "Ssh", "hosts": ["a@b:99999"]}).holds
    assert (hold.code, hold.file) == ("host-invalid", text.path)


def test_what_a_directive_says_of_the_fleets_compute_must_be_what_the_owner_says(text: DirectiveText) -> None:
    """Or nothing: else its author would choose the program that everyone's images are built with."""
    own = {"provider": "DockerLocal", "image": "r.example/runner:1", "url": "unix:///run/d.sock"}
    for said in ({"provider": "DockerLocal"}, own, {"provider": "DockerLocal", "image": own["image"]}):
        assert read(text, {}, settings=fleet(compute=own), compute=said).holds == ()
    for said, settings in ((own, {"provider": "DockerLocal"}), (own | {"image": "r.example/runner:2"}, own)):
        (hold,) = read(text, {}, settings=fleet(compute=settings), compute=said).holds
        assert hold.code == "compute-unsupported"
        assert "something else of compute DockerLocal" in hold.message


@pytest.mark.parametrize(
    ("name", "expected"), [("api", (4, 5)), ("web", (8, 5)), ("unseen", (9, 5)), ("nowhere", (3, 3))]
)
def test_artifacts_are_found_in_the_text(text: DirectiveText, name: str, expected: tuple[int, int]) -> None:
    place = text.artifact(name)
    assert (place.line, place.column) == expected
