"""Where in its directive file something is written, without evaluating the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.desired.nickel.locate import Outline
from reconciler.model.artifact import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desired.nickel.settings import Tree
    from reconciler.desired.tree import Node

_FIELD = re.compile(r"""(?<![\w.'"-])"?(?P<name>[a-z0-9][a-z0-9-]*)"?\s*[=|.]""")


class DirectiveText:
    """The text of one directive file."""

    def __init__(self, path: str, node: Node, tree: Tree) -> None:
        self.path = path
        self._names: dict[str, int | None] | None = None
        self._text = tree.read(node.id).decode("utf-8", "replace")
        self._outline: Outline | None = None

    def field(self, path: tuple[str, ...]) -> Place:
        """The field at this path, or the innermost one around it that can be seen."""
        return self.first_field((path,))

    def first_field(self, paths: Sequence[tuple[str, ...]]) -> Place:
        """The first of these fields that can be seen, or what can be seen around the first."""
        if self._outline is None:
            self._outline = Outline(self._text)
        exact = (self._outline.locate(path) for path in paths)
        found = next(filter(None, exact), None) or (self._outline.nearest(paths[0]) if paths else None)
        return Place(self.path, *found) if found else Place(self.path)

    def artifact(self, name: str) -> Place:
        """Where the artifact of this name begins.

        Nearly every file has `name =` exactly once; only where it stands twice, or not at all, the text is read token
        by token, which costs a hundred times as much.
        """
        if self._names is None:
            self._names = {}
            for seen in _FIELD.finditer(self._text):
                known = seen["name"] in self._names
                self._names[seen["name"]] = None if known else seen.start()
        start = self._names.get(name)
        if start is None:
            return self.field(("artifacts", name))
        line_start = self._text.rfind("\n", 0, start) + 1
        return Place(self.path, self._text.count("\n", 0, start) + 1, start - line_start + 1)
