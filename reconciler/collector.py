"""Python's search for cycles, made rare: a pass makes hundreds of thousands of small values, next to none in a cycle.

For a thousand images in sync it took a seventh of the processor time. What is in no cycle is freed as ever."""

from __future__ import annotations

import atexit
import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_THRESHOLDS = (50_000, 20, 20)
"""Containers more than at the last search, and how many searches of one generation come to one of the next."""


@contextlib.contextmanager
def searching_rarely() -> Iterator[None]:
    """For the block, cycles are looked for less often."""
    usual = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """For a block, or a function, that makes thousands of frozen values and nothing in a cycle, and waits for nobody:
    no search."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def leave_the_rest() -> None:
    """When the process ends, what is left is not searched for cycles: all of it goes with the process."""
    atexit.register(gc.freeze)
