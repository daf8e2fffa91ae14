"""docs/policy.md lists every field of a rule with its default, and its example is a whole policy."""

from __future__ import annotations

import json
import re
from typing import Any

from reconciler.desired.nickel.data import places_of
from tests.schemas.evaluation import ROOT, evaluate, validator

PAGE = (ROOT / "docs" / "policy.md").read_text("utf-8")
_ROW = re.compile(r"^\| `([a-zA-Z_.]+)` \| .+ \| (.+) \|$", re.MULTILINE)
_CODE = re.compile(r'Problem\(\s*"([a-z-]+)"|code="([a-z-]+)"')
_MISSING = object()
(EXAMPLE,) = re.findall(r"```nickel\n(.*?)```", PAGE, re.DOTALL)


def _fields() -> dict[str, Any]:
    """Dotted path of each field of a rule -> its default in the JSON Schema."""
    definitions = json.loads((ROOT / "schemas" / "json" / "policy.json").read_text("utf-8"))["$defs"]
    found: dict[str, Any] = {}

    def walk(schema: dict[str, Any], path: str) -> None:
        name = schema.get("$ref", "").rpartition("/")[2]
        inner = definitions[name] if name else schema
        properties = inner.get("properties", {})
        if isinstance(inner.get("additionalProperties"), dict):
            properties = {"NAME": {}}
        if not properties:
            found[path] = schema.get("default", _MISSING)
        for key, below in properties.items():
            walk(below, f"{path}.{key}".lstrip("."))

    walk({"$ref": "#/$defs/Rule"}, "")
    return found


def test_every_field_is_listed_once_with_its_default() -> None:
    rows = [(path, cell) for path, cell in _ROW.findall(PAGE) if "-" not in path]
    fields = _fields()
    assert sorted(path for path, _ in rows) == sorted(fields)
    assert {path: _MISSING if cell == "none" else evaluate(f"[{cell.strip('`')}]")[0] for path, cell in rows} == fields


def test_the_example_is_data_and_a_whole_policy() -> None:
    assert places_of(EXAMPLE)
    document = evaluate(f'({EXAMPLE}) | (import "schemas/policy.ncl").BuildPolicy')
    validator("policy").validate(document)
    said = {part for rule in document["rules"].values() for part in rule}
    parts = (
        "bases",
        "sources",
        "image",
        "tags",
        "platforms",
        "labels",
        "args",
        "runner",
        "secrets",
        "max_age",
        "force",
    )
    assert said.issuperset(parts)


def test_the_transcript_is_about_the_example() -> None:
    places = places_of(EXAMPLE)
    assert places is not None
    shown = re.findall(
        r"the rule ([a-z-]+) .*\n.*\n +cause: policy/platform\.ncl:([0-9]+):([0-9]+) \(([a-z_.]+)\)(?:: (.*))?", PAGE
    )
    assert len(shown) == 3
    rules = evaluate(EXAMPLE)["rules"]
    for name, line, column, part, because in shown:
        assert places[("rules", name, *part.split("."))] == (int(line), int(column))
        assert rules[name].get("because", "") == because


def test_every_code_is_listed() -> None:
    modules = ("plan/judge.py", "plan/rules.py", "desired/rules.py")
    text = "".join((ROOT / "reconciler" / module).read_text("utf-8") for module in modules)
    codes = {one or other for one, other in _CODE.findall(text)}
    assert codes == {"policy-violation", "policy-unknown", "policy-is-link", "policy-not-data", "force-denied"}
    assert all(f"| `{code}` |" in PAGE for code in codes)
