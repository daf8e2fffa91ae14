"""Where everything lies that an artifact is built from: its folders, the Dockerfile and the ignore files, each in the
desired commit or in a commit of another repository."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.desired.ignore import NAME as IGNORE
from reconciler.desired.ignore import find_ignore
from reconciler.desired.tree import SUBMODULE, normal
from reconciler.model.artifact import Folder, GitFolder
from reconciler.model.desired import SentFolder
from reconciler.model.problem import Problem
from reconciler.model.tree import FOLDER, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.desired.contexts import Contexts
    from reconciler.desired.tree import CommitTree, Node
    from reconciler.model.artifact import Artifact, Place
    from reconciler.model.desired import Origin

_PATTERN_SIGNS = frozenset("*?[\\")
"""BuildKit takes a Dockerfile's name that holds one for a pattern."""
_DEFAULT_DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Side:
    """A commit that contexts are read from; `origin` is None for the desired one."""

    tree: CommitTree
    contexts: Contexts
    origin: Origin | None = None


@dataclass(slots=True)
class Inputs:
    """What was found for one artifact."""

    dockerfile: tuple[str, Node] | None = None
    """In the repository of the main context."""
    folders: dict[str, SentFolder] = field(default_factory=dict)
    """By name, the main context under the empty name; `root` is not known yet."""
    sides: dict[str, Side] = field(default_factory=dict)
    """Where each of them is read."""
    ids: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tree id and ignore file's blob id of each folder."""
    problems: list[Problem] = field(default_factory=list)
    holds: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for what one artifact names on one side; `place` says where a field of it is written in its directive."""

    side: Side
    artifact: Artifact
    inputs: Inputs
    place: Callable[[Artifact, tuple[str, ...]], Place]

    def main(self, context: Folder | GitFolder) -> None:
        """The main context with its Dockerfile, which may lie anywhere in its repo."""
        artifact, inputs = self.artifact, self.inputs
        at = self._folder(context, ("context", "path"))
        written = normal(f"{context.path}/{artifact.dockerfile}")
        above = self._resolved(posixpath.dirname(written) or ".")
        beside = posixpath.normpath(posixpath.join(above[0], posixpath.basename(written))) if above else written
        inputs.dockerfile = self._dockerfile(beside) if above else None
        problem = self._dockerfile_problem(written)
        if problem and (at or inputs.dockerfile):  # without its folder, one problem is enough
            inputs.problems.append(problem)
        if at and above:
            self._take("", context, at, find_ignore(beside, at[0], self._is_file(above[0], at[0])))

    def named(self, name: str, context: Folder | GitFolder) -> None:
        """A named context."""
        if at := self._folder(context, ("contexts", name)):
            self._take(name, context, at, find_ignore("", at[0], self._is_file(at[0], at[0])))

    def _dockerfile_problem(self, written: str) -> Problem | None:
        found, tree = self.inputs.dockerfile, self.side.tree
        if found is None:
            message = f"{self.artifact.name}: {tree.called} holds no Dockerfile at {written}"
            hint = "commit the file, or mend its path: `dockerfile` starts from the context's folder"
        elif _PATTERN_SIGNS & set(posixpath.basename(found[0])):
            message = f"{self.artifact.name}: BuildKit cannot be told of a Dockerfile named {found[0]}"
            hint = "choose a name without * ? [ and backslash"
        else:
            return None
        return self._problem("dockerfile-missing", message, ("dockerfile",), hint)

    def _folder(self, folder: Folder | GitFolder, where: tuple[str, ...]) -> tuple[str, Node] | None:
        found, problems = self._resolved(folder.path), self.inputs.problems
        if found is not None and found[1].mode == SUBMODULE:
            whole = SentFolder("", found[0])
            problems.append(unsendable(self.side, self.artifact, self.place, where, whole, "submodule-in-context", "."))
            return None
        if found is None or found[1].mode != FOLDER:
            what = "is a file, not a folder" if found else f"does not exist in {self.side.tree.called}"
            message = f"{self.artifact.name}: the context {folder.path} {what}"
            if found:
                hint = "name the folder it lies in"
            elif self.side.origin is None:
                hint = "commit it; git keeps no empty folders"
            else:
                hint = "correct `path`, or `rev` if the folder is there in another commit of that repository"
            problems.append(self._problem("context-missing", message, where, hint))
            return None
        missing = self.side.contexts.missing(found[0], _include(folder))
        if missing is not None:
            message = f"{self.artifact.name}: `include` names {missing}, and {folder.path} holds nothing of that name"
            include = (where[0], "include") if where[0] == "context" else (*where, "include")
            problems.append(self._problem("include-missing", message, include, None))
            return None
        return found

    def _resolved(self, path: str) -> tuple[str, Node] | None:
        """What a path leads to, links inside the repo followed; paths without links cost one look-up."""
        plain = normal(path) or "."
        if plain == ".." or plain.startswith("../"):
            return None
        node = self.side.tree.at(plain)
        if node is not None and node.mode != SYMLINK:
            return plain, node
        return self.side.tree.resolve(plain)

    def _dockerfile(self, path: str) -> tuple[str, Node] | None:
        """As BuildKit does, take `dockerfile` where there is no `Dockerfile`."""
        found = self._resolved(path)
        if found is None and posixpath.basename(path) == _DEFAULT_DOCKERFILE:
            found = self._resolved(posixpath.join(posixpath.dirname(path), _DEFAULT_DOCKERFILE.lower()))
        return found if found is not None and found[1].is_file else None

    def _is_file(self, beside: str, context: str) -> Callable[[str], bool]:
        return lambda path: self._ignore_file(path, beside, context) is not None

    def _ignore_file(self, path: str, beside: str, context: str) -> tuple[str, Node] | None:
        """An ignore file, links followed inside the folder that BuildKit is given for it."""
        node = self.side.tree.at(path)
        if node is not None and node.mode == SYMLINK:
            within = context if posixpath.basename(path) == IGNORE else beside
            found = self.side.tree.resolve(path, within)
            return found if found is not None and found[1].is_file else None
        return (path, node) if node is not None and node.is_file else None

    def _take(self, name: str, folder: Folder | GitFolder, at: tuple[str, Node], ignore: str | None) -> None:
        path, node = at
        rules = self._ignore_file(ignore, posixpath.dirname(ignore) or ".", path) if ignore else None
        found = SentFolder("", path, _include(folder), rules[0] if rules else None, self.side.origin)
        self.inputs.folders[name], self.inputs.sides[name] = found, self.side
        self.inputs.ids[name] = (node.id, rules[1].id if rules else "")

    def _problem(self, code: str, message: str, where: tuple[str, ...], hint: str | None) -> Problem:
        said = Problem(code, message, artifact=str(self.artifact.name), hint=hint)
        return said.at(self.place(self.artifact, where))


def unsendable(
    side: Side,
    artifact: Artifact,
    place: Callable[[Artifact, tuple[str, ...]], Place],
    where: tuple[str, ...],
    folder: SentFolder,
    code: str,
    path: str,
) -> Problem:
    """Why what lies at `path` below a folder cannot be sent."""
    full = side.tree.shown(posixpath.normpath(posixpath.join(folder.path, path)))
    what = "a submodule" if code.startswith("submodule") else "a Git LFS pointer, not the file it stands for"
    message = f"{artifact.name}: {full} is {what}, so its content is not in this commit"
    hint = "leave it out with `include` or the ignore file, or commit the content itself"
    return Problem(code, message, artifact=str(artifact.name), hint=hint).at(place(artifact, where))


def _include(folder: Folder | GitFolder) -> tuple[str, ...]:
    return folder.include if isinstance(folder, Folder) else ()
