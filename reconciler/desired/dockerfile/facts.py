"""What a Dockerfile says, before anything is chosen or resolved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.directives import SYNTAX_ARG, detect_frontend, is_built_in
from reconciler.desired.dockerfile.fault import Fault, raised
from reconciler.desired.dockerfile.instructions import From, Step, read_instruction
from reconciler.desired.dockerfile.lines import read_instructions
from reconciler.desired.go_text import MAX_BYTES
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.desired.dockerfile.lines import Instruction


_OF_BUILDER = re.compile(r"BUILD(?:PLATFORM|OS|ARCH|VARIANT)")
_OF_TARGET = re.compile(r"TARGET(?:PLATFORM|OS|ARCH|VARIANT)")


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM with what follows it. `base` and `platform` are not expanded; `name` is lower-case or empty."""

    index: int
    base: str
    name: str
    platform: str
    line: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class DockerfileFacts:
    """One Dockerfile, read. `source` is its path, for messages."""

    source: str
    frontend: str | None
    """The image of its `syntax` directive, as written."""
    escape: str
    arguments: tuple[Step, ...]
    """The ARG instructions before the first FROM."""
    stages: tuple[Stage, ...]
    """Empty when only another frontend can read the file."""
    by_builder: bool = True
    """False if what it needs is the same whatever platform the machine has that builds: no instruction names a variable
    that tells, and no stage a platform, which may be completed by that machine's."""
    by_target: bool = True
    """False if, but for the platform of its images, it is the same whatever platform is built for: no instruction names
    a variable that tells."""

    @property
    def custom_frontend(self) -> str | None:
        """The `syntax` image if it is not the stable channel of the built-in frontend, else None."""
        return None if self.frontend is None or is_built_in(self.frontend) else self.frontend

    def frontend_for(self, args: Mapping[str, str]) -> str | None:
        """As `custom_frontend`, given the build arguments: BUILDKIT_SYNTAX among them decides."""
        chosen = args.get(SYNTAX_ARG)
        if chosen is None:
            return self.custom_frontend
        image = chosen.strip().partition(" ")[0]
        return None if is_built_in(image) else image


def read_dockerfile(content: bytes, source: str) -> DockerfileFacts:
    """The facts of a Dockerfile.

    Raises LianError: `dockerfile-syntax` (each instruction that BuildKit refuses, with its line), `dockerfile-empty`,
    `dockerfile-too-large`. A file whose `syntax` names another frontend never raises: its syntax may be another one.
    """
    frontend = detect_frontend(content)
    try:
        return _read(content, source, frontend)
    except Fault as fault:
        error = raised([fault], source)
    except LianError as several:
        error = several
    if frontend is not None and not is_built_in(frontend):
        return DockerfileFacts(source, frontend, "\\", (), ())
    raise error


def _read(content: bytes, source: str, frontend: str | None) -> DockerfileFacts:
    if not content:
        raise Fault("empty", "the Dockerfile is empty")
    if len(content) > MAX_BYTES:
        raise Fault("too-large", f"a Dockerfile has at most {MAX_BYTES} bytes")
    instructions, escape = read_instructions(content)
    faults: list[Fault] = []
    arguments: list[Step] = []
    froms: list[tuple[From, list[Step]]] = []
    for instruction in instructions:
        try:
            read = read_instruction(instruction)
        except Fault as fault:
            faults.append(fault.at(instruction.line))
            continue
        if isinstance(read, From):
            froms.append((read, []))
        elif froms:
            froms[-1][1].append(read)
        elif read.keyword == "arg":
            arguments.append(read)
        elif not faults:
            faults.append(Fault("syntax", f"{instruction.name} stands before the first FROM", read.line))
    if not froms and not faults:
        faults.append(
            Fault("syntax", "there is no FROM", hint="begin with FROM; an image without a base is FROM scratch")
        )
    if faults:
        raise raised(faults, source)
    stages = tuple(Stage(i, f.base, f.name, f.platform, f.line, tuple(steps)) for i, (f, steps) in enumerate(froms))
    text = "\n".join(_text(instruction) for instruction in instructions)
    by_builder = bool(_OF_BUILDER.search(text)) or any(stage.platform for stage in stages)
    return DockerfileFacts(
        source, frontend, escape, tuple(arguments), stages, by_builder, bool(_OF_TARGET.search(text))
    )


def _text(instruction: Instruction) -> str:
    """All in which a variable may be named; lines that are continued are one."""
    return "\n".join((instruction.original, *(each.text for each in instruction.heredocs)))
