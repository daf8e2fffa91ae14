"""What one target of a Dockerfile brings in from outside: images, named contexts, remote sources.

Follows BuildKit v0.33's frontend/dockerfile/dockerfile2llb: only what the target reaches is resolved, but names are
checked in all stages; a named context comes before a stage's own base and before an image, a stage before a named
context of its name in FROM. ONBUILD triggers of stages are followed; those inside a base image are not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.directives import SYNTAX_ARG, reads_dockerfiles
from reconciler.desired.dockerfile.environment import StageBegin, StageEnvironment
from reconciler.desired.dockerfile.expand import Quoting
from reconciler.desired.dockerfile.fault import Fault, nearest, raised
from reconciler.desired.dockerfile.instructions import From, Step, read_instruction
from reconciler.desired.dockerfile.lines import read_instructions
from reconciler.desired.dockerfile.mounts import CacheMountSeen, cache_mounts, mount_options
from reconciler.desired.dockerfile.names import SCRATCH, NameFault, PlatformName, parse_platform, parse_reference
from reconciler.desired.dockerfile.remotes import RemoteSource, remote_sources
from reconciler.desired.dockerfile.variables import automatic_variables, expanded, global_variables, unresolved

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.desired.dockerfile.facts import DockerfileFacts, Stage

_NUMBER = re.compile(r"[+-]?[0-9]+")
_MAX_HINTED = 10
_NO_CONTEXT = frozenset({"scratch", "context"})  # names that never mean a named context


@dataclass(frozen=True, slots=True)
class ImageNeed:
    """One image that BuildKit will ask a registry for."""

    reference: str
    """Normalised, with a tag or a digest: `docker.io/library/python:3.12`."""
    written: str
    """As in the Dockerfile, with its variables put in."""
    platform: str
    line: int | None
    context: str | None
    """The named context that can stand in for this image (to pin it), None if a stage has that name."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """All in the order in which BuildKit meets them, each once."""

    images: tuple[ImageNeed, ...]
    contexts: tuple[str, ...]
    """The given named contexts that are used, as they were given."""
    stages: tuple[int, ...]
    """Indexes of the stages that are reached."""
    remote_sources: tuple[RemoteSource, ...]
    cache_mounts: tuple[CacheMountSeen, ...] = ()
    frontend: str | None = None
    """The image that reads the file in place of the frontend inside BuildKit, with a tag or a digest."""


def requirements(
    facts: DockerfileFacts,
    *,
    target: str | None,
    args: Mapping[str, str],
    platform: str,
    named_contexts: Collection[str] = (),
    build_platform: str,
    mounts: bool = True,
) -> Requirements:
    """What building this target for this platform brings in, with its cache mounts if `mounts`.

    `args` are the build arguments, `named_contexts` the keys as BuildKit gets them (`NAME` or `NAME::PLATFORM`).
    Raises LianError: `dockerfile-frontend-custom`, `dockerfile-target-unknown`, `dockerfile-arg-unresolved`,
    `dockerfile-reference-invalid`, `dockerfile-platform-invalid`, `dockerfile-stage-unknown`, `dockerfile-stage-order`,
    `dockerfile-cycle`, `dockerfile-expansion`, `dockerfile-epoch-unsupported`, `dockerfile-syntax`. The last also for
    what BuildKit refuses only of stages that are built: for each such step of them.
    """
    try:
        frontend = _frontend(facts, args)
        builder = _platform(build_platform, None)
        graph = _Graph(facts, target or None, args, _platform(platform, builder), builder, named_contexts, mounts)
        return replace(graph.requirements(strict=frontend is None), frontend=frontend)
    except Fault as fault:
        raise raised([fault], facts.source) from fault


def _frontend(facts: DockerfileFacts, args: Mapping[str, str]) -> str | None:
    """Raises Fault for a frontend that alone can tell what the file needs."""
    custom = facts.frontend_for(args)
    known = reads_dockerfiles(custom) if custom is not None and SYNTAX_ARG not in args else None
    if (custom is None or known is not None) and facts.stages:
        return known
    hint = "remove the syntax line, or use a release of docker/dockerfile; docker/dockerfile:1 is built in"
    message = f"only the frontend {custom or facts.frontend!r} can tell what this file needs"
    raise Fault("frontend-custom", message, 1, hint)


def _platform(text: str, builder: PlatformName | None) -> PlatformName:
    try:
        return parse_platform(text, builder).normal
    except NameFault as error:
        raise Fault("platform-invalid", str(error)) from error


def _stages(names: Collection[str]) -> str:
    """What to try where no name comes near."""
    if not any(names):
        return "leave it out: the Dockerfile's stages have no names"
    known = sorted(name for name in names if name)
    more = ", …" if len(known) > _MAX_HINTED else ""
    return f"use one of its stages: {', '.join(known[:_MAX_HINTED])}{more}"


@dataclass(eq=False, slots=True)
class _State:
    """A stage, or an image or context that is used like one (`listed` is None)."""

    base: str
    line: int | None
    listed: Stage | None = None
    platform: PlatformName | None = None
    parent: _State | None = None
    context: str | None = None
    """The named context that takes the place of the whole stage."""
    steps: list[tuple[Step, list[_State]]] = field(default_factory=list)
    needs: list[tuple[_State, int]] = field(default_factory=list)
    """Where its steps take files from, with the step's line."""
    triggered: bool = False
    resolved: bool = False
    dispatched: bool = False


class _Graph:
    def __init__(
        self,
        facts: DockerfileFacts,
        target: str | None,
        args: Mapping[str, str],
        platform: PlatformName,
        builder: PlatformName,
        named_contexts: Collection[str],
        mounts: bool,
    ) -> None:
        self.facts = facts
        self.mounts = mounts
        self.args = dict(args)
        self.platform = platform
        self.builder = builder
        self.named_contexts = frozenset(named_contexts)
        self.quoting = Quoting(facts.escape)
        self.states: list[_State] = []
        self.by_name: dict[str, _State] = {}
        self.images: dict[tuple[str, str], ImageNeed] = {}
        self.contexts: dict[str, None] = {}
        automatic = automatic_variables(builder, platform, target or facts.stages[-1].name or "default")
        self.env = global_variables(facts, self.args, automatic, self.quoting)
        for stage in facts.stages:
            self.add_stage(stage)
        self.target = self.find_target(target)

    # -- stages

    def add_stage(self, stage: Stage) -> None:
        base, unset = expanded(stage.base, self.env, stage.line, self.quoting)
        if not base:
            raise unresolved(f"nothing is left of FROM {stage.base}", unset, stage.line)
        state = _State(base, stage.line, stage)
        if stage.platform:
            state.platform = self.stage_platform(stage)
        state.context = self.named_context(stage.name, state.platform, stage.line) if stage.name else None
        self.add(state)
        if state.context is not None:
            state.parent = None

    def stage_platform(self, stage: Stage) -> PlatformName:
        text, unset = expanded(stage.platform, self.env, stage.line, self.quoting)
        if not text:
            raise unresolved(f"nothing is left of --platform={stage.platform}", unset, stage.line)
        try:
            return parse_platform(text, self.builder)
        except NameFault as error:
            raise Fault("platform-invalid", str(error), stage.line) from error

    def add(self, state: _State) -> None:
        self.states.append(state)
        state.parent = self.by_name.get(state.base)
        if state.listed is not None and state.listed.name:
            self.by_name[state.listed.name] = state

    def named_context(self, name: str, platform: PlatformName | None, line: int | None) -> str | None:
        """The key of the named context that stands for this name, or None."""
        if name.casefold() in _NO_CONTEXT:
            return None
        try:
            familiar = parse_reference(name).context
        except NameFault as error:
            raise Fault("reference-invalid", f"{name!r} cannot name a context: {error}", line) from error
        candidates = (f"{familiar}::{(platform or self.platform).normal}", familiar)
        return next((key for key in candidates if key in self.named_contexts), None)

    def find_target(self, target: str | None) -> _State:
        if target is None:
            return self.states[-1]
        found = self.by_name.get(target.lower())
        if found is None:
            hint = nearest(target, self.by_name) or _stages(self.by_name)
            raise Fault("target-unknown", f"there is no stage {target!r}", hint=hint)
        return found

    # -- edges

    def link(self, state: _State, step: Step) -> list[_State]:
        """The states that a step takes files from, one for each `from` it may have; new ones are added."""
        sources: list[_State] = []
        if step.copies_from:
            sources.append(self.copy_source(step))
        for name in step.mounts_from:
            sources.append(self.by_name.get((name or SCRATCH).lower()) or _State(name or SCRATCH, step.line))
        for source in sources:
            state.needs.append((source, step.line))
            if source.listed is None:
                self.add(source)
        return sources

    def copy_source(self, step: Step) -> _State:
        name = step.copies_from
        if expanded(name, {}, step.line, self.quoting)[0] != name:
            hint = "give the image a name with FROM … AS at the top, and copy from that name"
            raise Fault("syntax", "--from takes no variables", step.line, hint)
        if _NUMBER.fullmatch(name) and -(2**63) <= int(name) < 2**63:
            index = int(name)
            if not 0 <= index < len(self.states):
                raise Fault("stage-unknown", f"there is no stage {index}", step.line)
            return self.states[index]
        return self.by_name.get(name.lower()) or _State(name, step.line)

    def link_all(self) -> None:
        for state in tuple(self.states):
            steps = state.listed.steps if state.listed else ()
            state.steps = [(step, self.link(state, step)) for step in steps]
        _refuse_cycles(self.states)

    def reached(self) -> dict[_State, None]:
        found: dict[_State, None] = {}
        todo = [self.target]
        while todo:
            state = todo.pop()
            if state not in found:
                found[state] = None
                todo += [*(need for need, _ in state.needs), *([state.parent] if state.parent else [])]
        return found

    # -- resolving

    def requirements(self, strict: bool) -> Requirements:
        """With `strict`, what this release of BuildKit refuses of a step is a fault: another frontend may take it."""
        self.link_all()
        while True:
            reached = self.reached()
            for state in tuple(self.states):
                self.resolve(state, state in reached)
            if not self.follow_triggers(reached):
                break
        self.refuse_wrong_order(reached)
        stages = [s.listed for s in self.states if s in reached and s.listed is not None]
        remotes, mounts, refused = self.followed(reached)
        if refused and strict:
            raise raised(refused, self.facts.source)
        return Requirements(
            tuple(self.images.values()),
            tuple(self.contexts),
            tuple(stage.index for stage in stages),
            remotes,
            mounts,
        )

    def resolve(self, state: _State, reached: bool) -> None:
        if state.parent is not None or state.dispatched or state.resolved:
            return
        state.resolved = reached
        outside = state.listed is None
        state.dispatched = outside
        if state.base == SCRATCH and state.context is None:
            return
        try:
            image = parse_reference(state.base)
        except NameFault as error:
            raise self.not_an_image(state, error) from error
        if not reached:
            return
        platform = state.platform or self.platform
        if state.context is not None:
            state.dispatched = True
        key = state.context or self.named_context(str(image.with_tag), platform, state.line)
        if key is not None:
            self.contexts[key] = None
            return
        reference = str(image.with_tag)
        pin = None if image.context in self.by_name else image.context
        need = ImageNeed(reference, state.base, str(platform.normal), state.line, pin)
        self.images.setdefault((reference, need.platform), need)

    def not_an_image(self, state: _State, error: NameFault) -> Fault:
        unset: frozenset[str] = frozenset()
        if state.listed is not None:
            unset = expanded(state.listed.base, self.env, state.listed.line, self.quoting)[1]
        message = f"{state.base!r} is neither a stage nor an image: {error}"
        if unset:
            return unresolved(message, unset, state.line)
        return Fault("reference-invalid", message, state.line, nearest(state.base, self.by_name))

    def follow_triggers(self, reached: Iterable[_State]) -> bool:
        """Put the ONBUILD triggers of a stage's base before its own steps; True if that brings in new sources."""
        new = False
        for state in tuple(reached):
            if state.parent is None or state.triggered:
                continue
            state.triggered = True
            triggers = [step for step, _ in state.parent.steps if step.trigger]
            added = [(step, self.link(state, step)) for step in map(_triggered, triggers)]
            new = new or any(sources for _, sources in added)
            state.steps[:0] = added
        return new

    def refuse_wrong_order(self, reached: Collection[_State]) -> None:
        for state in self.states:
            if state not in reached or state.dispatched:
                continue
            state.dispatched = True
            for step, sources in state.steps:
                written = [step.copies_from] if step.copies_from else step.mounts_from
                for name, source in zip(written, sources, strict=True):
                    if name and not source.dispatched:
                        raise Fault("stage-order", f"the stage {name!r} stands below the stage that uses it", step.line)

    def followed(
        self, reached: Collection[_State]
    ) -> tuple[tuple[RemoteSource, ...], tuple[CacheMountSeen, ...], list[Fault]]:
        """What the steps of the stages fetch, the caches they mount, and what of them BuildKit refuses, with the
        variables that each sees."""
        ends: dict[_State, StageBegin] = {}
        remotes: dict[RemoteSource, None] = {}
        mounts: dict[CacheMountSeen, None] = {}
        refused: list[Fault] = []
        for state in self.states:
            if state not in reached or state.listed is None or state.context is not None:
                continue
            environment = StageEnvironment(self.begin(state, ends), self.env, self.args, self.quoting)
            for step, _ in state.steps:
                try:
                    environment.take(step)
                    if step.check is not None:
                        step.check.refuse(environment)
                    said = mount_options(step.mounts, environment)
                except Fault as fault:
                    refused.append(fault.at(step.line))
                    continue
                if step.adds:
                    remotes |= dict.fromkeys(remote_sources(step, environment))
                if said and self.mounts:
                    mounts |= dict.fromkeys(cache_mounts(step, said))
            ends[state] = environment.end
        return tuple(remotes), tuple(mounts), refused

    def begin(self, state: _State, ends: Mapping[_State, StageBegin]) -> StageBegin:
        """What the steps of a stage begin with, given what those above it end with."""
        system = (state.platform or self.platform).system
        if state.parent is None and state.base == SCRATCH:
            return StageBegin.of_scratch(self.platform.system)
        known = ends.get(state.parent) if state.parent is not None else None
        return known or StageBegin(system)


def _triggered(step: Step) -> Step:
    """The step of an ONBUILD trigger. Raises Fault."""
    instructions, _ = read_instructions(step.trigger.encode("utf-8", "surrogateescape"))
    try:
        read = read_instruction(instructions[0])
    except Fault as fault:
        raise Fault(fault.code, str(fault), step.line, fault.hint) from fault
    if len(instructions) != 1 or isinstance(read, From):
        raise Fault("syntax", "ONBUILD takes one instruction that is not FROM", step.line)
    return replace(read, line=step.line)


def _refuse_cycles(states: Iterable[_State]) -> None:
    done: set[_State] = set()
    for first in states:
        path: dict[_State, None] = {}
        walk = [(first, iter(first.needs))] if first not in done else []
        path.update(dict.fromkeys(state for state, _ in walk))
        while walk:
            state, needs = walk[-1]
            done.add(state)
            need, line = next(needs, (None, 0))
            if need is None:
                walk.pop()
                path.pop(state)
            elif need in path:
                names = " → ".join(_called(s) for s in (*list(path)[list(path).index(need) :], need))
                raise Fault("cycle", f"stages copy from one another: {names}", line)
            elif need not in done:
                walk.append((need, iter(need.needs)))
                path[need] = None


def _called(state: _State) -> str:
    return state.base if state.listed is None else state.listed.name or str(state.listed.index)
