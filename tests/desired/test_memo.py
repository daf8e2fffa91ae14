"""What was worked out before is kept, and losing it costs time only."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from reconciler.desired import memo as memo_module
from reconciler.desired import wal
from reconciler.desired.materials import READER_VERSION
from reconciler.desired.memo import Memo
from reconciler.model.canonical import fingerprint
from reconciler.model.desired import Fetched, Materials, Needs, Remote

if TYPE_CHECKING:
    from pathlib import Path


def test_values_survive(tmp_path: Path) -> None:
    with_file = Memo(tmp_path / "new" / "memo.sqlite")
    with_file.put("a", ["caf\udce9", 1, None])
    assert with_file.get("a") == ["caf\udce9", 1, None]
    with_file.close()
    again = Memo(tmp_path / "new" / "memo.sqlite")
    assert again.get_many(["a", "b"]) == {"a": ["caf\udce9", 1, None]}
    again.close()


def test_what_is_kept_has_a_version() -> None:
    """A newer lian must not read what an older one has kept as its own: raise READER_VERSION with this."""
    kept = [field.name for field in (*fields(Materials), *fields(Needs), *fields(Fetched))]
    assert (READER_VERSION, fingerprint({"kept": [*kept, *Remote._fields]})[:12]) == (7, "76cbbbf3418d")


def test_without_a_file_it_works_in_memory() -> None:
    memo = Memo(None)
    memo.put("a", 1)
    memo.flush()
    assert memo.get("a") == 1


@pytest.mark.parametrize("garbage", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_replaced(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "memo.sqlite"
    path.write_bytes(garbage)
    for expected in (None, "kept"):
        memo = Memo(path)
        assert memo.get("a") == expected
        memo.put("a", "kept")
        memo.close()


def test_damage_that_shows_later_is_replaced_too(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    memo = Memo(path)
    for number in range(2000):
        memo.put(f"key-{number:05}", "x" * 200)
    memo.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    memo = Memo(path)
    memo.get_many([f"key-{number:05}" for number in range(2000)])
    memo.put("after", 1)
    memo.close()
    memo = Memo(path)
    assert memo.get("after") == 1
    memo.close()


def test_a_file_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    memo = Memo(tmp_path / "file" / "memo.sqlite")
    memo.put("a", 1)
    memo.flush()
    assert memo.get("a") == 1


def test_a_locked_file_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "BUSY_SECONDS", 0.05)
    path = tmp_path / "memo.sqlite"
    first = Memo(path)
    first.put("a", 1)
    first.close()
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    blocked = Memo(path)
    blocked.put("b", 2)
    blocked.close()
    other.rollback()
    other.close()
    memo = Memo(path)
    assert memo.get("a") == 1
    memo.close()


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo_module, "_MAX_ROWS", 10)
    memo = Memo(tmp_path / "memo.sqlite")
    for start in range(0, 100, 5):
        for number in range(start, start + 5):
            memo.put(str(number), number)
        memo.flush()
    assert sorted(memo.get_many(map(str, range(100))).values()) == list(range(90, 100))
    memo.close()


def test_handles_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    """Switching to WAL answers "locked" at once when another handle does the same: a handle must try again."""
    for attempt in range(40):
        path = tmp_path / f"{attempt}.sqlite"
        together = threading.Barrier(6)

        def work(number: int, path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            memo = Memo(path)
            memo.put(str(number), number)
            memo.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        memo = Memo(path)
        assert len(memo.get_many(map(str, range(6)))) == 6
        memo.close()


def test_many_threads_and_handles_at_once(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"

    def work(base: int) -> None:
        memo = Memo(path)
        for number in range(base, base + 50):
            memo.put(str(number), number)
            memo.flush()
            assert memo.get(str(number)) == number
        memo.close()

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memo = Memo(path)
    assert len(memo.get_many(map(str, range(200)))) == 200
    memo.close()
