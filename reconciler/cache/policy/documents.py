"""Read parts of documents that others wrote: each is what it should be, or a problem says where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNREADABLE = "cache-policy-unreadable"


def unreadable(message: str, hint: str | None = None) -> LianError:
    """What is deployed could not be understood."""
    return LianError(Problem(UNREADABLE, message, hint=hint or "see docs/cache-access.md for what is read"))


def record(value: Any, where: str) -> Mapping[str, Any]:
    """An object. Raises LianError."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise unreadable(f"{where} of what is deployed is no object")
    return value


def optional(value: Any, where: str) -> Mapping[str, Any]:
    """An object; one that is not there is empty. Raises LianError."""
    return {} if value is None else record(value, where)


def entries(value: Any, where: str) -> Sequence[Any]:
    """A list; one that is not there is empty. Raises LianError."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise unreadable(f"{where} of what is deployed is no list")
    return value


def texts(value: Any, where: str) -> Sequence[str]:
    """A list of texts; one that is not there is empty. Raises LianError."""
    found = entries(value, where)
    if not all(isinstance(each, str) for each in found):
        raise unreadable(f"{where} of what is deployed holds something else than texts")
    return found


def part(value: Mapping[str, Any], name: str) -> Any:
    """A field whose name is written in any case, None if it is not there."""
    return next((each for key, each in value.items() if key.lower() == name.lower()), None)
