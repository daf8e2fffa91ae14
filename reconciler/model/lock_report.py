"""What `lian lock` did, or found: each entry that is new, moved, gone or lacking, and who uses it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.model.moving import Part
    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem


class LockAction(StrEnum):
    """What happens to an entry."""

    ADDED = "added"
    MOVED = "moved"
    REMOVED = "removed"
    LACKING = "lacking"
    """A check found that it is not there."""
    UNUSED = "unused"
    """A check found that nothing uses it."""


@dataclass(frozen=True, slots=True)
class LockChange:
    """One entry; `old` and `new` are digests or commits, `artifacts` who uses it, by name."""

    part: Part
    action: LockAction
    old: str | None = None
    new: str | None = None
    artifacts: tuple[ArtifactName, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in lock_report.json."""
        return {
            "kind": self.part.kind.value,
            "name": self.part.name,
            "rev": self.part.rev or None,
            "action": self.action.value,
            "old": self.old,
            "new": self.new,
            "artifacts": [str(name) for name in self.artifacts],
        }


@dataclass(frozen=True, slots=True)
class LockReport:
    """One run. `written` is False where nothing had to be, where something could not be found out (`unresolved`), and
    in a check."""

    revision: str
    changes: tuple[LockChange, ...] = ()
    kept: int = 0
    """Entries that stay as they are."""
    written: bool = False
    problems: tuple[Problem, ...] = ()
    """What is wrong in the commit: what it uses is not all known, so nothing is taken for unused."""
    unresolved: tuple[Problem, ...] = ()
    """Why nothing is written."""
    mended: bool = False
    """A check found that the working tree's lock has all that the commit's lacks, and nothing in vain."""
    notes: tuple[str, ...] = ()
    """Sentences for people."""

    def to_json(self) -> dict[str, Any]:
        """The document of `lian lock --json`."""
        return {
            "kind": "lock_report",
            "version": 1,
            "revision": self.revision,
            "written": self.written,
            "kept": self.kept,
            "mended": self.mended,
            "changes": [change.to_json() for change in self.changes],
            "problems": [problem.to_json() for problem in self.problems],
            "unresolved": [problem.to_json() for problem in self.unresolved],
            "notes": list(self.notes),
        }
