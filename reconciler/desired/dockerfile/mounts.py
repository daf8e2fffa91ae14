"""`RUN --mount=type=cache`: which folders a stage's steps keep between builds (BuildKit: instructions/
commands_runmount.go, dockerfile2llb/convert_runmount.go)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import normpath
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.dockerfile.words import csv_fields
from reconciler.model.cache import MAX_MOUNT_ID, CacheMount, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.desired.dockerfile.environment import StageEnvironment
    from reconciler.desired.dockerfile.instructions import Step

_NAMES = {"dst": "target", "destination": "target", "src": "source"}
_OCTAL, _DECIMAL = re.compile("[0-7]{1,11}"), re.compile("[0-9]{1,10}")
_NUMBERS = {"uid": (_DECIMAL, 10), "gid": (_DECIMAL, 10), "mode": (_OCTAL, 8)}
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class CacheMountSeen:
    """A cache mount of a step. `mount` is None exactly when `why` says what keeps lian from knowing it."""

    written: str
    line: int
    mount: CacheMount | None
    why: str | None = None


class _Unclear(Exception):
    """The text says why."""


def cache_mounts(step: Step, environment: StageEnvironment) -> Iterator[CacheMountSeen]:
    """The cache mounts of a RUN, with the variables that it sees. What BuildKit refuses is none."""
    for written in step.mounts:
        if "cache" not in written.lower() and "$" not in written:
            continue
        try:
            options = _options(written, environment)
            if options.get("type", "").lower() == "cache":
                yield CacheMountSeen(written, step.line, _mount(options))
        except _Unclear as error:
            yield CacheMountSeen(written, step.line, None, str(error))
        except (Fault, ValueError):
            continue


def _options(written: str, environment: StageEnvironment) -> Mapping[str, str]:
    """By their full names, later ones winning. Raises _Unclear for a cache mount, or what may be one, with a variable
    that nobody knows."""
    found: dict[str, str | None] = {}
    for item in csv_fields(written):
        key, has_value, value = item.partition("=")
        name = key.lower()
        if has_value:
            found[_NAMES.get(name, name)] = environment.known(value)
    kind = found.get("type", "bind")
    if (kind is None or kind.lower() == "cache") and None in found.values():
        raise _Unclear("a variable in it may be set by the base image")
    return {name: value for name, value in found.items() if value is not None}


def _mount(options: Mapping[str, str]) -> CacheMount:
    """Raises _Unclear for one that begins with content, ValueError for what BuildKit refuses."""
    if options.get("from"):
        raise _Unclear("it begins with files of another stage or image")
    if normpath("/" + options.get("source", "")).strip("/"):
        raise _Unclear("it begins with a folder of something else")
    identity = options.get("id") or _clean(options.get("target", ""))
    if len(identity) > MAX_MOUNT_ID:
        raise _Unclear(f"its id has more than {MAX_MOUNT_ID} characters")
    if not _is_text(identity):
        raise _Unclear("its id is no text")
    given = {name: _number(options[name], *form) for name, form in _NUMBERS.items() if name in options}
    return CacheMount(identity, Owner(**given) if given else None)


def _clean(path: str) -> str:
    """Go's path.Clean; Python's own keeps two slashes at the beginning."""
    return normpath(re.sub("^/+", "/", path))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _number(text: str, form: re.Pattern[str], base: int) -> int:
    if not form.fullmatch(text) or int(text, base) > _MOST:
        raise ValueError(text)
    return int(text, base)
