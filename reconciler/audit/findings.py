"""What `lian verify` finds out, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.attest.verify import Vouched
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository


class State(StrEnum):
    """How an image stands, the worst first: of several the first counts."""

    BROKEN = "broken"
    """A part of it is missing or damaged, or it is not for the platforms it should be for."""
    UNSIGNED = "unsigned"
    """No signature (or attestation, where the policy makes them) by a trusted key holds."""
    UNRECORDED = "unrecorded"
    """No build record says that it is what the commit asks for."""
    UNKNOWN = "unknown"
    """Something could not be read."""
    INVALID = "invalid"
    HELD = "held"
    DRIFT = "drift"
    """It is not there yet, or a tag points elsewhere."""
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, and what state it makes of the image."""

    state: State
    problem: Problem


@dataclass(frozen=True, slots=True)
class Verified:
    """One artifact. `digest` is None where no image of the commit is there to be looked at; `parents` are those whose
    own image is broken or cannot be read; `remedy` says what `lian reconcile` makes of what is broken."""

    artifact: ArtifactName
    image: Repository
    tags: tuple[str, ...]
    digest: Digest | None = None
    key: str | None = None
    findings: tuple[Finding, ...] = ()
    missing: tuple[Digest, ...] = ()
    damaged: tuple[Digest, ...] = ()
    """Their bytes are not what their digest says; empty also where nobody read them."""
    record: BuildRecord | None = None
    vouched: tuple[Vouched, ...] = ()
    parents: tuple[ArtifactName, ...] = ()
    remedy: str | None = None

    @property
    def state(self) -> State:
        """The worst that was found."""
        found = {finding.state for finding in self.findings}
        return next((state for state in State if state in found), State.OK)

    def to_json(self) -> dict[str, Any]:
        """One entry of a verify document's `results`."""
        return {
            "artifact": str(self.artifact),
            "image": str(self.image),
            "tags": list(self.tags),
            "state": self.state.value,
            "digest": str(self.digest) if self.digest else None,
            "key": self.key,
            "missing": [str(digest) for digest in self.missing],
            "damaged": [str(digest) for digest in self.damaged],
            "record": {"revision": self.record.revision or None, "started": self.record.started}
            if self.record
            else None,
            "signed_by": sorted({vouched.key for vouched in self.vouched}),
            "statements": sorted({vouched.statement.predicate_type for vouched in self.vouched}),
            "parents": [str(parent) for parent in self.parents],
            "remedy": self.remedy,
            "findings": [finding.problem.to_json() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What `lian verify` tells, by name. `keys` are the names of those that signatures were looked for with, empty if
    nobody asked for any; `read` counts the bytes of blobs that were read and hashed; `notes` are for stderr."""

    revision: str
    deep: bool
    keys: tuple[str, ...] = ()
    results: tuple[Verified, ...] = ()
    read: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> dict[str, int]:
        """State -> how many."""
        counts = Counter(result.state for result in self.results)
        return {state.value: counts[state] for state in State}

    def to_json(self) -> dict[str, Any]:
        """The document of `lian verify --json`."""
        return {
            "kind": "verify",
            "version": 1,
            "revision": self.revision,
            "deep": self.deep,
            "keys": list(self.keys),
            "read": self.read,
            "summary": self.summary,
            "results": [result.to_json() for result in self.results],
            "problems": [problem.to_json() for problem in self.problems],
        }
