"""What the commit holds for each artifact: Dockerfile, what is sent of its folders, and what the Dockerfile needs.

Every answer is a function of ids in the commit and of the directive, so it is kept under their hash: a pass over an
unchanged fleet reads no Dockerfile and walks no folder.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.desired import contexts as sending
from reconciler.desired.ignore import NAME as IGNORE
from reconciler.desired.ignore import find_ignore
from reconciler.desired.tree import BROKEN_REPOSITORY, SUBMODULE, normal
from reconciler.model.artifact import Folder, GitFolder
from reconciler.model.cache import CacheMount, Owner
from reconciler.model.canonical import canonical, fingerprint
from reconciler.model.desired import Fetched, Materials, Needs, SentFolder
from reconciler.model.moving import Part, PartKind
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference
from reconciler.model.tree import FOLDER, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.desired.contexts import Contexts
    from reconciler.desired.memo import Memo
    from reconciler.desired.tree import CommitTree, Node
    from reconciler.model.artifact import Artifact, Place

READER_VERSION = 4
"""Part of every memo key: raise it when a Dockerfile or an ignore file is read differently."""
_BATCH = 2_000
_NONE: Mapping[str, SentFolder] = MappingProxyType({})
_PATTERN_SIGNS = frozenset("*?[\\")
"""BuildKit takes a Dockerfile's name that holds one for a pattern."""
_DEFAULT_DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one artifact: `materials` is None exactly when there are `problems` or `holds`.

    `problems` are invalid in the commit, `holds` merely cannot be decided yet.
    """

    materials: Materials | None = None
    problems: tuple[Problem, ...] = ()
    holds: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Inputs:
    """Where everything that an artifact needs lies in the commit."""

    dockerfile: tuple[str, Node] | None = None
    folders: dict[str, SentFolder] = field(default_factory=dict)
    """By name, the main context under the empty name; `root` is not known yet."""
    ids: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tree id and ignore file's blob id of each folder."""
    problems: list[Problem] = field(default_factory=list)
    holds: list[Problem] = field(default_factory=list)


class MaterialsReader:
    """Reads one commit; `place` says where a field of an artifact is written in its directive."""

    def __init__(
        self,
        tree: CommitTree,
        contexts: Contexts,
        memo: Memo,
        place: Callable[[Artifact, tuple[str, ...]], Place],
    ) -> None:
        self._tree = tree
        self._contexts = contexts
        self._memo = memo
        self._place = place

    def read(self, artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, Found]]:
        """What the commit holds for each artifact, in the order given."""
        for start in range(0, len(artifacts), _BATCH):
            batch = [(artifact, self._inputs(artifact)) for artifact in artifacts[start : start + _BATCH]]
            keys = [_key(artifact, inputs) for artifact, inputs in batch]
            known = self._memo.get_many(key for key in keys if key)
            for (artifact, inputs), key in zip(batch, keys, strict=True):
                yield artifact, self._found(artifact, inputs, key, known.get(key) if key else None)

    def _found(self, artifact: Artifact, inputs: _Inputs, key: str | None, kept: Any) -> Found:
        if key is None:
            return Found(None, tuple(inputs.problems), tuple(inputs.holds))
        if kept is not None:
            return _revived(inputs, kept)
        found = self._worked_out(artifact, inputs)
        if found.materials is not None:
            self._memo.put(key, _kept(found))
        return found

    # -- where things lie ----------------------------------------------------------------------------------------

    def _inputs(self, artifact: Artifact) -> _Inputs:
        inputs = _Inputs()
        if isinstance(artifact.context, GitFolder):
            inputs.holds.append(self._git_unsupported(artifact, ("context",)))
        else:
            self._main(artifact, artifact.context, inputs)
        for name, context in artifact.contexts.items():
            if isinstance(context, GitFolder):
                inputs.holds.append(self._git_unsupported(artifact, ("contexts", name)))
            elif isinstance(context, Folder) and (at := self._folder(artifact, context, ("contexts", name), inputs)):
                self._take(inputs, name, context, at, find_ignore("", at[0], self._is_file(at[0], at[0])))
        return inputs

    def _main(self, artifact: Artifact, context: Folder, inputs: _Inputs) -> None:
        """The main context with its Dockerfile, which may lie anywhere in the repo."""
        at = self._folder(artifact, context, ("context", "path"), inputs)
        written = normal(f"{context.path}/{artifact.dockerfile}")
        above = self._resolved(posixpath.dirname(written) or ".")
        beside = posixpath.normpath(posixpath.join(above[0], posixpath.basename(written))) if above else written
        inputs.dockerfile = self._dockerfile(beside) if above else None
        problem = self._dockerfile_problem(artifact, written, inputs.dockerfile)
        if problem and (at or inputs.dockerfile):  # without its folder, one problem is enough
            inputs.problems.append(problem)
        if at and above:
            self._take(inputs, "", context, at, find_ignore(beside, at[0], self._is_file(above[0], at[0])))

    def _dockerfile_problem(self, artifact: Artifact, written: str, found: tuple[str, Node] | None) -> Problem | None:
        if found is None:
            message = f"{artifact.name}: {self._tree.called} holds no Dockerfile at {written}"
            hint = "commit the file, or mend its path: `dockerfile` starts from the context's folder"
        elif _PATTERN_SIGNS & set(posixpath.basename(found[0])):
            message = f"{artifact.name}: BuildKit cannot be told of a Dockerfile named {found[0]}"
            hint = "choose a name without * ? [ and backslash"
        else:
            return None
        return self._problem("dockerfile-missing", message, artifact, ("dockerfile",), hint)

    def _folder(
        self, artifact: Artifact, folder: Folder, where: tuple[str, ...], inputs: _Inputs
    ) -> tuple[str, Node] | None:
        found = self._resolved(folder.path)
        if found is not None and found[1].mode == SUBMODULE:
            whole = SentFolder("", found[0])
            inputs.problems.append(self._unsendable(artifact, where, whole, "submodule-in-context", "."))
            return None
        if found is None or found[1].mode != FOLDER:
            what = "is a file, not a folder" if found else f"does not exist in {self._tree.called}"
            message = f"{artifact.name}: the context {folder.path} {what}"
            hint = "commit it; git keeps no empty folders" if not found else "name the folder it lies in"
            inputs.problems.append(self._problem("context-missing", message, artifact, where, hint))
            return None
        missing = self._contexts.missing(found[0], folder.include)
        if missing is not None:
            message = f"{artifact.name}: `include` names {missing}, and {folder.path} holds nothing of that name"
            include = (where[0], "include") if where[0] == "context" else (*where, "include")
            inputs.problems.append(self._problem("include-missing", message, artifact, include, None))
            return None
        return found

    def _resolved(self, path: str) -> tuple[str, Node] | None:
        """What a path leads to, links inside the repo followed; paths without links cost one look-up."""
        plain = normal(path) or "."
        if plain == ".." or plain.startswith("../"):
            return None
        node = self._tree.at(plain)
        if node is not None and node.mode != SYMLINK:
            return plain, node
        return self._tree.resolve(plain)

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
        node = self._tree.at(path)
        if node is not None and node.mode == SYMLINK:
            within = context if posixpath.basename(path) == IGNORE else beside
            found = self._tree.resolve(path, within)
            return found if found is not None and found[1].is_file else None
        return (path, node) if node is not None and node.is_file else None

    def _take(self, inputs: _Inputs, name: str, folder: Folder, at: tuple[str, Node], ignore: str | None) -> None:
        path, node = at
        rules = self._ignore_file(ignore, posixpath.dirname(ignore) or ".", path) if ignore else None
        inputs.folders[name] = SentFolder("", path, folder.include, rules[0] if rules else None)
        inputs.ids[name] = (node.id, rules[1].id if rules else "")

    # -- what is in them -----------------------------------------------------------------------------------------

    def _worked_out(self, artifact: Artifact, inputs: _Inputs) -> Found:
        assert inputs.dockerfile is not None
        path, node = inputs.dockerfile
        problems: list[Problem] = []
        holds: list[Problem] = []
        sent: dict[str, SentFolder] = {}
        for name, folder in inputs.folders.items():
            try:
                facts = self._contexts.facts(folder.path, folder.include, folder.ignore)
                sent[name] = _rooted(folder, facts.root)
                if facts.fault:
                    where = ("contexts", name) if name else ("context",)
                    problems.append(self._unsendable(artifact, where, folder, *facts.fault))
            except LianError as error:
                if any(problem.code in BROKEN_REPOSITORY for problem in error.problems):
                    raise
                problems.extend(problem.of(str(artifact.name)) for problem in error.problems)
        data = self._tree.read(node.id)
        from reconciler.desired.needs import read_needs  # a pass that finds all in the memo never reads a Dockerfile

        needs = read_needs(data, path, artifact, lambda where: self._place(artifact, where))
        problems.extend(needs.problems)
        holds.extend(needs.holds)
        if problems or holds:
            return Found(None, tuple(problems), tuple(holds))
        context = sent.pop("")
        digest = hashlib.sha256(data).hexdigest()
        return Found(Materials(context, path, digest, sent, needs.platforms, needs.checks), notes=needs.notes)

    # -- what is wrong -------------------------------------------------------------------------------------------

    def _unsendable(
        self, artifact: Artifact, where: tuple[str, ...], folder: SentFolder, code: str, path: str
    ) -> Problem:
        full = posixpath.normpath(posixpath.join(folder.path, path))
        what = "a submodule" if code.startswith("submodule") else "a Git LFS pointer, not the file it stands for"
        message = f"{artifact.name}: {full} is {what}, so its content is not in this commit"
        hint = "leave it out with `include` or the ignore file, or commit the content itself"
        return self._problem(code, message, artifact, where, hint)

    def _git_unsupported(self, artifact: Artifact, where: tuple[str, ...]) -> Problem:
        message = f"{artifact.name}: contexts from other git repositories are not supported yet"
        return self._problem("git-context-unsupported", message, artifact, where, "use a folder of this repository")

    def _problem(
        self, code: str, message: str, artifact: Artifact, where: tuple[str, ...], hint: str | None
    ) -> Problem:
        return Problem(code, message, artifact=str(artifact.name), hint=hint).at(self._place(artifact, where))


def _key(artifact: Artifact, inputs: _Inputs) -> str | None:
    """The memo key; None if there is nothing to keep."""
    if inputs.problems or inputs.holds or inputs.dockerfile is None:
        return None
    folders = [[n, *inputs.ids[n], *inputs.folders[n].include] for n in sorted(inputs.folders)]
    platforms = [str(platform) for platform in artifact.platforms]
    return fingerprint(
        [
            "materials",
            sending.MEMO_VERSION,
            READER_VERSION,
            [inputs.dockerfile[1].id, artifact.target, platforms, list(artifact.checks)],
            folders,
            sorted(artifact.contexts),
            dict(artifact.args),
            *(["mounts"] if artifact.cache.mounts else []),
        ]
    )


def _rooted(folder: SentFolder, root: str) -> SentFolder:
    return SentFolder(root, folder.path, folder.include, folder.ignore)


def _kept(found: Found) -> list[Any]:
    """As the memo keeps it: only what the key decides, no names and no paths."""
    materials = found.materials
    assert materials is not None
    roots = {name: folder.root for name, folder in materials.folders.items()}
    needs = [_needs_kept(each) for each in (materials.needs, materials.check_needs)]
    return [materials.context.root, materials.dockerfile, roots, *needs, list(found.notes)]


def _revived(inputs: _Inputs, kept: list[Any]) -> Found:
    root, digest, roots, needs, checks, notes = kept
    assert inputs.dockerfile is not None
    folders = {name: _rooted(inputs.folders[name], value) for name, value in roots.items()}
    context = _rooted(inputs.folders[""], root)
    path = inputs.dockerfile[0]
    materials = Materials(context, path, digest, folders or _NONE, _needs_revived(needs), _needs_revived(checks))
    return Found(materials, notes=tuple(notes))


def _needs_kept(needs: Mapping[Platform, Needs]) -> str:
    kept = {
        str(platform): [
            {name: str(image) for name, image in need.images.items()},
            list(need.contexts),
            [_mount_kept(mount) for mount in need.mounts],
            [[f.location, f.part.kind.value, f.part.name, f.part.rev, f.line] for f in need.fetched],
            str(need.frontend) if need.frontend else None,
        ]
        for platform, need in needs.items()
    }
    return canonical(kept).decode("utf-8", "surrogateescape")


def _mount_kept(mount: CacheMount) -> list[object]:
    owner = mount.owner
    return [mount.id] if owner is None else [mount.id, owner.uid, owner.gid, owner.mode]


@lru_cache(maxsize=4096)
def _needs_revived(kept: str) -> Mapping[Platform, Needs]:
    """One object for equal needs: thousands of artifacts stand on few bases."""
    return {
        Platform.parse(platform): Needs(
            {name: Reference.parse(image) for name, image in images.items()},
            tuple(used),
            tuple(CacheMount(name, Owner(*owner) if owner else None) for name, *owner in mounts),
            tuple(Fetched(where, Part(PartKind(kind), name, rev), line) for where, kind, name, rev, line in fetched),
            Reference.parse(frontend) if frontend else None,
        )
        for platform, (images, used, mounts, fetched, frontend) in json.loads(kept).items()
    }
