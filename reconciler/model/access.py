"""Who logs in to the registry as what: the accounts of CI, of actors and of those who look after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ActorAccess:
    """An actor's accounts, and the workspaces whose sessions he may have; None means all."""

    accounts: tuple[str, ...]
    workspaces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """`policy.access` of lian.ncl. Accounts are names that the registry knows."""

    ci: tuple[str, ...] = ("ci",)
    actors: Mapping[str, ActorAccess] = field(default_factory=dict)
    admins: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    """Of what runs the images: they are pulled, and nothing else."""
