"""A JSON Schema compiled to plain functions: the quick half of checking what workers send.

`jsonschema` takes 0.36 ms for a small directive, most of what evaluating it takes; this takes a fifteenth. A yes from
here counts, because it says yes only where `jsonschema` does (a property test holds it to that); after anything else
`jsonschema` decides, and words the complaint.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Check: TypeAlias = Callable[[Any], bool]

_SILENT = {"$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated"} | {
    "additionalProperties", "then", "else",  # read by the keyword they belong to
}  # fmt: skip
_COMPILED = {
    "$ref", "type", "properties", "required", "propertyNames", "items", "uniqueItems", "pattern", "enum", "const",
    "allOf", "anyOf", "oneOf", "not", "if",
}  # fmt: skip


class UnsureError(Exception):
    """Raised by a check for a value that only `jsonschema` can judge."""


class UnsupportedError(Exception):
    """The schema says something that is not compiled; names the keyword."""


def compiled(document: Mapping[str, Any]) -> Check:
    """A function that is true exactly for what the schema accepts, or raises UnsureError. Raises UnsupportedError."""
    return _Compiler(document).check(document)


class _Compiler:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._named: dict[str, Check] = {}

    def check(self, schema: Any) -> Check:
        """All keywords of one (sub)schema. Raises UnsupportedError."""
        if isinstance(schema, bool):
            return lambda _: schema
        checks = [self._keyword(keyword, schema) for keyword in schema if keyword not in _SILENT]
        if "additionalProperties" in schema and "properties" not in schema:
            checks.append(self._properties({}, schema))
        return _all(checks)

    def _keyword(self, keyword: str, schema: Mapping[str, Any]) -> Check:
        if keyword in _SIZES or keyword in _NUMBERS:
            return _bound(keyword, schema[keyword])
        if keyword not in _COMPILED:
            raise UnsupportedError(keyword)
        compile_keyword: Callable[[Any, Mapping[str, Any]], Check] = getattr(self, f"_{keyword.removeprefix('$')}")
        return compile_keyword(schema[keyword], schema)

    def _ref(self, target: str, _: Mapping[str, Any]) -> Check:
        if not target.startswith("#/$defs/"):
            raise UnsupportedError(f"$ref {target}")
        if target not in self._named:
            # For a schema that refers to itself: looked up anew, when the line below has put the check there.
            self._named[target] = lambda value: self._named[target](value)  # noqa: PLW0108
            self._named[target] = self.check(self._document["$defs"][target.removeprefix("#/$defs/")])
        return self._named[target]

    def _type(self, name: Any, _: Mapping[str, Any]) -> Check:
        if not isinstance(name, str):
            raise UnsupportedError("type")
        return _TYPES[name]

    def _properties(self, properties: Mapping[str, Any], schema: Mapping[str, Any]) -> Check:
        if "patternProperties" in schema:
            raise UnsupportedError("patternProperties")
        known = {name: self.check(inner) for name, inner in properties.items()}
        other = self.check(schema.get("additionalProperties", True))

        def check(value: Any) -> bool:
            if isinstance(value, dict):
                for name, inner in value.items():
                    if not known.get(name, other)(inner):
                        return False
            return True

        return check

    def _required(self, names: list[str], _: Mapping[str, Any]) -> Check:
        wanted = frozenset(names)
        return lambda value: not isinstance(value, dict) or wanted <= value.keys()

    def _propertyNames(self, inner: Any, _: Mapping[str, Any]) -> Check:
        check = self.check(inner)
        return lambda value: not isinstance(value, dict) or all(map(check, value))

    def _items(self, inner: Any, _: Mapping[str, Any]) -> Check:
        check = self.check(inner)
        return lambda value: not isinstance(value, list) or all(map(check, value))

    def _uniqueItems(self, wanted: bool, _: Mapping[str, Any]) -> Check:
        def check(value: Any) -> bool:
            if not wanted or not isinstance(value, list) or len(value) < 2:
                return True
            if not all(isinstance(item, str) for item in value):
                raise UnsureError
            return len(set(value)) == len(value)

        return check

    def _pattern(self, pattern: str, _: Mapping[str, Any]) -> Check:
        search = re.compile(pattern).search
        return lambda value: not isinstance(value, str) or search(value) is not None

    def _enum(self, allowed: list[Any], _: Mapping[str, Any]) -> Check:
        if not all(isinstance(item, str) for item in allowed):
            raise UnsupportedError("enum")
        texts = frozenset(allowed)
        return lambda value: isinstance(value, str) and value in texts

    def _const(self, wanted: Any, _: Mapping[str, Any]) -> Check:
        if wanted is not None and not isinstance(wanted, (str, bool, int)):
            raise UnsupportedError("const")
        number = isinstance(wanted, int) and not isinstance(wanted, bool)
        return lambda value: (
            bool(value == wanted) and (_is_number(value) if number else isinstance(value, type(wanted)))
        )

    def _allOf(self, inner: list[Any], _: Mapping[str, Any]) -> Check:
        return _all([self.check(each) for each in inner])

    def _anyOf(self, inner: list[Any], _: Mapping[str, Any]) -> Check:
        checks = [self.check(each) for each in inner]
        return lambda value: any(check(value) for check in checks)

    def _oneOf(self, inner: list[Any], _: Mapping[str, Any]) -> Check:
        checks = [self.check(each) for each in inner]
        return lambda value: sum(check(value) for check in checks) == 1

    def _not(self, inner: Any, _: Mapping[str, Any]) -> Check:
        check = self.check(inner)
        return lambda value: not check(value)

    def _if(self, inner: Any, schema: Mapping[str, Any]) -> Check:
        condition = self.check(inner)
        then, otherwise = self.check(schema.get("then", True)), self.check(schema.get("else", True))
        return lambda value: (then if condition(value) else otherwise)(value)


def _bound(keyword: str, limit: float) -> Check:
    """A keyword that compares a number, or a length or count."""
    if keyword in _NUMBERS:
        compare = _NUMBERS[keyword]
        return lambda value: not _is_number(value) or compare(value, limit)
    of, fits = _SIZES[keyword]
    return lambda value: not isinstance(value, of) or bool(fits(len(value), limit))


def _all(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)
    if len(checks) == 3:
        one, two, three = checks
        return lambda value: one(value) and two(value) and three(value)

    def check(value: Any) -> bool:
        for each in checks:  # noqa: SIM110 - a generator costs twice as much
            if not each(value):
                return False
        return True

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_SIZES: dict[str, tuple[type[Sized], Callable[[Any, Any], bool]]] = {
    "minLength": (str, operator.ge),
    "maxLength": (str, operator.le),
    "minItems": (list, operator.ge),
    "maxItems": (list, operator.le),
    "minProperties": (dict, operator.ge),
    "maxProperties": (dict, operator.le),
}
_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
_TYPES: dict[str, Check] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": _is_integer,
}
