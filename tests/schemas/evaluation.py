"""Evaluating the shipped Nickel in the tests: in this process, since these files are our own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nickel
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[2]
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def evaluate(source: str) -> Any:
    """The value of Nickel source that imports from the repository's root. Raises nickel.NickelException."""
    return json.loads(nickel.run(source, [str(ROOT), str(ROOT / "schemas")]))


def refusal(source: str) -> str | None:
    """Nickel's error without colours, or None if the source evaluates."""
    try:
        evaluate(source)
    except nickel.NickelException as error:
        return _ANSI.sub("", str(error))
    return None


def validator(schema: str, definition: str | None = None) -> Draft202012Validator:
    """The validator of schemas/json/<schema>.json, or of one of its definitions."""
    document = json.loads((ROOT / "schemas" / "json" / f"{schema}.json").read_text("utf-8"))
    if definition is not None:
        document = {"$ref": f"#/$defs/{definition}", "$defs": document["$defs"]}
    return Draft202012Validator(document)
