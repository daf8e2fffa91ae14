"""Who was refused what. No secret is part of it: user names are, and where a login came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a login came from. `place` is told as in "it came from PLACE"; `remedy`, an imperative, is how it is
    changed there."""

    place: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Account:
    """As whom a registry was asked: `user` is empty where `kind` is a token, which has no name."""

    user: str
    kind: str
    origin: Origin

    @property
    def name(self) -> str:
        """As it follows "as"."""
        return self.user or f"whoever has {self.kind}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 401 or 403, from the registry or its token service. `what` was asked for is None where the registry refuses the
    login, or the lack of one, whatever is asked for; `account` is None where no login was sent."""

    host: str
    what: str | None
    cause: str
    account: Account | None
