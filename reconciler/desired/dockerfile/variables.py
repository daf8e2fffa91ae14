"""The variables that FROM sees: the automatic ones about platforms, then the ARGs before the first FROM."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.expand import Quoting, expand
from reconciler.desired.dockerfile.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.desired.dockerfile.facts import DockerfileFacts
    from reconciler.desired.dockerfile.names import PlatformName

EPOCH = "SOURCE_DATE_EPOCH"
_NUMBER = re.compile(r"[+-]?[0-9]+")


def automatic_variables(builder: PlatformName, target: PlatformName, stage: str) -> dict[str, str]:
    """What BuildKit sets by itself, before build arguments have their say."""
    return {
        "BUILDPLATFORM": builder.short,
        "BUILDOS": builder.system,
        "BUILDOSVERSION": builder.version,
        "BUILDARCH": builder.machine,
        "BUILDVARIANT": builder.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.system,
        "TARGETOSVERSION": target.version,
        "TARGETARCH": target.machine,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage,
    }


def global_variables(
    facts: DockerfileFacts, args: dict[str, str], automatic: Mapping[str, str], quoting: Quoting
) -> dict[str, str]:
    """All variables of FROM. Normalises SOURCE_DATE_EPOCH in `args`, as BuildKit does. Raises Fault."""
    env = {name: args.get(name, value) for name, value in automatic.items()}
    for step in facts.arguments:
        for name, default in step.sets:
            if name in args:
                env[name] = args[name]
            elif default is not None:
                env[name] = expanded(default, env, step.line, quoting)[0]
    _settle_epoch(args, env)
    return env


def _settle_epoch(args: dict[str, str], env: dict[str, str]) -> None:
    """BuildKit writes the epoch anew; it can also take it from a context or an image, which lian does not follow."""
    value = args.get(EPOCH, env.get(EPOCH, ""))
    if not value and EPOCH not in args:
        return
    if value and not _NUMBER.fullmatch(value):
        raise Fault("epoch-unsupported", f"{EPOCH} is a number of seconds here, not {value!r}")
    for holder in (args, env):
        if EPOCH in holder and value:
            holder[EPOCH] = str(int(value))
        elif EPOCH in holder:
            del holder[EPOCH]


def expanded(text: str, env: Mapping[str, str], line: int, quoting: Quoting) -> tuple[str, frozenset[str]]:
    """The text with its variables put in, and those that were not set. Raises Fault with this line."""
    try:
        found = expand(text, env, quoting)
    except Fault as fault:
        raise fault.at(line) from fault
    return found.text, found.unset


def unresolved(message: str, unset: Iterable[str], line: int | None) -> Fault:
    """The fault of a FROM whose variables were not set."""
    names = ", ".join(sorted(unset))
    hint = f"give {names} a default with ARG above the first FROM, or a value in args" if names else None
    return Fault("arg-unresolved", message, line, hint)
