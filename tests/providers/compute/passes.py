"""Passes of their own, for tests that kill one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.providers.compute.docker_world import loaded_image

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
PATIENCE = 20.0


class OtherPass:
    """Another process that holds a lease, ready when this is made."""

    def __init__(self, state: Path, lease: str, context: Path | None = None, docker: Path | None = None) -> None:
        argv = [sys.executable, "-m", "tests.providers.compute.other_pass", str(state), lease]
        told = {"LIAN_TEST_DOCKER": str(docker), "LIAN_TEST_IMAGE": loaded_image(docker)} if docker else {}
        self.process = subprocess.Popen(
            [*argv, *([str(context)] if context else [])],
            cwd=ROOT,
            env={**os.environ, **told},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if said != "ready\n":
            raise AssertionError(self.process.communicate()[1])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)


def wait_until(condition: Callable[[], object], pause: float = 0.005) -> None:
    """Poll until it holds; a condition that costs more than it is worth is left alone for longer in between."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)
