"""stdout and stderr that do not end a command: whoever read them may have gone, and the work goes on."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import IO, TYPE_CHECKING

from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Tolerant(io.TextIOBase):
    """Writes to a stream until its reader has gone, then to nothing.

    Any other failure to write is raised as LianError `output-unwritable` for stdout, and passed over for stderr,
    which has nobody left to be told on.
    """

    def __init__(self, stream: IO[str], *, results: bool) -> None:
        self._stream = stream
        self._results = results

    def write(self, text: str) -> int:
        """All of the text, wherever it goes."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Push out what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def isatty(self) -> bool:
        """As the stream itself."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream itself."""
        return self._stream.fileno()

    def _give_up(self, error: OSError) -> None:
        # What the stream still holds goes nowhere, also when Python flushes it at exit.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a file
            os.dup2(nowhere.fileno(), self._stream.fileno())
        if self._results and not isinstance(error, BrokenPipeError):
            problem = Problem("output-unwritable", "the results cannot be written to stdout", cause=error.strerror)
            raise LianError(problem) from error


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """For the block, sys.stdout and sys.stderr are tolerant; one that was closed beforehand leads nowhere. Both are
    UTF-8, as those of git and of Go's programs are, whatever a locale says: JSON can be nothing else."""
    out, err = sys.stdout, sys.stderr
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a file
        sys.stdout = _Tolerant(out or nowhere, results=True)
        sys.stderr = _Tolerant(err or nowhere, results=False)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, err
