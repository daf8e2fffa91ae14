"""What earlier runs tell of artifacts that are to be sized: read from the build records behind their tags.

An artifact's own runs come first. Of one that has none, those of its workspace count that are written in the same
language: what a team's other services need is a better guess than a table (ADR 057).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.applied import Applied, applied_at
from reconciler.model.observed import Observed, Questions, Unknown
from reconciler.model.reference import Reference
from reconciler.model.run import newest
from reconciler.observe.ask import ask
from reconciler.sizing.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem
    from reconciler.model.run import Run
    from reconciler.ports.registry import Registry

    Kind: TypeAlias = tuple[str, str | None]
    """Workspace and language."""

OTHERS_LOOKED_AT = 32
OTHERS_READ = 8
"""Of a workspace's artifacts in one language, by name: whether they are there is asked of so many, and the records of
so many that are there are read."""
READ_TOGETHER = 256
"""Artifacts whose records are in memory at a time where those of all are read."""


async def evidence(
    registry: Registry, desired: Desired, observed: Observed, names: Iterable[ArtifactName]
) -> dict[ArtifactName, Evidence]:
    """Of each artifact; what could not be read tells nothing. `observed` learns what had to be asked for it."""
    everyone = {**desired.others, **desired.wanted}
    chosen = {name: everyone[name] for name in names}
    await _learn(registry, desired, observed, [wanted.artifact for wanted in chosen.values()])
    found = {name: _of([wanted.artifact], desired, observed) for name, wanted in chosen.items()}
    bare = {name: _kind(wanted) for name, wanted in chosen.items() if not found[name].runs}
    shared = await _shared(registry, desired, observed, _others(everyone, set(bare.values()))) if bare else {}
    return found | {name: shared[kind] for name, kind in bare.items()}


async def runs_of_all(
    registry: Registry, desired: Desired, names: Iterable[ArtifactName]
) -> tuple[dict[ArtifactName, tuple[Run, ...]], tuple[Problem, ...]]:
    """Each artifact's own runs, and what could not be read of them. However many there are, the records of a few are
    in memory at a time."""
    artifacts = [desired.wanted[name].artifact for name in names]
    tags = Observed()
    found: dict[ArtifactName, tuple[Run, ...]] = {}
    unread: dict[Problem, None] = {}
    await _learn_tags(registry, desired, tags, artifacts)
    for first in range(0, len(artifacts), READ_TOGETHER):
        part, some = Observed(tags.heads, applied=tags.applied), artifacts[first : first + READ_TOGETHER]
        await _ask_records(registry, part, some)
        found |= {artifact.name: runs_of(artifact, desired, part) for artifact in some}
        unread |= {answer.problem: None for answer in part.records.values() if isinstance(answer, Unknown)}
    answers = (*tags.heads.values(), *tags.applied.values())
    unread |= {answer.problem: None for answer in answers if isinstance(answer, Unknown)}
    return found, tuple(unread)


async def _shared(
    registry: Registry, desired: Desired, observed: Observed, kinds: Mapping[Kind, Sequence[Artifact]]
) -> dict[Kind, Evidence]:
    """What the artifacts of each kind tell together."""
    await _ask_heads(registry, observed, (artifact for artifacts in kinds.values() for artifact in artifacts))
    there = {
        kind: list(islice((a for a in artifacts if observed.named(a.image, a.tags)), OTHERS_READ))
        for kind, artifacts in kinds.items()
    }
    await _ask_records(registry, observed, [artifact for artifacts in there.values() for artifact in artifacts])
    return {kind: _of(artifacts, desired, observed) for kind, artifacts in there.items()}


def _others(everyone: Mapping[ArtifactName, Wanted], kinds: set[Kind]) -> dict[Kind, list[Artifact]]:
    found: dict[Kind, list[Artifact]] = defaultdict(list)
    for name in sorted(everyone):
        kind = _kind(everyone[name])
        if kind in kinds and len(found[kind]) < OTHERS_LOOKED_AT:
            found[kind].append(everyone[name].artifact)
    return found


def _kind(wanted: Wanted) -> Kind:
    spec = wanted.spec.language if wanted.spec else None
    return wanted.artifact.name.workspace, wanted.artifact.language or spec


def _of(artifacts: Iterable[Artifact], desired: Desired, observed: Observed) -> Evidence:
    """What is known of their runs; records of another fleet or another artifact on the same repository are not
    theirs."""
    runs: list[Run] = []
    told: list[str] = []
    for artifact in artifacts:
        if own := runs_of(artifact, desired, observed):
            runs += own
            told.append(str(artifact.name))
    return Evidence.of(runs, told)


def runs_of(artifact: Artifact, desired: Desired, observed: Observed) -> tuple[Run, ...]:
    """An artifact's runs, as the records tell that are known behind its tags."""
    mine = (str(artifact.name), desired.fleet.name)
    records = observed.records_behind(artifact.image, _tags(artifact, observed))
    return newest(run for record in records if (record.artifact, record.fleet) == mine for run in record.runs)


async def _learn(registry: Registry, desired: Desired, observed: Observed, artifacts: Sequence[Artifact]) -> None:
    """Ask for what is not known yet of what their tags name."""
    await _learn_tags(registry, desired, observed, artifacts)
    await _ask_records(registry, observed, artifacts)


async def _learn_tags(registry: Registry, desired: Desired, observed: Observed, artifacts: Sequence[Artifact]) -> None:
    """The tags wanted now, and where none of them is there those that were wanted last."""
    await _ask_heads(registry, observed, artifacts)
    new = {a.image for a in artifacts if not observed.named(a.image, a.tags) and a.image not in observed.applied}
    if new:
        applied = frozenset(applied_at(image, desired.fleet.name) for image in new)
        observed.take(await ask(Questions(applied=applied), registry))


async def _ask_heads(registry: Registry, observed: Observed, artifacts: Iterable[Artifact]) -> None:
    wanted = {Reference(a.image, tag) for a in artifacts for tag in _tags(a, observed)}
    if heads := wanted - observed.heads.keys():
        observed.take(await ask(Questions(heads=frozenset(heads)), registry))


async def _ask_records(registry: Registry, observed: Observed, artifacts: Sequence[Artifact]) -> None:
    await _ask_heads(registry, observed, artifacts)
    images = {(a.image, d) for a in artifacts for d in observed.named(a.image, _tags(a, observed)).values()}
    if records := images - observed.records.keys():
        observed.take(await ask(Questions(records=frozenset(records)), registry))


def _tags(artifact: Artifact, observed: Observed) -> tuple[str, ...]:
    """Its tags; with them those it had before, where the applied document had to be read because none is there."""
    document = observed.applied.get(artifact.image)
    if not isinstance(document, Applied) or observed.named(artifact.image, artifact.tags):
        return artifact.tags
    return (*artifact.tags, *document.last_of(str(artifact.name)))
