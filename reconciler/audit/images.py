"""`lian images`: what is in sync with a commit, pinned by digest, for those who deploy it.

In sync means: the content is there, whole as far as the pass looked, and every wanted tag points at it. Whatever is not
is left out, with the reason: a digest that is not what the commit asks for must not reach a cluster unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.audit.chosen import chosen
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference
from reconciler.plan.select import Selection
from reconciler.reconcile import Options as PassOptions
from reconciler.reconcile import plan_once

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change, Plan
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Reading


@dataclass(frozen=True, slots=True)
class Options:
    """`only` are globs over `workspace/artifact`; empty means all."""

    only: tuple[str, ...] = ()


class Why(StrEnum):
    """Why an artifact is left out."""

    DRIFT = "drift"
    """The next `lian reconcile` would change something, or the policy leaves a drift as it is."""
    HELD = "held"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Pinned:
    """An artifact in sync: `digest` is what every one of its tags points at."""

    artifact: ArtifactName
    image: Repository
    tags: tuple[str, ...]
    digest: Digest
    platforms: tuple[Platform, ...]

    @property
    def tag(self) -> str:
        """The first tag of the directive: for people, since the digest decides."""
        return self.tags[0]

    @property
    def reference(self) -> Reference:
        """`repository:tag@digest`."""
        return Reference(self.image, self.tag, self.digest)

    def to_json(self) -> dict[str, Any]:
        """One entry of an images document's `images`."""
        return {
            "artifact": str(self.artifact),
            "image": str(self.image),
            "tags": list(self.tags),
            "digest": str(self.digest),
            "reference": str(self.reference),
            "platforms": [str(platform) for platform in self.platforms],
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An artifact that is not in sync, and what the plan says of it."""

    change: Change
    why: Why

    def to_json(self) -> dict[str, Any]:
        """One entry of an images document's `left_out`."""
        return {
            "artifact": str(self.change.artifact),
            "image": str(self.change.image),
            "why": self.why.value,
            "action": self.change.action.value,
            "reasons": [reason.to_json() for reason in self.change.reasons],
            "holds": [problem.to_json() for problem in self.change.holds],
        }


@dataclass(frozen=True, slots=True)
class Images:
    """What `lian images` tells, by name, so that a file of them changes only where an image does. `notes` are sentences
    for stderr."""

    revision: str
    pinned: tuple[Pinned, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def on_disk(self) -> bool:
        """True if one of the images lies in a folder, from where no cluster can pull it."""
        return any(image.image.layout is not None for image in self.pinned)

    def to_json(self) -> dict[str, Any]:
        """The document of `lian images --format json`."""
        return {
            "kind": "images",
            "version": 1,
            "revision": self.revision,
            "images": [image.to_json() for image in self.pinned],
            "left_out": [left.to_json() for left in self.left_out],
            "problems": [problem.to_json() for problem in self.problems],
        }


async def images(ports: Reading, options: Options) -> Images:
    """What of the chosen artifacts is in sync now. Raises LianError `selection-empty`, or if no plan could be made."""
    work = await plan_once(ports, PassOptions(Selection(options.only)))
    plan = work.plan
    by_name = sorted(plan.changes, key=lambda change: change.artifact)
    judged = [_judged(change, plan) for change in by_name if chosen(change.artifact, options.only)]
    return Images(
        plan.revision,
        tuple(image for image in judged if isinstance(image, Pinned)),
        tuple(image for image in judged if isinstance(image, LeftOut)),
        plan.problems,
        work.resolution.desired.notes,
    )


def _judged(change: Change, plan: Plan) -> Pinned | LeftOut:
    """A drift that the policy only reports has no action either, but another reason than that it is in sync."""
    agrees = all(reason.code is ReasonCode.IN_SYNC for reason in change.reasons) and not change.left
    if change.action is Action.NONE and change.digest is not None and agrees:
        return Pinned(change.artifact, change.image, change.tags, change.digest, change.platforms)
    return LeftOut(change, _why(change, plan))


def _why(change: Change, plan: Plan) -> Why:
    if change.action is not Action.HOLD:
        return Why.DRIFT
    named = {problem.artifact for problem in plan.problems}
    return Why.INVALID if str(change.artifact) in named else Why.HELD


def variables(told: Images) -> dict[str, Pinned]:
    """A shell variable for each image, such as SHOP_API_IMAGE for shop/api.

    Raises LianError `variable-conflict` if two of the chosen artifacts would have the same one, in sync or not: else
    what a name means would change with the state of the registry.
    """
    everyone = [*(image.artifact for image in told.pinned), *(left.change.artifact for left in told.left_out)]
    claims: dict[str, list[ArtifactName]] = {}
    for name in sorted(everyone):
        claims.setdefault(variable(name), []).append(name)
    if conflicts := [_conflict(wanted, names) for wanted, names in claims.items() if len(names) > 1]:
        raise LianError(conflicts)
    return {variable(image.artifact): image for image in told.pinned}


def variable(name: ArtifactName) -> str:
    """A name as POSIX has them for variables (Base Definitions, 3.235): no digit first, no dash, no slash."""
    text = f"{name.workspace}_{name.artifact}_IMAGE".replace("-", "_").upper()
    return f"_{text}" if text[0].isdigit() else text


def _conflict(wanted: str, names: Iterable[ArtifactName]) -> Problem:
    return Problem(
        "variable-conflict",
        f"{', '.join(map(str, names))} would both be {wanted}",
        cause="a variable's name has neither dashes nor slashes",
        hint="choose one of them with --only, or take --format json",
    )


def kustomization(told: Images) -> dict[str, Any]:
    """A kustomize component that points images at digests. A manifest names an image by its artifact: `shop/api`."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [
            {"name": str(image.artifact), "newName": str(image.image), "digest": str(image.digest)}
            for image in told.pinned
        ],
    }


def helm_values(told: Images) -> dict[str, Any]:
    """Values for a chart, by artifact."""
    return {
        "images": {
            str(image.artifact): {"repository": str(image.image), "tag": image.tag, "digest": str(image.digest)}
            for image in told.pinned
        }
    }
