"""What a JSON Schema lets through, in words for a person who writes Nickel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.nickel_text import Tag

if TYPE_CHECKING:
    from collections.abc import Mapping


def takes(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A phrase such as `a list of 1 to 100 different values, each a tag as OCI has it`."""
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    definition = definitions.get(reference)
    if definition is not None:
        if "properties" in definition or "oneOf" in definition:
            return f"{_article(reference)} {reference}" if reference[0].isupper() else "a record"
        return _leaf(definition, definitions)
    if len(schema.get("allOf", ())) == 1:
        return takes(schema["allOf"][0], definitions)
    return _leaf({key: value for key, value in schema.items() if key != "description"}, definitions)


def in_nickel(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """A JSON value with tags in the places where the schema has an enum."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return Tag(str(value))
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {key: in_nickel(each, known.get(key, {}), definitions) for key, each in value.items()}
    if isinstance(value, list):
        return [in_nickel(each, schema.get("items", {}), definitions) for each in value]
    return value


def _article(word: str) -> str:
    return "an" if word[0] in "AEIO" else "a"


def _leaf(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in schema or ("allOf" in schema and "type" not in schema):
        return takes({key: schema[key] for key in ("$ref", "allOf") if key in schema}, definitions)
    if "enum" in schema:
        return _either([f"'{each}" for each in schema["enum"]])
    if "const" in schema:
        return f"{schema['const']!r}".replace("'", '"')
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_leaf({**schema, "type": each}, definitions) for each in kind)
    match kind:
        case "array":
            return _list(schema, definitions)
        case "object":
            return _record(schema, definitions)
        case "boolean":
            return "true or false"
        case "integer" | "number":
            return _number(schema)
        case "null":
            return "null"
        case _:
            return _text(schema)


def _list(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{low} to {high}" if high is not None else f"at least {low}"
    different = "different " if schema.get("uniqueItems") else ""
    return f"a list of {count} {different}values, each: {takes(schema.get('items', {}), definitions)}"


def _record(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    inner = schema.get("additionalProperties")
    if not isinstance(inner, dict):
        return "a record"
    names = schema.get("propertyNames", {})
    if "$ref" in names:
        names = definitions[names["$ref"].rpartition("/")[2]]
    form = str(names.get("description", "")).rstrip(".")
    said = f" ({form[:1].lower()}{form[1:]})" if form else ""
    most = f", at most {schema['maxProperties']}" if "maxProperties" in schema else ""
    return f"a record of names{said}{most}, each: {takes(inner, definitions)}"


def _number(schema: Mapping[str, Any]) -> str:
    what = "a whole number" if schema["type"] == "integer" else "a number"
    if "exclusiveMinimum" in schema:
        return f"{what} above {schema['exclusiveMinimum']}, at most {schema['maximum']}"
    if "minimum" in schema and "maximum" in schema:
        return f"{what} from {schema['minimum']} to {schema['maximum']}"
    return f"{what}, {schema['minimum']} or more" if "minimum" in schema else what


def _text(schema: Mapping[str, Any]) -> str:
    said = str(schema.get("description", "text")).rstrip(".")
    most = f"; at most {schema['maxLength']} characters" if "maxLength" in schema and "1 to " not in said else ""
    return f"{said[:1].lower()}{said[1:]}{most}"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
