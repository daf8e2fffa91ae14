"""The hard constraints C1 and C2 hold; their patterns are read from the ADR that states them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.schemas.evaluation import ROOT, evaluate

if TYPE_CHECKING:
    from pathlib import Path

_ADR = "adrs/adr-001-lian-build-as-standalone.ncl"
_PLANTED = {
    "no-provisioning-lib-import": ["import provisioning", '"platform-config>=1"', "from stratum-core import x"],
    "build-directives-ncl-vocabulary": ["provisioning_workspace = 1", "x = vapora_agent", "woodpecker_step()"],
}


def _constraints() -> list[dict[str, Any]]:
    constraints: list[dict[str, Any]] = evaluate(f'import "{_ADR}"')["constraints"]
    return constraints


def _matches(constraint: dict[str, Any], root: Path) -> list[str]:
    """The lines that break a constraint, as grep prints them."""
    command = ["grep", "-rInE", "--exclude-dir=__pycache__", "-e", constraint["pattern"], "--", *constraint["paths"]]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout.splitlines()


def test_the_adr_states_both_constraints_word_for_word() -> None:
    paths = ["pyproject.toml", "reconciler"]
    assert [(c["id"], c["pattern"], c["paths"]) for c in _constraints()] == [
        ("no-provisioning-lib-import", "platform-config|provisioning|stratum-", paths),
        ("build-directives-ncl-vocabulary", "provisioning_workspace|vapora_|woodpecker_", paths),
    ]


@pytest.mark.parametrize("constraint", _constraints(), ids=lambda c: c["id"])
def test_no_line_breaks_the_constraint(constraint: dict[str, Any]) -> None:
    assert _matches(constraint, ROOT) == []


@pytest.mark.parametrize("constraint", _constraints(), ids=lambda c: c["id"])
@pytest.mark.parametrize("where", ["pyproject.toml", "reconciler/plan/compare.py"])
def test_a_planted_line_is_found(constraint: dict[str, Any], where: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "reconciler" / "plan").mkdir(parents=True)
    for line in _PLANTED[constraint["id"]]:
        place = tmp_path / where
        before = place.read_text() if place.exists() else None
        place.write_text(f"{before or ''}\n{line}\n")
        found = _matches(constraint, tmp_path)
        assert [hit.startswith(where) and hit.endswith(line) for hit in found] == [True]
        if before is None:
            place.unlink()
        else:
            place.write_text(before)
