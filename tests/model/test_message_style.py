"""One style for what problems say: no capital but a proper name's, no full stop, one sentence."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reconciler

if TYPE_CHECKING:
    from collections.abc import Iterator

SAID = {"message", "cause", "hint"}
WITH_MESSAGE_SECOND = {"Problem", "Fault", "_problem", "_refused", "Finding", "_Refusal"}
PROPER_NAMES = ("BuildKit", "Docker", "Nickel", "Landlock", "Python")
MODULES = sorted(Path(reconciler.__file__).parent.rglob("*.py"))


def said(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of each literal that becomes a problem's message, cause or hint; `{}` stands for what is put in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for value in _arguments(node):
                yield from _texts(value)
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in SAID for t in node.targets):
            yield from _texts(node.value)


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name in WITH_MESSAGE_SECOND:
        yield from call.args[1:2]
    yield from (keyword.value for keyword in call.keywords if keyword.arg in SAID)


def _texts(value: ast.expr) -> Iterator[tuple[int, str]]:
    if isinstance(value, ast.IfExp):
        yield from _texts(value.body)
        yield from _texts(value.orelse)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.lineno, value.value
    elif isinstance(value, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in value.values)
        yield value.lineno, "".join(map(str, parts))


def faults(text: str) -> Iterator[str]:
    first = text.split(maxsplit=1)[0]
    if text[0].isupper() and not first.isupper() and not text.startswith(PROPER_NAMES):
        yield "begins with a capital"
    if text.endswith("."):
        yield "ends with a full stop"
    if re.search(r"\S\. ", text):
        yield "is more than one sentence"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(MODULES[0].parent)))
def test_problems_are_said_in_one_style(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert [(line, text, fault) for line, text in said(tree) if text.strip() for fault in faults(text)] == []


def test_the_check_sees_what_it_is_to_see() -> None:
    tree = ast.parse('Problem("x", "The end.", hint="try" if a else f"Say {b}. Then go")\nmessage = "BuildKit went"')
    assert {text: list(faults(text)) for _, text in said(tree)} == {
        "The end.": ["begins with a capital", "ends with a full stop"],
        "try": [],
        "Say {}. Then go": ["begins with a capital", "is more than one sentence"],
        "BuildKit went": [],
    }
