"""What was worked out before, by a hash of all its inputs: sqlite, safe to delete at any time.

Nothing here is a fact that lives only here. A damaged file is replaced, an unwritable one is done without: a pass then
costs more and answers the same.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from reconciler.desired.wal import open_wal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_BATCH = 500
_MAX_ROWS = 400_000
_SCHEMA = "CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value TEXT NOT NULL)"


class Memo:
    """JSON values by key, kept in a file, or in memory alone where the file cannot be used."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._new: dict[str, Any] = {}
        self._database = self._open()

    def _open(self) -> sqlite3.Connection | None:
        if self._path is None:
            return None
        with contextlib.suppress(sqlite3.Error, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return open_wal(self._path, _prepare, check_same_thread=False)
            except sqlite3.OperationalError:
                return None  # locked, read-only or no space: not damaged
            except sqlite3.DatabaseError:
                self._discard()
                return open_wal(self._path, _prepare, check_same_thread=False)
        return None

    def _discard(self) -> None:
        assert self._path is not None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values that are known."""
        with self._lock:
            found: dict[str, Any] = {}
            asked: list[str] = []
            for key in keys:
                if key in self._new:
                    found[key] = self._new[key]
                else:
                    asked.append(key)
            if self._database is not None and asked:
                try:
                    found.update(_select(self._database, asked))
                except (sqlite3.Error, ValueError):
                    self._start_anew()
            return found

    def _start_anew(self) -> None:
        """Some page turned out to be damaged while it was read."""
        if self._database is not None:
            self._database.close()
            self._database = None
        with contextlib.suppress(OSError):
            self._discard()
        self._database = self._open()

    def put(self, key: str, value: Any) -> None:
        """Remember a value (JSON, not None); it is written by the next `flush`."""
        with self._lock:
            self._new[key] = value

    def flush(self) -> None:
        """Write what is new, in one transaction, and let the oldest go when there is too much."""
        with self._lock:
            if self._database is None or not self._new:
                return
            rows = [(key, json.dumps(value, separators=(",", ":"))) for key, value in self._new.items()]
            with contextlib.suppress(sqlite3.Error), self._database:  # not written: worked out again next time
                self._database.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?)", rows)
                last = self._database.execute("SELECT max(rowid) FROM memo").fetchone()[0]
                self._database.execute("DELETE FROM memo WHERE rowid <= ?", (last - _MAX_ROWS,))
            self._new.clear()

    def close(self) -> None:
        """Write what is new and let go of the file."""
        self.flush()
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None


def _prepare(database: sqlite3.Connection) -> None:
    database.execute(_SCHEMA)
    database.execute("SELECT key, value FROM memo LIMIT 1").fetchone()
    database.commit()


def _select(database: sqlite3.Connection, keys: list[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        marks = ",".join("?" * len(batch))
        for key, value in database.execute(f"SELECT key, value FROM memo WHERE key IN ({marks})", batch):
            found[key] = json.loads(value)
    return found
