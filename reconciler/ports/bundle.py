"""All ports of a pass in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.ports.abilities import Abilities
    from reconciler.ports.archives import Archives
    from reconciler.ports.blob_files import BlobFiles
    from reconciler.ports.builder import Builder
    from reconciler.ports.clock import Clock, Pause
    from reconciler.ports.compute import Compute
    from reconciler.ports.contents import Contents, GitRefs
    from reconciler.ports.inventory import Inventory
    from reconciler.ports.locks import Locks
    from reconciler.ports.memory import Memory
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.recorder import Recorder
    from reconciler.ports.registry import Registry
    from reconciler.ports.remover import Remover
    from reconciler.ports.revisions import Revisions
    from reconciler.ports.secrets import Secrets
    from reconciler.ports.signer import Keyring
    from reconciler.ports.source import Source


@dataclass(frozen=True, slots=True)
class Reading:
    """What a plan needs: nothing here can write to a registry."""

    source: Source
    registry: Registry
    inventory: Inventory
    clock: Clock
    memory: Memory
    revisions: Revisions


@dataclass(frozen=True, slots=True)
class Previewing(Reading):
    """What telling of a merge needs as well: `source` is what it would give."""

    base: str
    head: str
    """What a person calls the revisions."""
    before: Callable[[], Source]
    """What it would go into, to be asked once `source` is loaded: it reads as much as that one did."""


@dataclass(frozen=True, slots=True)
class Surveying(Reading):
    """What describing registries needs as well."""

    abilities: Abilities


@dataclass(frozen=True, slots=True)
class Locking:
    """What pinning moving parts needs."""

    source: Source
    registry: Registry
    contents: Contents
    git_refs: GitRefs
    locks: Locks


@dataclass(frozen=True, slots=True)
class Renting:
    """What telling of rented runners needs, and returning them."""

    source: Source
    clock: Clock
    compute: Compute


@dataclass(frozen=True, slots=True)
class Removing(Reading):
    """What taking things away needs as well."""

    publisher: Publisher
    remover: Remover


@dataclass(frozen=True, slots=True)
class Ports(Removing):
    """What carrying out a plan needs as well: building, and taking away where the fleet's policy says so."""

    compute: Compute
    builder: Builder
    blob_files: BlobFiles
    archives: Archives
    keyring: Keyring
    secrets: Secrets
    recorder: Recorder
    pause: Pause
    pass_id: str
    """Names this pass on everything it rents: lower-case letters and digits."""
    logs: Path
    """A folder of this pass's own for build logs; its first build makes it."""
