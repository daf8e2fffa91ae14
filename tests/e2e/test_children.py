"""What every program that lian starts is given of lian's environment: no variable that holds a credential."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import SECONDS, Bench, directive
from tests.e2e.canaries import LAUNCHER
from tests.servers.registry import PASSWORD, USER, run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.running import RegistryServer

CANARY = "canary-in-"
OPERATORS = ("LIAN_REGISTRY_USER", "LIAN_REGISTRY_PASSWORD", "COSIGN_PASSWORD")
NAMED = ("SHOP_LOGIN", "SHOP_KEY", "SIGNING_KEY", "CLOUD_TOKEN", "EVENTS_SEED", "DATABASE_PASSWORD")
"""What settings name, heeded or not."""
PLAIN = "LIAN_TEST_NO_SECRET"
HELPER = f"""#!/bin/sh
env > "$LIAN_TEST_SEEN/$(basename "$0")"
printf '{{"Username":"{USER}","Secret":"{PASSWORD}"}}'
"""
COMMAND = f"""#!/bin/sh
env > "$LIAN_TEST_SEEN/$(basename "$0")"
printf %s '{USER}:{PASSWORD}'
"""
RUNNING = f"""#!/bin/sh
env > "$LIAN_TEST_SEEN/$(basename "$0")"
echo sha256:{"a" * 64}
"""


class Household:
    """A fleet whose settings name variables of every kind, on a registry that asks for a login."""

    def __init__(self, folder: Path, server: RegistryServer) -> None:
        self.bench = Bench.new(folder / "bench")
        self.seen, self.started = folder / "seen", folder / "started"
        self.seen.mkdir()
        self.launcher = folder / "launcher.py"
        self.launcher.write_text(LAUNCHER)
        programs, docker = folder / "bin", folder / "docker"
        for name, text in (("docker-credential-canary", HELPER), ("login", COMMAND), ("in-use", RUNNING)):
            (programs / name).parent.mkdir(exist_ok=True)
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        docker.mkdir()
        (docker / "config.json").write_text(json.dumps({"credsStore": "canary"}))
        path = self.bench.environment["PATH"]
        self.bench.env |= {name: CANARY + name for name in (*OPERATORS, *NAMED)}
        self.bench.env |= {
            "DOCKER_CONFIG": str(docker),
            "PATH": f"{programs}:{path}",
            "LIAN_TEST_SEEN": str(self.seen),
            "LIAN_TEST_STARTED": str(self.started),
            PLAIN: "handed on",
        }
        self.programs = programs

    def commit(self, registry: str) -> None:
        """One image on the fleet's registry, one on a registry that its own directive describes."""
        settings = f"""{{
          registry = {registry},
          compute = {{ provider = 'Local, credentials = {{ source = 'Env, name = "CLOUD_TOKEN" }} }},
          events = {{ url = "nats://127.0.0.1:4222", nkey = {{ source = 'Env, name = "EVENTS_SEED" }} }},
          secrets = {{ shop.database = {{ source = 'Env, name = "DATABASE_PASSWORD" }} }},
          policy.sign = {{ key = {{ source = 'Env, name = "SIGNING_KEY" }} }},
        }}"""
        theirs = """registry = {
            provider = 'Distribution, url = "https://127.0.0.1:1", client_cert = "cert.pem",
            client_key = { source = 'Env, name = "SHOP_KEY" },
            credentials = { source = 'Env, name = "SHOP_LOGIN" },
          }"""
        text = directive("theirs", {"api": 'image = "theirs/api", context.path = "api"'})
        self.bench.commit(
            {
                "lian.ncl": settings,
                "cert.pem": "none\n",
                "directives/shop.ncl": directive("shop", {"api": 'image = "shop/api", context.path = "api"'}),
                "directives/theirs.ncl": text.replace("  artifacts", f"  {theirs},\n  artifacts", 1),
                "api/Dockerfile": "FROM scratch\nCOPY Dockerfile /\n",
            }
        )

    def lian(self, *words: str) -> None:
        """Run it to its end under observation, however it ends."""
        subprocess.run(
            [sys.executable, self.launcher, *words],
            cwd=self.bench.repo,
            env=self.bench.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )

    def given(self) -> dict[str, dict[str, str]]:
        """Words of every program that was started -> its environment."""
        lines = self.started.read_text().splitlines() if self.started.exists() else []
        told = (json.loads(line) for line in lines)
        return {" ".join(one["words"]): dict(one["environ"]) for one in told}

    def leaks(self) -> dict[str, list[str]]:
        """Program -> variables it was given and should not have been; what programs themselves saw as well."""
        given = self.given() | {path.name: self.dumped(path.name) for path in self.seen.iterdir()}
        found = {program: [k for k, v in environ.items() if CANARY in v] for program, environ in given.items()}
        return {program: names for program, names in found.items() if names}

    def dumped(self, program: str) -> dict[str, str]:
        """The environment as the program itself saw it."""
        lines = (self.seen / program).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture
def household(tmp_path: Path) -> Iterator[tuple[Household, RegistryServer]]:
    with run_registry(tmp_path / "server", password=True) as server:
        yield Household(tmp_path, server), server


def test_no_credential_helper_sees_what_settings_name(household: tuple[Household, RegistryServer]) -> None:
    """Also not what a directive names for a host that may have no credential, nor what has no effect yet."""
    house, server = household
    for name in OPERATORS[:2]:  # the login is Docker's
        del house.bench.env[name]
    house.commit(f'{{ provider = \'Distribution, url = "http://{server.host}" }}')
    house.lian("diff")
    seen = house.dumped("docker-credential-canary")
    assert seen[PLAIN] == "handed on"
    assert not {*NAMED, "COSIGN_PASSWORD"} & set(seen)
    assert house.leaks() == {}


def test_no_command_sees_what_settings_name(household: tuple[Household, RegistryServer]) -> None:
    house, server = household
    for name in OPERATORS[:2]:
        del house.bench.env[name]
    login = f'credentials = {{ source = \'Command, name = "{house.programs}/login" }}'
    house.commit(f'{{ provider = \'Distribution, url = "http://{server.host}", {login} }}')
    house.lian("diff")
    assert house.dumped("login")[PLAIN] == "handed on"
    assert house.leaks() == {}


def test_what_tells_which_images_are_in_use_sees_no_credential(household: tuple[Household, RegistryServer]) -> None:
    house, server = household
    house.bench.env |= {"LIAN_REGISTRY_USER": USER, "LIAN_REGISTRY_PASSWORD": PASSWORD, "COSIGN_PASSWORD": CANARY}
    house.commit(f'{{ provider = \'Distribution, url = "http://{server.host}" }}')
    house.lian("prune", "--dry-run", "--keep-from", "cmd:in-use")
    seen = house.dumped("in-use")
    assert seen[PLAIN] == "handed on"
    assert not set(OPERATORS) & set(seen)
    assert house.leaks() == {}


def test_nor_what_another_branch_names(household: tuple[Household, RegistryServer]) -> None:
    """A prune reads its settings too, to keep what it wants."""
    house, server = household
    for name in OPERATORS[:2]:
        del house.bench.env[name]
    house.bench.env["OF_A_BRANCH"] = f"{CANARY}OF_A_BRANCH"
    registry = f'provider = \'Distribution, url = "http://{server.host}"'
    house.commit(f'{{ {registry}, credentials = {{ source = \'Env, name = "OF_A_BRANCH" }} }}')
    house.bench.git("branch", "earlier")
    house.commit(f"{{ {registry} }}")
    house.lian("prune", "--dry-run", "--keep-from", "cmd:in-use")
    assert {path.name for path in house.seen.iterdir()} == {"docker-credential-canary", "in-use"}
    assert house.leaks() == {}


def test_no_probe_of_the_doctor_sees_a_credential(household: tuple[Household, RegistryServer]) -> None:
    house, _ = household
    house.lian("doctor")
    assert house.given()
    assert house.leaks() == {}
