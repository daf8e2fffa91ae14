"""`RUN --mount`: what BuildKit takes, and which folders a stage's steps keep between builds (BuildKit: instructions/
commands_runmount.go, dockerfile2llb/convert_runmount.go)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import join, normpath
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.fault import Fault, nearest
from reconciler.desired.dockerfile.refusals import AS_IT_IS
from reconciler.desired.dockerfile.words import csv_fields
from reconciler.model.cache import MAX_MOUNT_ID, CacheMount, Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.desired.dockerfile.environment import StageEnvironment
    from reconciler.desired.dockerfile.instructions import Step

    Options = Mapping[str, str | None]
    """By their full names, later ones winning; None where a base image may have a say in the value."""

_NAMES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
_KEYS = (
    *("type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid"),
    *("src", "dst", "destination", "ro", "rw", "readwrite", "env"),
)
_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_ASKED = frozenset({"secret", "ssh"})  # types that may be required
_OWNED = _ASKED | {"cache"}  # types that have a mode, a uid and a gid
_TRUTHS = frozenset(["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"])
_SIZED = re.compile(r"(.*[0-9. ])([^0-9. ]*)", re.DOTALL)
_AMOUNT = re.compile(r"[+-]?(?:0[xX][^ ]*[pP][^ ]*|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)")
_UNIT = re.compile(r"(?:b|[kmgtp](?:i?b)?)?", re.IGNORECASE)
_NUMBERS = {"uid": (re.compile("[0-9]+"), 10), "gid": (re.compile("[0-9]+"), 10), "mode": (re.compile("[0-7]+"), 8)}
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a RUN, not yet expanded. `options` are known where nothing has to be put in and nothing is wrong."""

    written: str
    fields: tuple[str, ...]
    options: Options | None


@dataclass(frozen=True, slots=True)
class CacheMountSeen:
    """A cache mount of a step. `mount` is None exactly when `why` says what keeps lian from knowing it."""

    written: str
    line: int
    mount: CacheMount | None
    why: str | None = None


class _Unclear(Exception):
    """The text says why."""


def read_mount(written: str) -> Mount:
    """Raises Fault for what BuildKit refuses as soon as it reads it."""
    fields = tuple(csv_fields(written))
    mount = Mount(written, fields, None)
    if not AS_IT_IS.fullmatch(written):
        return mount
    try:
        return Mount(written, fields, _options(fields, str))
    except Fault:  # only if the stage is built
        return mount


def mount_options(mounts: Iterable[Mount], environment: StageEnvironment) -> list[Options]:
    """What each mount of a step says in its stage. Raises Fault for what BuildKit refuses."""
    said = [_options(m.fields, environment.word) if m.options is None else m.options for m in mounts]
    for options in said:
        _refuse_place(options, environment)
    return said


def cache_mounts(step: Step, said: list[Options]) -> Iterator[CacheMountSeen]:
    """The cache mounts of a RUN, given what each of its mounts says."""
    for mount, options in zip(step.mounts, said, strict=True):
        kind = options["type"]
        if kind not in (None, "cache"):
            continue
        try:
            yield CacheMountSeen(mount.written, step.line, _mount(_known(options)))
        except _Unclear as error:
            yield CacheMountSeen(mount.written, step.line, None, str(error))


def _known(options: Options) -> Mapping[str, str]:
    """Raises _Unclear where a variable is not known."""
    if None in options.values():
        raise _Unclear("a variable in it may be set by the base image")
    return {name: value for name, value in options.items() if value is not None}


# -- what BuildKit takes


def _options(fields: tuple[str, ...], put_in: Callable[[str], str | None]) -> Options:
    """Raises Fault."""
    found: dict[str, str | None] = {"type": "bind"}
    for field in fields:
        key, has_value, written = field.partition("=")
        key = key.lower()
        name = _NAMES.get(key, key)
        value = put_in(written) if has_value else "true"
        if not has_value and name not in ("readonly", "readwrite", "required"):
            raise _bad(f"invalid field '{field}' must be a key=value pair")
        if name not in _KEYS:
            hint = nearest(key, _KEYS) or f"the keys are {', '.join(_KEYS)}"
            raise _bad(f"unexpected key '{key}' in '{field}'", hint)
        if name in ("required", "size"):
            _refuse_key(key, found["type"])
        if value is not None:
            found[name] = _checked(name, key, value)
        else:
            found[name] = None
    _refuse_together(found)
    return found


def _refuse_key(key: str, kind: str | None) -> None:
    """A key that means nothing to the mount's type, which has to stand before it."""
    if kind is not None and kind not in (_ASKED if key == "required" else ("tmpfs",)):
        hint = f"type={kind} takes none; where another type is meant, it has to stand before {key}"
        raise _bad(f"unexpected key '{key}' for mount type '{kind}'", hint)


def _checked(name: str, key: str, value: str) -> str:
    """The value of an option as it counts. Raises Fault."""
    if name == "type":
        return _one_of(_TYPES, value, f'unsupported mount type "{value}"')
    if name == "sharing":
        return _one_of(_SHARING, value, f'unsupported sharing value "{value}"')
    if name in ("readonly", "readwrite", "required") and value not in _TRUTHS:
        raise _bad(f"invalid value for {key}: {value}", "it is true or false")
    if name == "size" and not _is_size(value):
        raise _bad(f"invalid value for {key}: {value}", "a size is a number and a unit: 64m, 1.5g")
    if name in _NUMBERS and not _is_number(value, *_NUMBERS[name]):
        hint = "a mode is octal: 0755" if name == "mode" else "names are not known here: give its number"
        raise _bad(f"invalid value {value} for {name}", hint)
    return value


def _one_of(known: tuple[str, ...], value: str, message: str) -> str:
    if value.lower() not in known:
        raise _bad(message, nearest(value, known) or f"it is one of {', '.join(known)}")
    return value.lower()


def _refuse_together(found: Options) -> None:
    """What cannot stand together in one mount; `found` has all that is said."""
    kind = found["type"]
    if kind is None:
        return
    for name in ("mode", "uid", "gid"):
        if name in found and kind not in _OWNED:
            raise _bad(f'{name} not allowed for "{kind}" type mounts')
    if kind == "secret":
        _refuse_secret(found)
    if found.get("sharing") and kind != "cache":
        raise _bad(f"invalid cache sharing set for {kind} mount")
    if kind == "ssh" and found.get("source"):
        raise _bad("ssh does not support source", "name the agent with id=")


def _refuse_secret(found: Options) -> None:
    if found.get("from"):
        raise _bad("secret mount should not have a from")
    if found.get("sharing"):
        raise _bad("secret mount should not define sharing")
    if not any(found.get(name, "") != "" for name in ("source", "target", "id")):
        raise _bad("invalid secret mount. one of source, target required", "name the secret with id=")
    if found.get("source") and found.get("id"):
        raise _bad("both source and id can't be set", "leave source out: id names the secret")


def _refuse_place(options: Options, environment: StageEnvironment) -> None:
    """A mount cannot take the place of the whole file system."""
    target, folder = options.get("target", ""), environment.folder
    if options["type"] in (None, *_ASKED) or target is None or environment.system == "windows":
        return
    if not target.startswith("/"):
        target = "/" if folder is not None and _clean(join("/", folder, target)) == "/" else ""
    if target == "/":
        raise _bad('invalid mount target "/"', "say with target= where in the file system the step shall find it")


def _is_size(text: str) -> bool:
    """Whether it is an amount of memory (docker/go-units), or may be: some of Go's numbers are left to Go."""
    parts = _SIZED.fullmatch(text)
    if parts is None or not _UNIT.fullmatch(parts[2]):
        return False
    amount = parts[1].removesuffix(" ")
    return _AMOUNT.fullmatch(amount) is not None and not re.match(r"-[0.]*[1-9]", amount)


def _is_number(text: str, form: re.Pattern[str], base: int) -> bool:
    digits = text.lstrip("0") or "0"
    return form.fullmatch(text) is not None and len(digits) <= len(str(_MOST)) + 1 and int(digits, base) <= _MOST


def _bad(message: str, hint: str | None = None) -> Fault:
    return Fault("syntax", message, hint=hint)


# -- what is kept between builds


def _mount(options: Mapping[str, str]) -> CacheMount:
    """Raises _Unclear for one that begins with content."""
    if options.get("from"):
        raise _Unclear("it begins with files of another stage or image")
    if normpath("/" + options.get("source", "")).strip("/"):
        raise _Unclear("it begins with a folder of something else")
    identity = options.get("id") or _clean(options.get("target", ""))
    if len(identity) > MAX_MOUNT_ID:
        raise _Unclear(f"its id has more than {MAX_MOUNT_ID} characters")
    if not _is_text(identity):
        raise _Unclear("its id is no text")
    given = {name: int(options[name], base) for name, (_, base) in _NUMBERS.items() if name in options}
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
