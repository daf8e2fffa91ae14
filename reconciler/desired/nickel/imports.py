"""What a file imports, with everything those import: confined to the commit and the packaged schemas (ADR 012).

A literal path is looked up beside the importing file, in the *git tree*: a link is a link there, and nothing outside
the commit exists. `schemas/…` and `defaults/…` name the packaged files. A file of the repo that would hide one of those
is refused, because Nickel looks beside the importing file first.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from reconciler.desired.nickel.guard import FORMATS, Fault, Import, imports_at
from reconciler.desired.nickel.lexer import LexError, place
from reconciler.desired.packaged import FOLDERS
from reconciler.model.problem import Problem
from reconciler.model.tree import EXECUTABLE, FILE, SYMLINK
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.desired.nickel.guard import Examined
    from reconciler.desired.nickel.settings import SourceFile, Tree
    from reconciler.desired.packaged import Packaged

MAX_FILES = 1000
"""Files one directive may draw in."""
MAX_CHAIN = 50
"""Files in a chain of imports."""

_RENAME = "rename the file"
_HINT = "name files of this repository, relative to the importing file, or schemas/… and defaults/…"


class Node(NamedTuple):
    """A file of the commit, read in one format."""

    path: str
    blob: str
    format: str


class _Refusal(NamedTuple):
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Closure:
    """Every file of the commit that one file needs, itself included, sorted by path; or why it cannot be evaluated."""

    files: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...] = ()
    height: int = 0
    """Files in the longest chain of imports that starts here."""


_Target: TypeAlias = "Node | _Refusal | None"


class Imports:
    """Resolves imports in one commit; remembers what it resolved."""

    def __init__(self, tree: Tree, packaged: Packaged, examine: Callable[[str, str], Examined]) -> None:
        """`examine` gives the guard's verdict on (blob id, format)."""
        self._tree = tree
        self._packaged = packaged
        self._examine = examine
        self._targets: dict[tuple[str, Import], _Target] = {}
        self._closures: dict[Node, Closure] = {}

    def closure(self, file: SourceFile) -> Closure:
        """Everything this Nickel file needs. Never raises for what the file says."""
        if fault := _unusable(file.path):
            return Closure((), (Problem("nickel-limit", fault, file.path, hint=_RENAME),))
        try:
            return self._walk(Node(file.path, file.blob, "Nickel"), ())
        except _TooDeepError:
            message = f"imports are chained more than {MAX_CHAIN} deep"
            return Closure((), (Problem("nickel-limit", message, file.path, hint="import the last of them directly"),))

    def _walk(self, node: Node, trail: tuple[Node, ...]) -> Closure:
        """The closure of a node reached over `trail`. Raises _TooDeepError."""
        known = self._closures.get(node)
        if len(trail) + (known.height if known else 1) > MAX_CHAIN:
            raise _TooDeepError
        if known:
            return known
        examined = self._examine(node.blob, node.format)
        problems = [_problem(fault, node.path) for fault in examined.faults]
        files, height = {(node.path, node.blob)}, 0
        for imported in examined.imports:
            target = self._target(posixpath.dirname(node.path), imported)
            if isinstance(target, _Refusal):
                problems.append(self._refused(node, imported, target))
            elif target in trail or target == node:
                problems.append(self._refused(node, imported, _circle((*trail, node), target)))
            elif target is not None:
                below = self._walk(target, (*trail, node))
                files.update(below.files)
                problems.extend(below.problems)
                height = max(height, below.height)
        if len(files) > MAX_FILES:
            problems.append(Problem("nickel-limit", f"the file imports more than {MAX_FILES} files", node.path))
        closure = Closure(() if problems else tuple(sorted(files)), tuple(dict.fromkeys(problems)), height + 1)
        self._closures[node] = closure
        return closure

    def _target(self, folder: str, imported: Import) -> _Target:
        """The file meant; None for a packaged one, which is trusted and hashed as a whole."""
        key = (folder, imported)
        if key not in self._targets:
            self._targets[key] = self._resolve(folder, imported)
        return self._targets[key]

    def _resolve(self, folder: str, imported: Import) -> _Target:
        if refusal := _spelling(imported.path):
            return refusal
        candidate = posixpath.normpath(posixpath.join(folder, imported.path))
        if candidate == ".." or candidate.startswith("../"):
            return _Refusal(f"the import of {imported.path} leaves the repository", _HINT)
        format = imported.format or FORMATS.get(posixpath.splitext(imported.path)[1])
        if format is None or format not in FORMATS.values():
            return _unread(imported)
        found = self._tree.lookup(candidate)
        shipped = posixpath.normpath(imported.path)
        if shipped in self._packaged.files:
            if found is None:
                return None
            hint = f"rename {candidate}, or import it by a path that does not begin with {shipped.split('/')[0]}/"
            return _Refusal(f"the file {candidate} hides lian's own {shipped}", hint)
        if found is None:
            return _Refusal(f"the imported file {candidate} is not in {self._tree.called}", self._nearest(shipped))
        mode, blob = found
        if mode == SYMLINK:
            return _Refusal(f"the imported {candidate} is a symbolic link", "import the file that it points to")
        if mode not in {FILE, EXECUTABLE}:
            return _Refusal(f"the imported {candidate} is not a file", _HINT)
        if fault := _unusable(candidate):
            return _Refusal(fault, _RENAME)
        return Node(candidate, blob, format)

    def _nearest(self, path: str) -> str:
        if path.split("/", maxsplit=1)[0] not in FOLDERS:
            return _HINT
        return meant(path, self._packaged.files, _HINT)

    def _refused(self, node: Node, imported: Import, refusal: _Refusal) -> Problem:
        try:
            text = self._tree.read(node.blob).decode()
            offset = next(at for found, at in imports_at(text) if found == imported)
        except (LexError, UnicodeDecodeError, StopIteration):
            return Problem("nickel-import", refusal.message, node.path, hint=refusal.hint)
        return Problem("nickel-import", refusal.message, node.path, *place(text, offset), hint=refusal.hint)


class _TooDeepError(Exception):
    """A chain of imports is longer than MAX_CHAIN."""


def _circle(trail: tuple[Node, ...], node: Node) -> _Refusal:
    """`node` is imported by the last of `trail`, and is one of them."""
    chain = " → ".join(each.path for each in (*trail[trail.index(node) :], node))
    return _Refusal(f"files import each other in a circle: {chain}", "move what they share to a third file")


def _problem(fault: Fault, path: str) -> Problem:
    return Problem(fault.code, fault.message, path, fault.line or None, fault.column or None, hint=fault.hint)


def _unusable(path: str) -> str | None:
    """Why a path of the commit cannot be handed to Nickel."""
    if not path.isprintable() or "\\" in path:
        return "the file's name holds characters that cannot be printed, or a backslash"
    raw = path.encode()
    if len(raw) > 1024 or any(len(part) > 255 for part in raw.split(b"/")):
        return "the file's name is too long"
    return None


def _spelling(path: str) -> _Refusal | None:
    if not path:
        return _Refusal("an import names no file", _HINT)
    if "\\" in path:
        return _Refusal("an import's path has a backslash", "write it without escapes, with / between folders")
    if not path.isprintable():
        return _Refusal("an import's path has characters that cannot be printed", _RENAME)
    if path.startswith("/"):
        return _Refusal(f"the import of {path} leaves the repository", _HINT)
    return None


def _unread(imported: Import) -> _Refusal:
    suffix = posixpath.splitext(imported.path)[1]
    if imported.format == "Yaml" or (imported.format is None and suffix in {".yaml", ".yml"}):
        return _Refusal("YAML cannot be imported", "write it as JSON or TOML: YAML's anchors multiply without bound")
    if imported.format:
        known = ", ".join(f"'{format}" for format in FORMATS.values())
        return _Refusal(f"'{imported.format} is not a format of imports", f"use one of {known}")
    known = ", ".join(FORMATS)
    message = f"a file with the suffix {suffix or '(none)'} cannot be imported as it is"
    return _Refusal(message, f"use one of {known}, or add `as 'Text`")
