"""Each Nickel contract and its JSON Schema twin accept and reject the same documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies_documents as documents
from tests.schemas.evaluation import evaluate, refusal, validator
from tests.strategies_documents import nickel

TWINS = {
    "BuildDirectives": ("build_directives", "BuildDirectives", documents.build_directives, 60),
    "BuildArtifact": ("build_directives", "BuildArtifact", documents.build_artifact, 120),
    "ComputeProviderRef": ("build_directives", "ComputeProviderRef", documents.compute_provider_ref, 40),
    "RegistryProviderRef": ("build_directives", "RegistryProviderRef", documents.registry_provider_ref, 60),
    "RunnerOverride": ("build_directives", "RunnerOverride", documents.runner_override, 30),
    "NatsEventConfig": ("build_directives", "NatsEventConfig", documents.nats_event_config, 30),
    "TierDefaults": ("tiers", None, documents.tier_defaults, 40),
    "BuildSpec": ("build_spec", None, documents.build_spec, 40),
    "CachePolicy": ("cache_policy", None, documents.cache_policy, 60),
    "BuildResult": ("build_result", None, documents.build_result, 60),
    "VaultCredRef": ("vault_refs", "VaultCredRef", documents.vault_cred_ref, 30),
    "VaultKeyRef": ("vault_refs", "VaultKeyRef", documents.vault_key_ref, 20),
    "FleetSettings": ("fleet", "FleetSettings", documents.fleet_settings, 60),
    "FleetPolicy": ("fleet", "FleetPolicy", documents.fleet_policy, 60),
    "BuildPolicy": ("policy", "BuildPolicy", documents.build_policy, 80),
}


def _checked(contract: str, document: Any) -> str:
    schema = TWINS[contract][0]
    return f'{nickel(document)} | (import "schemas/{schema}.ncl").{contract}'


def _agree(contract: str, document: Any) -> bool:
    """Assert that both say the same of the document; true if they accept it."""
    schema, definition, _, _ = TWINS[contract]
    twin = validator(schema, definition)
    errors = [f"{e.json_path}: {e.message}" for e in twin.iter_errors(document)]
    told = refusal(_checked(contract, document))
    assert (told is None) == (not errors), f"{contract} on {document!r}: Nickel says {told}, JSON Schema {errors}"
    return told is None


@pytest.mark.parametrize("contract", TWINS)
def test_valid_documents_pass_both_and_still_do_with_their_defaults(contract: str) -> None:
    schema, definition, strategy, examples = TWINS[contract]
    twin = validator(schema, definition)

    @settings(max_examples=max(8, examples // 8))
    @given(st.lists(strategy, min_size=5, max_size=20))
    def check(batch: list[Any]) -> None:
        for document in batch:
            twin.validate(document)
        completed = evaluate(f"[{', '.join(f'({_checked(contract, document)})' for document in batch)}]")
        for before, after in zip(batch, completed, strict=True):
            twin.validate(after)
            assert before.items() <= after.items() or _fills_in(before, after)

    check()


def _fills_in(before: Any, after: Any) -> bool:
    """A contract adds defaults and changes nothing else."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(k in after and _fills_in(v, after[k]) for k, v in before.items())
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_fills_in, before, after))
    return bool(before == after)


@pytest.mark.parametrize("contract", TWINS)
def test_a_mutated_document_gets_the_same_verdict_from_both(contract: str) -> None:
    _, _, strategy, examples = TWINS[contract]

    @settings(max_examples=max(15, examples // 2))
    @given(documents.mutated(strategy))
    def check(document: Any) -> None:
        _agree(contract, document)

    check()


FULL = {
    "workspace": "shop",
    "artifacts": {
        "api": {
            "image": "shop/api",
            "tags": ["1.4"],
            "context": {"path": ".", "include": ["libs"]},
            "dockerfile": "Dockerfile",
            "target": "runtime",
            "platforms": ["linux/amd64"],
            "args": {"VERSION": "1.4"},
            "labels": {"a": "b"},
            "contexts": {
                "base": {"artifact": "base"},
                "site": {"git": "https://example.org/x", "rev": "main", "path": "."},
            },
            "secrets": {"npm": {"name": "npm-token"}},
            "checks": ["test"],
            "language": "go",
            "max_age": "7d",
            "os_epoch": "1",
            "source_date_epoch": 1,
            "rebuild_on_rotate": False,
            "runner": {"cpu": 2, "memory_gb": 4, "time_budget": 30, "tier": "small", "labels": {"zone": "a"}},
        }
    },
    "registry": {"provider": documents.Tag("Zot"), "url": "http://127.0.0.1:5000", "insecure": False},
    "cache": {"mode": documents.Tag("Max"), "build_mode": documents.Tag("Session"), "actor": "ada"},
    "events": {
        "url": "nats://127.0.0.1",
        "subject_prefix": "x",
        "nkey": {"source": documents.Tag("Env"), "name": "SEED"},
    },
}


_OPEN = {("labels",), ("args",), ("contexts",), ("secrets",), ("artifacts",)}


@pytest.mark.parametrize("place", documents.paths(FULL), ids=lambda p: ".".join(map(str, p)) or "whole")
def test_every_place_refuses_a_value_of_another_kind(place: documents.Path) -> None:
    value = documents.at(FULL, place)
    wrong = 1.5 if isinstance(value, str | list | dict | bool) else "1"
    assert not _agree("BuildDirectives", documents.replaced(FULL, place, wrong))
    if isinstance(value, str) and place[-2:-1] not in {("args",), ("labels",)}:
        assert not _agree("BuildDirectives", documents.replaced(FULL, place, value + "\n"))
    if place:
        _agree("BuildDirectives", documents.removed(FULL, place))
    if isinstance(value, dict) and place[-1:] not in _OPEN:
        assert not _agree("BuildDirectives", documents.replaced(FULL, place, {**value, "tgas": "a"}))


PINNED = f"scan.example.org/syft:1@sha256:{'0f' * 32}"
FULL_POLICY = {
    "drift": {kind: documents.Tag("Report") for kind in ("retagged", "foreign", "broken", "orphaned")},
    "trust": [["shop", "store"]],
    "prune": {"revisions": ["refs/heads/*"], "keep_tags": ["v*"], "keep_last": 5, "min_age": "7d"},
    "sign": {
        "key": {"source": documents.Tag("File"), "name": "/etc/sign.key"},
        "provenance": True,
        "sbom": True,
        "scanner": PINNED,
    },
    "verify": {"keys": ["keys/fleet.pub"]},
}


@pytest.mark.parametrize("place", documents.paths(FULL_POLICY), ids=lambda p: ".".join(map(str, p)) or "whole")
def test_every_place_of_a_policy_refuses_a_value_of_another_kind(place: documents.Path) -> None:
    value = documents.at(FULL_POLICY, place)
    for wrong in (1.5, None, [1], {"tgas": "a"}, *([] if isinstance(value, str) else ["1"])):
        assert not _agree("FleetPolicy", documents.replaced(FULL_POLICY, place, wrong))
    if place:
        _agree("FleetPolicy", documents.removed(FULL_POLICY, place))
    if isinstance(value, dict):
        assert not _agree("FleetPolicy", documents.replaced(FULL_POLICY, place, {**value, "tgas": "a"}))
    if isinstance(value, list):
        assert not _agree("FleetPolicy", documents.replaced(FULL_POLICY, place, value * 101))


FULL_RULE = {
    "because": "so",
    "artifacts": ["shop/*"],
    "except": ["shop/old"],
    "bases": {"allow": ["docker.io/library/*"], "deny": ["*:latest"], "pinned": True},
    "sources": {"allow": ["git.example.org/team/*"], "deny": ["*.example.org/x"], "pinned": True},
    "image": {"allow": ["ghcr.io/acme/*"], "deny": ["oci-layout/*"]},
    "tags": {"allow": ["v*"], "deny": ["latest"]},
    "platforms": {"allow": ["linux/amd64"], "require": ["linux/arm64"]},
    "labels": {"require": {"a": "*"}},
    "args": {"deny": ["*_TOKEN"], "no_secrets": True, "except": ["A"]},
    "runner": {"max": {"cpu": 4, "memory_gb": 8, "time_budget": 30}, "tiers": ["small"]},
    "secrets": {"allow": ["npm-*"], "deny": ["prod-*"]},
    "max_age": "7d",
    "force": documents.Tag("Deny"),
}
FULL_RULES = {"rules": {"all-of-it": FULL_RULE}}


@pytest.mark.parametrize("place", documents.paths(FULL_RULES), ids=lambda p: ".".join(map(str, p)) or "whole")
def test_every_place_of_a_rule_refuses_a_value_of_another_kind(place: documents.Path) -> None:
    value = documents.at(FULL_RULES, place)
    assert _agree("BuildPolicy", FULL_RULES)
    kept: dict[str, list[Any]] = {"memory_gb": [1.5], "require": [{"tgas": "a"}]}
    fits = kept.get(str(place[-1]) if place else "", [])
    for wrong in (1.5, None, [1], {"tgas": "a"}, *([] if isinstance(value, str) else ["1"])):
        assert _agree("BuildPolicy", documents.replaced(FULL_RULES, place, wrong)) is (
            wrong in fits and not isinstance(value, list)
        )
    if place:
        _agree("BuildPolicy", documents.removed(FULL_RULES, place))
    if isinstance(value, dict) and place[-1:] not in {("rules",), ("require",)}:
        assert not _agree("BuildPolicy", documents.replaced(FULL_RULES, place, {**value, "tgas": "a"}))
    if isinstance(value, list):
        assert not _agree("BuildPolicy", documents.replaced(FULL_RULES, place, value * 2))


@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        ({"bases": {"allow": []}}, True),
        ({"secrets": {"allow": []}}, True),
        ({"runner": {"tiers": []}}, True),
        ({"artifacts": []}, False),
        ({"artifacts": ["shop"]}, False),
        ({"bases": {"allow": ["python"]}}, False),
        ({"bases": {"allow": ["library/python"]}}, False),
        ({"bases": {"allow": ["**"]}}, False),
        ({"bases": {"allow": ["docker.io/library/python@sha256:" + "0" * 64]}}, False),
        ({"sources": {"allow": ["git/team/r.git", "[::1]:80/a", "h:*/~me/a+b@c:d"]}}, True),
        ({"sources": {"allow": ["https://git.example.org/team/*"]}}, False),
        ({"sources": {"allow": ["git.example.org"]}}, False),
        ({"sources": {"allow": ["git.example.org/"]}}, False),
        ({"sources": {"pinned": None}}, False),
        ({"image": {"allow": ["ghcr.io/acme/api:1"]}}, False),
        ({"image": {"allow": ["reg:5000/acme"]}}, True),
        ({"force": "Deny"}, True),
        ({"force": documents.Tag("Allow")}, False),
        ({"force": False}, False),
        ({"labels": {"require": {"a b": "*"}}}, False),
        ({"max_age": "30 days"}, False),
    ],
)
def test_what_a_rule_may_say(rule: Any, accepted: bool) -> None:
    assert _agree("BuildPolicy", {"rules": {"a": rule}}) is accepted


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ({"source": documents.Tag("File"), "name": "/etc/lian/sign.key"}, True),
        ({"source": documents.Tag("File"), "name": "keys/sign.key"}, False),
        ({"source": documents.Tag("File"), "name": "./sign.key"}, False),
        ({"source": documents.Tag("File"), "name": "~/sign.key"}, False),
        ({"source": "File", "name": "keys/sign.key"}, False),
        ({"source": documents.Tag("Vault"), "name": "keys/sign.key"}, True),
        ({"source": documents.Tag("Env"), "name": "SIGN_KEY"}, True),
        ({"source": documents.Tag("Command"), "name": "pass show sign"}, True),
        ({"source": documents.Tag("Env"), "name": "SIGN_KEY", "user": "ci"}, False),
        ({"name": "/etc/lian/sign.key"}, False),
        ({"source": documents.Tag("File")}, False),
    ],
)
def test_a_signing_key_lies_outside_the_desired_repository(key: Any, accepted: bool) -> None:
    assert _agree("FleetPolicy", {"sign": {"key": key}}) is accepted


def _bound(workspace: str = "shop", called: str = "npm-token", **source: Any) -> Any:
    usual = {"source": documents.Tag("Env"), "name": "TOKEN"}
    return {"secrets": {workspace: {called: {**usual, **source}}}}


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({"secrets": {}}, True),
        ({"secrets": {"shop": {}}}, True),
        (_bound(), True),
        (_bound("*"), True),
        (_bound("a--b", "9.a__b-c"), True),
        (_bound(called="n" * 128), True),
        (_bound(source=documents.Tag("File"), name="/run/secrets/npm"), True),
        (_bound(source=documents.Tag("Vault"), name="kv/npm"), True),
        (_bound("**"), False),
        (_bound("*shop"), False),
        (_bound("Shop"), False),
        (_bound("shop\n"), False),
        (_bound("w" * 64), False),
        ({"secrets": {"shop": {"NPM": {"source": documents.Tag("Env"), "name": "A"}}}}, False),
        ({"secrets": {"shop": {"npm-": {"source": documents.Tag("Env"), "name": "A"}}}}, False),
        ({"secrets": {"shop": {"n" * 129: {"source": documents.Tag("Env"), "name": "A"}}}}, False),
        ({"secrets": {"shop": {"npm": "the-token-itself"}}}, False),
        ({"secrets": {"npm": {"source": documents.Tag("Env"), "name": "A"}}}, False),
        (_bound(user="ci"), False),
        (_bound(value="the-token-itself"), False),
        (_bound(source=documents.Tag("File"), name="secrets/npm"), False),
        (_bound(source=documents.Tag("Other")), False),
    ],
)
def test_a_secret_is_bound_for_a_workspace_to_where_it_lies(settings: Any, accepted: bool) -> None:
    assert _agree("FleetSettings", settings) is accepted


def _git(place: str = "git.example.org", kind: str = "credentials", **source: Any) -> Any:
    usual = {"source": documents.Tag("Env"), "name": "TOKEN"}
    return {"git": {kind: {place: {**usual, **source}}}}


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({"git": {}}, True),
        (_git(), True),
        (_git(user="ci"), True),
        (_git(kind="keys"), True),
        (_git(kind="keys", user="ci"), False),
        (_git("git.example.org:8443/acme/site"), True),
        (_git("[::1]:22/x"), True),
        (_git("github.com/acme/"), False),
        (_git("github.com//acme"), False),
        (_git("github.com/acme/.."), False),
        (_git("https://github.com"), False),
        (_git("ci@github.com"), False),
        (_git("*.github.com"), False),
        (_git("github.com\n"), False),
        (_git("h/" + "p" * 1023), False),
        (_git(source=documents.Tag("File"), name="/etc/lian/token"), True),
        (_git(source=documents.Tag("File"), name="secrets/token"), False),
        (_git(kind="keys", source=documents.Tag("File"), name="keys/deploy"), False),
        ({"git": {"credentials": {"github.com": "the-token-itself"}}}, False),
        ({"git": {"tokens": {}}}, False),
    ],
)
def test_a_git_server_is_bound_to_where_its_login_lies(settings: Any, accepted: bool) -> None:
    assert _agree("FleetSettings", settings) is accepted


@pytest.mark.parametrize(
    ("sbom", "scanner", "accepted"),
    [
        (True, PINNED, True),
        (True, "syft@sha512:" + "0f" * 64, True),
        (False, PINNED, True),
        (None, PINNED, True),
        (True, None, False),
        (True, "scan.example.org/syft:1", False),
        (False, "scan.example.org/syft", False),
        (True, "Syft@sha256:" + "0f" * 32, False),
        (True, "syft@sha256:0f", False),
    ],
)
def test_a_scanner_is_pinned_and_stands_beside_sbom(sbom: bool | None, scanner: str | None, accepted: bool) -> None:
    said = {"sbom": sbom, "scanner": scanner}
    sign = {"key": {"source": documents.Tag("Env"), "name": "K"}} | {k: v for k, v in said.items() if v is not None}
    assert _agree("FleetPolicy", {"sign": sign}) is accepted


REGISTRY = {"provider": documents.Tag("Zot"), "url": "https://reg.example.org"}
IN_ENV = {"source": documents.Tag("Env"), "name": "KEY"}


@pytest.mark.parametrize(
    ("more", "accepted"),
    [
        ({"client_cert": "certs/lian.pem", "client_key": IN_ENV}, True),
        ({"client_cert": "certs/lian.pem"}, False),
        ({"client_key": IN_ENV}, False),
        ({"client_cert": "c", "client_key": {"source": documents.Tag("File"), "name": "/etc/lian.key"}}, True),
        ({"client_cert": "c", "client_key": {"source": documents.Tag("File"), "name": "certs/lian.key"}}, False),
        ({"client_cert": "c", "client_key": {"source": "File", "name": "certs/lian.key"}}, False),
        ({"client_cert": "/etc/lian.pem", "client_key": IN_ENV}, False),
        ({"mirrors": {"docker.io": ["https://m.example.org/hub"]}}, True),
        ({"mirrors": {"docker.io": []}}, False),
        ({"mirrors": {"docker.io": "https://m.example.org"}}, False),
        ({"mirrors": {"docker": ["https://m.example.org"]}}, False),
        ({"mirrors": {"docker.io/library": ["https://m.example.org"]}}, False),
        ({"mirrors": {"docker.io": ["https://u:p@m.example.org"]}}, False),
        ({"mirrors": {"docker.io": ["https://m.example.org/"]}}, False),
        ({"mirrors": {"docker.io": ["m.example.org"]}}, False),
    ],
)
def test_how_a_registry_is_reached(more: Any, accepted: bool) -> None:
    assert _agree("RegistryProviderRef", REGISTRY | more) is accepted


# Contract of schemas/grammar.ncl -> (file, definition) of its twin, a few strings that it accepts, its bound.
LEAVES: dict[str, tuple[str, str, list[str], int]] = {
    "Name": ("build_directives", "name", ["shop", "a--b"], 63),
    "ArtifactReference": ("build_directives", "artifact_reference", ["api", "shop/api"], 127),
    "QualifiedArtifact": ("build_result", "qualified_artifact", ["shop/api"], 127),
    "Tag": ("build_directives", "tag", ["1.4", "_a", "lian"], 128),
    "Image": ("build_directives", "image", ["shop/api", "ghcr.io/a/b", "localhost/x", "h:1/x", "[::1]/x"], 255),
    "RepositoryPath": ("build_directives", "repository_path", ["a/b.c__d"], 255),
    "ImageReference": ("build_directives", "image_reference", ["alpine:3", "a@sha256:" + "0" * 64], 512),
    "Digest": ("build_result", "digest", ["sha256:" + "0" * 64, "sha512:" + "f" * 128], 135),
    "Commit": ("build_result", "commit", ["0" * 40, "a" * 64], 64),
    "Platform": ("build_directives", "built_platform", ["linux/amd64", "linux/arm/v7", "wasip1/wasm"], 64),
    "RelativePath": ("build_directives", "path", [".", "a/b", "..a", "a/./b", "é"], 1024),
    "FilePath": ("build_directives", "file_path", ["/srv/x", ".lian"], 1024),
    "Target": ("build_directives", "target", ["test"], 128),
    "Duration": ("build_directives", "duration", ["7d", "90m"], 7),
    "GitUrl": ("build_directives", "git_url", ["https://h/x", "git@h:x", "ssh://git@h/x", "git://h/x"], 2048),
    "GitRevision": ("build_directives", "git_revision", ["main", "é"], 255),
    "HttpUrl": ("build_directives", "http_url", ["http://h", "https://h:1"], 255),
    "MirrorUrl": ("build_directives", "mirror_url", ["http://h", "https://h:1/a/b__c", "https://[::1]:5000/x"], 512),
    "NatsUrl": ("build_directives", "nats_url", ["nats://h", "tls://h:1"], 255),
    "Host": ("build_directives", "host", ["h", "u@h:22", "h ssh-ed25519 AAAA+/b=="], 2048),
    "ProviderUrl": ("build_directives", "provider_url", ["https://h/v1", "unix:///run/x"], 2048),
    "Language": ("build_directives", "language", ["go", "c++"], 32),
    "Epoch": ("build_directives", "epoch", ["1"], 64),
    "SubjectPrefix": ("build_directives", "subject_prefix", ["a.b"], 255),
    "RefPattern": ("fleet", "ref_pattern", ["refs/heads/*", "refs/tags/v[0-9]", "refs/é"], 255),
    "Pattern": ("fleet", "path_pattern", ["directives/**/*.ncl"], 1024),
    "TagPattern": ("fleet", "tag_pattern", ["v*"], 128),
    "ArtifactPattern": ("policy", "artifact_pattern", ["*", "shop/*", "sh?p/[!a]*"], 127),
    "ImagePattern": (
        "policy",
        "image_pattern",
        ["*", "*:latest", "docker.io/library/*:3.*", "h:5000/a", "*/a/b:1"],
        512,
    ),
    "RepositoryPattern": (
        "policy",
        "repository_pattern",
        ["*", "ghcr.io/acme/*", "localhost/a", "oci-layout/shop/*", "[::1]:5/a"],
        512,
    ),
    "SourcePattern": ("policy", "source_pattern", ["*", "git.example/team/*", "h:80/a.git", "[::1]/~a/b+c"], 512),
    "ArgPattern": ("policy", "arg_pattern", ["*_TOKEN", "a?"], 255),
    "SecretPattern": ("policy", "secret_pattern", ["npm-*", "a.b_c"], 128),
    "Text 8192": ("build_directives", "text", ["", "a\nb", "é"], 8192),
}
_PIECES = ["a", "Z", "0", ".", "-", "_", "/", ":", "@", "#", "?", "*", "[", "]", " ", "\n", "\t", "\0",
           "é", "e\u0301", "\u2028",
           "\u00a0", "\ufeff", "\x1c", "\x85", "..", "//", "__", "lian-", "https://", "v1", "\\", "~", "^",
           "d", "=", "+", "😀", "ſ", "٣"]  # fmt: skip


def _verdicts(leaf: str, strings: list[str]) -> list[bool]:
    """What the contract says of each string, in one evaluation: leaf contracts decide at once."""
    return list(
        evaluate(
            f"""
            let C = (import "schemas/grammar.ncl").{leaf} in
            let Verdicts = std.contract.custom (fun label values =>
              let accepts = fun value => std.contract.check C label value |> match {{ 'Ok _ => true, _ => false }} in
              'Ok (std.array.map accepts values)
            ) in
            {nickel(strings)} | Verdicts
            """
        )
    )


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_grammars_are_the_same_language(leaf: str) -> None:
    schema, definition, accepted, bound = LEAVES[leaf]
    twin = validator(schema, definition)

    def agree(strings: list[str]) -> list[bool]:
        said = _verdicts(leaf, strings)
        assert said == [twin.is_valid(s) for s in strings], [
            s for s, verdict in zip(strings, said, strict=True) if verdict != twin.is_valid(s)
        ]
        return said

    assert all(agree(accepted))
    fillers = ("a", "0", "é", "e\u0301")
    grown = [s + c * (bound - len(s) + more) for s in accepted for c in fillers for more in (-1, 0, 1)]
    agree([*grown, *(s[:-1] for s in accepted if s), *(s + p for s in accepted for p in _PIECES)])
    assert not any(agree([s + "\n" for s in accepted])) or leaf.startswith("Text")

    cut = st.builds(
        lambda s, i, p: s[:i] + p + s[i:], st.sampled_from(accepted), st.integers(0, 70), st.sampled_from(_PIECES)
    )
    made = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)

    @settings(max_examples=15)
    @given(st.lists(cut | made, min_size=60, max_size=100))
    def check(strings: list[str]) -> None:
        agree(strings)

    check()
