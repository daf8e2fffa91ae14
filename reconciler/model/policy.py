"""The fleet owner's rules (`policy` in lian.ncl): what happens to drift, what never moves, what is kept and signed.

A policy is part of no key: it decides what lian does with images, never what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.credential import SourceRef
    from reconciler.model.reference import Reference

_DAY = 86_400


class Response(StrEnum):
    """What a drift is met with: made good, left alone with everything of its artifact, or named and left as it is."""

    HEAL = "heal"
    HOLD = "hold"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """A response for each way in which a registry can differ by someone else's hand. The defaults never destroy what
    lian did not make."""

    retagged: Response = Response.HEAL
    """A tag was moved to another image of this fleet."""
    foreign: Response = Response.HOLD
    """A tag points at an image that lian did not make."""
    broken: Response = Response.HEAL
    """A part of an image is not there."""
    orphaned: Response = Response.REPORT
    """lian made it, and no commit wants it any more. `heal` removes its tags in every pass that finds it."""


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What `lian prune` keeps beside what HEAD asks for. `min_age` in seconds since an image was built."""

    revisions: tuple[str, ...] = ("refs/heads/*", "refs/remotes/*", "refs/tags/*")
    """Globs over full ref names, where `*` takes slashes too: what these commits ask for is kept."""
    keep_tags: tuple[str, ...] = ()
    """Globs over tags that are never removed."""
    keep_last: int = 5
    """Of each artifact that a kept commit wants, so many of its newest images are kept, whatever points at them."""
    min_age: int = 7 * _DAY

    def keeps(self, tag: str) -> bool:
        """True for a tag that is never removed."""
        return any(fnmatchcase(tag, pattern) for pattern in self.keep_tags)


@dataclass(frozen=True, slots=True)
class SignPolicy:
    """What is attached to every image that is built: off unless the fleet says so."""

    key: SourceRef
    provenance: bool = True
    scanner: Reference | None = None
    """The image, by digest, that lists the parts of every image (BuildKit's SBOM scanning protocol); None: no SBOMs."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules of a fleet."""

    drift: DriftPolicy = field(default_factory=DriftPolicy)
    immutable_tags: tuple[str, ...] = ()
    """Globs over tags that never move once they are set."""
    trust: tuple[frozenset[str], ...] = ()
    """Groups of workspaces that may take over one another's images; a workspace always trusts itself."""
    prune: PrunePolicy = field(default_factory=PrunePolicy)
    sign: SignPolicy | None = None
    verify_keys: tuple[str, ...] = ()
    """Public keys (PEM, paths in the desired repo) of which one must have signed an image for `lian verify`."""

    def immutable(self, tag: str) -> bool:
        """True for a tag that must not move."""
        return any(fnmatchcase(tag, pattern) for pattern in self.immutable_tags)

    def trusts(self, workspace: str, other: str) -> bool:
        """True if images of `other` may be taken over into `workspace`."""
        return workspace == other or any({workspace, other} <= group for group in self.trust)
