"""The `.build-spec.ncl` files of a commit: which contexts have one, and what it says of their builds' size."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.desired.nickel.settings import SourceFile
from reconciler.desired.tree import normal
from reconciler.model.artifact import Folder
from reconciler.model.problem import Problem
from reconciler.model.tier import BUILD_SPEC, BuildSpec
from reconciler.model.tree import FOLDER, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.desired.narrowing import FileIn
    from reconciler.desired.nickel.settings import Evaluated
    from reconciler.desired.tree import CommitTree
    from reconciler.model.artifact import Artifact


@dataclass(slots=True)
class Specs:
    """Those of one commit, found by the contexts that directives name, then `heard` as they were evaluated."""

    files: dict[str, SourceFile] = field(default_factory=dict)
    """Context as a directive writes its path -> its file."""
    refused: dict[str, Problem] = field(default_factory=dict)
    """Context -> why its file is not read."""
    evaluated: Mapping[str, Evaluated] = field(default_factory=dict)

    @classmethod
    def found(cls, tree: CommitTree, directives: Iterable[Mapping[str, Any]]) -> Specs:
        """Raises LianError for a repository that cannot be read."""
        specs = cls()
        for context in sorted(_contexts(directives)):
            specs._look(tree, context)
        return specs

    def of(self, artifact: Artifact) -> tuple[BuildSpec | None, tuple[Problem, ...]]:
        """What its context's file says, or what is wrong with it; nothing where there is no such file."""
        if not isinstance(artifact.context, Folder):
            return None, ()
        context = artifact.context.path
        if context in self.refused:
            return None, (self.refused[context],)
        if (file := self.files.get(context)) is None:
            return None, ()
        found = self.evaluated[file.path]
        if found.value is None:
            return None, found.problems
        value = found.value
        said = (value.get(name) for name in ("cpu", "memory_gb", "time_budget", "language"))
        return BuildSpec(file.path, *said), ()

    def _look(self, tree: CommitTree, context: str) -> None:
        """A context that a link leads to is looked for only where the plain path leads nowhere."""
        folder = normal(context)
        node = tree.at(folder)
        if node is None or node.mode == SYMLINK:
            resolved = tree.resolve(folder or ".")
            if resolved is None:
                return
            folder = normal(resolved[0])
        path = posixpath.join(folder, BUILD_SPEC)
        if (file := tree.at(path)) is None:
            return
        if file.mode == SYMLINK:
            message = f"{path} is a symbolic link, and what a build needs is read from files only"
            self.refused[context] = Problem("build-spec-is-link", message, path, hint="commit the file itself")
        elif file.is_file:
            self.files[context] = SourceFile(path, file.id)


def importing(tree: CommitTree, directives: Iterable[Mapping[str, Any]], file_in: FileIn) -> list[SourceFile]:
    """Those in plain folders of which one may say something else although its folder is the same: it names an import.
    Raises LianError for a repository that cannot be read."""
    names_import: dict[str, bool] = {}
    found = []
    for folder in sorted({normal(context) for context in _contexts(directives)}):
        node = tree.at(folder)
        blob = file_in(node.id, BUILD_SPEC) if node is not None and node.mode == FOLDER else None
        if blob is not None:
            if blob not in names_import:
                names_import[blob] = b"import" in tree.read(blob)
            if names_import[blob]:
                found.append(SourceFile(posixpath.join(folder, BUILD_SPEC), blob))
    return found


def _contexts(directives: Iterable[Mapping[str, Any]]) -> set[str]:
    """Folders of the commit, as directives write them."""
    artifacts = (one for value in directives for one in value["artifacts"].values())
    return {one["context"].get("path", "") for one in artifacts if "git" not in one["context"]}
