"""Directives as people write them: good ones give a document, bad ones an error at the marked line.

A bad fixture marks the line of its error with a comment `# error: text`, where text is part of the message; a second
comment `# hint: text` anywhere is part of the error's notes.
"""

from __future__ import annotations

import re

import pytest

from tests.schemas.evaluation import ROOT, evaluate, refusal, validator

FIXTURES = ROOT / "tests" / "schemas" / "fixtures"
GOOD = sorted(path.name for path in (FIXTURES / "good").glob("*.ncl"))
BAD = sorted(path.name for path in (FIXTURES / "bad").glob("*.ncl"))


def _source(kind: str, name: str) -> str:
    schema, contract = (
        ("fleet", "FleetSettings") if name.startswith("lian") else ("build_directives", "BuildDirectives")
    )
    return f'(import "{FIXTURES / kind / name}") | (import "schemas/{schema}.ncl").{contract}'


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_gives_a_valid_document(name: str) -> None:
    document = evaluate(_source("good", name))
    validator("fleet" if name.startswith("lian") else "build_directives").validate(document)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_at_its_line(name: str) -> None:
    text = (FIXTURES / "bad" / name).read_text("utf-8")
    marked = [(n, line.partition("# error: ")[2]) for n, line in enumerate(text.splitlines(), 1) if "# error: " in line]
    assert len(marked) == 1, "one marked line in each bad fixture"
    told = refusal(_source("bad", name))
    assert told is not None
    assert marked[0][1] in told.split("┌─")[0], told
    for hint in re.findall(r"# hint: (.*)", text):
        assert re.search(rf"= .*{re.escape(hint)}", told), told
    lines = {int(number) for number in re.findall(rf"{re.escape(name)}:(\d+):\d+", told)}
    assert marked[0][0] in lines, told
