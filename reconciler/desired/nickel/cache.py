"""Results of evaluation, in one SQLite file that can be deleted at any time.

An evaluation depends on nothing but what its key hashes, so a result never grows old; rows not used for a month go.
Crashes and time-outs depend on the machine as well: they are quarantined for a while instead.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reconciler.desired.nickel.guard import Examined, Fault, Import
from reconciler.desired.wal import open_wal
from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

_FORMAT = 1
_DAY = 86400
_KEEP = 30 * _DAY
_BATCH = 500
_FIRST_WAIT, _LONGEST_WAIT = 60.0, 3600.0
"""Seconds in quarantine: one minute, then twice as long after each time, at most an hour."""

_TABLES = f"""
CREATE TABLE examined (key TEXT PRIMARY KEY, body TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE result (key BLOB PRIMARY KEY, good INTEGER NOT NULL, body BLOB NOT NULL, used INTEGER NOT NULL);
CREATE TABLE quarantine (key BLOB PRIMARY KEY, body BLOB NOT NULL, tries INTEGER NOT NULL, until REAL NOT NULL);
PRAGMA user_version = {_FORMAT};
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A result: the value's JSON text, or the problems. `wait` is how many more seconds a quarantine lasts."""

    text: bytes | None
    problems: tuple[Problem, ...] = ()
    wait: float | None = None


class Cache:
    """Open for the length of one evaluation. A file that cannot be used is replaced, or done without."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._base: sqlite3.Connection | None = None
        self._today = int(time.time())
        self._touched: list[bytes] = []

    def __enter__(self) -> Cache:
        if self._path is not None:
            with self._guarded():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._base = open_wal(self._path, self._prepare)
        return self

    def __exit__(self, *_: object) -> None:
        if self._base is None:
            return
        with self._guarded() as base:
            if base is not None and self._touched:
                keys = [(self._today, key) for key in self._touched]
                with base:
                    base.executemany("UPDATE result SET used = ? WHERE key = ?", keys)
        if self._base is not None:
            self._base.close()

    def examined(self, keys: Collection[str]) -> dict[str, Examined]:
        """The guard's verdicts that are known."""
        rows = self._select("SELECT key, body FROM examined WHERE key IN", list(keys))
        return {key: _examined(body) for key, body in rows}

    def remember_examined(self, verdicts: Mapping[str, Examined]) -> None:
        """Keep the guard's verdicts; their keys name blob, format and version."""
        rows = [(key, json.dumps(_examined_document(verdict)), self._today) for key, verdict in verdicts.items()]
        self._write("INSERT OR REPLACE INTO examined VALUES (?, ?, ?)", rows)

    def results(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """Results and quarantines that stand for these keys."""
        found: dict[bytes, Stored] = {}
        for key, good, body, used in self._select("SELECT key, good, body, used FROM result WHERE key IN", keys):
            found[key] = Stored(body) if good else Stored(None, _problems(body))
            if used < self._today - _DAY:
                self._touched.append(key)
        missing = [key for key in keys if key not in found]
        now = time.time()
        for key, body, until in self._select("SELECT key, body, until FROM quarantine WHERE key IN", missing):
            if now < until <= now + _LONGEST_WAIT:
                found[key] = Stored(None, _problems(body), until - now)
        return found

    def remember(self, results: Mapping[bytes, Stored]) -> None:
        """Keep results for good."""
        rows = [(key, int(result.text is not None), _body(result), self._today) for key, result in results.items()]
        self._write("INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)", rows)

    def quarantine(self, results: Mapping[bytes, Stored]) -> None:
        """Set aside what broke or overran its limits, each time for longer."""
        tries = dict(self._select("SELECT key, tries FROM quarantine WHERE key IN", list(results)))
        now = time.time()
        rows = []
        for key, result in results.items():
            count = tries.get(key, 0) + 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(count - 1, 10))
            rows.append((key, _body(result), count, now + wait))
        self._write("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?)", rows)

    def _select(self, query: str, keys: Sequence[Any]) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            with self._guarded() as base:
                if base is not None:
                    marks = ",".join("?" * len(part))
                    rows.extend(base.execute(f"{query} ({marks})", part))
        return rows

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            with self._guarded() as base:
                if base is not None:
                    with base:
                        base.executemany(statement, rows)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        """The database, or None. A broken file is thrown away; one that is locked, full or forbidden is left alone."""
        try:
            yield self._base
        except (sqlite3.OperationalError, OSError) as error:
            self._say_unused(_in_words(error, self._path))
            self._drop()
        except sqlite3.DatabaseError as error:
            _log.warning("the evaluation cache was damaged and begins anew: %s", error)
            self._drop()
            if self._path is not None:
                _remove(self._path)
                with contextlib.suppress(sqlite3.Error, OSError):
                    self._base = open_wal(self._path, self._prepare)

    def _say_unused(self, why: str) -> None:
        """Once for each file and reason: a pass opens the cache several times."""
        if (self._path, why) not in _unused:
            _unused.add((self._path, why))
            _log.warning("the evaluation cache is not used (--cache names another folder): %s", why)

    def _drop(self) -> None:
        base, self._base = self._base, None
        if base is not None:
            base.close()

    def _prepare(self, base: sqlite3.Connection) -> None:
        """Make the tables in a new file, and let old rows go."""
        if base.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            _create(base)
        with base:
            for table in ("result", "examined"):
                base.execute(f"DELETE FROM {table} WHERE used < ?", (self._today - _KEEP,))


def _in_words(error: sqlite3.OperationalError | OSError, path: Path | None) -> str:
    """Why the file cannot be used, with the folder that is to blame."""
    if path is None:
        return str(error)
    there = next(folder for folder in path.parents if os.access(folder, os.F_OK))
    if not there.is_dir():
        return f"{there} is not a folder"
    return f"{error.strerror if isinstance(error, OSError) else error} in {there}"


def _create(base: sqlite3.Connection) -> None:
    """Make the tables, unless another process has just done so."""
    base.execute("BEGIN IMMEDIATE")
    with base:
        if base.execute("PRAGMA user_version").fetchone()[0] == _FORMAT:
            return
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            base.execute(f'DROP TABLE "{name}"')
        for statement in _TABLES.strip().split(";"):
            base.execute(statement)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _body(result: Stored) -> bytes:
    if result.text is not None:
        return result.text
    return json.dumps([asdict(problem) for problem in result.problems]).encode()


def _problems(body: bytes) -> tuple[Problem, ...]:
    return tuple(Problem(**{**problem, "next": Next(problem["next"])}) for problem in json.loads(body))


def _examined_document(verdict: Examined) -> list[Any]:
    return [
        [[imported.path, imported.format] for imported in verdict.imports],
        [[fault.code, fault.message, fault.line, fault.column, fault.hint] for fault in verdict.faults],
    ]


_unused: set[tuple[Path | None, str]] = set()
"""Caches that could not be used, and why, as far as it was said."""

_known: dict[str, Examined] = {}
"""Most directives import the same, so equal verdicts share one value."""


def _examined(body: str) -> Examined:
    verdict = _known.get(body)
    if verdict is None:
        imports, faults = json.loads(body)
        verdict = Examined(tuple(Import(*each) for each in imports), tuple(Fault(*each) for each in faults))
        if len(_known) < _BATCH:
            _known[body] = verdict
    return verdict
