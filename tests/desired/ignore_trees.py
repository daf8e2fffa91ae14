"""Trees for the tests of ignore rules, and strategies that make awkward ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.desired.ignore import Cursor, IgnoreRules

Folder = dict[str, "Folder | None"]
Node = TypeVar("Node")


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

    walked: Iterator[tuple[str, bool, Folder | None]] = filter_tree(root, children, rules)
    return [path + "/" * folder for path, folder, _ in walked]


def filter_tree(
    root: Node, children: Callable[[Node], Iterable[tuple[str, bool, Node]]], rules: IgnoreRules
) -> Iterator[tuple[str, bool, Node]]:
    """(path, is a folder, node) of each entry that is sent, in the order in which fsutil walks.

    `children` gives (name, is a folder, node) for a folder, in any order; it is not asked for folders that are
    pruned. Names are text with bytes that are not UTF-8 as surrogates. The root itself is not given.
    """
    walk: list[tuple[Iterator[tuple[str, bool, Node]], str, Cursor]] = [(_sorted(children(root)), "", rules.top)]
    waiting: list[tuple[int, tuple[str, bool, Node]]] = []  # folders that are sent only if something below is
    while walk:
        entries, prefix, cursor = walk[-1]
        entry = next(entries, None)
        if entry is None:
            walk.pop()
            if waiting and waiting[-1][0] == len(walk):
                waiting.pop()
            continue
        name, folder, node = entry
        sent, below = rules.decide(cursor, name, folder)
        found = (prefix + name, folder, node)
        if sent:
            for _, parent in waiting:
                yield parent
            waiting.clear()
            yield found
        if below is not None:
            if not sent:
                waiting.append((len(walk), found))
            walk.append((_sorted(children(node)), f"{prefix}{name}/", below))


def _sorted(entries: Iterable[tuple[str, bool, Node]]) -> Iterator[tuple[str, bool, Node]]:
    return iter(sorted(entries, key=lambda entry: entry[0].encode("utf-8", "surrogateescape")))


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
    "\\E", "\ufeff", "\\B", "\\w", "\\C", "\\pL", "\\P{Greek}", "\\x{e9}",
    "\\141", "\\8", "\ufffd", "\\z", "[^/]", "[\\S]", "\\b",
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
