"""docker-bake.json without buildx: its targets with all that they inherit, as `buildx bake --print` has them.

What only buildx can tell (functions, matrices, expressions) is not guessed at.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from reconciler.adopt.bake_target import linked_of
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_MEND = "mend it there, or give another file by --from"
_KINDS = frozenset({"variable", "group", "target", "function"})
_TEMPLATE = re.compile(r"\${3,}\{|%{3,}\{|\$\$\{|%%\{|\$\{\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_-]*)\s*\}|\$\{|%\{")
_MAPPED = frozenset({"args", "contexts", "labels"})
_JOINED = frozenset(
    {
        "annotations",
        "attest",
        "cache-from",
        "entitlements",
        "extra-hosts",
        "no-cache-filter",
        "policy",
        "secret",
        "ssh",
        "ulimits",
    }
)
MAX_TEXT = 1 << 20


class NeedsBuildx(Exception):
    """The file says something that only buildx can tell; the text is what."""


def print_bake(content: bytes, file: str, only: Collection[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """The document of `buildx bake --print` for these targets and groups, or for the default ones, with what those
    stand on; and the variables that were put in.

    Raises NeedsBuildx; LianError `bake-invalid` with its place, `bake-target-unknown`.
    """
    document = _document(content, file)
    reader = _Reader(file, document)
    names = reader.chosen(only)
    targets: dict[str, Any] = {}
    waiting = list(reversed(names))
    while waiting:
        name = waiting.pop()
        if name not in targets:
            targets[name] = found = reader.target(name)
            waiting += linked_of(found)
    return {"target": targets}, reader.used


def _document(content: bytes, file: str) -> dict[str, Any]:
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(found)
        if len(fields) < len(found):
            twice.extend(sorted({name for name, _ in found if sum(name == n for n, _ in found) > 1}))
        return fields

    try:
        document = json.loads(content, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        message = f"{file} is not JSON"
        problem = Problem("bake-invalid", message, file, error.lineno, error.colno, cause=error.msg, hint=_MEND)
        raise LianError(problem) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise LianError(Problem("bake-invalid", f"{file} is not JSON", file, cause=str(error), hint=_MEND)) from error
    if not isinstance(document, dict):
        raise LianError(Problem("bake-invalid", f"{file} is not a JSON object", file, hint=_MEND))
    if twice:
        raise NeedsBuildx(f"{twice[0]} comes twice")
    if unknown := sorted(document.keys() - _KINDS):
        raise NeedsBuildx(f"{unknown[0]} is set at the top")  # bake takes it for a variable's value
    return document


class _Reader:
    def __init__(self, file: str, document: Mapping[str, Any]) -> None:
        self._file = file
        if document.get("function"):
            raise NeedsBuildx("it has functions")
        self._variables = self._blocks(document, "variable")
        self._groups = self._blocks(document, "group")
        self._targets = self._blocks(document, "target")
        self.used: dict[str, str] = {}

    def _blocks(self, document: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
        found = document.get(kind, {})
        if isinstance(found, list):
            raise NeedsBuildx(f"{kind} is a list")
        if not isinstance(found, dict):
            raise self._invalid(f"{kind} is not an object")
        for name, block in found.items():
            if isinstance(block, list):
                raise NeedsBuildx(f"{kind} {name} is a list")
            if not isinstance(block, dict):
                raise self._invalid(f"{kind} {name} is not an object")
        return found

    def _invalid(self, message: str, hint: str | None = None, code: str = "bake-invalid") -> LianError:
        return LianError(Problem(code, f"{self._file}: {message}", self._file, hint=hint or _MEND))

    def chosen(self, only: Collection[str]) -> list[str]:
        """The names of the targets that are meant. Raises LianError `bake-target-unknown`."""
        if not only and "default" not in self._groups and "default" not in self._targets:
            return list(self._targets)
        names: dict[str, None] = {}
        for name in only or ["default"]:
            names |= dict.fromkeys(self._members(name, ()))
        return list(names)

    def _members(self, name: str, through: tuple[str, ...]) -> Iterator[str]:
        group = self._groups.get(name)
        if group is None:
            if name not in self._targets:
                raise self._unknown(name)
            yield name
        elif name not in through:
            for member in self._listed(f"group.{name}", group, "targets"):
                yield from self._members(member, (*through, name))

    def _unknown(self, name: str) -> LianError:
        hint = meant(name, [*self._targets, *self._groups], "name a target or a group of the file")
        return self._invalid(f"there is no target {name}", hint, "bake-target-unknown")

    def target(self, name: str) -> dict[str, Any]:
        """A target with all that it inherits; context and dockerfile as bake has them where nothing says."""
        return {"context": ".", "dockerfile": "Dockerfile"} | (self._inherited(name, {}) or {})

    def _inherited(self, name: str, met: dict[str, dict[str, Any] | None]) -> dict[str, Any] | None:
        """None within itself: bake takes nothing from there. `met` are those met on the way from one target."""
        if name in met:
            return met[name]
        block = self._targets.get(name)
        if block is None:
            raise self._unknown(name)
        if "matrix" in block or "name" in block:
            raise NeedsBuildx(f"the target {name} has a matrix")
        met[name] = None
        own = {key: self._value(value) for key, value in block.items() if key != "inherits"}
        whole: dict[str, Any] = {}
        for parent in self._listed(f"target.{name}", block, "inherits"):
            merge(whole, self._inherited(parent, met) or {})
        merge(whole, own)
        met[name] = whole
        return whole

    def _listed(self, where: str, block: Mapping[str, Any], key: str) -> list[str]:
        """Raises LianError `bake-invalid`."""
        names = self._value(block.get(key, []))
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise self._invalid(f"{where}.{key} is not a list of names")
        return names

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value, ())
        if isinstance(value, list):
            return [self._value(each) for each in value]
        if isinstance(value, dict):
            return {self._text(key, ()): self._value(each) for key, each in value.items()}
        return value

    def _text(self, text: str, through: tuple[str, ...]) -> str:
        if "{" not in text:
            return text
        done = _TEMPLATE.sub(lambda found: self._put(found, through), text)
        if len(done) > MAX_TEXT:
            raise self._invalid("a text with its variables put in is too long")
        return done

    def _put(self, found: re.Match[str], through: tuple[str, ...]) -> str:
        if found[0] in {"$${", "%%{"}:
            return found[0][1:]
        name = found["name"]
        if name is None:
            raise NeedsBuildx("it has expressions")
        if name in through:
            raise self._invalid(f"the variable {name} stands in its own value")
        block = self._variables.get(name)
        if block is None:
            raise NeedsBuildx(f"{name} is no variable of the file")
        default = block.get("default")
        if set(block) - {"default", "description"} or not isinstance(default, str | bool | int):
            raise NeedsBuildx(f"the variable {name} is more than a text")
        plain = str(default).lower() if isinstance(default, bool) else str(default)
        self.used[name] = value = self._text(plain, (*through, name)) if isinstance(default, str) else plain
        return value


def merge(into: dict[str, Any], over: Mapping[str, Any]) -> None:
    """What bake makes of a target's fields (`into`, changed) and of later ones: mappings by key, some lists joined, all
    else replaced; null says nothing."""
    for name, value in over.items():
        if value is None:
            continue
        if name in _MAPPED and isinstance(value, dict):
            into[name] = {**into.get(name, {}), **{key: each for key, each in value.items() if each is not None}}
        elif name in _JOINED and isinstance(value, list):
            into[name] = [*into.get(name, []), *value]
        else:
            into[name] = value
