"""Finds the bad files of a chunk, so that each costs only itself.

Nickel stops at the first error. Its text mostly names the file, which is then tried alone, never condemned by the text;
the others go on together. Where nothing is named (a crash, a loop) the chunk is parted in groups of its square root's
size. A group is given little time, a file alone all of it: impatience costs a repetition, never a wrong verdict.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from reconciler.desired.nickel.pool import Reply, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desired.nickel.settings import Limits

_BLAMES = 8
"""Bad files found by name in one chunk, after which its files are tried one by one."""


class Court(Protocol):
    """What deciding needs."""

    async def ask(self, paths: Sequence[str], seconds: float) -> Reply:
        """Evaluate these files together."""
        ...

    def blame(self, error: str, paths: Sequence[str]) -> str | None:
        """The file that Nickel's text names."""
        ...

    def foreseen(self, path: str) -> Reply | None:
        """How this file will end, where that is already known (it imports a file that cannot be read)."""
        ...


async def separate(paths: Sequence[str], court: Court, limits: Limits) -> dict[str, Reply]:
    """Each file's own reply: OK with its one text, or what went wrong with it when alone."""
    if len(paths) == 1:
        return {paths[0]: await _alone(paths[0], court, limits)}
    settled: dict[str, Reply] = {}
    rest = list(paths)
    for _ in range(_BLAMES):
        settled.update({path: reply for path in rest if (reply := court.foreseen(path))})
        rest = [path for path in rest if path not in settled]
        if not rest:
            return settled
        reply = await court.ask(rest, _patience(len(rest), limits))
        if reply.status is Status.OK:
            return settled | {path: _own(text) for path, text in zip(rest, reply.texts, strict=True)}
        suspect = court.blame(reply.error, rest) if reply.status is Status.ERROR else None
        if suspect is None:
            return settled | await _in_groups(rest, court, limits)
        settled[suspect] = await _alone(suspect, court, limits)
        rest.remove(suspect)
        if settled[suspect].status is Status.OK and rest:
            return settled | await _in_groups(rest, court, limits)
    for path in rest:
        settled[path] = await _alone(path, court, limits)
    return settled


async def _in_groups(paths: Sequence[str], court: Court, limits: Limits) -> dict[str, Reply]:
    settled: dict[str, Reply] = {}
    size = max(1, math.isqrt(len(paths)))
    for start in range(0, len(paths), size):
        settled.update(await separate(paths[start : start + size], court, limits))
    return settled


async def _alone(path: str, court: Court, limits: Limits) -> Reply:
    reply = court.foreseen(path) or await court.ask([path], limits.seconds)
    return _own(reply.texts[0]) if reply.status is Status.OK else reply


def _own(text: bytes | None) -> Reply:
    return Reply(Status.OUTPUT) if text is None else Reply(Status.OK, (text,))


def _patience(files: int, limits: Limits) -> float:
    """Seconds for a group: ten times what files usually take, at least half a second, never more than for one alone."""
    return min(limits.seconds, 0.5 + 0.01 * files)
