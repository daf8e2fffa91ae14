"""The file of evaluation results, and those who open it at the same time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.desired.nickel.cache import Cache, Stored

ROOT = Path(__file__).resolve().parents[3]
ROUNDS, PROCESSES = 25, 8

FORKING = """
import os, sys
from pathlib import Path
from reconciler.desired.nickel.cache import Cache, Stored

folder, rounds, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def one(path, number):
    os.write(ready, b".")
    os.read(gate, 1)
    with Cache(path) as cache:
        cache.remember({b"%d" % number: Stored(b"1")})

for attempt in range(rounds):
    (waiting, ready), (gate, opener) = os.pipe(), os.pipe()
    children = []
    for number in range(processes):
        child = os.fork()
        if not child:
            os.close(opener)
            one(folder / f"{attempt}.sqlite", number)
            os._exit(0)
        children.append(child)
    there = b""
    while len(there) < processes:
        there += os.read(waiting, processes)
    os.close(opener)  # all of them find the end of the pipe at once
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * processes
    for end in (waiting, ready, gate):
        os.close(end)
"""


def test_a_result_is_found_again(tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        cache.remember({b"good": Stored(b"{}")})
    with Cache(tmp_path / "c.sqlite") as cache:
        assert cache.results([b"good", b"other"]) == {b"good": Stored(b"{}")}


@pytest.mark.parametrize("deeper", [".", "a/b"])
def test_a_file_in_the_place_of_the_folder_is_told_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, deeper: str
) -> None:
    (tmp_path / "file").write_text("")
    with Cache(tmp_path / "file" / deeper / "c.sqlite") as cache:
        cache.remember({b"good": Stored(b"{}")})
        assert cache.results([b"good"]) == {}
    (said,) = caplog.messages
    assert f"{tmp_path / 'file'} is not a folder" in said
    assert "--cache" in said
    assert "Errno" not in said


def test_a_folder_that_cannot_be_written_to_is_told_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(
        "reconciler.desired.nickel.cache.open_wal", refused
    )  # for root every folder of a test can be written to
    with Cache(tmp_path / "c.sqlite"):
        pass
    (said,) = caplog.messages
    assert f"unable to open database file in {tmp_path}" in said
    assert "--cache" in said


def test_a_new_file_that_another_is_just_writing_is_waited_for(tmp_path: Path) -> None:
    """Switching to WAL answers "locked" at once, whatever time-out is set."""
    path = tmp_path / "c.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writes = threading.Timer(0.2, other.close)
    writes.start()
    with Cache(path) as cache:
        cache.remember({b"good": Stored(b"{}")})
        assert cache.results([b"good"]) == {b"good": Stored(b"{}")}
    writes.join()


def test_processes_that_open_a_new_file_at_once_all_use_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FORKING, str(tmp_path), str(ROUNDS), str(PROCESSES)]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for attempt in range(ROUNDS):
        with Cache(tmp_path / f"{attempt}.sqlite") as cache:
            assert len(cache.results([b"%d" % number for number in range(PROCESSES)])) == PROCESSES
