"""Why what other commits want is not known completely."""

from __future__ import annotations

import pytest

from reconciler.model.problem import Problem
from reconciler.observe.kept import TOLD, unread


@pytest.mark.parametrize(("more", "said"), [(1, "1 more problem"), (2, "2 more problems")])
def test_what_is_left_out_is_counted(more: int, said: str) -> None:
    problems = [Problem("x", f"{n} is wrong") for n in range(TOLD + more)]
    assert unread(["refs/heads/odd"], "c" * 40, problems)[-1].message == f"refs/heads/odd (cccccccccccc) has {said}"
