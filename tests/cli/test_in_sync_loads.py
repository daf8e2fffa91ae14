"""What a command loads when all is in sync, which is nearly always: nothing of what builds, pushes, signs or removes,
and nothing of the kind of registry that the fleet does not have."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet import Fleet
from benchmarks.stock import as_distribution, as_layout
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from pathlib import Path

_THEN_TELL = """
import json, sys
from reconciler.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""
IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
COMMANDS = (["reconcile", "--once"], ["diff"])
NEVER = (
    "reconciler.apply.carry_out",
    "reconciler.apply.artifact",
    "reconciler.apply.prune",
    "reconciler.attest",
    "reconciler.providers.builder.buildctl",
    "reconciler.providers.compute",
    "reconciler.providers.signer",
    "reconciler.desired.dockerfile",
    "reconciler.desired.nickel.data",
    "reconciler.desired.nickel.pool",
    "reconciler.desired.mirror",
    "reconciler.plan.judge",
    "cryptography",
    "httpx",
    "rich",
    "nickel",
    "jsonschema",
    "watchfiles",
    "importlib.metadata",
)
LAYOUT = ("reconciler.providers.registry.layout",)
OVER_HTTP = ("reconciler.providers.registry.distribution", "reconciler.providers.registry.http.transport", "h11")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet.make(tmp_path_factory.mktemp("fleet"), 2)


def loaded(fleet: Fleet, registry: str, command: list[str]) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", _THEN_TELL, *command],
        env=fleet.environment(registry),
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(ran.stdout.splitlines()[-1])
    assert code == 0, ran.stderr
    return set(modules)


def of(rooms: tuple[str, ...], modules: set[str]) -> set[str]:
    return {name for name in modules if any(name == room or name.startswith(f"{room}.") for room in rooms)}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_on_disk_nothing_that_acts_and_nothing_of_http(tmp_path: Path, fleet: Fleet, command: list[str]) -> None:
    fleet.fill(tmp_path, as_layout)
    modules = loaded(fleet, f"oci-layout:{tmp_path}", command)
    assert not of((*NEVER, *OVER_HTTP), modules)
    assert of(LAYOUT, modules)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_over_http_nothing_that_acts_and_nothing_of_the_disk(tmp_path: Path, fleet: Fleet, command: list[str]) -> None:
    fleet.fill(tmp_path / "storage", as_distribution)
    with run_registry(tmp_path) as server:
        modules = loaded(fleet, server.url, command)
    assert not of((*NEVER, *LAYOUT), modules)
    assert of(OVER_HTTP, modules) >= set(OVER_HTTP)


def test_nothing_of_docker_where_nothing_was_built_in_it(tmp_path: Path) -> None:
    fleet = Fleet.make(tmp_path / "fleet", 2)
    settings = '{ fleet = "benchmark", compute = { provider = \'DockerLocal } }\n'
    (fleet.repo / "lian.ncl").write_text(settings)
    subprocess.run(["git", "-C", fleet.repo, *IDENTITY, "commit", "-qam", "docker"], check=True)
    fleet.fill(tmp_path / "registry", as_layout)
    once = f"oci-layout:{tmp_path / 'registry'}", ["reconcile", "--once"]
    loaded(fleet, *once)  # the settings have been evaluated then
    assert not of((*NEVER, *OVER_HTTP), loaded(fleet, *once))


def test_what_no_commit_wants_any_more_is_looked_for_only_where_that_is_wanted(tmp_path: Path, fleet: Fleet) -> None:
    fleet.fill(tmp_path, as_layout)
    looks = {"reconciler.observe.unwanted", "reconciler.observe.stock"}
    assert not looks & loaded(fleet, f"oci-layout:{tmp_path}", ["reconcile", "--once"])
    assert looks <= loaded(fleet, f"oci-layout:{tmp_path}", ["diff"])


@pytest.mark.parametrize("name", [*NEVER, *LAYOUT, *OVER_HTTP])
def test_what_must_not_be_loaded_is_the_name_of_something(name: str) -> None:
    assert importlib.util.find_spec(name) is not None
