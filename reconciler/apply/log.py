"""A build's log as it goes into the record: readable text, without credentials in URLs and headers, and no more of it
than is worth keeping."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.model.problem import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LOG_LIMIT = 1 << 20
"""Bytes that a log takes in a record at most."""
_OF_ONE = 256 << 10
"""Bytes kept of one solve's log: its beginning and, what matters most, its end."""
_HEAD = 64 << 10
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def log_text(logs: Sequence[Path]) -> bytes:
    """The logs of all solves, one after another, as UTF-8. A log that cannot be read is named as such."""
    parts = [part for path in logs for part in (f"== {path.stem}", *_lines(path))]
    data = ("\n".join(parts) + "\n").encode("utf-8", "replace")
    return data if len(data) <= LOG_LIMIT else data[-LOG_LIMIT:].partition(b"\n")[2]


def _lines(path: Path) -> Iterable[str]:
    try:
        text = _kept(path)
    except OSError as error:
        return [f"(the log could not be read: {error.strerror})"]
    return [redact(_ESCAPE.sub("", line)) for line in text.splitlines()]


def _kept(path: Path) -> str:
    """The file's text, with its middle left out if it is long."""
    with path.open("rb") as reader:
        size = reader.seek(0, 2)
        reader.seek(0)
        if size <= _OF_ONE:
            return reader.read().decode("utf-8", "replace")
        head = reader.read(_HEAD)
        reader.seek(size - (_OF_ONE - _HEAD))
        tail = reader.read()
    # whole lines alone: half a URL does not show what in it is secret
    head, tail = head[: head.rfind(b"\n") + 1], tail[tail.find(b"\n") + 1 :]
    left_out = size - len(head) - len(tail)
    return f"{head.decode('utf-8', 'replace')}… {left_out:,} bytes left out …\n{tail.decode('utf-8', 'replace')}"
