"""Debian's docker-registry (distribution 2.8) with its storage in a folder, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.providers.builder.binaries import locate
from tests.servers.running import PASSWORD, USER, RegistryServer, running, usable, write_htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["PASSWORD", "USER", "RegistryServer", "run_registry"]

PROGRAM = "docker-registry"


@pytest.fixture
def registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that anyone may read, write and delete in."""
    with run_registry(tmp_path / "registry-server") as server:
        yield server


@pytest.fixture
def password_registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that asks for basic authentication as USER with PASSWORD."""
    with run_registry(tmp_path / "password-registry-server", password=True) as server:
        yield server


@contextlib.contextmanager
def run_registry(folder: Path, *, password: bool = False, port: int = 0) -> Iterator[RegistryServer]:
    """See `running`; with `password`, as `password_registry_server`."""
    with running(folder, partial(distribution, usable(locate(PROGRAM)), folder, password), port) as server:
        yield server


def distribution(program: Path, folder: Path, password: bool, host: str) -> Sequence[str | Path]:
    """What runs any release of distribution. Its settings are JSON, which is YAML; see its configuration reference."""
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": host, "secret": "of-no-worth"},
    }
    if password:
        settings["auth"] = {"htpasswd": {"realm": "lian-tests", "path": str(write_htpasswd(folder))}}
    (folder / "config.yml").write_text(json.dumps(settings), encoding="utf-8")
    return [program, "serve", folder / "config.yml"]
