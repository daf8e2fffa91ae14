"""The scripted provider keeps both contracts, so what is tested with it holds for the real ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError, Problem
from tests.ports.compute_suite import ComputeSuite
from tests.ports.leasing import leasing_of
from tests.ports.provider_suite import MOMENT, ProviderSuite
from tests.ports.provider_suite import request as requested
from tests.ports.scripted_provider import Script, ScriptedProvider, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.apply.leasing import Leasing

NEVER = LianError(Problem("builder-start-failed", "it did not start"))


class ScriptedStand:
    def __init__(self, folder: Path) -> None:
        self.world, self.ledger = World(folder / "leases"), folder / "rented"
        self.provider = ScriptedProvider(self.world)
        self.compute = leasing_of(self.provider, self.ledger)

    def other(self) -> ScriptedProvider:
        return ScriptedProvider(self.world)

    def _failing(self) -> ScriptedProvider:
        return ScriptedProvider(self.world, Script(fails_late=NEVER))

    def left(self) -> Sequence[str]:
        return self.world.left()


class _Provider(ScriptedStand):
    def failing(self) -> ScriptedProvider:
        return self._failing()

    def spoil(self, lease: str) -> None:
        self.world.leases[lease] = requested(lease).at(MOMENT)
        self.world.stuck.add(lease)


class _Compute(ScriptedStand):
    def failing(self) -> Leasing:
        return leasing_of(self._failing(), self.ledger)

    def abandon(self, lease: str) -> None:
        request = requested(lease)

        async def run() -> None:
            compute = leasing_of(self.other(), self.ledger)
            await compute.leases.intend(request.at(MOMENT), "scripted")
            await self.other().rent(request, request.at(MOMENT))
            await compute.leases.abandon(lease)

        asyncio.run(run())

    def spoil(self, lease: str) -> None:
        self.abandon(lease)
        self.world.stuck.add(lease)


class TestScriptedProvider(ProviderSuite):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> _Provider:
        return _Provider(tmp_path)


class TestScriptedCompute(ComputeSuite):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> _Compute:
        return _Compute(tmp_path)
