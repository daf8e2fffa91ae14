"""What became of a build's cache mounts: restored before it, saved after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model.measures import count, seconds
from reconciler.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


class MountsEnd(StrEnum):
    """How it ended."""

    NONE = "none"
    """There was nothing to do: none are kept, or no step with one ran."""
    RESTORED = "restored"
    ABSENT = "absent"
    """None were saved yet, or none as fresh as the build is asked to be."""
    SAVED = "saved"
    UNCHANGED = "unchanged"
    """What is saved is what there is."""
    FAILED = "failed"
    """Not, or not all of them; the problems say why. The build is good all the same."""


@dataclass(frozen=True, slots=True)
class MountsMoved:
    """One way: `mounts` were brought, `bytes` went over the wire, in `seconds`; from or to `reference`. Of what was in
    the mounts, `dropped` files and links were left out because they may not come back."""

    end: MountsEnd = MountsEnd.NONE
    reference: str | None = None
    mounts: int = 0
    bytes: int = 0
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()
    dropped: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it stands in records and outcomes."""
        return {
            "end": self.end.value,
            "reference": self.reference,
            "mounts": self.mounts,
            "bytes": self.bytes,
            "dropped": self.dropped,
            "seconds": round(self.seconds, 3),
            "problems": [problem.to_json() for problem in self.problems],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MountsMoved:
        """Raises KeyError, TypeError or ValueError for anything else."""
        reference = document["reference"]
        return cls(
            MountsEnd(document["end"]),
            None if reference is None else str(reference),
            count(document["mounts"]),
            count(document["bytes"]),
            seconds(document["seconds"]),
            tuple(Problem.from_json(one) for one in document["problems"]),
            count(document["dropped"]),
        )


@dataclass(frozen=True, slots=True)
class MountUse:
    """What became of one build's cache mounts."""

    restored: MountsMoved = field(default_factory=MountsMoved)
    saved: MountsMoved = field(default_factory=MountsMoved)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of both ways, each once: what is missing for one is missing for the other."""
        return tuple(dict.fromkeys((*self.restored.problems, *self.saved.problems)))

    def to_json(self) -> dict[str, Any]:
        """As it stands in records and outcomes."""
        return {"restored": self.restored.to_json(), "saved": self.saved.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MountUse:
        """Raises KeyError, TypeError or ValueError for anything else."""
        return cls(MountsMoved.from_json(document["restored"]), MountsMoved.from_json(document["saved"]))
