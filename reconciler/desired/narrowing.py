"""Which directive files two trees may ask different things by, seen from what the files say and from the trees' ids:
reading all that a large fleet's artifacts are made of takes longer than comparing what few of them have changed.

Too many files may be named, never too few: what really differs is told by who reads them.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from reconciler.desired.tree import MAX_DEPTH, normal
from reconciler.model.tree import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

    from reconciler.desired.tree import CommitTree, Node

FileIn: TypeAlias = "Callable[[str, str], str | None]"
"""The id of the regular file that has this name in the tree of this id, if one has."""
Said: TypeAlias = "Mapping[str, Mapping[str, Any] | None]"
"""Directive file -> what it says, None where it is wrong."""


def changed_paths(before: CommitTree, after: CommitTree) -> Iterator[str]:
    """The paths at which the trees differ: of files, of links, and of whole folders that only one side has. Raises
    LianError as CommitTree does."""
    open_ = [("", before.root, after.root, 0)]
    while open_:
        path, old, new, depth = open_.pop()
        if old == new:
            continue
        if old.mode == new.mode == FOLDER and depth <= MAX_DEPTH:
            olds, news = before.children(old.id), after.children(new.id)
            for name in olds.keys() | news.keys():
                one, other = olds.get(name), news.get(name)
                below = f"{path}/{name}" if path else name
                if one is None or other is None:
                    yield below
                else:
                    open_.append((below, one, other, depth + 1))
        else:
            yield path


@dataclass(slots=True)
class Touch:
    """Whether something at or below a path differs."""

    paths: set[str]
    _above: set[str] = field(init=False)
    """The paths, and all folders that they lie in."""

    def __post_init__(self) -> None:
        self._above = {""}
        for path in self.paths:
            while path and path not in self._above:
                self._above.add(path)
                path = posixpath.dirname(path)  # noqa: PLW2901 - on to the folder it lies in

    def below(self, folder: str) -> bool:
        """Also where the folder itself, or one that it lies in, came or went."""
        if not self.paths:
            return False
        if folder in self._above:
            return True
        while folder:
            if folder in self.paths:
                return True
            folder = posixpath.dirname(folder)
        return False


@dataclass(frozen=True, slots=True)
class _Declared:
    """One artifact, as its file says it."""

    name: str
    file: str
    image: str
    """The last part of its repository's path: two files may write the same repository in two ways."""
    folders: tuple[str, ...]
    dockerfile: str
    parents: tuple[str, ...]


def concerned(before: Said, after: Said, changed: Iterable[str], tree: CommitTree, file_in: FileIn) -> frozenset[str]:
    """The files that declare what may differ, what stands on that or on what no file declares, all that these stand
    on, and what wants the same name or image. `changed` are the paths at which the commits differ, in what stands there
    or in what that draws in from elsewhere; `tree` is that of `after`."""
    touch = Touch(set(changed))
    files = {path for path in before.keys() | after.keys() if _differs(before, after, path)}
    declared = [one for path, value in after.items() if value is not None for one in _declared(path, value)]
    rivals = _claims(one for side in (before, after) for path in files for one in _of(side, path))
    own = {
        one.name
        for one in declared
        if one.file in files or one.name in rivals or one.image in rivals or _is_touched(one, touch, tree, file_in)
    }
    names = {one.name for one in declared}
    nowhere = {parent for one in declared for parent in one.parents if parent not in names}
    behind = _with_dependants(own | nowhere, declared)
    files |= {one.file for one in declared if one.name in behind}
    return frozenset(_with_parents(files, declared))


def _differs(before: Said, after: Said, path: str) -> bool:
    here = path in before and path in after
    return not here or before[path] != after[path] or after[path] is None


def _of(said: Said, path: str) -> Iterator[_Declared]:
    value = said.get(path)
    if value is not None:
        yield from _declared(path, value)


def _claims(declared: Iterable[_Declared]) -> Set[str]:
    return {text for one in declared for text in (one.name, one.image)}


def _declared(path: str, value: Mapping[str, Any]) -> Iterator[_Declared]:
    workspace = value["workspace"]
    for key, one in value["artifacts"].items():
        context = one["context"].get("path", ".") if "git" not in one["context"] else None
        named = one["contexts"].values()
        folders = [normal(each["path"]) for each in named if "path" in each and "git" not in each]
        dockerfile = ""
        if context is not None:
            folders.append(normal(context))
            dockerfile = normal(f"{context}/{one['dockerfile']}")
        parents = tuple(_full(each["artifact"], workspace) for each in named if "artifact" in each)
        image = one["image"].rpartition("/")[2].partition(":")[0].partition("@")[0]
        yield _Declared(f"{workspace}/{key}", path, f":{image}", tuple(folders), dockerfile, parents)


def _full(name: str, workspace: str) -> str:
    return name if "/" in name else f"{workspace}/{name}"


def _is_touched(one: _Declared, touch: Touch, tree: CommitTree, file_in: FileIn) -> bool:
    """A path that no plain file or folder stands at may lead anywhere, so it counts as touched."""
    if any(touch.below(folder) or not _is_folder(tree.at(folder)) for folder in one.folders):
        return True
    if not one.dockerfile:
        return False
    above, name = posixpath.split(one.dockerfile)
    folder = tree.at(above)
    return touch.below(above) or folder is None or not _is_folder(folder) or file_in(folder.id, name) is None


def _is_folder(node: Node | None) -> bool:
    return node is not None and node.mode == FOLDER


def _with_dependants(names: set[str], declared: Sequence[_Declared]) -> Set[str]:
    children: dict[str, list[str]] = defaultdict(list)
    for one in declared:
        for parent in one.parents:
            children[parent].append(one.name)
    return _reached(names, children)


def _with_parents(files: set[str], declared: Sequence[_Declared]) -> Set[str]:
    """All files of what a file's artifacts stand on: without them it would look wrong."""
    file_of = {one.name: one.file for one in declared}
    above: dict[str, list[str]] = defaultdict(list)
    for one in declared:
        above[one.file] += (file_of[parent] for parent in one.parents if parent in file_of)
    return _reached(files, above)


def _reached(start: Iterable[str], steps: Mapping[str, Iterable[str]]) -> Set[str]:
    reached, open_ = set(start), list(start)
    while open_:
        for each in steps.get(open_.pop(), ()):
            if each not in reached:
                reached.add(each)
                open_.append(each)
    return reached
