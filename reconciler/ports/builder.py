"""Port: the builder that runs on a runner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from reconciler.model.cache import CacheMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.model.cache_use import StepRun
    from reconciler.model.digest import Digest
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference
    from reconciler.model.secret import SecretBytes
    from reconciler.model.tier import Tier
    from reconciler.ports.compute import Runner
    from reconciler.ports.publisher import Destination, Origin


@dataclass(frozen=True, slots=True)
class PinnedImage:
    """An image by digest, and where the builder finds it."""

    digest: Digest
    origin: Origin


ContextInput: TypeAlias = "Path | PinnedImage"


@dataclass(frozen=True, slots=True)
class CacheSource:
    """A cache that may be read, by digest: what was looked at is what is read."""

    digest: Digest
    origin: Origin


@dataclass(frozen=True, slots=True)
class CacheTarget:
    """Where the cache of a build goes, under which tag, and how much of it. It never fails the build."""

    destination: Destination
    tag: str
    mode: CacheMode = CacheMode.MAX


@dataclass(frozen=True, slots=True)
class WriteFolder:
    """The builder writes the files of the last stage into this folder. There is no digest then."""

    folder: Path


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One solve: one target for one platform. `destination` None means: build, keep nothing (a check)."""

    artifact: str
    platform: Platform
    context: Path
    dockerfile: Path
    """The Dockerfile's folder and name; a `<name>.dockerignore` beside it is in force."""
    log: Path
    """Where the whole log goes; its folder exists."""
    tier: Tier
    destination: Destination | WriteFolder | None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, ContextInput] = field(default_factory=dict)
    """Named contexts, and images as written in the Dockerfile with what they are pinned to."""
    scanner: Reference | None = None
    """An image by digest that lists the parts of what is built (BuildKit's SBOM scanning protocol). With one, an index
    comes out: of the image, which is the same as without, and of an attestation manifest that holds the lists."""
    source_date_epoch: int = 0
    deadline: float = 3600.0
    """Seconds until the build is given up."""
    cache_from: tuple[CacheSource, ...] = ()
    cache_to: CacheTarget | None = None
    mount_namespace: str | None = None
    """Keeps the cache mounts of this build apart from those of others on the same builder."""
    frontend: PinnedImage | None = None
    """What reads the Dockerfile in place of the frontend inside BuildKit. It gets nothing but what is pinned."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """What an ADD fetches -> the digest of the content that it has to have, or the commit that is meant. Other content
    fails the build."""
    secrets: Mapping[str, SecretBytes] = field(default_factory=dict)
    """What steps may mount, by id. None of it stands in an argument, an environment, a log or what `seen` is told."""


@dataclass(frozen=True, slots=True)
class StepSeen:
    """A step of the build as BuildKit names it."""

    name: str
    done: bool
    cached: bool


@dataclass(frozen=True, slots=True)
class CacheMade:
    """What became of a build's cache: its manifest, or why there is none; both None where it was empty."""

    digest: Digest | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """What came out. `digest` is None exactly for a build that makes no image. Seconds of wall time."""

    digest: Digest | None
    seconds: float
    steps: tuple[StepRun, ...] = ()
    """By stage, then in their order in it; FROM is none."""
    pulled: int = 0
    """Bytes read from caches."""
    cache: CacheMade = field(default_factory=CacheMade)


OUT_OF_MEMORY = "build-out-of-memory"
"""Code of the problem of a build whose limit of memory was too low; with a higher one it may go well."""
MORE_MEMORY = "give it more memory: `runner.memory_gb`, or `memory_gb` in the context's .build-spec.ncl"
"""What to try then."""
PUSH_FAILED = "push-failed"
"""Code of the problem of an image that was built and then not taken, for no reason that would stay."""
UNCLEAR = "build-error"
"""Code of the problem of a build whose failure nobody knows the meaning of; it may go well another time."""
CACHE_STALLED = "cache-stalled"
"""Code of the problem of a build that was given up because its cache took too long to write: its image is made, and
making it again on the same runner takes no time."""
CACHE_SILENT = "cache-silent"
"""Code of the problem of a build whose registry stopped answering in the middle of a cache. BuildKit waits for it
without end, and its daemon builds nothing more: only another runner could."""
CACHE_BROKEN = "cache-broken"
"""Code of the problem of a build that failed because a cache it read lacks what it promises, or has something else."""


class Builder(Protocol):
    """Runs one build on a runner."""

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        """Raises LianError with one problem: `build-failed` (the step, its last lines, the log), OUT_OF_MEMORY,
        `build-timeout`, `builder-lost`, `disk-full`, `push-refused`, PUSH_FAILED, CACHE_BROKEN,
        CACHE_STALLED, CACHE_SILENT, … When cancelled, the build's processes are gone before the cancellation is raised
        on."""
        ...
