"""The JSON Schema that says the same as a contract: is a value right, and if not, what is wrong where?"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import jsonschema_rs
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Path: TypeAlias = "tuple[str | int, ...]"

_NAME = re.compile(r"_*[a-zA-Z][a-zA-Z0-9_'-]*")
_TYPES = {"object": "a record", "array": "an array", "string": "a string", "integer": "a whole number",
          "number": "a number", "boolean": "true or false", "null": "null"}  # fmt: skip
_BOUNDS = {
    "minimum": "a number of at least {}",
    "maximum": "a number of at most {}",
    "exclusiveMinimum": "a number above {}",
    "exclusiveMaximum": "a number below {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} elements",
    "maxItems": "at most {} elements",
    "minProperties": "at least {} fields",
    "maxProperties": "at most {} fields",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong in a value: the field's path (strings and indices), a sentence, and what to try."""

    path: Path
    message: str
    hint: str | None = None


def dotted(path: Sequence[str | int]) -> str:
    """A field path as Nickel users write it: `artifacts.api.tags[0]`; names that need it are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _NAME.fullmatch(part) else json.dumps(part, ensure_ascii=False)}"
    return text.removeprefix(".")


class Twin:
    """One schema, read once."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def accepts(self, value: Any) -> bool:
        """True if the value is valid."""
        return self._quick.is_valid(value) or bool(self._validator.is_valid(value))

    def findings(self, value: Any) -> tuple[Finding, ...]:
        """Everything that is wrong, by the order of the fields' paths."""
        reader = _Reader(self._document)
        errors = list(self._validator.iter_errors(value))
        mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
        found = [
            finding
            for error in errors
            if error.validator == "type" or tuple(error.absolute_path) not in mistyped
            for finding in reader.findings(error)
        ]
        return tuple(sorted(dict.fromkeys(found), key=lambda finding: [str(part) for part in finding.path]))

    @cached_property
    def _quick(self) -> jsonschema_rs.Validator:
        """A hundred times as fast; a yes from it counts, after a no `jsonschema` decides and words the complaint."""
        import jsonschema_rs

        return jsonschema_rs.validator_for(dict(self._document))

    @cached_property
    def _validator(self) -> Validator:
        from jsonschema.validators import validator_for

        return validator_for(self._document)(self._document)


class _Reader:
    """Turns jsonschema's errors into findings, with the schema's own words."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def findings(self, error: ValidationError) -> Iterator[Finding]:
        """What one error says."""
        path: Path = tuple(error.absolute_path)
        keyword = str(error.validator) if isinstance(error.validator, str) else None
        if keyword in {"oneOf", "anyOf"} and error.context:
            yield from self._closest(error, path)
        elif keyword == "additionalProperties" and error.validator_value is False:
            yield from self._extra(error, path)
        elif keyword == "required":
            missing = next(name for name in _argument(error) if error.message.startswith(repr(name)))
            described = self._described(_schema(error).get("properties", {}).get(missing))
            hint = f"add it: {described}" if described else None
            yield Finding(path, f"{_subject(path)} lacks the field `{missing}`", hint)
        elif keyword is None:
            yield Finding(path, f"{_subject(path)} is not allowed here")
        elif "propertyNames" in error.absolute_schema_path:
            name = str(error.instance)
            expected = self._expected(error)
            yield Finding((*path, name), f"the name {_quoted(name)} is not valid: expected {expected}")
        else:
            repeated = _repeated(_instance(error)) if keyword == "uniqueItems" else None
            got = _quoted(error.instance) if repeated is None else f"{_quoted(repeated)} more than once"
            message = f"{_subject(path)} is not valid: expected {self._expected(error)}, got {got}"
            yield Finding(path, message, _example(error) if keyword == "pattern" else None)

    def _extra(self, error: ValidationError, path: Path) -> Iterator[Finding]:
        from difflib import get_close_matches  # for mistakes alone

        known = list(_schema(error).get("properties", {}))
        for name in _instance(error):
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"use one of its fields: {', '.join(sorted(known))}"
                yield Finding((*path, name), f"{_subject(path)} has no field `{name}`", hint)

    def _closest(self, error: ValidationError, path: Path) -> Iterator[Finding]:
        """The complaints of the form that the value comes closest to; if it is none of them, the forms."""
        forms: dict[int, list[ValidationError]] = {}
        for inner in error.context or ():
            forms.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
        best = forms[min(forms, key=lambda index: _distance(forms[index]))]
        if not any(inner.validator in {"required", "type"} and not inner.relative_path for inner in best):
            for inner in best:
                yield from self.findings(inner)
            return
        missing = [i for form in forms.values() for i in form if i.validator == "required" and not i.relative_path]
        heads = sorted({str(name) for inner in missing for name in _argument(inner)})
        expected = f"a record with one of the fields {', '.join(heads)}" if heads else self._expected(error)
        yield Finding(path, f"{_subject(path)} is not valid: expected {expected}, got {_quoted(error.instance)}")

    def _expected(self, error: ValidationError) -> str:
        described, keyword, argument = self._described(_schema(error)), str(error.validator), _argument(error)
        if keyword == "type":
            name = _TYPES.get(str(argument), str(argument))
            return f"{name} ({described})" if described else name
        if keyword in _BOUNDS:
            text = _BOUNDS[keyword].format(argument)
            return text.removesuffix("s") if argument == 1 and text.endswith("s") else text
        if keyword == "enum":
            return "one of " + ", ".join(f"'{item}" if isinstance(item, str) else str(item) for item in argument)
        if keyword == "const":
            return _quoted(argument)
        if keyword == "uniqueItems":
            return "each element once"
        return described or self._described(self._whole(error)) or f"something that matches {argument}"

    def _whole(self, error: ValidationError) -> Any:
        """The schema that the failing one is a part of by `allOf`."""
        here: Any = self._document
        for step in error.absolute_schema_path:
            if step == "allOf":
                return here
            here = self._document["$defs"][here["$ref"].rpartition("/")[2]] if step == "$ref" else here[step]
        return None

    def _described(self, schema: Any) -> str | None:
        """The schema's own words for what it wants, without the full stop, in lower case where they are prose."""
        if not isinstance(schema, dict):
            return None
        text = schema.get("description")
        if text is None and "$ref" in schema:
            return self._described(self._document.get("$defs", {}).get(schema["$ref"].rpartition("/")[2]))
        if not isinstance(text, str) or not text:
            return None
        text = text.rstrip(".")
        return text[0].lower() + text[1:] if text[:2].istitle() or text.startswith("A ") else text


def _example(error: ValidationError) -> str | None:
    """What may have been meant, where the schema has examples of what matches."""
    examples: list[str] = _schema(error).get("examples", [])
    if not examples:
        return None
    return meant(str(error.instance), examples, f"such as {', '.join(examples[:3])}", likeness=0.8)


def _distance(errors: Sequence[ValidationError]) -> tuple[int, int]:
    """How far a value is from a form that gives these errors."""
    strange = {"required", "type", "additionalProperties"}
    own = [error for error in errors if error.validator in strange and not error.relative_path]
    return sum(1 + (error.validator == "required") for error in own), len(errors)


def _argument(error: ValidationError) -> Any:
    """What the keyword that failed says. (jsonschema's types allow it to be unset, which it never is here.)"""
    return error.validator_value


def _schema(error: ValidationError) -> dict[str, Any]:
    return error.schema if isinstance(error.schema, dict) else {}


def _instance(error: ValidationError) -> Any:
    return error.instance


def _subject(path: Path) -> str:
    return f"`{dotted(path)}`" if path else "the file"


def _repeated(values: Sequence[Any]) -> Any:
    """The first value that was there before, None if that is hard to say."""
    seen: set[str] = set()
    for value in values:
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            return value
        seen.add(text)
    return None


def _quoted(value: Any) -> str:
    if isinstance(value, dict):
        return f"a record with the fields {', '.join(list(value)[:10])}" if value else "an empty record"
    if isinstance(value, list):
        return f"an array of {len(value)}" if value else "an empty array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:99] + "…"
