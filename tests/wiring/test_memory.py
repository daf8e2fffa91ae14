"""What a command remembers belongs to a desired repo, from wherever it is named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler import wiring
from reconciler.model.reference import Repository

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("url", ["https://git.example/r.git", "git@git.example:team/r.git"])
def test_a_url_has_one_memory_wherever_lian_runs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    choice = wiring.Choice(url, "HEAD", None, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    asyncio.run(wiring._memory(choice).keep([Repository("registry.example", "shop/api")]))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert asyncio.run(wiring._memory(choice).recall()) == {"registry.example/shop/api"}


def test_a_path_is_another_repo_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    choice = wiring.Choice(".", "HEAD", None, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    asyncio.run(wiring._memory(choice).keep([Repository("registry.example", "shop/api")]))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert asyncio.run(wiring._memory(choice).recall()) == frozenset()
