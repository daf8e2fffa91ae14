"""Whatever a compose or bake file builds, the directives that are written for it build the same."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.problem import LianError
from tests.adopt.folders import begun, directives
from tests.adopt.folders import settings as settings_of
from tests.adopt.projects import One, bake_of, compose_of, files_of, projects, wanted


def artifacts(files: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        told = begun(Path(folder) / "acme", files)
        assert told.adopted is not None
        assert not told.adopted.left_out
        settings_of(told)
        found = directives(told)
    for artifact in found.values():
        artifact["platforms"].sort()
    return found


@settings(max_examples=25)
@given(projects(), st.booleans())
def test_a_compose_file(project: list[One], short: bool) -> None:
    made = artifacts({**files_of(project), "compose.yaml": compose_of(project, short=short)})
    assert made == wanted(project)


@settings(max_examples=25)
@given(projects())
def test_a_bake_file(project: list[One]) -> None:
    made = artifacts({**files_of(project), "docker-bake.json": bake_of(project)})
    assert made == wanted(project, {"shared": "yes"})


@given(projects(), st.integers(0, 400), st.characters(codec="utf-8") | st.sampled_from("{}[]:&*!\t\n"))
@settings(max_examples=25)
def test_a_damaged_file_is_read_or_told(project: list[One], at: int, sign: str) -> None:
    for name, text in (("compose.yaml", compose_of(project)), ("docker-bake.json", bake_of(project))):
        damaged = text[:at] + sign + text[at + 1 :]
        with tempfile.TemporaryDirectory() as folder:
            try:
                told = begun(Path(folder) / "acme", {**files_of(project), name: damaged})
            except LianError as error:
                assert all(problem.code != "internal-error" for problem in error.problems)
                assert error.problems
            else:
                directives(told)


def test_fleets_are_large(tmp_path: Path) -> None:
    """Thousands of services in one file, in a time that grows with their number alone."""
    text = "services:\n" + "".join(f"  s{i}: {{image: 'a/s{i}:1', build: x}}\n" for i in range(2_000))
    began = time.process_time()
    told = begun(tmp_path, {"compose.yaml": text, "x/Dockerfile": "FROM a/s0:1\n"})
    assert time.process_time() - began < 30
    assert told.adopted is not None
    assert len(told.adopted.carried) == 2_000
