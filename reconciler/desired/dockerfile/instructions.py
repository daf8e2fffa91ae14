"""What an instruction must look like, and what of it decides identity (BuildKit: frontend/dockerfile/instructions)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.fault import Fault, nearest
from reconciler.desired.dockerfile.lines import Instruction, heredoc_in
from reconciler.desired.dockerfile.mounts import read_mount
from reconciler.desired.dockerfile.refusals import Copying, Ports, Signal, Volumes, copying, settled, words
from reconciler.desired.dockerfile.words import csv_fields
from reconciler.desired.go_text import GO_SPACE
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.desired.dockerfile.mounts import Mount
    from reconciler.desired.dockerfile.refusals import Check

_STAGE = re.compile(r"[a-z][a-z0-9\-_.]*")
_ONBUILD = re.compile(r"^[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_RETRIES = re.compile(r"\+?[0-9]{1,10}")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})

_BOOL, _ONE, _MANY = "bool", "one", "many"
_FLAGS: Mapping[str, Mapping[str, str]] = {
    "add": dict.fromkeys(("chown", "chmod", "checksum"), _ONE)
    | dict.fromkeys(("link", "keep-git-dir", "unpack"), _BOOL)
    | {"exclude": _MANY},
    "copy": dict.fromkeys(("chown", "from", "chmod"), _ONE)
    | dict.fromkeys(("link", "parents"), _BOOL)
    | {"exclude": _MANY},
    "from": {"platform": _ONE},
    "run": {"mount": _MANY, "network": _ONE, "security": _ONE, "device": _MANY},
    "healthcheck": dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), _ONE),
}
_RUN_VALUES = {"network": ("default", "none", "host"), "security": ("sandbox", "insecure")}


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction inside a stage, reduced to what can bring in something from outside or set a variable."""

    keyword: str
    line: int
    copies_from: str = ""
    mounts_from: tuple[str, ...] = ()
    """For each mount of a RUN, what its `from` says; empty where it says nothing."""
    mounts: tuple[Mount, ...] = ()
    """The mounts of a RUN."""
    adds: tuple[str, ...] = ()
    checksum: str = ""
    """What an ADD says that its one source has to be, as written."""
    sets: tuple[tuple[str, str | None], ...] = ()
    """Names and unexpanded values of an ARG or ENV; None where an ARG has no default."""
    folder: str = ""
    """What a WORKDIR says, as written."""
    trigger: str = ""
    check: Check | None = None
    """What may be refused once its stage is built. ARG, ENV, WORKDIR and mounts are checked as they are taken."""


@dataclass(frozen=True, slots=True)
class From:
    """A FROM line, not yet expanded; `name` is in lower case, empty if it has none."""

    base: str
    name: str
    platform: str
    line: int


def read_instruction(instruction: Instruction) -> From | Step:
    """Raises Fault for what BuildKit refuses before it builds anything."""
    reader = _READERS.get(instruction.keyword)
    if reader is None:
        hint = meant(instruction.name.upper(), map(str.upper, _READERS), "") or None
        raise Fault("syntax", f"unknown instruction: {instruction.name}", hint=hint)
    return reader(instruction)


def _flags(instruction: Instruction) -> dict[str, list[str]]:
    allowed = _FLAGS.get(instruction.keyword, {})
    found: dict[str, list[str]] = {}
    for flag in instruction.flags:
        name, has_value, value = flag.removeprefix("--").partition("=")
        kind = allowed.get(name)
        if kind is None:
            raise Fault("syntax", f"{instruction.name.upper()} has no flag --{name}", hint=nearest(name, allowed))
        if name in found and kind is not _MANY:
            raise Fault("syntax", f"the flag --{name} stands here twice")
        if kind is not _BOOL and not has_value:
            raise Fault("syntax", f"the flag --{name} needs a value")
        if kind is _BOOL and (value.lower() not in ("", "true", "false") or (has_value and not value)):
            raise Fault("syntax", f"the flag --{name} is true or false, not {value!r}")
        found.setdefault(name, []).append(value)
    return found


def _arguments(instruction: Instruction, low: int, high: int | None = None) -> tuple[str, ...]:
    count = len(instruction.arguments)
    if count < low or (high is not None and count > high):
        wanted = f"exactly {low}" if low == high else f"at least {low}"
        raise Fault("syntax", f"{instruction.name.upper()} takes {wanted} argument{'s' * (low != 1)}, not {count}")
    return instruction.arguments


def _plain(
    low: int, high: int | None, flags: bool = True, check: Callable[[tuple[str, ...]], Check | None] | None = None
) -> Callable[[Instruction], Step]:
    def read(instruction: Instruction) -> Step:
        arguments = _arguments(instruction, low, high)
        if flags:
            _flags(instruction)
        return Step(instruction.keyword, instruction.line, check=check(arguments) if check else None)

    return read


def _ports(written: tuple[str, ...]) -> Check | None:
    return settled(Ports(tuple(sorted(written))), *written)


def _workdir(instruction: Instruction) -> Step:
    (folder,) = _arguments(instruction, 1, 1)
    _flags(instruction)
    return Step("workdir", instruction.line, folder=folder)


def _from(instruction: Instruction) -> From:
    arguments = instruction.arguments
    name = ""
    if len(arguments) == 3 and arguments[1].casefold() == "as":
        name = arguments[2].lower()
        if not _STAGE.fullmatch(name):
            raise Fault(
                "syntax",
                f"{arguments[2]!r} is no name for a stage",
                hint="begin with a letter, go on with a-z 0-9 . _ or -",
            )
    elif len(arguments) != 1:
        raise Fault("syntax", "FROM takes an image, or an image, AS and a name")
    flags = _flags(instruction)
    return From(arguments[0], name, flags.get("platform", [""])[0], instruction.line)


def _copy(instruction: Instruction) -> Step:
    sources = _sources(instruction)
    flags = _flags(instruction)
    _no_heredoc_as_target(instruction)
    adds = instruction.keyword == "add"
    owner, mode, checksum = (flags.get(name, [""])[0] for name in ("chown", "chmod", "checksum"))
    target, heredocs = instruction.arguments[-1], _expanding(instruction) if instruction.heredocs else ()
    check = copying(Copying(adds, owner, mode, checksum, sources, target, heredocs))
    if adds:
        return Step("add", instruction.line, adds=sources, checksum=checksum, check=check)
    return Step("copy", instruction.line, copies_from=flags.get("from", [""])[0], check=check)


def _expanding(instruction: Instruction) -> tuple[str, ...]:
    """The texts of the heredocs that become files, as far as variables are put into them."""
    texts = {heredoc.name: heredoc.text for heredoc in instruction.heredocs}
    named = [heredoc_in(each) for each in instruction.arguments[:-1] if _is_heredoc(each)]
    return tuple(texts.get(heredoc.name, "") for heredoc in named if heredoc is not None and heredoc.expands)


def _sources(instruction: Instruction) -> tuple[str, ...]:
    return tuple(each for each in _arguments(instruction, 2)[:-1] if not _is_heredoc(each))


def _no_heredoc_as_target(instruction: Instruction) -> None:
    if _is_heredoc(instruction.arguments[-1]):
        raise Fault("syntax", f"a heredoc cannot be the destination of {instruction.name.upper()}")


def _is_heredoc(word: str) -> bool:
    try:
        return heredoc_in(word) is not None
    except Fault:
        return False


def _run(instruction: Instruction) -> Step:
    flags = _flags(instruction)
    for name, allowed in _RUN_VALUES.items():
        for value in flags.get(name, ()):
            if value not in allowed:
                raise Fault("syntax", f"--{name} is one of {', '.join(allowed)}, not {value!r}")
    for device in flags.get("device", ()):
        _check_device(device)
    mounts = tuple(map(read_mount, flags.get("mount", ())))
    return Step("run", instruction.line, mounts_from=tuple(map(_mount_from, mounts)), mounts=mounts)


def _mount_from(mount: Mount) -> str:
    """What `from` says; everything else of a mount counts only when the step is built."""
    found = ""
    for item in mount.fields:
        key, has_value, value = item.partition("=")
        if key.lower() != "from" or not has_value:
            continue
        if "$" in value[:-1]:
            hint = "give the image a name with FROM … AS at the top, and mount from that name"
            raise Fault("syntax", "from= of a mount takes no variables", hint=hint)
        found = value
    return found


def _check_device(device: str) -> None:
    name = ""
    for item in csv_fields(device):
        key, has_value, value = item.partition("=")
        if has_value and key.lower() == "name":
            if name:
                raise Fault("syntax", f"the device has the name {name} already")
            name = value
        elif has_value and key.lower() == "required":
            if value not in _TRUE | _FALSE:
                raise Fault("syntax", f"required is true or false, not {value!r}")
        elif not (key.lower() == "required" and not has_value):
            if name:
                raise Fault("syntax", f"{item!r} is no option of --device")
            name = item


def _env(instruction: Instruction) -> Step:
    _flags(instruction)
    if not instruction.pairs:
        raise Fault("syntax", f"{instruction.name.upper()} takes at least 1 argument, not 0")
    if not all(name for name, _ in instruction.pairs):
        raise Fault("syntax", f"{instruction.name.upper()} needs a name before =")
    if instruction.keyword == "env":
        return Step("env", instruction.line, sets=instruction.pairs)
    return Step("label", instruction.line, check=words(tuple(text for pair in instruction.pairs for text in pair)))


def _arg(instruction: Instruction) -> Step:
    sets: list[tuple[str, str | None]] = []
    for argument in _arguments(instruction, 1):
        name, has_value, value = argument.partition("=")
        if has_value and not name:
            raise Fault("syntax", "ARG needs a name before =")
        sets.append((name, value if has_value else None))
    return Step("arg", instruction.line, sets=tuple(sets))


def _onbuild(instruction: Instruction) -> Step:
    trigger = _arguments(instruction, 1)[0].upper()
    _flags(instruction)
    if trigger in ("ONBUILD", "MAINTAINER", "FROM"):
        raise Fault("syntax", f"{trigger} cannot stand behind ONBUILD")
    text = _ONBUILD.sub("", instruction.original)
    for heredoc in instruction.heredocs:
        text += f"\n{heredoc.text}{heredoc.name}"
    return Step("onbuild", instruction.line, trigger=text)


def _volume(instruction: Instruction) -> Step:
    arguments = _arguments(instruction, 1)
    _flags(instruction)
    if not all(argument.strip(GO_SPACE) for argument in arguments):
        raise Fault("syntax", "a VOLUME cannot be empty")
    return Step("volume", instruction.line, check=settled(Volumes(arguments), *arguments))


def _shell(instruction: Instruction) -> Step:
    _flags(instruction)
    _arguments(instruction, 1)
    if not instruction.json:
        raise Fault("syntax", "SHELL takes a JSON array of strings")
    return Step("shell", instruction.line)


def _healthcheck(instruction: Instruction) -> Step:
    kind, *command = _arguments(instruction, 1)
    if kind.upper() == "NONE":
        if command:
            raise Fault("syntax", "HEALTHCHECK NONE takes no arguments")
        return Step("healthcheck", instruction.line)
    flags = _flags(instruction)
    if kind.upper() != "CMD":
        raise Fault("syntax", f"HEALTHCHECK takes CMD or NONE, not {kind!r}")
    if not command:
        raise Fault("syntax", "a command is missing behind HEALTHCHECK CMD")
    for name, (value,) in flags.items():
        if value and not (_is_count(value) if name == "retries" else _is_interval(value)):
            raise Fault("syntax", f"{value!r} is no value for --{name}")
    return Step("healthcheck", instruction.line)


def _is_count(value: str) -> bool:
    return _RETRIES.fullmatch(value) is not None and int(value) < 2**31


def _is_interval(value: str) -> bool:
    """A duration as Go writes it: nothing at all, or at least a millisecond."""
    spans = _SPAN.findall(value)
    bare = value.removeprefix("-") if value.startswith("-") else value.removeprefix("+")
    if bare == "0":
        return True
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in spans)
    well_formed = bool(spans) and "".join(number + unit for number, unit in spans) == bare
    return well_formed and (seconds == 0 or (seconds >= 1e-3 and not value.startswith("-")))


_READERS: Mapping[str, Callable[[Instruction], From | Step]] = {
    "add": _copy,
    "arg": _arg,
    "cmd": _plain(0, None),
    "copy": _copy,
    "entrypoint": _plain(0, None),
    "env": _env,
    "expose": _plain(1, None, check=_ports),
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _env,
    "maintainer": _plain(1, 1),
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _plain(1, 1, flags=False, check=lambda signal: settled(Signal(*signal), *signal)),
    "user": _plain(1, 1, check=words),
    "volume": _volume,
    "workdir": _workdir,
}
