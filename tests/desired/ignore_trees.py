"""Trees for the tests of ignore rules, and strategies that make awkward ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from reconciler.desired.ignore import IgnoreRules, filter_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

Folder = dict[str, "Folder | None"]


def tree(paths: Iterable[str]) -> Folder:
    """A tree of these files; a path that ends with / is a folder, which may be empty."""
    root: Folder = {}
    for path in paths:
        *parents, last = path.removesuffix("/").split("/")
        here = root
        for part in parents:
            below = here.setdefault(part, {})
            if below is None:
                below = here[part] = {}
            here = below
        if path.endswith("/"):
            if here.get(last) is None:
                here[last] = {}
        else:
            here[last] = None
    return root


def sent(root: Folder, rules: IgnoreRules) -> list[str]:
    """The paths that are sent, folders with a / at the end, in the walk's order."""

    def children(folder: Folder | None) -> Iterable[tuple[str, bool, Folder | None]]:
        return [(name, below is not None, below) for name, below in (folder or {}).items()]

    return [path + "/" * folder for path, folder, _ in filter_tree(root, children, rules)]


NAMES = [
    "a", "b", "ab", "a.b", "foo", "foo.txt", ".git", "a b", "x[y]", "a|b", "a{2}", "é", "\udcff", "a\\b", "^a", "$",
    "!a",
    "\n",
]  # fmt: skip
names = st.one_of(st.sampled_from(NAMES), st.text(st.sampled_from("ab.-!*?[]\\ é"), min_size=1, max_size=3)).filter(
    lambda name: name not in {".", ".."}
)
paths = st.builds(
    lambda parts, end: "/".join(parts) + end, st.lists(names, min_size=1, max_size=4), st.sampled_from(["", "", "/"])
)
trees = st.lists(paths, min_size=1, max_size=12).map(tree)

_TOKENS = [
    "*", "**", "?", "/", "/", "!", "a", "b", "foo", ".", "..", "[ab]", "[^a]", "[a-z]", "[", "]", "\\", "\\*", "|",
    "{2}",
    "^", "$", " ", "(", "+", "é", "txt", ".txt", "a.b", "[]", "[[:alpha:]]", "\\d", "-", "\udcff", "{1,2}", "\\Q",
    "\\E", "\ufeff", "\\B", "\\w",
]  # fmt: skip
lines = st.one_of(
    st.lists(st.sampled_from(_TOKENS), min_size=1, max_size=7).map("".join),
    paths,
    paths.map(lambda path: "!" + path),
    paths.map(lambda path: f"**/{path}"),
    paths.map(lambda path: f"!{path}/*"),
    st.sampled_from(
        ["*", "**", "!**", "# a", "", "   ", "!", "!a", "/", "!/", "/a", "./a", "a/..", "../a", "**/a/**", "*/b"]
    ),
)
ignore_files = st.builds(
    lambda start, rows, end: start + "".join(row + end for row in rows),
    st.sampled_from(["", "", "", "\ufeff"]),
    st.lists(lines, max_size=6),
    st.sampled_from(["\n", "\n", "\r\n", " \n"]),
)
