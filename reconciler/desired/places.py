"""Where in its directive file something is written, without evaluating the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.desired.nickel.locate import nearest
from reconciler.model.artifact import Place

if TYPE_CHECKING:
    from reconciler.desired.tree import CommitTree, Node


class DirectiveText:
    """The text of one directive file."""

    def __init__(self, path: str, node: Node, tree: CommitTree) -> None:
        self._path = path
        self._text = tree.read(node.id).decode("utf-8", "replace")

    def field(self, path: tuple[str, ...]) -> Place:
        """The field at this path, or the innermost one around it that can be seen."""
        found = nearest(self._text, path)
        return Place(self._path, *found) if found else Place(self._path)

    def artifact(self, name: str) -> Place:
        """Where the artifact of this name begins.

        One look for `name =` settles nearly every file; only where that stands twice, or not at all, the text is read
        token by token, which costs a hundred times as much.
        """
        seen = re.finditer(rf'(?<![\w.\'"-])"?(?P<name>{re.escape(name)})"?[ \t]*(?:[=|.]|\n[ \t]*[=|.])', self._text)
        first, second = next(seen, None), next(seen, None)
        if first is None or second is not None:
            return self.field(("artifacts", name))
        start = first.start()
        line_start = self._text.rfind("\n", 0, start) + 1
        return Place(self._path, self._text.count("\n", 0, start) + 1, start - line_start + 1)
