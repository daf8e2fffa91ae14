"""What the evaluator is given and what it gives back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.packaged import Packaged
    from reconciler.model.problem import Problem


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to evaluate: its path in the repo (POSIX) and its git blob id in hex."""

    path: str
    blob: str


class Tree(Protocol):
    """What the evaluator sees of the commit."""

    @property
    def called(self) -> str:
        """What messages call it: `the commit`, say."""
        ...

    def lookup(self, path: str) -> tuple[str, str] | None:
        """Mode as git writes it (`100644`) and blob id of one path; None if the commit does not hold it."""
        ...

    def read(self, blob: str) -> bytes:
        """The content of a blob that `lookup` named."""
        ...


@dataclass(frozen=True, slots=True)
class Contract:
    """A packaged contract: `file` exports it as `name`; `twin` is the JSON Schema that says the same."""

    file: str
    name: str
    twin: str


BUILD_DIRECTIVES = Contract("schemas/build_directives.ncl", "BuildDirectives", "schemas/json/build_directives.json")
FLEET_SETTINGS = Contract("schemas/fleet.ncl", "FleetSettings", "schemas/json/fleet.json")
TIER_DEFAULTS = Contract("schemas/tiers.ncl", "TierDefaults", "schemas/json/tiers.json")
BUILD_POLICY = Contract("schemas/policy.ncl", "BuildPolicy", "schemas/json/policy.json")
BUILD_SPEC = Contract("schemas/build_spec.ncl", "BuildSpec", "schemas/json/build_spec.json")


class Kind(StrEnum):
    """Which Nickel evaluates: AUTO takes the command where one is usable, else the wheel."""

    AUTO = "auto"
    CLI = "cli"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may use. Sizes in bytes, times in seconds of wall clock."""

    seconds: float = 5.0
    memory: int = 512 << 20
    """Address space of the worker."""
    output: int = 1 << 20
    """JSON of one file."""
    reply: int = 64 << 20
    """JSON of one chunk of files."""


@dataclass(frozen=True, slots=True)
class EvaluatorSettings:
    """How to evaluate. `cache` is an SQLite file, None for none; `workers` None means one for each core, at most 4."""

    cache: Path | None = None
    workers: int | None = None
    limits: Limits = field(default_factory=Limits)
    kind: Kind = Kind.AUTO
    packaged: Packaged | None = None
    """The schemas and defaults to evaluate against; None means those that ship with lian."""
    shared: dict[bytes, Evaluated] | None = None
    """For trees that are read together: the good values so far, so that what several have is parsed once."""

    @property
    def parallel(self) -> int:
        """How many workers run at a time."""
        return self.workers or max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of one file: `value` (parsed JSON) when `problems` is empty, else None."""

    value: Any | None
    problems: tuple[Problem, ...] = ()
