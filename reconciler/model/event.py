"""What a pass tells while it runs. A closed list: a view or a log handles each, or says that it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from reconciler.model.attempt import FailedTry
    from reconciler.model.name import ArtifactName
    from reconciler.model.outcome import Outcome, Result
    from reconciler.model.plan import Plan
    from reconciler.model.tier import Tier


@dataclass(frozen=True, slots=True)
class Noted:
    """A sentence for the person who runs lian."""

    text: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan is made; nothing has been done."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Waiting:
    """The artifact cannot start yet: it waits for a parent, a free place or a runner."""

    artifact: ArtifactName
    what: str


@dataclass(frozen=True, slots=True)
class Started:
    """Work on the artifact has begun."""

    artifact: ArtifactName


@dataclass(frozen=True, slots=True)
class Step:
    """The build is at this step, in BuildKit's words; `cached` if it needed no work."""

    artifact: ArtifactName
    name: str
    done: bool = False
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Retrying:
    """The artifact's build failed, and is done again at this tier."""

    artifact: ArtifactName
    failed: FailedTry
    tier: Tier


@dataclass(frozen=True, slots=True)
class Finished:
    """The artifact's end."""

    result: Result


@dataclass(frozen=True, slots=True)
class Ended:
    """The pass is over."""

    outcome: Outcome


Event: TypeAlias = "Noted | Planned | Waiting | Started | Step | Retrying | Finished | Ended"
