"""A password is looked for everywhere while lian converges a registry that asks for it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import BASE, SECONDS, Bench, Ran, directive
from tests.e2e.canaries import LAUNCHER, Watcher, forms, seen_below, seen_in
from tests.servers.registry import PASSWORD, USER, run_registry
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import WRITE, TokenServer
from tests.servers.token_server import User as TokenUser

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.buildkit

OTHER = "canary-of-another-host"
TOKEN_PASSWORD = "canary pass/word+%&é"
SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", context.path = "images/api", contexts = { base = { artifact = "base" } }',
}


def repo(bench: Bench, settings: str) -> None:
    """Two images, one upon the other; each step shows its environment."""
    bench.busybox("images/base")
    show = 'RUN ["/bin/busybox", "env"]\nRUN ["/bin/busybox", "ps"]\n'
    bench.commit(
        {
            "lian.ncl": settings,
            "directives/shop.ncl": directive("shop", SHOP),
            "images/base/Dockerfile": BASE + show,
            "images/api/Dockerfile": f"FROM base\nCOPY app /app\n{show}",
            "images/api/app": "1\n",
        }
    )


class Observed:
    """Runs lian under observation, and gathers where a secret was seen."""

    def __init__(self, bench: Bench, folder: Path, wanted: dict[str, bytes]) -> None:
        self.bench, self.wanted = bench, wanted
        self.started, self.temporary = folder / "started", folder / "tmp"
        self.temporary.mkdir()
        self.launcher = folder / "launcher.py"
        self.launcher.write_text(LAUNCHER)
        self.configs: dict[bytes, tuple[int, int]] = {}
        self.leaks: dict[str, object] = {}

    def lian(self, *words: str, code: int) -> Ran:
        """Run it to its end."""
        environ = self.bench.environment | {"LIAN_TEST_STARTED": str(self.started), "TMPDIR": str(self.temporary)}
        process = subprocess.Popen(
            [sys.executable, self.launcher, *words],
            cwd=self.bench.repo,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watcher = Watcher(self.bench.cache, self.wanted)
        with watcher.watching(process.pid):
            out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == code, f"{out}\n{err}"
        self.configs |= watcher.configs
        self._note(f"{words}: processes", watcher.leaks)
        self._note(f"{words}: files of a lease", sorted(watcher.others))
        self._note(f"{words}: printed", seen_in(out.encode() + err.encode(), self.wanted))
        self._note(f"{words}: temporary files", [str(path) for path in self.temporary.iterdir()])
        return Ran(process.returncode, out, err)

    def look_back(self, *folders: Path) -> None:
        """At what was started, and what was left."""
        for line in self.started.read_text().splitlines():
            given = json.loads(line)
            text = "\0".join([*given["words"], *(f"{k}={v}" for k, v in given["environ"])]).encode()
            self._note(f"started {given['words']}", seen_in(text, self.wanted))
        for folder in (self.bench.cache, *folders):
            self._note(f"left below {folder}", seen_below(folder, self.wanted))

    def programs(self) -> set[str]:
        """What was started, by name."""
        words = (json.loads(line)["words"] for line in self.started.read_text().splitlines())
        return {Path(word).name for line in words for word in line}

    def _note(self, where: str, what: object) -> None:
        if what:
            self.leaks[where] = what


def given_by_variable(host: str, bench: Bench, folder: Path) -> str:
    """By LIAN_REGISTRY_USER and LIAN_REGISTRY_PASSWORD."""
    bench.env |= {"LIAN_REGISTRY_USER": USER, "LIAN_REGISTRY_PASSWORD": PASSWORD}
    return f'{{ registry = {{ provider = \'Distribution, url = "http://{host}" }} }}'


def named_in_settings(host: str, bench: Bench, folder: Path) -> str:
    """By a variable that lian.ncl names."""
    bench.env |= {"REGISTRY_PASSWORD": PASSWORD}
    login = f'credentials = {{ source = \'Env, name = "REGISTRY_PASSWORD", user = "{USER}" }}'
    return f'{{ registry = {{ provider = \'Distribution, url = "http://{host}", {login} }} }}'


def from_a_helper(host: str, bench: Bench, folder: Path) -> str:
    """By a credential helper of Docker's configuration, which knows other hosts too."""
    helper = folder / "bin" / "docker-credential-canary"
    helper.parent.mkdir()
    helper.write_text(f'#!/bin/sh\nprintf \'{{"Username":"{USER}","Secret":"{PASSWORD}"}}\'\n')
    helper.chmod(0o755)
    docker = folder / "docker"
    docker.mkdir()
    auth = base64.b64encode(f"me:{OTHER}".encode()).decode()
    document = {"credHelpers": {host: "canary"}, "auths": {"other.example": {"auth": auth}}}
    (docker / "config.json").write_text(json.dumps(document))
    bench.env |= {"DOCKER_CONFIG": str(docker), "PATH": f"{helper.parent}:{os.environ['PATH']}"}
    return f'{{ registry = {{ provider = \'Distribution, url = "http://{host}" }} }}'


@pytest.mark.parametrize("given", [given_by_variable, named_in_settings, from_a_helper])
def test_a_password_is_seen_nowhere(tmp_path: Path, given: Callable[[str, Bench, Path], str]) -> None:
    with run_registry(tmp_path / "server", password=True) as server:
        bench = Bench.new(tmp_path / "bench")
        repo(bench, given(server.host, bench, tmp_path))
        observed = Observed(bench, tmp_path, forms(PASSWORD, USER))
        assert observed.lian("reconcile", "--once", "--json", code=0).json["results"][0]["status"] == "done"
        if given is given_by_variable:
            observed.lian("why", "shop/api", "--json", code=0)
        observed.look_back(server.storage)
        assert observed.leaks == {}
        assert {"buildctl", "buildkitd"} <= observed.programs()
        assert observed.configs, "no build was seen with its credentials"
        for data, modes in observed.configs.items():
            assert modes == (0o600, 0o700)
            assert list(json.loads(data)["auths"]) == [server.host]
            assert OTHER.encode() not in data
        assert OTHER.encode() not in b"".join(observed.configs)


def test_a_refused_password_is_seen_nowhere(tmp_path: Path) -> None:
    wrong = "canary wrong+horse"
    with run_registry(tmp_path / "server", password=True) as server:
        bench = Bench.new(tmp_path / "bench", server.url)
        repo(bench, "{}")
        bench.env |= {"LIAN_REGISTRY_USER": USER, "LIAN_REGISTRY_PASSWORD": wrong}
        observed = Observed(bench, tmp_path, forms(wrong, USER))
        told = observed.lian("reconcile", "--once", "--json", "--debug", code=4).json
        assert {result["problem"]["code"] for result in told["results"]} == {"registry-denied"}
        observed.look_back(server.storage)
        assert observed.leaks == {}


def test_a_password_for_a_token_service_is_seen_nowhere(tmp_path: Path) -> None:
    """Nor are the tokens."""
    users = {"ci": TokenUser(TOKEN_PASSWORD, [("*", WRITE)])}
    with TokenServer(users).running() as tokens, run_secured(tmp_path / "server", tokens=tokens) as server:
        bench = Bench.new(tmp_path / "bench", server.url)
        repo(bench, "{}")
        bench.env |= {"LIAN_REGISTRY_USER": "ci", "LIAN_REGISTRY_PASSWORD": TOKEN_PASSWORD}
        observed = Observed(bench, tmp_path, forms(TOKEN_PASSWORD, "ci"))
        observed.lian("diff", "--json", code=2)
        assert tokens.asked
        scopes = {scope for asked in tokens.asked for scope in asked.scopes}
        assert {scope.rpartition(":")[2] for scope in scopes - {"registry:catalog:*"}} == {"pull"}
        observed.lian("reconcile", "--once", "--json", code=0)
        observed.wanted = observed.wanted | {f"token {n}": token.encode() for n, token in enumerate(tokens.issued)}
        observed.look_back(server.storage)
        assert observed.leaks == {}


def test_the_search_finds_what_it_is_to_find(tmp_path: Path) -> None:
    wanted = forms(TOKEN_PASSWORD, "ci")
    for n, form in enumerate(wanted.values()):
        (tmp_path / str(n)).write_bytes(b"before " + form + b" after")
    pair = base64.b64encode(f'{{"a":"ci:{TOKEN_PASSWORD}"}}'.encode())
    (tmp_path / "inside").write_bytes(pair)
    assert len(seen_below(tmp_path, wanted)) == len(wanted) + 1
    child = subprocess.Popen(["sleep", "60"], env={"X": TOKEN_PASSWORD})
    try:
        watcher = Watcher(tmp_path, wanted)
        with watcher.watching(os.getpid()):
            while not watcher.leaks:
                pass
        assert list(watcher.leaks) == ["sleep 60 "]
    finally:
        child.kill()
        child.wait()
