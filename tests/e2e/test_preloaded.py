"""Commands that journeys fork end as those that a shell starts."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e import preloaded
from tests.e2e.bench import Bench, directive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    made.commit({"directives/s.ncl": directive("s", {"a": 'image = "s/a", context.path = "c"'}), "c/Dockerfile": "x"})
    return made


@pytest.mark.parametrize("words", [("validate",), ("diff", "--json"), ("diff", "--nonsense"), ("why", "nobody")])
def test_it_is_what_a_command_of_its_own_gives(bench: Bench, words: tuple[str, ...]) -> None:
    process = bench.start(*words)
    out, err = process.communicate()
    assert preloaded.serves(bench.environment)
    assert preloaded.run(words, bench.repo, bench.environment, 60.0) == (process.returncode, out, err)


def test_what_does_not_end_is_killed(bench: Bench) -> None:
    began = time.monotonic()
    code, _, _ = preloaded.run(["watch", "--interval", "1h"], bench.repo, bench.environment, 2.0)
    assert code is None
    assert time.monotonic() - began < 30


def test_what_is_looked_at_while_modules_are_loaded_gets_a_process_of_its_own(bench: Bench) -> None:
    assert not preloaded.serves({**bench.environment, "HOME": "/nowhere"})
    assert not preloaded.serves({**bench.environment, "PYTHONPROFILEIMPORTTIME": "1"})
    assert os.environ.get("HOME") == bench.environment.get("HOME")
