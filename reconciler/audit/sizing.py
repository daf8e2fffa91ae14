"""`lian sizing`: how large a runner an artifact's build gets and why, and what the desired repo should say of sizes."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.audit.chosen import chosen
from reconciler.model.observed import Observed, Unknown
from reconciler.model.tier import BUILD_SPEC
from reconciler.observe.evidence import evidence
from reconciler.plan.select import Selection, select, sole
from reconciler.reconcile import load
from reconciler.sizing.choose import size
from reconciler.sizing.evidence import Evidence
from reconciler.sizing.suggest import Advice, Asked, Wish, changed_text, new_text, wish_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem
    from reconciler.model.tier import Ladder, Sizes
    from reconciler.ports.bundle import Reading
    from reconciler.sizing.choose import Sizing


@dataclass(frozen=True, slots=True)
class Explanation:
    """One artifact's size. `invalid` if the commit is wrong about it; `unread` is what stood in the way of earlier
    runs."""

    revision: str
    wanted: Wanted
    sizing: Sizing
    ladder: Ladder
    invalid: bool = False
    unread: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def artifact(self) -> ArtifactName:
        """Whose size it is."""
        return self.wanted.artifact.name

    @property
    def hourly(self) -> float | None:
        """What an hour of the runner costs, None where nobody says so."""
        return self.sizing.machine.hourly if self.sizing.machine else None

    def to_json(self) -> dict[str, Any]:
        """The document of `lian sizing explain --json`."""
        sizing, spec = self.sizing, self.wanted.spec
        return {
            "kind": "sizing",
            "version": 1,
            "revision": self.revision,
            "artifact": str(self.artifact),
            "rule": sizing.rule.value,
            "tier": sizing.tier.document(),
            "machine": sizing.machine.to_json() if sizing.machine else None,
            "currency": self.ladder.currency if self.hourly is not None else None,
            "cpu": sizing.cpu.to_json(),
            "memory_gb": sizing.memory.to_json(),
            "time_budget": sizing.time.to_json(),
            "language": sizing.language,
            "build_spec": spec.file if spec else None,
            "evidence": {
                "artifacts": list(sizing.evidence.artifacts),
                "runs": [run.to_json() for run in sizing.evidence.runs],
            },
            "ladder": [tier.to_json() for tier in self.ladder.tiers],
            "holds": [problem.to_json() for problem in self.wanted.holds],
            "unread": [problem.to_json() for problem in self.unread],
        }


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A file to write: `old` is its text now, None where there is none."""

    file: str
    wish: Wish
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What the desired repo should say, by file. `by_hand` are files that only a person should change, with what they
    should say; `advice` is for directives."""

    revision: str
    suggestions: tuple[Suggestion, ...] = ()
    by_hand: tuple[tuple[str, Wish], ...] = ()
    advice: tuple[Advice, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self, patches: Mapping[str, str]) -> dict[str, Any]:
        """The document of `lian sizing suggest --json`; `patches` has the patch of each suggestion's file."""
        return {
            "kind": "sizing-suggestions",
            "version": 1,
            "revision": self.revision,
            "suggestions": [
                {"file": one.file, **_wished(one.wish), "patch": patches[one.file]} for one in self.suggestions
            ],
            "by_hand": [{"file": file, **_wished(wish)} for file, wish in self.by_hand],
            "advice": [
                {"artifact": one.artifact, "now": one.now.document(), "then": one.then.document()}
                for one in self.advice
            ],
            "problems": [problem.to_json() for problem in self.problems],
            "unread": [problem.to_json() for problem in self.unread],
        }


def _wished(wish: Wish) -> dict[str, Any]:
    return {
        "artifacts": list(wish.artifacts),
        "cpu": wish.cpu,
        "memory_gb": wish.memory_gb,
        "runs": wish.runs,
        "now": wish.now.document(),
        "then": wish.then.document(),
    }


async def explain(ports: Reading, typed: str) -> Explanation:
    """Why an artifact's build gets what it gets. Raises LianError `selection-empty` if there is no such artifact,
    `artifact-ambiguous` if there are several, or if no commit can be read."""
    desired = await load(ports)
    name = sole(desired, typed)
    sizes, known, unread = await _known(ports, desired, [name])
    wanted = desired.wanted[name]
    sizing = size(wanted.artifact, wanted.spec, known[name], sizes)
    invalid = any(problem.artifact == str(name) for problem in desired.problems)
    return Explanation(desired.revision, wanted, sizing, sizes.ladder, invalid, unread, desired.notes)


async def suggest(ports: Reading, only: Sequence[str]) -> Suggestions:
    """What runs ask for that is not written down, for the chosen artifacts; those that share a context with one are
    taken with it, for its file counts for all of them. Raises LianError as `explain` does."""
    desired = await load(ports)
    select(desired, Selection(tuple(only)))
    folders = _folders(desired, only)
    names = [wanted.artifact.name for those in folders.values() for wanted in those]
    sizes, known, unread = await _known(ports, desired, names)
    suggestions: list[Suggestion] = []
    by_hand: list[tuple[str, Wish]] = []
    advice: list[Advice] = []
    for folder, those in sorted(folders.items()):
        asked = [Asked(w.artifact, w.spec, _own(w.artifact.name, known)) for w in those]
        wish, told = wish_of(asked, sizes)
        advice += told
        if wish is None:
            continue
        file = posixpath.normpath(posixpath.join(folder, BUILD_SPEC))
        old = await _text(ports, file) if any(w.spec for w in those) else None
        new = new_text(wish) if old is None else changed_text(old, wish)
        if new is None:
            by_hand.append((file, wish))
        else:
            suggestions.append(Suggestion(file, wish, old, new))
    return Suggestions(
        desired.revision,
        tuple(suggestions),
        tuple(by_hand),
        tuple(advice),
        desired.problems,
        unread,
        desired.notes,
    )


async def _known(
    ports: Reading, desired: Desired, names: Sequence[ArtifactName]
) -> tuple[Sizes, Mapping[ArtifactName, Evidence], tuple[Problem, ...]]:
    """The sizes there are, what is known of earlier runs, and what could not be read of them."""
    observed = Observed()
    sizes = await ports.source.sizes()
    known = await evidence(ports.registry, desired, observed, names)
    answers = (*observed.heads.values(), *observed.records.values(), *observed.applied.values())
    unread = (answer.problem for answer in answers if isinstance(answer, Unknown))
    return sizes, known, tuple(dict.fromkeys(unread))


def _folders(desired: Desired, only: Sequence[str]) -> dict[str, list[Wanted]]:
    """Context folder -> the artifacts whose size its file says; those in which an artifact is chosen. What is held has
    none."""
    found: dict[str, list[Wanted]] = defaultdict(list)
    for name in sorted(desired.wanted):
        wanted = desired.wanted[name]
        if wanted.materials is not None:
            found[wanted.materials.context.path].append(wanted)
    return {f: those for f, those in found.items() if any(chosen(w.artifact.name, only) for w in those)}


def _own(name: ArtifactName, known: Mapping[ArtifactName, Evidence]) -> Evidence:
    """Its own runs alone: what is written into a file of its own must not rest on those of others."""
    return known[name] if known[name].artifacts == (str(name),) else Evidence()


async def _text(ports: Reading, file: str) -> str:
    """Raises LianError."""
    return (await ports.source.blob(file)).decode("utf-8")
