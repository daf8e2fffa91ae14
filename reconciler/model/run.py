"""What earlier builds of an artifact needed: the last of them stand in its build record, for those that come."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.forecast import Expected
from reconciler.model.measures import count, seconds
from reconciler.model.tier import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RUNS_KEPT = 20
"""Of one artifact, the newest."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,20}Z")


@dataclass(frozen=True, slots=True)
class Run:
    """One build that went well: when it began (RFC 3339, UTC), how long it took on its runner, and what it needed
    there. None for what is not known, which is never taken for nothing.

    `peak_memory` in bytes is the most that was in use on the runner at one time while it ran; None also where an
    earlier build there had needed more, which hides it. `sent` are the bytes of its contexts that were brought to the
    runner. `alone`: no other build was on the runner at any time while it ran; else memory and `cpu_seconds` are those
    of all.
    """

    started: str
    seconds: float
    tier: Tier
    peak_memory: int | None
    cpu_seconds: float | None
    sent: int
    hits: int
    steps: int
    alone: bool
    forecast: Expected | None = field(default=None, compare=False)
    """What was expected of it before it began. A release that knew of none took runs over without."""

    @property
    def worked(self) -> bool:
        """False if every step came out of a cache: such a run says nothing of what the build needs."""
        return self.hits < self.steps

    def to_json(self) -> dict[str, Any]:
        """As it stands in a build record."""
        return {
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "tier": self.tier.document(),
            "peak_memory": self.peak_memory,
            "cpu_seconds": None if self.cpu_seconds is None else round(self.cpu_seconds, 3),
            "sent": self.sent,
            "hits": self.hits,
            "steps": self.steps,
            "alone": self.alone,
            **({"forecast": self.forecast.to_json()} if self.forecast else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Run:
        """Raises KeyError, TypeError, AttributeError or ValueError for anything else."""
        if not isinstance(document["alone"], bool):
            raise ValueError("not a run: it was alone or not")
        peak, cpu = document["peak_memory"], document["cpu_seconds"]
        return cls(
            started=_time(document["started"]),
            seconds=seconds(document["seconds"]),
            tier=Tier.from_document(document["tier"]),
            peak_memory=None if peak is None else count(peak),
            cpu_seconds=None if cpu is None else seconds(cpu),
            sent=count(document["sent"]),
            hits=count(document["hits"]),
            steps=count(document["steps"]),
            alone=document["alone"],
            forecast=_expected(document.get("forecast")),
        )


def runs_from_json(document: object) -> tuple[Run, ...]:
    """Those that can be read, newest first: what another release wrote otherwise is no evidence, and harms nothing."""
    found: list[Run] = []
    for one in document if isinstance(document, list) else ():
        try:
            found.append(Run.from_json(one))
        except (KeyError, TypeError, AttributeError, ValueError):
            continue
    return newest(found)


def newest(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The newest of them, newest first, each once however many records tell of it."""
    told = sorted(runs, key=lambda run: run.forecast is None)  # the one that knows what was expected stands for both
    return tuple(sorted(dict.fromkeys(told), key=lambda run: run.started, reverse=True)[:RUNS_KEPT])


def _expected(document: Any) -> Expected | None:
    """What another release wrote otherwise is not known; the run counts all the same."""
    try:
        return None if document is None else Expected.from_json(document)
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _time(value: object) -> str:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("not a run: when it began is of another form")
    return value
