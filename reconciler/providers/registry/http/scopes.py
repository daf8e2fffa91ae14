"""What is asked of a registry's token service, and what it granted (distribution: docs/content/spec/auth)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PULL, PUSH, DELETE = "pull", "pull,push", "pull,push,delete"
_SCHEME = re.compile(r"\s*,?\s*(?P<scheme>[A-Za-z][A-Za-z0-9_-]*)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(
    r"\s*,?\s*(?P<name>[A-Za-z0-9_-]+)\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<token>[^\s,\"]+))"
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(header: str) -> tuple[Challenge, ...]:
    """The challenges of a header, as far as it can be read; quoted commas and quotes are understood."""
    found: list[Challenge] = []
    at = 0
    while match := _SCHEME.match(header, at):
        at, parameters = match.end(), {}
        while pair := _PARAMETER.match(header, at):
            quoted = pair["quoted"]
            value = pair["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters[pair["name"].lower()] = value
            at = pair.end()
        found.append(Challenge(match["scheme"].lower(), parameters))
    return tuple(found)


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Access to one repository; `actions` are joined by commas."""

    repository: str
    actions: str = PULL

    def __str__(self) -> str:
        return f"repository:{self.repository}:{self.actions}"

    @property
    def reads(self) -> bool:
        """True if it asks for pull and nothing else."""
        return self.actions == PULL


@dataclass(frozen=True, slots=True)
class Granted:
    """What a token's own `access` claim grants (spec/auth/jwt.md). It is the token service's word, and not verified
    here: the registry does that."""

    actions: Mapping[str, frozenset[str]]
    """Repository -> actions."""

    @classmethod
    def by(cls, token: str) -> Granted | None:
        """None for a token that does not say: one that is no JWT, or has no such claim."""
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            padded = parts[1] + "=" * (-len(parts[1]) % 4)
            access = json.loads(base64.urlsafe_b64decode(padded))["access"]
            found: dict[str, frozenset[str]] = {}
            for entry in access or ():
                if entry["type"] == "repository":
                    found[entry["name"]] = found.get(entry["name"], frozenset()) | _actions(entry)
        except (ValueError, binascii.Error, KeyError, TypeError, RecursionError):
            return None
        return cls(found)

    def covers(self, scope: Scope) -> bool:
        """True if every action of the scope was granted."""
        given = self.actions.get(scope.repository, frozenset())
        return "*" in given or given.issuperset(scope.actions.split(","))

    def covers_all(self, scopes: Iterable[Scope]) -> bool:
        """True if every action of every scope was granted."""
        return all(self.covers(scope) for scope in scopes)

    def may_pull(self, repository: str) -> bool:
        """True if reading it was granted."""
        return not self.actions.get(repository, frozenset()).isdisjoint({PULL, "*"})


def _actions(entry: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(action) for action in entry["actions"] or ())
