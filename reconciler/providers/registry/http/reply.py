"""What one HTTP exchange gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_CAUSE = 300


class Broken(Exception):
    """No answer: the connection could not be made, was lost, or stayed `silent`. The text says which."""

    def __init__(self, cause: str, *, silent: bool = False) -> None:
        super().__init__(cause)
        self.silent = silent


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; header names in lower case. `truncated`: the body was larger than the limit and is left out."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    truncated: bool = False

    @property
    def media_type(self) -> str:
        """Content-Type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def codes(self) -> tuple[str, ...]:
        """The error codes of an OCI error body (distribution-spec, "Error Codes"), empty if it is none."""
        return tuple(code for code, _ in self._errors())

    @property
    def told(self) -> str:
        """One line for a problem's cause: status, and what the body says of it."""
        said = "; ".join(f"{code}: {message}" if message else code for code, message in self._errors())
        kind = f" ({self.media_type})" if not said and self.media_type else ""
        return f"HTTP {self.status}{kind}{' ' + said if said else ''}"[:_MAX_CAUSE]

    def _errors(self) -> list[tuple[str, str]]:
        try:
            errors = json.loads(self.body)["errors"]
            return [(str(e["code"]), str(e.get("message") or "")) for e in errors]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return []
