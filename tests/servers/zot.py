"""zot with its storage in a folder, on a free port of the loopback.

Set-up does not install it: the program is `zot` on PATH, or the one that LIAN_TEST_ZOT names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.providers.builder.binaries import Wanted, examine_program
from tests.needs import not_run
from tests.servers.running import RegistryServer, running, write_htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VARIABLE = "LIAN_TEST_ZOT"


@pytest.fixture
def zot_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that anyone may read, write and delete in."""
    with run_zot(tmp_path / "zot-server") as server:
        yield server


@pytest.fixture
def password_zot_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that asks for basic authentication as USER with PASSWORD."""
    with run_zot(tmp_path / "password-zot-server", password=True) as server:
        yield server


@contextlib.contextmanager
def run_zot(
    folder: Path,
    *,
    password: bool = False,
    everyone: str | None = None,
    port: int = 0,
    access: Access | None = None,
) -> Iterator[RegistryServer]:
    """See `running`; with `password`, as `password_zot_server`, but that everyone may read repositories that match the
    glob `everyone`; with `access` for those accounts, with those rights."""
    with running(folder, partial(_zot, _program(), folder, password, everyone, access), port) as server:
        yield server


@dataclass(frozen=True)
class Access:
    """`control` is the `accessControl` of zot's settings; `accounts` are lines of a file of bcrypt hashes."""

    control: Mapping[str, Any]
    accounts: Sequence[str]


def _program() -> Path:
    """One that is named and does not run is an error where tests must all run; one that is just not there is not."""
    if named := os.environ.get(VARIABLE):
        why = examine_program("zot", Path(named), Wanted()).why
        return Path(named) if why is None else not_run(f"{VARIABLE}: {why}")
    found = shutil.which("zot")
    return Path(found) if found else not_run(f"zot is not on PATH, nor named by {VARIABLE}", optional=True)


def _zot(
    program: Path, folder: Path, password: bool, everyone: str | None, access: Access | None, host: str
) -> Sequence[str | Path]:
    """What runs it. Nothing is collected as garbage: it would take what has no tag. Other extensions than search work
    by themselves (mgmt), or have nothing that a test could ask (metrics, scrub)."""
    address, port = host.split(":")
    settings: dict[str, Any] = {
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": str(folder / "storage"), "gc": False},
        "http": {"address": address, "port": port},
        "log": {"level": "info"},
        "extensions": {"search": {"enable": True}},
    }
    if password:
        settings["http"]["auth"] = {"htpasswd": {"path": str(write_htpasswd(folder))}}
    if everyone:
        logged_in = {"defaultPolicy": ["read", "create", "update", "delete"]}
        rights = {"**": logged_in, everyone: logged_in | {"anonymousPolicy": ["read"]}}
        settings["http"]["accessControl"] = {"repositories": rights}
    if access:
        (folder / "accounts").write_text("".join(f"{line}\n" for line in access.accounts), encoding="utf-8")
        settings["http"] |= {"auth": {"htpasswd": {"path": str(folder / "accounts")}}, "accessControl": access.control}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return [program, "serve", folder / "config.json"]
