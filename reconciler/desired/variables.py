"""Which variables of the environment settings name as the place of a credential or a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.credential import SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FREE_TEXT = frozenset({"artifacts"})
"""Parts of a directive that hold no reference, and whose maps have keys of the author's choice."""


def named_variables(document: Mapping[str, Any]) -> Iterator[str]:
    """All in an evaluated lian.ncl or directive, wherever a reference stands (schemas/vault_refs.ncl): what is not
    heeded is a secret all the same."""
    for part, value in document.items():
        if part not in _FREE_TEXT:
            yield from _below(value)


def _below(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _below(one)
    elif isinstance(value, dict):
        if value.get("source") == SourceKind.ENV and isinstance(name := value.get("name"), str):
            yield name
        for one in value.values():
            yield from _below(one)
