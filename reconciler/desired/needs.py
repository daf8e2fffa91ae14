"""What an artifact's Dockerfile asks from outside, for each of its platforms and checks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile import CacheMountSeen, RemoteSource, read_dockerfile, requirements
from reconciler.desired.dockerfile.names import NameFault, parse_reference
from reconciler.model.artifact import Place
from reconciler.model.cache import MAX_MOUNTS
from reconciler.model.desired import Fetched, Needs, Remote
from reconciler.model.problem import LianError, Problem, redact
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.desired.dockerfile import DockerfileFacts, ImageNeed, Requirements
    from reconciler.model.artifact import Artifact
    from reconciler.model.cache import CacheMount
    from reconciler.model.platform import Platform

_BUILDERS = ("linux/amd64", "linux/arm64")
"""Platforms a builder may itself have; what is built must not depend on it."""
_UNDECIDED = frozenset(
    {
        "dockerfile-frontend-custom",
        "dockerfile-arg-unresolved",
        "dockerfile-epoch-unsupported",
        "dockerfile-builder-platform",
        "dockerfile-base-unpinnable",
    }
)
"""The Dockerfile may well be right; lian just cannot tell what it needs, so the artifact is held."""

_AS_LOCKED = "a lock has https://HOST/PATH#REV and USER@HOST:PATH#REV"


@dataclass(frozen=True, slots=True)
class NeedsFound:
    """`platforms` and `checks` are complete exactly when there are no `problems` and no `holds`."""

    platforms: Mapping[Platform, Needs] = field(default_factory=lambda: MappingProxyType({}))
    checks: Mapping[Platform, Needs] = field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[Problem, ...] = ()
    holds: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What the Dockerfile does, as the rest of a sentence that begins with its path."""


def read_needs(content: bytes, path: str, artifact: Artifact, place: Callable[[tuple[str, ...]], Place]) -> NeedsFound:
    """Read the Dockerfile at `path` for this artifact. Raises nothing: every problem is in the result.

    `place` says where a field of the artifact is written.
    """
    try:
        reader = _Reader(read_dockerfile(content, path), artifact, _context_names(artifact))
    except LianError as error:
        return _sorted(artifact, error.problems)
    platforms: dict[Platform, Needs] = {}
    checks: dict[Platform, Needs] = {}
    used: set[str] = set()
    problems: list[Problem] = []
    notes: dict[str, None] = {}
    for platform in reader.telling(artifact.platforms):
        kept: dict[CacheMount, None] = {}
        for key, targets, into in (("target", (artifact.target,), platforms), ("checks", artifact.checks, checks)):
            try:
                found = [reader.ask(platform, target) for target in targets]
                mounts, unkept = _kept_mounts(found, kept)
                if targets:
                    into[platform] = _joined(found, reader.facts, mounts)
                used |= {name for each in found for name in each.contexts}
                notes |= dict.fromkeys((*_remote(found), *unkept))
            except LianError as error:
                problems.extend(_misnamed(problem, path, key, place) for problem in error.problems)
    if problems:
        return _sorted(artifact, problems)
    platforms, checks = (_on_all(artifact.platforms, into) for into in (platforms, checks))
    unused = sorted(set(artifact.contexts) - used)
    notes |= dict.fromkeys(f"does not use the named context {name}" for name in unused)
    return NeedsFound(platforms, checks, notes=tuple(notes))


def image_places(content: bytes, path: str, artifact: Artifact) -> Mapping[str, Place]:
    """Where the Dockerfile names each image of the artifact's `Needs`, those of its checks included; none for a
    Dockerfile that is wrong."""
    found: dict[str, Place] = {}
    try:
        reader = _Reader(read_dockerfile(content, path), artifact, _context_names(artifact))
        targets = (artifact.target, *artifact.checks)
        asked = [reader.ask(platform, target) for platform in artifact.platforms for target in targets]
        lines = content.decode("utf-8", "replace").split("\n")
        for each in asked:
            for need in each.images:
                found.setdefault(_name(need, path), _place(need, path, lines))
            if each.frontend:
                found.setdefault(str(Reference.parse(each.frontend)), _syntax_place(reader.facts, lines))
    except LianError:
        return found
    return found


def _place(need: ImageNeed, path: str, lines: Sequence[str]) -> Place:
    """The image's name in the line of its instruction; the line alone where it comes out of variables, or stands in
    another line of the instruction."""
    if need.line is None or need.line > len(lines):
        return Place(path)
    return Place(path, need.line, lines[need.line - 1].find(need.written) + 1)


def _syntax_place(facts: DockerfileFacts, lines: Sequence[str]) -> Place:
    """The image's name in the file's `syntax` line; the file alone where a build argument chooses the frontend."""
    for number, line in enumerate(lines if facts.frontend else (), 1):
        before, found, _ = line.partition(facts.frontend or "")
        if found and "syntax" in before.lower():
            return Place(facts.source, number, len(before) + 1)
    return Place(facts.source)


@dataclass(frozen=True, slots=True)
class _Reader:
    facts: DockerfileFacts
    artifact: Artifact
    names: Mapping[str, str]
    """A named context as BuildKit looks it up -> as the directive writes it."""

    def telling(self, platforms: Sequence[Platform]) -> Sequence[Platform]:
        """Those that it is enough to ask for."""
        told = self.facts.by_target or any("::" in name for name in self.names)
        return platforms if told else platforms[:1]

    def ask(self, platform: Platform, target: str | None) -> Requirements:
        """What the target needs; the same whatever the builder's own platform. Raises LianError."""
        builders = _BUILDERS if self.facts.by_builder else _BUILDERS[:1]
        first, *others = (self._ask(platform, target, builder) for builder in builders)
        for other in others:
            if {n.reference for n in other.images} != {n.reference for n in first.images} or set(other.contexts) != set(
                first.contexts
            ):
                message = "which image a FROM means depends on the platform of the machine that builds"
                hint = "use TARGETPLATFORM or TARGETARCH in the image's name instead of BUILDPLATFORM or BUILDARCH"
                raise LianError(Problem("dockerfile-builder-platform", message, self.facts.source, hint=hint))
        if any(other.remote_sources != first.remote_sources for other in others):
            same = frozenset[RemoteSource].intersection(*(frozenset(each.remote_sources) for each in (first, *others)))
            sources = (s if s in same else replace(s, location=None) for s in first.remote_sources)
            first = replace(first, remote_sources=tuple(sources))
        if all(other.cache_mounts == first.cache_mounts for other in others):
            return first
        why = "what it is called depends on the platform of the machine that builds"
        agreed = frozenset[CacheMountSeen].intersection(*(frozenset(each.cache_mounts) for each in (first, *others)))
        mounts = (m if m in agreed else replace(m, mount=None, why=m.why or why) for m in first.cache_mounts)
        return replace(first, cache_mounts=tuple(mounts))

    def _ask(self, platform: Platform, target: str | None, builder: str) -> Requirements:
        found = requirements(
            self.facts,
            target=target,
            args=self.artifact.args,
            platform=str(platform),
            named_contexts=tuple(self.names),
            build_platform=builder,
            mounts=self.artifact.cache.mounts,
        )
        return replace(found, contexts=tuple(self.names[name] for name in found.contexts))


def _on_all(platforms: Sequence[Platform], asked: Mapping[Platform, Needs]) -> dict[Platform, Needs]:
    """What was told of one platform alone holds for all."""
    return dict.fromkeys(platforms, *asked.values()) if len(asked) == 1 else dict(asked)


def _misnamed(problem: Problem, path: str, key: str, place: Callable[[tuple[str, ...]], Place]) -> Problem:
    """A stage that the Dockerfile lacks is wrong where the directive names it, in its field `key`."""
    if problem.code != "dockerfile-target-unknown":
        return problem
    return replace(problem, message=f"{path}: {problem.message}").at(place((key,)))


def _context_names(artifact: Artifact) -> dict[str, str]:
    """Raises LianError for two names that mean the same image to BuildKit, such as `alpine` and `alpine:latest`."""
    names: dict[str, str] = {}
    for written in sorted(artifact.contexts):
        try:
            name = parse_reference(written).context
        except NameFault:
            name = written
        if name in names:
            message = f"the named contexts {names[name]!r} and {written!r} are one and the same to BuildKit"
            raise LianError(Problem("context-twice", message, artifact.place.file, hint="keep one of them"))
        names[name] = written
    return names


def _joined(found: Sequence[Requirements], facts: DockerfileFacts, mounts: tuple[CacheMount, ...]) -> Needs:
    images: dict[str, Reference] = {}
    contexts: set[str] = set()
    for each in found:
        contexts |= set(each.contexts)
        for need in each.images:
            images[_name(need, facts.source)] = Reference.parse(need.reference)
    frontend = next((each.frontend for each in found if each.frontend), None)
    return Needs(
        dict(sorted(images.items())),
        tuple(sorted(contexts)),
        mounts,
        _fetched(found),
        Reference.parse(frontend) if frontend else None,
        tuple(stage.name for stage in facts.stages if stage.name) if images else (),
        tuple(dict.fromkeys(Remote(r.location, r.written, r.line, r.pinned) for e in found for r in e.remote_sources)),
    )


def _fetched(found: Iterable[Requirements]) -> tuple[Fetched, ...]:
    """What nothing pins yet and a lock can; each location once, where it is first fetched."""
    sources: dict[str, Fetched] = {}
    for source in (source for each in found for source in each.remote_sources if not source.pinned):
        if source.location is not None and (part := source.part) is not None:
            sources.setdefault(source.location, Fetched(source.location, part, source.line))
    return tuple(sources[location] for location in sorted(sources))


def _name(need: ImageNeed, path: str) -> str:
    """The name under which a named context pins the image; one that is pinned already needs none."""
    if need.context is not None:
        return need.context
    if "@" in need.reference:
        return need.reference
    message = f"a stage has the name of its base {need.written!r}, so the base cannot be pinned"
    hint = "give the stage another name, or write the base with a tag or a digest"
    raise LianError(Problem("dockerfile-base-unpinnable", message, path, need.line, hint=hint))


def _remote(found: Iterable[Requirements]) -> Iterator[str]:
    for each in found:
        for source in each.remote_sources:
            if not source.pinned and source.part is None:
                why = "its name is not known before it is built"
                if source.location is not None:
                    why = f"lian asks no server for what is written so ({_AS_LOCKED})"
                yield f"adds {redact(source.written)} (line {source.line}), which nothing can pin but a checksum: {why}"


def _kept_mounts(
    found: Iterable[Requirements], kept: dict[CacheMount, None]
) -> tuple[tuple[CacheMount, ...], tuple[str, ...]]:
    """The cache mounts that can be kept between builds, and notes of those that cannot. `kept` are those of the whole
    platform so far; they are added to."""
    own: dict[CacheMount, None] = {}
    notes: dict[str, None] = {}
    for seen in (mount for each in found for mount in each.cache_mounts):
        if seen.mount is None:
            notes[f"has a cache mount that is not kept (line {seen.line}): {seen.why}"] = None
        elif seen.mount in kept or len(kept) < MAX_MOUNTS:
            own[seen.mount] = kept[seen.mount] = None
        else:
            notes[f"has more than {MAX_MOUNTS} cache mounts; no more are kept"] = None
    return tuple(own), tuple(notes)


def _sorted(artifact: Artifact, problems: Iterable[Problem]) -> NeedsFound:
    once = dict.fromkeys(problem.of(str(artifact.name)) for problem in problems)
    holds = tuple(problem for problem in once if problem.code in _UNDECIDED)
    return NeedsFound(problems=tuple(problem for problem in once if problem not in holds), holds=holds)
