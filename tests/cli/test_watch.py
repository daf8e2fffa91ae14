"""`lian watch` outlives what a pass meets."""

from __future__ import annotations

import argparse
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import wiring
from reconciler.cli import exits, watch
from reconciler.desired.refs import NoTrigger
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class _Bench:
    def trigger(self) -> NoTrigger:
        return NoTrigger()


@asynccontextmanager
async def _working(choice: object) -> AsyncIterator[_Bench]:
    yield _Bench()


def _arguments(**more: Any) -> argparse.Namespace:
    chosen = {"only": [], "left_out": [], "dependants": False, "changed_since": None}
    return argparse.Namespace(interval=0.001, **{"debug": False, **chosen, **more})


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Passes of which each but the last breaks; that one stops the watch."""
    made: list[str] = []
    stops: list[Callable[[], None]] = []

    async def one_pass(bench: object, arguments: object) -> Any:
        made.append("pass")
        if len(made) == 3:
            stops[0]()
        raise RuntimeError("planted")

    monkeypatch.setattr(watch, "one_pass", one_pass)
    monkeypatch.setattr(watch, "on_stop", stops.append)
    monkeypatch.setattr(wiring, "working", _working)
    monkeypatch.setattr(wiring.Choice, "of", lambda arguments: arguments)
    return made


def test_a_bug_in_one_pass_is_told_and_the_next_is_made(passes: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert watch.run(_arguments()) == exits.DONE
    assert len(passes) == 3
    assert capsys.readouterr().err.count("lian itself failed: RuntimeError: planted") == 3


def test_with_debug_it_is_raised(passes: list[str]) -> None:
    with pytest.raises(RuntimeError, match="planted"):
        watch.run(_arguments(debug=True))
    assert len(passes) == 1


def test_flags_that_say_nothing_together_are_refused_before_any_pass(passes: list[str]) -> None:
    with pytest.raises(LianError, match="usage: --dependants"):
        watch.run(_arguments(dependants=True))
    assert passes == []
