"""What programs are given that lian starts, and asking a small one a question: a line on its stdin, an answer on its
stdout, within a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from reconciler.finishing import to_its_end

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

LONGEST_ANSWER = 1 << 20
"""Bytes; a program that says more is not answering a small question."""
_LAST_SECONDS = 0.5


PROXIES = tuple(
    spelled for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for spelled in (name, name.lower())
)
"""Variables that say which way leads outside."""
OUTWARD = (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR")
"""These, and whom to trust there."""


class NoAnswer(Exception):
    """The program did not answer; the text says why, and holds nothing of what it printed. `missing`: there is no
    such program."""

    def __init__(self, cause: str, *, missing: bool = False) -> None:
        super().__init__(cause)
        self.missing = missing


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a program printed, and the status it ended with. Not shown: it may be a credential."""

    status: int
    output: bytes


def outward(environ: Mapping[str, str]) -> dict[str, str]:
    """What of an environment leads outside."""
    return {name: environ[name] for name in OUTWARD if name in environ}


async def ask(
    words: Sequence[str],
    question: bytes,
    environ: Mapping[str, str],
    seconds: float,
    *,
    longest: int = LONGEST_ANSWER,
    complaints: IO[bytes] | None = None,
) -> Answer:
    """Run the program (no shell) and read its answer, of so many bytes at most; what it says on stderr is not read, but
    goes to the file `complaints` if there is one. Raises NoAnswer.

    The program and all that it started are gone when this returns, is cancelled or gives up.
    """
    process = await _start(words, environ, complaints)
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(process, question, longest)
    except TimeoutError:
        raise NoAnswer(f"it did not answer within {seconds:.0f} s") from None
    finally:
        await to_its_end(ended(process))


async def _start(words: Sequence[str], environ: Mapping[str, str], complaints: IO[bytes] | None) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints or asyncio.subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NoAnswer("there is no such program on PATH", missing=True) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "its name cannot be one"
        raise NoAnswer(f"it cannot be started: {cause}") from None


async def _exchange(process: Process, question: bytes, longest: int) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):  # a program need not read its question
        process.stdin.write(question)
        await process.stdin.drain()
    process.stdin.close()
    answer = bytearray()
    while chunk := await process.stdout.read(1 << 16):
        answer += chunk
        if len(answer) > longest:
            raise NoAnswer(f"it printed more than {longest:,} bytes")
    return Answer(await process.wait(), bytes(answer))


async def ended(process: Process) -> None:
    """End a program's whole session, which it leads: what it left running would keep its output open. Of what it has
    printed nothing may be left unread, or asyncio never tells of its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):  # what left the session may keep it open as long as it likes
        async with asyncio.timeout(_LAST_SECONDS):
            while await process.stdout.read(1 << 16):
                pass
    while process.returncode is None:  # noqa: ASYNC110 - Process.wait() waits for whoever has its output open, too
        await asyncio.sleep(0.005)
    # There is no public way to let go of an output that others have open.
    process._transport.close()  # type: ignore[attr-defined]
