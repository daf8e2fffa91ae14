"""Waiting to the very end: what is rented is returned before a cancellation goes on. Never here: what is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Await it, however often this task is cancelled meanwhile; the cancellation is raised afterwards.

    Raises what the work raises. The work itself has to be bounded in time.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:  # noqa: BLE001 - raised again below, by the task's own result
            break
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
