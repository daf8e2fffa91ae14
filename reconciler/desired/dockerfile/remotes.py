"""`ADD <url>` and `ADD <git reference>`: what a stage fetches by itself (BuildKit: dfgitutil, util/gitutil)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.desired.dockerfile.expand import Quoting, expand
from reconciler.desired.dockerfile.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.desired.dockerfile.instructions import Step

_SCHEME = re.compile(r"([a-zA-Z0-9]+)://")
_SCP = re.compile(r"[a-zA-Z0-9\-_]+@[a-zA-Z0-9\-.]+:.*")
_NOT_ENV = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


class RemoteKind(StrEnum):
    """How a source is fetched."""

    HTTP = "http"
    GIT = "git"


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A source of an ADD. `location` is None where a variable may come from the base image, so that nobody can tell."""

    written: str
    location: str | None
    kind: RemoteKind | None
    line: int


def remote_kind(source: str) -> RemoteKind | None:
    """How a source of ADD is fetched; None for a path in the context."""
    if source.startswith(("./", "../", "github.com/")):
        return None
    scheme = _SCHEME.match(source)
    if scheme is None:
        return RemoteKind.GIT if _SCP.fullmatch(source) else None
    name = scheme[1].lower()
    if name in ("ssh", "git"):
        return RemoteKind.GIT
    if name in ("http", "https") and _path_of(source).endswith(".git"):
        return RemoteKind.GIT
    return RemoteKind.HTTP if source.startswith(("http://", "https://")) else None


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def remote_sources(
    steps: Iterable[Step],
    env: Mapping[str, str],
    complete: bool,
    global_env: Mapping[str, str],
    args: Mapping[str, str],
    quoting: Quoting,
) -> tuple[list[RemoteSource], dict[str, str] | None]:
    """The remote sources of a stage, and its variables at the end (None where a base image has a say in them).

    `env` is what the stage begins with; `complete` is False if a base image may set more.
    """
    env = dict(env)
    found: list[RemoteSource] = []
    for step in steps:
        if step.keyword == "arg":
            complete = _declare(step, env, complete, global_env, args, quoting) and complete
        elif step.keyword == "env":
            before = dict(env)
            for name, value in step.sets:
                key, text = (_known(part, before, complete, quoting) for part in (name, value or ""))
                if key is None or text is None:
                    complete = False
                    env.pop(key or name, None)
                else:
                    env[key] = text
        for written in step.adds:
            location = _known(written, env, complete, quoting)
            kind = None if location is None else remote_kind(location)
            if kind is not None or (location is None and "$" in written):
                found.append(RemoteSource(written, location, kind, step.line))
    return found, env if complete else None


def _declare(
    step: Step,
    env: dict[str, str],
    complete: bool,
    global_env: Mapping[str, str],
    args: Mapping[str, str],
    quoting: Quoting,
) -> bool:
    """Set what an ARG sets; False if a value cannot be told."""
    for name, default in step.sets:
        value = args.get(name)
        if value is None:
            value = global_env.get(name) if default is None else _known(default, env, complete, quoting)
        if value is not None and name not in _NOT_ENV:
            env[name] = value
        elif value is None and default is not None:
            env.pop(name, None)
            complete = False
    return complete


def _known(text: str, env: Mapping[str, str], complete: bool, quoting: Quoting) -> str | None:
    """The text with its variables put in, or None if one may be set by a base image. Raises nothing."""
    try:
        found = expand(text, env, quoting)
    except Fault:
        return None
    return found.text if complete or not found.unset else None
