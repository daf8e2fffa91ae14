"""What is sent of a context folder: its Merkle root, its listing, and the tree that an export writes.

A folder is narrowed by `include` first, then by the ignore file in force. A `.build-spec.ncl` is never sent, at
whatever depth: it sizes the builds of its own folder, and must not rebuild those of a context around it. Roots are kept
by git tree id, so an unchanged folder costs one look-up, and always equal `model.tree.root(listing)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

from reconciler.desired.ignore import IgnoreRules
from reconciler.desired.tree import MAX_DEPTH, SUBMODULE, Node, parts
from reconciler.model.canonical import fingerprint
from reconciler.model.problem import LianError, Problem
from reconciler.model.tier import BUILD_SPEC
from reconciler.model.tree import FOLDER, SYMLINK, Entry, node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.ignore import Cursor
    from reconciler.desired.memo import Memo
    from reconciler.desired.tree import CommitTree
    from reconciler.model.desired import SentFolder

MEMO_VERSION = 2
"""Part of every memo key: raise it when what is sent is decided differently."""
MAX_ENTRIES = 1_000_000

_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_MAX_BYTES = 1024
_WORTH_KEEPING = 8
_KEPT_TREES = 20_000

Part: TypeAlias = Union[Node, "dict[str, Part]"]
"""A file, a link, a whole folder (a node), or a folder of which only these parts are sent."""


@dataclass(frozen=True, slots=True)
class Facts:
    """About what is sent: Merkle root, number of paths, and the first thing in it that cannot be sent.

    `fault` is a problem code and a path relative to the folder.
    """

    root: str
    count: int
    fault: tuple[str, str] | None = None

    def to_json(self) -> list[object]:
        """As the memo keeps it."""
        return [self.root, self.count, list(self.fault) if self.fault else None]

    @classmethod
    def from_json(cls, kept: list[object]) -> Facts:
        """Inverse of `to_json`. Raises ValueError or TypeError for anything else."""
        root, count, fault = kept
        if not isinstance(root, str) or not isinstance(count, int):
            raise ValueError("not facts about a folder")
        return cls(root, count, (str(fault[0]), str(fault[1])) if isinstance(fault, list) else None)


class Contexts:
    """The context folders of one commit. Methods raise LianError for objects that cannot be read."""

    def __init__(self, tree: CommitTree, memo: Memo) -> None:
        self._tree = tree
        self._memo = memo
        self._facts: dict[str, Facts] = {}
        self._parsed: dict[str, IgnoreRules] = {}

    def missing(self, path: str, include: tuple[str, ...]) -> str | None:
        """The first path of `include` that does not exist in the folder `path`, if any."""
        folder = self._tree.at(path)
        for wanted in include:
            if folder is None or self._below(folder, wanted) is None:
                return wanted
        return None

    def facts(self, path: str, include: tuple[str, ...], ignore: str | None) -> Facts:
        """Root, size and faults of what is sent of this folder, which exists; `ignore` is the ignore file's path.

        Raises LianError `ignore-syntax` and the like (their place is the ignore file), `context-too-large`,
        `context-too-deep`.
        """
        folder = self._tree.at(path)
        rules = self._tree.at(ignore) if ignore else None
        assert folder is not None
        key = fingerprint([MEMO_VERSION, "sent", folder.id, list(include), rules.id if rules else None])
        known = self._kept(key)
        if known is None:
            known = self._measure(self.sent(path, include, ignore), "", 0)
            if known.count > MAX_ENTRIES:
                raise LianError(too_large(self._tree.shown(path)))
            self._facts[key] = known
            self._memo.put(key, known.to_json())
        return known

    def sent(self, path: str, include: tuple[str, ...], ignore: str | None) -> Part:
        """What is sent, as a tree of parts. Raises as `facts`."""
        folder = self._tree.at(path)
        assert folder is not None
        part: Part = self._included(folder, include)
        rules = self._tree.at(ignore) if ignore else None
        if rules is None or ignore is None:
            return part
        return self._filtered(part, self._rules(rules.id, ignore), ignore)

    def members(self, part: Part) -> dict[str, Part]:
        """What is sent of a folder, by name."""
        members = part if isinstance(part, dict) else self._members(part)
        return members if BUILD_SPEC not in members else {n: p for n, p in members.items() if n != BUILD_SPEC}

    def _members(self, node: Node) -> dict[str, Part]:
        return dict(self._tree.children(node.id)) if node.mode == FOLDER else {}

    def listing(self, folder: SentFolder) -> Iterator[Entry]:
        """Files, links and empty folders that are sent, in byte order of their paths within each folder."""
        part = self.sent(folder.path, folder.include, folder.ignore)
        yield from self._list(part, "", 0)

    def _list(self, part: Part, prefix: str, depth: int) -> Iterator[Entry]:
        _check_depth(prefix, depth)
        members = self.members(part)
        if not members and prefix:
            yield Entry(prefix[:-1], FOLDER, "")
        for name in sorted(members, key=_bytes):
            child = members[name]
            if isinstance(child, dict) or child.mode == FOLDER:
                yield from self._list(child, f"{prefix}{name}/", depth + 1)
            else:
                yield Entry(prefix + name, child.mode, child.id)

    def _below(self, folder: Node, path: str) -> Node | None:
        here = folder
        for name in parts(path):
            child = self._tree.children(here.id).get(name) if here.mode == FOLDER else None
            if child is None:
                return None
            here = child
        return here

    def _included(self, folder: Node, include: tuple[str, ...]) -> Part:
        if not include:
            return folder
        chosen: dict[str, Part] = {}
        for path in include:
            names, found = parts(path), self._below(folder, path)
            if found is None:
                continue
            if not names:
                return folder
            here = chosen
            for name in names[:-1]:
                inner = here.setdefault(name, {})
                if not isinstance(inner, dict):  # the whole folder is in already
                    break
                here = inner
            else:
                here[names[-1]] = found
        return chosen

    def _rules(self, blob: str, source: str) -> IgnoreRules:
        if blob not in self._parsed:
            self._parsed[blob] = IgnoreRules.parse(self._tree.read(blob), self._tree.shown(source))
        return self._parsed[blob]

    def _filtered(self, part: Part, rules: IgnoreRules, source: str) -> Part:
        """What the ignore file leaves, empty folders included, decided as BuildKit's walk does."""
        seen = 0

        def keep(folder: Part, cursor: Cursor, depth: int) -> Part:
            nonlocal seen
            if cursor.settled:
                return folder
            _check_depth(source, depth)
            kept: dict[str, Part] = {}
            for name, child in self.members(folder).items():
                seen += 1
                if seen > MAX_ENTRIES:
                    raise LianError(too_large(self._tree.shown(source)))
                mode = FOLDER if isinstance(child, dict) else child.mode
                sent, below = rules.decide(cursor, name, mode in {FOLDER, SUBMODULE})
                if mode == FOLDER and below is not None:
                    inner = keep(child, below, depth + 1)
                    if sent or self.members(inner):
                        kept[name] = inner
                elif sent or below is not None:  # of a submodule, anything could be sent
                    kept[name] = child
            return kept

        return keep(part, rules.top, 0)

    def _measure(self, part: Part, prefix: str, depth: int) -> Facts:
        """Facts of a part; those of whole git trees are kept by their id."""
        _check_depth(prefix, depth)
        key = None if isinstance(part, dict) else f"tree:{MEMO_VERSION}:{part.id}"
        known = self._kept(key) if key else None
        if known is None:
            known = self._measured(part, prefix, depth)
            if key:
                self._keep(key, known)
        return known

    def _measured(self, part: Part, prefix: str, depth: int) -> Facts:
        children: list[tuple[str, str, str]] = []
        count, fault = 0, None
        for name, child in self.members(part).items():
            if isinstance(child, dict) or child.mode == FOLDER:
                inner = self._measure(child, f"{prefix}{name}/", depth + 1)
                children.append((name, FOLDER, inner.root))
                count += inner.count
                found = (inner.fault[0], f"{name}/{inner.fault[1]}") if inner.fault else None
            else:
                children.append((name, child.mode, child.id))
                code = self._unsendable(child)
                found = (code, name) if code else None
            count += 1
            fault = fault or found
        return Facts(node(children), count, fault)

    def _unsendable(self, child: Node) -> str | None:
        if child.mode == SUBMODULE:
            return "submodule-in-context"
        if child.mode == SYMLINK or self._tree.size(child.id) > _LFS_MAX_BYTES:
            return None
        return "lfs-pointer-in-context" if self._tree.read(child.id).startswith(_LFS) else None

    def _kept(self, key: str) -> Facts | None:
        known = self._facts.get(key)
        if known is None and (kept := self._memo.get(key)) is not None:
            known = self._facts[key] = Facts.from_json(kept)
        return known

    def _keep(self, key: str, facts: Facts) -> None:
        if len(self._facts) >= _KEPT_TREES:
            self._facts.clear()
        self._facts[key] = facts
        if facts.count >= _WORTH_KEEPING:
            self._memo.put(key, facts.to_json())


def too_large(where: str) -> Problem:
    """More is in a context than lian walks through: a git bomb, or a context far too wide."""
    hint = "narrow the context with `include`"
    return Problem("context-too-large", f"there are more than {MAX_ENTRIES} files and folders in {where}", hint=hint)


def _check_depth(prefix: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        message = f"folders are nested more than {MAX_DEPTH} deep below {prefix[:100]}…"
        raise LianError(Problem("context-too-deep", message, hint="narrow the context with `include`"))


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
