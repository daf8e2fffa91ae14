"""Where a credential lies, never the credential itself (schemas/vault_refs.ncl)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SourceKind(StrEnum):
    """The kinds of places a credential can be in."""

    ENV = "Env"
    FILE = "File"
    COMMAND = "Command"
    VAULT = "Vault"


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A variable, a path, a command line or a vault path; `user` is the login name where the source holds only the
    password."""

    kind: SourceKind
    name: str
    user: str | None = None
