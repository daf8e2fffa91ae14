"""What ships with lian: found, or told what is wrong with the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.desired import packaged
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from pathlib import Path


def test_an_installation_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "defaults").mkdir()
    monkeypatch.setattr(packaged, "folder", lambda: tmp_path)
    monkeypatch.setattr(packaged, "read", _refused)
    packaged.find.cache_clear()
    try:
        with pytest.raises(LianError) as caught:
            packaged.find()
    finally:
        packaged.find.cache_clear()
    (problem,) = caught.value.problems
    assert (problem.code, problem.cause) == ("installation-broken", "Permission denied")
    assert "/schemas/x.ncl" in str(problem.hint)


def _refused(root: Path) -> packaged.Packaged:
    raise PermissionError(13, "Permission denied", f"{root}/schemas/x.ncl")
