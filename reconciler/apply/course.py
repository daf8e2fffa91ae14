"""How one artifact's build goes, from one try to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.ports.compute import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.apply.building import Building
    from reconciler.apply.tries import Tries
    from reconciler.identity.resolve import Keyed
    from reconciler.model.desired import Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.forecast import Expected
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.run import Run


@dataclass(slots=True)
class Course:
    """What is built, the same at each try, and how it goes. `parents` are the images that it stands on; if it is
    `fresh`, nothing that is there already is taken."""

    wanted: Wanted
    identity: Keyed
    parents: Mapping[tuple[ArtifactName, Platform], Digest]
    fresh: bool
    tries: Tries
    share: str
    """Whom the next try shares its runner with."""
    expected: Expected | None = None
    """How long it should take, by the plan."""
    apart: list[str] = field(default_factory=list)
    """Shares of its own, which end with it."""
    work: Building | None = None
    """The last try; None before the first has begun."""
    began: tuple[float, float] | None = None
    """When the first one did, as the clock and as a stopwatch say it."""
    usage: Usage = field(default_factory=Usage)
    """Of the runner, when the build was done there."""
    run: Run | None = None
    """What the try needed that went well."""
    logs: list[Path] = field(default_factory=list)
    """Of all solves of all tries, in their order."""

    @property
    def name(self) -> ArtifactName:
        """Whose build it is."""
        return self.wanted.artifact.name

    @property
    def ended(self) -> Result:
        """A build that has failed so far."""
        return Result(
            self.name,
            Action.BUILD,
            Status.FAILED,
            seconds=time.monotonic() - self.began[1] if self.began else 0.0,
            log=self.work.last_log if self.work else None,
            caches=self.work.used if self.work else {},
            tries=tuple(self.tries.failed),
            tier=self.tries.tier,
            build_seconds=self.run.seconds if self.run else None,
            forecast=self.expected,
        )
