"""Opening an SQLite file that several processes write at the same time."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUSY_SECONDS = 5.0
"""Another one's lock is waited for so long."""
_POLL_SECONDS = 0.01
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
"""Primary result codes: the low byte of an extended one (sqlite.org, "Result Codes")."""


def open_wal(
    path: Path, prepare: Callable[[sqlite3.Connection], None], *, check_same_thread: bool = True
) -> sqlite3.Connection:
    """The file in WAL mode, after `prepare` has done with it what it does to every such file. Raises sqlite3.Error;
    OperationalError also if it stays locked.

    Switching a new file to WAL does not wait for a lock as statements do: it fails at once, so it is tried again.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _opened(path, prepare, check_same_thread)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _LOCKED or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _opened(path: Path, prepare: Callable[[sqlite3.Connection], None], check_same_thread: bool) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=check_same_thread)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        prepare(database)
    except BaseException:
        database.close()
        raise
    return database
