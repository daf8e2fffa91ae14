"""Rules of the platform's owner (`policy/` in the desired repo): what artifacts have to keep before anything is built.

They are no part of a key: changing one rebuilds nothing. What a fleet does about drift is another matter, see
model.policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.globs import matcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.artifact import Place
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.problem import Problem

FieldPath: TypeAlias = "tuple[str, ...]"
"""The names of fields on the way to one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Globs of what is allowed, None for everything, and of what is not in any case."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Most:
    """The most that a runner may be asked to have; None sets no bound. GB, and minutes for the time budget."""

    cpu: int | None = None
    memory_gb: float | None = None
    time_budget: int | None = None


@dataclass(frozen=True, slots=True)
class ArgRules:
    """What arguments may not be; names in globs, in either case."""

    deny: tuple[str, ...] = ()
    no_secrets: bool = False
    excepted: tuple[str, ...] = ()
    """Names that neither is about."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as its file has it. `artifacts` and `excepted` are globs over `workspace/artifact`."""

    name: str
    place: Place
    because: str | None = None
    artifacts: tuple[str, ...] = ("*",)
    excepted: tuple[str, ...] = ()
    bases: Choice = field(default_factory=Choice)
    pinned: bool = False
    """Whether bases have to be fixed by digest, in their names or in lian.lock."""
    sources: Choice = field(default_factory=Choice)
    sources_pinned: bool = False
    """Whether what is fetched from git or from URLs has to be fixed: by commit or checksum, or in lian.lock."""
    image: Choice = field(default_factory=Choice)
    tags: Choice = field(default_factory=Choice)
    platforms: frozenset[Platform] | None = None
    """Those that are allowed; None for all."""
    required_platforms: frozenset[Platform] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Each that is required, with the glob of its value."""
    args: ArgRules = field(default_factory=ArgRules)
    most: Most = field(default_factory=Most)
    tiers: tuple[str, ...] | None = None
    """Those that may be named; None for all."""
    secrets: Choice = field(default_factory=Choice)
    max_age: str | None = None
    """The largest that an artifact may say, as a duration is written; None asks for nothing."""
    force: bool = True
    """Whether `--force` may build them."""
    places: Mapping[FieldPath, Place] = field(default_factory=dict, repr=False)
    """Where its fields are written, by their paths below it."""

    @property
    def demands(self) -> bool:
        """Whether there is anything that an artifact could break."""
        nothing = Rule(
            self.name,
            self.place,
            self.because,
            self.artifacts,
            self.excepted,
            args=ArgRules(excepted=self.args.excepted),
            places=self.places,
        )
        return self != nothing

    def is_about(self, name: str) -> bool:
        """True for an artifact, `workspace/artifact`, that has to keep it."""
        return matcher(self.artifacts)(name) and not matcher(self.excepted)(name)

    def place_of(self, *part: str) -> Place:
        """Where a field of it is written, or the innermost one around it."""
        for length in range(len(part), 0, -1):
            if found := self.places.get(part[:length]):
                return found
        return self.place


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules of one commit; all of them hold. `problems` are of its files that could not be read: as long as there
    are any, nobody knows what is allowed, and nothing is built."""

    rules: tuple[Rule, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """Something that a commit says of an artifact in one of its files: in a field, or in a Dockerfile as the name of
    an image or in a line. Where that is, the source can tell."""

    artifact: ArtifactName
    file: str
    fields: tuple[FieldPath, ...] = ()
    """Where it may stand, the likeliest first."""
    image: str | None = None
    """As in desired.Needs: the image as the Dockerfile names it."""
    line: int | None = None
    """That of the Dockerfile's instruction, for what is no image."""
