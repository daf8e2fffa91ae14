"""What a deployed policy gives beyond the rule, and what it withholds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(StrEnum):
    """What is wrong. Worst first."""

    OPENS = "opens"
    """Somebody may do more than the rule gives."""
    UNKNOWN = "unknown"
    """It cannot be told, so it must not be taken for good."""
    LACKS = "lacks"
    """Somebody may do less than the rule gives: builds fail, or go without a cache."""


class Standing(StrEnum):
    """How one who asks a registry stands to the fleet."""

    ACCOUNT = "account"
    """By a name that the fleet's settings or the deployed policy know."""
    ADMIN = "admin"
    STRANGER = "stranger"
    """Logged in, by a name that nobody knows; `account` is an example."""
    GROUP = "group"
    """Some member of the group `account`, whose members are kept elsewhere."""
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, order=True)
class Who:
    """One who asks a registry."""

    account: str
    standing: Standing = Standing.ACCOUNT

    def __str__(self) -> str:
        match self.standing:
            case Standing.ANONYMOUS:
                return "anyone, without a login"
            case Standing.STRANGER:
                return f"anyone with a login, such as {self.account}"
            case Standing.GROUP:
                return f"members of the group {self.account}"
            case _:
                return self.account


ANONYMOUS = Who("", Standing.ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `who` is None where it may concern anyone, `repositories` and `example` where it may concern all
    of them; `because` is the part of what is deployed that decides, or says what cannot be told of it."""

    kind: Kind
    who: Who | None = None
    repositories: str | None = None
    example: str | None = None
    actions: tuple[str, ...] = ()
    because: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The form of schemas/json/cache_policy_check.json."""
        return {
            "kind": self.kind.value,
            "account": None if self.who is None or self.who.standing is Standing.ANONYMOUS else self.who.account,
            "standing": None if self.who is None else self.who.standing.value,
            "repositories": self.repositories,
            "example": self.example,
            "actions": list(self.actions),
            "because": self.because,
        }


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by place and account."""
    ranks = list(Kind)

    def key(one: Finding) -> tuple[Any, ...]:
        who = (one.who.standing.value, one.who.account) if one.who else ("", "")
        return ranks.index(one.kind), one.repositories or "", who, one.actions, one.because or ""

    return tuple(sorted(findings, key=key))


@dataclass(frozen=True, slots=True)
class Check:
    """What `lian cache policy --check` tells."""

    provider: str
    revision: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The form of schemas/json/cache_policy_check.json."""
        summary = {kind.value: sum(one.kind is kind for one in self.findings) for kind in Kind}
        return {
            "kind": "cache_policy_check",
            "version": 1,
            "provider": self.provider,
            "revision": self.revision,
            "equal": not self.findings,
            "summary": summary,
            "findings": [one.to_json() for one in self.findings],
            "notes": list(self.notes),
        }
