"""Distribution v3's registry with its storage in a folder, on a free port of the loopback."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests import programs
from tests.servers.registry import distribution
from tests.servers.running import RegistryServer, running, usable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_QUIET = {"OTEL_TRACES_EXPORTER": "none"}
"""Else it sends traces to whatever listens on the loopback (distribution v3, tracing)."""


@pytest.fixture
def distribution_v3_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that anyone may read, write and delete in."""
    with run_distribution_v3(tmp_path / "distribution-v3-server") as server:
        yield server


@pytest.fixture
def password_distribution_v3_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry that asks for basic authentication as USER with PASSWORD."""
    with run_distribution_v3(tmp_path / "password-distribution-v3-server", password=True) as server:
        yield server


@contextlib.contextmanager
def run_distribution_v3(folder: Path, *, password: bool = False, port: int = 0) -> Iterator[RegistryServer]:
    """See `running`; with `password`, as `password_distribution_v3_server`."""
    command = partial(distribution, usable(programs.find("registry")), folder, password)
    with running(folder, command, port, _QUIET) as server:
        yield server
