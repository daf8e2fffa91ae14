"""What `--keep-from` names: digests that are in use somewhere, whatever text they stand in."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError, Problem
from reconciler.programs import NoAnswer, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMAND = "cmd:"
EMPTY, UNREADABLE = "keep-from-empty", "keep-from-unreadable"
"""Codes of the problems."""
LIMIT = 256 << 20
"""Bytes of one source."""
SECONDS = 300.0
_TOLD = 400
"""Bytes of a failed command's last words."""
_DIGEST = re.compile(rb"(?<![0-9a-zA-Z])sha256:[0-9a-f]{64}(?![0-9a-zA-Z])")


async def in_use(sources: Sequence[str], environ: Mapping[str, str]) -> frozenset[Digest]:
    """All digests in these sources: a file, `-` for stdin, or `cmd:` and a command with its arguments; `environ` is the
    environment of commands.

    Raises LianError UNREADABLE, and EMPTY for one without a single digest: that nothing runs anywhere is less likely
    than that the question went wrong.
    """
    found: set[Digest] = set()
    for source in sources:
        named = {Digest.parse(match.decode()) for match in _DIGEST.findall(await _read(source, environ))}
        if not named:
            message = f"--keep-from {source!r} names no image by its digest"
            hint = "see what it prints; leave --keep-from out only if really nothing is in use"
            raise LianError(Problem(EMPTY, message, hint=hint))
        found |= named
    return frozenset(found)


async def _read(source: str, environ: Mapping[str, str]) -> bytes:
    if source.startswith(COMMAND):
        return await _printed(source.removeprefix(COMMAND), environ)
    try:
        data = await asyncio.to_thread(_content, source)
    except OSError as error:
        raise LianError(_unreadable(source, str(error.strerror))) from error
    return _within(source, data)


def _content(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read(LIMIT + 1)
    with Path(source).expanduser().open("rb") as file:
        return file.read(LIMIT + 1)


async def _printed(text: str, environ: Mapping[str, str]) -> bytes:
    """What a command prints; it runs without a shell, and is gone when this is left."""
    with tempfile.TemporaryFile() as said:
        try:
            answer = await ask(_words(text), b"", environ, SECONDS, longest=LIMIT, complaints=said)
        except (NoAnswer, ValueError) as error:
            raise LianError(_unreadable(COMMAND + text, str(error))) from error
        if answer.status:
            cause = f"it exited with {answer.status}: {_last(said)}"
            raise LianError(_unreadable(COMMAND + text, cause))
        return answer.output


def _words(text: str) -> list[str]:
    """Of a command, as a shell takes them apart. Raises ValueError."""
    words = shlex.split(text)
    if not words:
        raise ValueError("it is empty")
    return words


def _last(said: IO[bytes]) -> str:
    """The last words of what stands in a file."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - _TOLD))
    return said.read().decode("utf-8", "replace").strip()


def _within(source: str, data: bytes) -> bytes:
    if len(data) > LIMIT:
        raise LianError(_unreadable(source, f"it is larger than {LIMIT:,} bytes"))
    return data


def _unreadable(source: str, cause: str) -> Problem:
    message = f"--keep-from {source!r} cannot be read, so nothing is pruned"
    hint = f"give a file, - for stdin, or {COMMAND}COMMAND such as {COMMAND}'kubectl get pods -A -o json'"
    return Problem(UNREADABLE, message, cause=cause, hint=hint)
