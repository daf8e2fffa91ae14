"""Asking a person before something is taken away."""

from __future__ import annotations

import asyncio
import sys

from reconciler.model.problem import LianError, Problem


async def agreed(what: str) -> bool:
    """Whether a person wants `what` removed. Raises LianError where there is nobody to ask."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        message = f"{what} would be removed, and there is nobody to ask"
        hint = "look through the plan, then give --yes; --dry-run only looks"
        raise LianError(Problem("confirmation-needed", message, hint=hint))
    sys.stderr.write(f"Remove {what}? Only 'yes' is taken for yes: ")
    sys.stderr.flush()
    if (await _line()).strip().lower() == "yes":
        return True
    print("nothing was removed", file=sys.stderr)
    return False


async def _line() -> str:
    """What is typed; a signal still ends the command meanwhile."""
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
