"""What `lian registry status` finds, as values. None stands for what could not be found out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model.plan import Action, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.fleet import RegistryProvider
    from reconciler.model.plan import Change
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository
    from reconciler.ports.abilities import Able


class TagKind(StrEnum):
    """What a tag is there for."""

    WANTED = "wanted"
    """A directive of this commit asks for it."""
    SUPERSEDED = "superseded"
    """lian gave it for an artifact that this commit still has, under other tags."""
    ORPHANED = "orphaned"
    """lian gave it for an artifact that this commit does not have."""
    CONTENT = "content"
    """It carries a key: `lian-` and 40 digits."""
    DOCUMENT = "document"
    """A document of lian, or a list of what refers to an image."""
    OTHER = "other"


class Owner(StrEnum):
    """Whose an image is, after its build records."""

    OURS = "ours"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Holding:
    """One repository. `tags` and `images` are empty, and `size` is None, where `problems` say why. Platforms of an
    image are no images of their own. `contents` has the size in bytes of every manifest, config and layer that a tag
    reaches; records and signatures are not counted. `newest` and `oldest` (RFC 3339) are of this fleet's records."""

    repository: Repository
    tags: Mapping[TagKind, int] = field(default_factory=dict)
    images: Mapping[Owner, int] = field(default_factory=dict)
    contents: Mapping[Digest, int] = field(default_factory=dict)
    newest: str | None = None
    oldest: str | None = None
    problems: tuple[Problem, ...] = ()
    changes: tuple[Change, ...] = ()
    """What the plan says of the artifacts that are wanted here, or that were."""

    @property
    def read(self) -> bool:
        """True if all of it could be read."""
        return not self.problems

    @property
    def size(self) -> int | None:
        """Bytes, each content once."""
        return sum(self.contents.values()) if self.read else None

    def to_json(self) -> dict[str, Any]:
        """One entry of a registry's `repositories`."""
        counted = bool(self.tags) or self.read
        return {
            "repository": str(self.repository),
            "tags": {kind.value: self.tags.get(kind, 0) for kind in TagKind} if counted else None,
            "images": {owner.value: self.images.get(owner, 0) for owner in Owner} if counted else None,
            "bytes": self.size,
            "newest": self.newest,
            "oldest": self.oldest,
            "artifacts": [_told(change) for change in self.changes],
            "problems": [problem.to_json() for problem in self.problems],
        }


def _told(change: Change) -> dict[str, Any]:
    return {
        "artifact": str(change.artifact),
        "action": change.action.value,
        "reasons": [reason.to_json() for reason in change.reasons],
    }


@dataclass(frozen=True, slots=True)
class Shelf:
    """One registry. `catalog` says whether it lists its repositories; where it does not, `holdings` are those that the
    commit names. `search` is of the slot: a list of everything in one request."""

    host: str
    provider: RegistryProvider | None
    catalog: bool | None
    able: Able
    holdings: tuple[Holding, ...] = ()
    problems: tuple[Problem, ...] = ()
    caches: int = 0
    """Repositories of build caches, which are not among the holdings: `lian cache` tells of them."""

    @property
    def size(self) -> int | None:
        """Bytes, each content once, however many repositories hold it."""
        if self.catalog is None or not all(holding.read for holding in self.holdings):
            return None
        merged: dict[Digest, int] = {}
        for holding in self.holdings:
            merged.update(holding.contents)
        return sum(merged.values())

    def to_json(self) -> dict[str, Any]:
        """One entry of a status document's `registries`."""
        return {
            "host": self.host,
            "provider": self.provider.value if self.provider else None,
            "catalog": self.catalog,
            "referrers_api": self.able.referrers,
            "bulk_search": self.able.search,
            "deletes": self.able.deletes,
            "bytes": self.size,
            "caches": self.caches,
            "repositories": [holding.to_json() for holding in self.holdings],
            "problems": [problem.to_json() for problem in self.problems],
        }


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """What `lian registry status` tells. `moment` (Unix seconds) is when it was asked; `notes` are for stderr."""

    revision: str
    moment: float
    shelves: tuple[Shelf, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """What the plan says of all that was looked at."""
        return tuple(change for shelf in self.shelves for holding in shelf.holdings for change in holding.changes)

    @property
    def summary(self) -> dict[str, int]:
        """Artifacts by how they stand: in sync, drifted (also where the policy leaves it), held."""
        counts = Counter(drift_of(change) for change in self.changes)
        return {state: counts[state] for state in ("in-sync", "drift", "held")}

    @property
    def unread(self) -> tuple[Problem, ...]:
        """Why something could not be found out."""
        found = [problem for shelf in self.shelves for problem in shelf.problems]
        found += [problem for s in self.shelves for holding in s.holdings for problem in holding.problems]
        return tuple(dict.fromkeys(found))

    def to_json(self) -> dict[str, Any]:
        """The document of `lian registry status --json`."""
        return {
            "kind": "status",
            "version": 1,
            "revision": self.revision,
            "summary": self.summary,
            "registries": [shelf.to_json() for shelf in self.shelves],
            "problems": [problem.to_json() for problem in self.problems],
        }


def drift_of(change: Change) -> str:
    """`in-sync`, `drift` or `held`."""
    if change.action is Action.HOLD:
        return "held"
    in_sync = change.action is Action.NONE and all(reason.code is ReasonCode.IN_SYNC for reason in change.reasons)
    return "in-sync" if in_sync else "drift"
