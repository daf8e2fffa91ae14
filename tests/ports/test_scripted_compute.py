"""The scripted compute keeps the port's contract, so that tests of the flow may lean on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError, Problem
from tests.ports.compute_suite import ComputeSuite
from tests.ports.scripted_compute import ScriptedCompute, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ScriptedStand:
    """A world in memory."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.compute = ScriptedCompute(self.world)

    def abandon(self, lease: str) -> None:
        self.world.leases[lease] = False

    def spoil(self, lease: str) -> None:
        self.world.leases[lease] = False
        self.world.stuck.add(lease)

    def failing(self) -> ScriptedCompute:
        return ScriptedCompute(self.world, LianError(Problem("builder-start-failed", "it did not start")))

    def left(self) -> Sequence[str]:
        return sorted(self.world.leases)


class TestScriptedCompute(ComputeSuite):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> ScriptedStand:
        return ScriptedStand(tmp_path)
