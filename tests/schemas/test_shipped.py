"""Every shipped Nickel file evaluates by itself, alike in both evaluators, and the examples in its doc strings hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from tests.needs import not_run
from tests.schemas.evaluation import ROOT, evaluate, validator

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = sorted(
    str(path.relative_to(ROOT))
    for folder in ("schemas", "defaults", "examples", ".ontology", "adrs", "desired")
    for path in (ROOT / folder).rglob("*.ncl")
)
SCHEMAS = sorted((ROOT / "schemas" / "json").glob("*.json"))
_BLOCK = re.compile(r"```nickel\n(.*?)```", re.DOTALL)
_EXAMPLES = [
    pytest.param(block, id=f"{path}-{number}")
    for path in SHIPPED
    for number, block in enumerate(_BLOCK.findall((ROOT / path).read_text("utf-8")), 1)
]

SURFACE = {
    "schemas/build_directives.ncl": {
        "BuildDirectives", "BuildArtifact", "ComputeProviderRef", "RegistryProviderRef", "RunnerOverride",
        "NatsEventConfig",
    },
    "schemas/build_spec.ncl": {"BuildSpec", "bounded_cpu_", "bounded_time_budget_"},
    "schemas/cache_policy.ncl": {
        "CachePolicy", "ArtifactCache", "BuildMode", "SessionActor", "SessionCacheDisposition",
    },
    "schemas/build_result.ncl": {"BuildResult"},
    "schemas/vault_refs.ncl": {"VaultCredRef", "VaultKeyRef"},
    "schemas/tiers.ncl": {"TierDefaults"},
    "schemas/fleet.ncl": {"FleetSettings", "FleetPolicy"},
    "schemas/policy.ncl": {"BuildPolicy"},
    "defaults/build_directives.ncl": {
        "make_build_directives", "make_artifact", "make_compute_provider", "make_registry_provider",
        "make_runner_override", "make_nats_event_config", "make_cache_policy", "make_build_spec", "make_build_result",
        "make_vault_cred_ref", "make_vault_key_ref", "make_fleet_settings", "ci_cache_policy", "session_cache_policy",
    },
}  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED)
def test_a_file_evaluates_alike_in_both_evaluators(path: str) -> None:
    command = shutil.which("nickel")
    here = evaluate(f'import "{path}"')
    if command is None:
        not_run("nickel is not on PATH: its JSON is not compared with py-nickel's", optional=True)
    options = ["--import-path", ".", "--import-path", "schemas"]
    done = subprocess.run([command, "export", *options, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == here


@pytest.mark.parametrize("path", SURFACE)
def test_a_file_defines_the_published_names(path: str) -> None:
    assert SURFACE[path] <= set(evaluate(f'std.record.fields (import "{path}")'))


@pytest.mark.parametrize("block", _EXAMPLES)
def test_examples_in_doc_strings_hold(block: str) -> None:
    code, arrow, expected = textwrap.dedent(block).partition("# =>")
    assert arrow, "an example says what it evaluates to"
    found, wanted = evaluate(f"[({code}), ({expected})]")
    assert found == wanted


def test_every_record_contract_has_an_example() -> None:
    shown = {name for block in _EXAMPLES for name in re.findall(r"\b[A-Z]\.(\w+)", str(block.values[0]))}
    values = {"BuildMode", "SessionActor", "SessionCacheDisposition", "bounded_cpu_", "bounded_time_budget_"}
    contracts = {name for path, names in SURFACE.items() if path.startswith("schemas/") for name in names}
    assert contracts - values <= shown


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda p: p.stem)
def test_a_json_schema_is_valid_and_describes_itself(path: Path) -> None:
    schema = json.loads(path.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:lian:schema:{path.stem}:1"
    assert "description" in schema or schema["$defs"][schema["$ref"].rpartition("/")[2]]["description"]


def test_a_definition_is_the_same_in_every_schema() -> None:
    seen: dict[str, str] = {}
    for path in SCHEMAS:
        for name, definition in json.loads(path.read_text("utf-8")).get("$defs", {}).items():
            text = json.dumps(definition, sort_keys=True)
            assert seen.setdefault(name, text) == text, f"{name} in {path.name}"


def test_defaults_of_both_surfaces_are_equal() -> None:
    """The `default` annotations of the JSON Schema say what Nickel fills in."""
    filled = {
        "BuildArtifact": evaluate('{ image = "a" } | (import "schemas/build_directives.ncl").BuildArtifact'),
        "FleetSettings": evaluate('{} | (import "schemas/fleet.ncl").FleetSettings'),
        "CachePolicy": evaluate('{} | (import "schemas/cache_policy.ncl").CachePolicy'),
        "FleetPolicy": evaluate('{} | (import "schemas/fleet.ncl").FleetPolicy'),
    }
    signed = evaluate('{ sign.key = { source = \'Env, name = "K" } } | (import "schemas/fleet.ncl").FleetPolicy')
    filled |= {f"{name.capitalize()}Policy": signed[name] for name in ("drift", "prune", "sign", "verify", "access")}
    definitions = json.loads((ROOT / "schemas/json/fleet.json").read_text("utf-8"))["$defs"]
    definitions |= json.loads((ROOT / "schemas/json/build_directives.json").read_text("utf-8"))["$defs"]
    for name, document in filled.items():
        annotated = {k: v["default"] for k, v in definitions[name]["properties"].items() if "default" in v}
        document.pop("image", None)
        document.pop("key", None)
        assert document.get("registry", {}).pop("insecure", False) is False
        assert document == annotated


def test_the_bundled_desired_repo_and_the_sample_satisfy_the_json_schemas() -> None:
    directives = sorted((ROOT / "desired" / "directives").glob("**/*.ncl"))
    assert len(directives) >= 2
    twin = validator("build_directives")
    for path in [*directives, ROOT / "examples" / "sample.ncl"]:
        twin.validate(evaluate(f'import "{path.relative_to(ROOT)}"'))
    validator("tiers").validate(evaluate('import "defaults/tiers.ncl"'))
    validator("fleet").validate(evaluate('(import "desired/lian.ncl") | (import "schemas/fleet.ncl").FleetSettings'))
