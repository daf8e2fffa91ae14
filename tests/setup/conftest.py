"""The made-up machine as a fixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import not_run
from tests.setup.machine import STATIC_BUSYBOX, Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A bare Debian with root and nothing on PATH; its checkout counts as having a virtual environment."""
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.cache))
    monkeypatch.setattr("parts.debian.LOCK_POLL_SECONDS", 0.01)
    return made


@pytest.fixture
def static_busybox() -> Path:
    """Debian's busybox-static."""
    if STATIC_BUSYBOX is None:
        not_run("busybox is not on PATH")
    return Path(STATIC_BUSYBOX)
