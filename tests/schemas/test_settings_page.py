"""docs/settings.md lists every field of lian.ncl with its default, and no other."""

from __future__ import annotations

import json
import re
from typing import Any

from reconciler.desired.unheeded import Unheeded
from tests.schemas.evaluation import ROOT, evaluate, validator

PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
_ROW = re.compile(r"^\| `([a-zA-Z_.]+)`(?: \*)? \| .+ \| (.+) \|$", re.MULTILINE)
_MISSING = object()


def _fields() -> dict[str, Any]:
    """Dotted path of each field -> the default that its schema annotates, if any. Where names are free, the path has
    NAME; a reference to a credential is one field."""
    document = json.loads((ROOT / "schemas" / "json" / "fleet.json").read_text("utf-8"))
    found: dict[str, Any] = {}

    def walk(schema: dict[str, Any], path: str) -> None:
        name = schema.get("$ref", "").rpartition("/")[2]
        inner = schema if not name or name.startswith("Vault") else document["$defs"][name]
        properties = inner.get("properties", {})
        if isinstance(inner.get("additionalProperties"), dict):
            properties = {"NAME": inner["additionalProperties"]}
        if not properties or name.startswith("Vault"):
            found[path] = schema.get("default", _MISSING)
        for key, below in properties.items():
            walk(below, f"{path}.{key}".lstrip("."))

    walk(document, "")
    return found


def _in_force(path: str, annotated: Any) -> Any:
    """The default of a field in an empty lian.ncl; of one that is not there, what its schema annotates."""
    place = evaluate('{} | (import "schemas/fleet.ncl").FleetSettings')
    for key in path.split("."):
        if key not in place:
            return annotated
        place = place[key]
    return place


def test_every_field_is_listed_once_with_its_default() -> None:
    rows = [(re.sub("[A-Z]+", "NAME", path), cell) for path, cell in _ROW.findall(PAGE)]
    fields = _fields()
    assert sorted(path for path, _ in rows) == sorted(fields)
    wanted = {path: _in_force(path, annotated) for path, annotated in fields.items()}
    listed = {path: _MISSING if cell == "none" else evaluate(f"[{cell.strip('`')}]")[0] for path, cell in rows}
    assert listed == wanted


def test_fields_without_effect_are_marked() -> None:
    """What `validate` and `diff` note of a lian.ncl that sets everything is what the page marks."""
    full = ROOT / "tests" / "schemas" / "fixtures" / "good" / "lian_full.ncl"
    taken = Unheeded()
    taken.take_fleet("lian.ncl", evaluate(f'(import "{full}") | (import "schemas/fleet.ncl").FleetSettings'))
    assert taken.fleet is not None
    marked = re.findall(r"^\| `([a-zA-Z_.]+)` \*", PAGE, re.MULTILINE)
    tops = {path if path.startswith("registry.") else path.partition(".")[0] for path in marked}
    assert tops == set(taken.fleet[1])


def test_the_example_is_a_whole_lian_file() -> None:
    (example,) = re.findall(r"```nickel\n(.*?)```", PAGE, re.DOTALL)
    document = evaluate(f'({example}) | (import "schemas/fleet.ncl").FleetSettings')
    validator("fleet").validate(document)
    assert document["policy"]["drift"] == {
        "retagged": "Heal", "foreign": "Hold", "broken": "Heal", "orphaned": "Heal",
    }  # fmt: skip
