"""Cycles are looked for rarely while a command runs, and not at all where all goes with the process."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from reconciler.collector import searching_rarely

_ENDS = """
import atexit, gc, sys
sys.argv = ["lian", "version"]
from reconciler.cli import main
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 1_000, flush=True))  # runs last but for those before
print("ended", main({argv}))
"""


def test_the_usual_search_comes_back_however_a_command_ends() -> None:
    usual = gc.get_threshold()
    with pytest.raises(ValueError, match="x"), searching_rarely():
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 10 * usual[0]
        raise ValueError("x")
    assert gc.get_threshold() == usual


@pytest.mark.parametrize(("argv", "frozen"), [("", True), ("['version']", False)])
def test_only_a_command_that_is_the_whole_process_leaves_the_rest_unsearched(argv: str, frozen: bool) -> None:
    ran = subprocess.run([sys.executable, "-c", _ENDS.format(argv=argv)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-2:] == ["ended 0", f"frozen {frozen}"]
