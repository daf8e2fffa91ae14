"""Changes that must not be carried out now, though nothing is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.wording import short

if TYPE_CHECKING:
    from reconciler.model.artifact import Artifact
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository


class HeldBack(LianError):
    """The change must not be carried out now; nothing is wrong with it."""


def superseded(where: str, revision: str) -> Problem:
    """A newer commit's pass was first."""
    return Problem(
        "superseded",
        f"a newer commit, {short(revision)}, has been applied to {where} while this pass ran",
        hint="reconcile that commit or a later one; to go back on purpose give --allow-older",
        next=Next.RETRY,
    )


def immutable(where: str) -> Problem:
    """A tag that must stay where it is."""
    return Problem(
        "tag-immutable",
        f"{where} must not move, and points at another image",
        hint="want a new tag in the directive",
        next=Next.PERSON,
    )


def pruned(where: str) -> Problem:
    """What was to be tagged is gone."""
    return Problem(
        "image-pruned",
        f"{where} was pruned while this pass ran",
        hint="run again: the next pass builds the image if it is gone",
        next=Next.RETRY,
    )


def prune_goes_on(repository: Repository) -> Problem:
    """What was to be tagged may be about to go."""
    return Problem(
        "prune-busy",
        f"a prune of {repository} goes on and on, and is about to remove what this pass has tagged",
        hint="run again when it is done",
        next=Next.RETRY,
    )


def moved_meanwhile(where: str, digest: Digest) -> Problem:
    """Nobody can tell by whom."""
    return Problem(
        "tag-moved-meanwhile",
        f"{where} was moved to {digest.short} by someone else while this pass ran",
        hint="run again: the next pass sees who it was, and does what the policy says",
        next=Next.RETRY,
    )


def contested(artifact: Artifact) -> Problem:
    """Others move the same tags all the time."""
    return Problem(
        "tags-contested",
        f"the tags of {artifact.image} were moved again and again while this pass ran",
        hint="see which other pipeline wants the same tags for something else, and run again",
        next=Next.RETRY,
    )
