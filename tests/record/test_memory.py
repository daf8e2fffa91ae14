"""The memory of earlier passes: kept whole, replaced whole, and never in anybody's way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.reference import Repository
from reconciler.record.memory import FileMemory

if TYPE_CHECKING:
    from pathlib import Path

API, WEB = Repository("registry.example", "shop/api"), Repository("registry.example", "shop/web")


def test_what_is_kept_last_is_recalled(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "applied", "/repo")
    assert asyncio.run(memory.recall()) == frozenset()
    for kept in ([API, WEB, API], [WEB], []):
        asyncio.run(memory.keep(kept))
        assert asyncio.run(FileMemory(tmp_path / "applied", "/repo").recall()) == frozenset(map(str, kept))
    assert len(list((tmp_path / "applied").rglob("*.json"))) == 1


def test_two_desired_repos_do_not_share_a_memory(tmp_path: Path) -> None:
    asyncio.run(FileMemory(tmp_path, "/a").keep([API]))
    assert asyncio.run(FileMemory(tmp_path, "/b").recall()) == frozenset()


def test_keeping_the_same_again_writes_nothing(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path, "/repo")
    asyncio.run(memory.keep([API, WEB]))
    (file,) = tmp_path.rglob("*.json")
    before = file.stat().st_mtime_ns
    asyncio.run(memory.keep([WEB, API]))
    assert [(f, f.stat().st_mtime_ns) for f in tmp_path.rglob("*.json")] == [(file, before)]


@pytest.mark.parametrize("garbage", [b"", b"{", b"{}", b"\xff", b"[1, null]"])
def test_damage_is_forgetting(tmp_path: Path, garbage: bytes) -> None:
    memory = FileMemory(tmp_path, "/repo")
    asyncio.run(memory.keep([API]))
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(garbage)
    assert asyncio.run(memory.recall()) == frozenset()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    memory = FileMemory(tmp_path / "file" / "applied", "/repo")
    asyncio.run(memory.keep([API]))
    assert asyncio.run(memory.recall()) == frozenset()
