"""Where a credential lies, never the credential itself (schemas/vault_refs.ncl)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_WORKSPACE = "*"
"""Stands for a workspace's name where secrets are bound for all of them."""
HOSTS = "LIAN_CREDENTIAL_HOSTS"
"""The operator's list of hosts that may have a credential because a commit says so."""


def is_listed(host: str, hosts: str) -> bool:
    """Whether the host, as `HOST[:PORT]`, is in a list that spaces or commas part."""
    return host in re.split(r"[\s,]+", hosts)


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


@dataclass(frozen=True, slots=True)
class Bindings:
    """Where the secrets of builds lie, as the fleet's owner says: workspace -> logical name -> source."""

    sources: Mapping[str, Mapping[str, SourceRef]] = field(default_factory=dict)

    def of(self, workspace: str, name: str) -> SourceRef | None:
        """What the workspace's builds get under this name: what is its own, else what is every workspace's."""
        bound = (self.sources.get(group, {}).get(name) for group in (workspace, EVERY_WORKSPACE))
        return next((source for source in bound if source is not None), None)

    def names(self, workspace: str) -> frozenset[str]:
        """All that the workspace's builds may ask for."""
        return frozenset(self.sources.get(workspace, {})) | frozenset(self.sources.get(EVERY_WORKSPACE, {}))
