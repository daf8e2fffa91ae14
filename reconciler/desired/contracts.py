"""The shipped contracts as values: what a field takes from the JSON Schema twin, what it is for from the contract."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.desired.contract_docs import joined, one_line, read_docs, without_example
from reconciler.desired.contract_types import in_nickel, takes
from reconciler.desired.packaged import find
from reconciler.model.contract import Contract, ContractField, Contracts, Default
from reconciler.model.nickel_text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.desired.packaged import Packaged

FILES = ("build_directives", "fleet", "policy", "cache_policy", "build_spec", "vault_refs", "tiers", "build_result")
_OWNERS = {"git_context": "git", "folder_context": "folder", "LadderTier": "Tier"}
"""Where the contract's source has another name than its twin."""
_WRITTEN = {"FleetPolicy": "Policy", "BuildResult.problem": "Problem"}
"""Where fields are written under another name than their record."""
_FORMS = {"artifact": "artifact_form", "image": "image_form"}
_HEAD = {
    "build_spec": "BuildSpec",
    "cache_policy": "CachePolicy",
    "tiers": "TierDefaults",
    "build_result": "BuildResult",
}
"""Twins that are one contract."""
_KEYS = {
    "client_key": "VaultKeyRef",
    "secret_source": "VaultKeyRef",
    "git_key": "VaultKeyRef",
    "git_login": "VaultCredRef",
}
"""Twins of what lies outside of the repository."""
_ANY_WIDTH = 1_000_000


@cache
def contracts() -> Contracts:
    """All of them, in the order of FILES. Raises LianError if the installation is broken."""
    packaged = find()
    docs = {stem: read_docs(packaged.files[f"schemas/{stem}.ncl"].decode()) for stem in FILES}
    found: dict[str, Contract] = {}
    for stem in FILES:
        for contract in _File(packaged, stem, docs).contracts():
            found.setdefault(contract.name, contract)
    return Contracts(tuple(found.values()))


class _File:
    def __init__(self, packaged: Packaged, stem: str, docs: Mapping[str, Mapping[str, str]]) -> None:
        self._document = packaged.document(f"schemas/json/{stem}.json")
        self._stem, self._docs = stem, docs
        self._definitions: Mapping[str, Any] = self._document.get("$defs", {})

    def contracts(self) -> Iterator[Contract]:
        """The head of the file first."""
        head = _HEAD.get(self._stem)
        if head is not None:
            yield self._contract(head, self._document)
        first = self._document.get("$ref", "").rpartition("/")[2]
        for name in sorted(self._definitions, key=lambda name: name != first):
            definition = self._definitions[name]
            if name[0].isupper() and ("properties" in definition or "oneOf" in definition):
                yield self._contract(name, definition)

    def _contract(self, name: str, definition: Mapping[str, Any]) -> Contract:
        owner = _OWNERS.get(name, name)
        doc, example = without_example(joined(self._docs, self._stem, owner) or definition.get("description", ""))
        home = next((stem for stem in (self._stem, *FILES) if owner in self._docs[stem]), self._stem)
        return Contract(name, f"schemas/{home}.ncl", one_line(doc), tuple(self._fields(owner, definition)), example)

    def _fields(self, owner: str, definition: Mapping[str, Any]) -> Iterator[ContractField]:
        """In the order in which they are written; of a record in several forms, those of each form."""
        seen = set()
        for form in definition.get("oneOf", [definition]):
            whole = self._resolved(form)
            reference = str(form.get("$ref", "")).rpartition("/")[2]
            for name, schema in whole.get("properties", {}).items():
                if name not in seen and schema is not False:
                    seen.add(name)
                    source = owner if form is definition else _OWNERS.get(reference) or _FORMS.get(name, owner)
                    required = name in whole.get("required", ()) and form is definition
                    yield self._field(source, name, schema, required)

    def _field(self, owner: str, name: str, schema: Mapping[str, Any], required: bool) -> ContractField:
        below = self._inner(schema)
        named = self._named(below)
        doc = joined(self._docs, self._stem, f"{_WRITTEN.get(owner, owner)}.{name}")
        fields = () if named else tuple(self._fields(f"{owner}.{name}", below))
        default = self._default(schema) if "default" in schema else None
        whole = self._resolved(schema)
        said = one_line(doc if doc is not None else str(whole.get("description", "")))
        is_map = isinstance(whole.get("additionalProperties"), dict)
        return ContractField(name, takes(schema, self._definitions), said, required, default, named, fields, is_map)

    def _default(self, schema: Mapping[str, Any]) -> Default:
        value = schema["default"]
        return Default(value, text_of(in_nickel(value, schema, self._definitions), width=_ANY_WIDTH))

    def _inner(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a list or a record of free names is of."""
        whole = self._resolved(schema)
        if self._named(schema):
            return schema
        for key in ("items", "additionalProperties"):
            if isinstance(whole.get(key), dict):
                return self._inner(whole[key])
        return schema

    def _named(self, schema: Mapping[str, Any]) -> str | None:
        """The contract that a schema refers to."""
        reference = str(schema.get("$ref", "")).rpartition("/")[2]
        if not reference and len(schema.get("allOf", ())) == 1:
            return self._named(schema["allOf"][0])
        if reference in _KEYS:
            return _KEYS[reference]
        definition = self._definitions.get(reference, {})
        is_one = reference[:1].isupper() and ("properties" in definition or "oneOf" in definition)
        return reference if is_one else None

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]] | {
                key: value for key, value in schema.items() if key != "$ref"
            }
        return schema
