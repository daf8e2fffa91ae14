"""The plan is a value: it can be printed, compared and applied (terraform internal/plans)."""

from __future__ import annotations

from collections import Counter
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.digest import Digest
    from reconciler.model.forecast import BuildForecast, PassForecast
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository


class Action(StrEnum):
    """What happens to one artifact."""

    BUILD = "build"
    RETAG = "retag"
    PRUNE = "prune"
    HOLD = "hold"
    NONE = "none"


class ReasonCode(StrEnum):
    """Why; the codes are the same in plans, JSON, records and docs (design section 5)."""

    ABSENT = "absent"
    CONTEXT_CHANGED = "context-changed"
    DOCKERFILE_CHANGED = "dockerfile-changed"
    ARGS_CHANGED = "args-changed"
    LABELS_CHANGED = "labels-changed"
    TARGET_CHANGED = "target-changed"
    NAMED_CONTEXT_CHANGED = "named-context-changed"
    SECRET_CHANGED = "secret-changed"
    BASE_MOVED = "base-moved"
    FETCHED_MOVED = "fetched-moved"
    FRONTEND_MOVED = "frontend-moved"
    PARENT_CHANGED = "parent-changed"
    BUILDER_CHANGED = "builder-changed"
    EPOCH_CHANGED = "epoch-changed"
    PLATFORM_MISSING = "platform-missing"
    EXPIRED = "expired"
    FORCED = "forced"
    TAG_DIFFERS = "tag-differs"
    RETAGGED = "retagged"
    FOREIGN = "foreign"
    BROKEN = "broken"
    ORPHANED = "orphaned"
    SUPERSEDED = "superseded"
    IMMUTABLE = "immutable"
    LIMITED = "limited"
    STALE = "stale"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    IN_SYNC = "in-sync"


class FileStatus(StrEnum):
    """What became of a file (git-diff(1), --name-status)."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"


@dataclass(frozen=True, slots=True, order=True)
class FileChange:
    """A file that differs; `path` from the repo's root."""

    path: str
    status: FileStatus = FileStatus.MODIFIED

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        return {"path": self.path, "status": self.status.value}


@dataclass(frozen=True, slots=True)
class Moved:
    """A context from another repository: the commit of the last build, where it is known, or that of a merge's base;
    and the one that `rev` means now."""

    url: str
    rev: str
    old: str | None
    new: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        return {"url": self.url, "rev": self.rev, "old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason with its old and new value; `subject` says of what (an argument, a base, a tag), `origin` that it is
    about another repository, whose the files are then; `commit` is the last that changed one of the files."""

    code: ReasonCode
    old: str | None = None
    new: str | None = None
    subject: str | None = None
    files: tuple[FileChange, ...] = ()
    origin: Moved | None = None
    commit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json: what is optional only where it says something."""
        document: dict[str, Any] = {"code": self.code.value, "old": self.old, "new": self.new}
        if self.subject is not None:
            document["subject"] = self.subject
        if self.files:
            document["files"] = [file.to_json() for file in self.files]
        if self.origin is not None:
            document["origin"] = self.origin.to_json()
        if self.commit is not None:
            document["commit"] = self.commit
        return document


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one artifact, and why; never without a reason.

    `key` and `digest` are None where they cannot be known yet. `conditional` means: only if a parent in `waits_for`
    comes out different (early cutoff). `left` are wanted tags that stay where someone else put them. `source` is the
    repository that the image is copied from instead of being built. `replaces` means that what is under the content
    tag is not good: it is built again, whatever is there.
    """

    artifact: ArtifactName
    image: Repository
    tags: tuple[str, ...]
    platforms: tuple[Platform, ...]
    action: Action
    reasons: tuple[Reason, ...]
    _: KW_ONLY
    key: str | None = None
    digest: Digest | None = None
    waits_for: tuple[ArtifactName, ...] = ()
    conditional: bool = False
    holds: tuple[Problem, ...] = ()
    left: tuple[str, ...] = ()
    source: Repository | None = None
    replaces: bool = False
    forecast: BuildForecast | None = None
    """Of a build, where it was looked into."""

    def held(self, reasons: Iterable[Reason], problems: Iterable[Problem]) -> Change:
        """The same, waiting for a person or the next pass, for these reasons and no others."""
        return replace(
            self,
            action=Action.HOLD,
            reasons=tuple(reasons),
            holds=tuple(problems),
            conditional=False,
            replaces=False,
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json (schemas/json/plan.json)."""
        return {
            "artifact": str(self.artifact),
            "image": str(self.image),
            "tags": list(self.tags),
            "platforms": [str(p) for p in self.platforms],
            "action": self.action.value,
            "key": self.key,
            "digest": str(self.digest) if self.digest else None,
            "reasons": [r.to_json() for r in self.reasons],
            "waits_for": [str(p) for p in self.waits_for],
            "conditional": self.conditional,
            "holds": [p.to_json() for p in self.holds],
            "left": list(self.left),
            "source": str(self.source) if self.source else None,
            **({"forecast": self.forecast.to_json()} if self.forecast else {}),
        }


@dataclass(frozen=True, slots=True)
class Merge:
    """That a plan is about merging one commit into another: their ids, and what a person called them."""

    base: str
    head: str
    base_called: str
    head_called: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        return {"base": self.base, "head": self.head}


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes of one pass, parents before children, else by name."""

    revision: str
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    orphans: tuple[Change, ...] = ()
    """What is in the registry and no longer wanted, one for each artifact that was; empty where nobody looked. Of a
    merge: what it takes out of the desired repo."""
    merge: Merge | None = None
    """Where this is not what a pass would do, but what one would do once this is merged."""
    forecast: PassForecast | None = None
    """None where nothing is to be built, or nobody looked into it."""
    others: int = 0
    """How many artifacts the commit asks for beside these."""

    @property
    def summary(self) -> dict[str, int]:
        """Action -> how many."""
        counts = Counter(change.action for change in self.whole)
        return {action.value: counts[action] for action in Action}

    @property
    def drift(self) -> bool:
        """True if carrying this out would change the registry."""
        return any(c.action in {Action.BUILD, Action.RETAG, Action.PRUNE} for c in self.whole)

    @property
    def whole(self) -> tuple[Change, ...]:
        """The changes of what is wanted, then those of what is not any more."""
        return (*self.changes, *self.orphans)

    def to_json(self) -> dict[str, Any]:
        """The document of `lian diff --json`."""
        return {
            "kind": "plan",
            "version": 1,
            "revision": self.revision,
            "summary": self.summary,
            "changes": [c.to_json() for c in self.whole],
            "problems": [p.to_json() for p in self.problems],
            **({"merge": self.merge.to_json()} if self.merge else {}),
            **({"forecast": self.forecast.to_json()} if self.forecast else {}),
        }
