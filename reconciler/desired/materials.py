"""What the commit holds for each artifact: Dockerfile, what is sent of its folders, and what the Dockerfile needs.

Every answer is a function of ids in the commit and of the directive, so it is kept under their hash: a pass over an
unchanged fleet reads no Dockerfile and walks no folder.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.desired import contexts as sending
from reconciler.desired.inputs import Finder, Inputs, Side, unsendable
from reconciler.desired.tree import BROKEN_REPOSITORY
from reconciler.model.artifact import Folder, GitFolder
from reconciler.model.cache import CacheMount, Owner
from reconciler.model.canonical import canonical, fingerprint
from reconciler.model.desired import Fetched, Materials, Needs, Remote, SentFolder
from reconciler.model.moving import Part, PartKind
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.desired.contexts import Contexts
    from reconciler.desired.memo import Memo
    from reconciler.desired.tree import CommitTree
    from reconciler.model.artifact import Artifact, Place

READER_VERSION = 7
"""Part of every memo key: raise it when a Dockerfile or an ignore file is read differently, or when more is kept of
what was read."""
_BATCH = 2_000
_UNREADABLE = BROKEN_REPOSITORY | {"git-unreachable", "git-rev-unknown", "git-login-missing", "git-login-refused",
                                  "git-host-unknown", "git-redirected", "cache-unusable", "disk-full"}  # fmt: skip
"""What is no fault of what was committed. Of the desired repo it ends a pass."""
_NONE: Mapping[str, SentFolder] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one artifact: `materials` is None exactly when there are `problems` or `holds`.

    `problems` are invalid in the commit, `holds` merely cannot be decided yet.
    """

    materials: Materials | None = None
    problems: tuple[Problem, ...] = ()
    holds: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


class MaterialsReader:
    """Reads one commit, and of other repositories what `foreign` has: URL and rev of each git context -> where it is
    read, or why it cannot be. `place` says where a field of an artifact is written in its directive."""

    def __init__(
        self,
        tree: CommitTree,
        contexts: Contexts,
        memo: Memo,
        place: Callable[[Artifact, tuple[str, ...]], Place],
        foreign: Mapping[tuple[str, str], Side | Problem] = MappingProxyType({}),
    ) -> None:
        self._own = Side(tree, contexts)
        self._memo = memo
        self._place = place
        self._foreign = foreign

    def read(self, artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, Found]]:
        """What the commit holds for each artifact, in the order given."""
        for start in range(0, len(artifacts), _BATCH):
            batch = [(artifact, self._inputs(artifact)) for artifact in artifacts[start : start + _BATCH]]
            keys = [_key(artifact, inputs) for artifact, inputs in batch]
            known = self._memo.get_many(key for key in keys if key)
            for (artifact, inputs), key in zip(batch, keys, strict=True):
                yield artifact, self._found(artifact, inputs, key, known.get(key) if key else None)

    def _found(self, artifact: Artifact, inputs: Inputs, key: str | None, kept: Any) -> Found:
        if key is None:
            return Found(None, tuple(inputs.problems), tuple(inputs.holds))
        if kept is not None:
            return _revived(inputs, kept)
        found = self._worked_out(artifact, inputs)
        if found.materials is not None:
            self._memo.put(key, _kept(found))
        return found

    def _inputs(self, artifact: Artifact) -> Inputs:
        inputs = Inputs()
        for name, context in (("", artifact.context), *artifact.contexts.items()):
            if not isinstance(context, Folder | GitFolder):
                continue
            where = ("contexts", name) if name else ("context",)
            if not isinstance(side := self._side(context), Side):
                inputs.holds.append(self._said_of(side, artifact, where))
                continue
            finder = Finder(side, artifact, inputs, self._place)
            try:
                finder.named(name, context) if name else finder.main(context)
            except LianError as error:
                inputs.holds.extend(self._of_other(error, side, artifact, where))
        return inputs

    def _side(self, context: Folder | GitFolder) -> Side | Problem:
        return self._own if isinstance(context, Folder) else self._foreign[context.url, context.rev]

    def _of_other(self, error: LianError, side: Side, artifact: Artifact, where: tuple[str, ...]) -> Iterator[Problem]:
        """What keeps another repository from being read holds the artifacts that name it. Raises the error itself where
        it is about the desired commit."""
        if side.origin is None:
            raise error
        yield from (self._said_of(problem, artifact, where) for problem in error.problems)

    def _said_of(self, problem: Problem, artifact: Artifact, where: tuple[str, ...]) -> Problem:
        message = f"{artifact.name}: {problem.message}"
        return replace(problem, message=message).of(str(artifact.name)).at(self._place(artifact, where))

    # -- what is in them -----------------------------------------------------------------------------------------

    def _worked_out(self, artifact: Artifact, inputs: Inputs) -> Found:
        assert inputs.dockerfile is not None
        path, node = inputs.dockerfile
        problems: list[Problem] = []
        holds: list[Problem] = []
        sent: dict[str, SentFolder] = {}
        for name, folder in inputs.folders.items():
            side, where = inputs.sides[name], ("contexts", name) if name else ("context",)
            try:
                facts = side.contexts.facts(folder.path, folder.include, folder.ignore)
                sent[name] = replace(folder, root=facts.root)
                if facts.fault:
                    problems.append(unsendable(side, artifact, self._place, where, folder, *facts.fault))
            except LianError as error:
                if any(problem.code in _UNREADABLE for problem in error.problems):
                    holds.extend(self._of_other(error, side, artifact, where))
                else:
                    problems.extend(problem.of(str(artifact.name)) for problem in error.problems)
        tree = inputs.sides[""].tree
        try:
            data = tree.read(node.id)
        except LianError as error:
            holds.extend(self._of_other(error, inputs.sides[""], artifact, ("context",)))
            return Found(None, tuple(problems), tuple(holds))
        from reconciler.desired.needs import read_needs  # a pass that finds all in the memo never reads a Dockerfile

        needs = read_needs(data, tree.shown(path), artifact, lambda where: self._place(artifact, where))
        problems.extend(needs.problems)
        holds.extend(needs.holds)
        if problems or holds:
            return Found(None, tuple(problems), tuple(holds))
        context = sent.pop("")
        digest = hashlib.sha256(data).hexdigest()
        return Found(Materials(context, path, digest, sent, needs.platforms, needs.checks), notes=needs.notes)


def _key(artifact: Artifact, inputs: Inputs) -> str | None:
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


def _kept(found: Found) -> list[Any]:
    """As the memo keeps it: only what the key decides, no names and no paths."""
    materials = found.materials
    assert materials is not None
    roots = {name: folder.root for name, folder in materials.folders.items()}
    needs = [_needs_kept(each) for each in (materials.needs, materials.check_needs)]
    return [materials.context.root, materials.dockerfile, roots, *needs, list(found.notes)]


def _revived(inputs: Inputs, kept: list[Any]) -> Found:
    root, digest, roots, needs, checks, notes = kept
    assert inputs.dockerfile is not None
    folders = {name: replace(inputs.folders[name], root=value) for name, value in roots.items()}
    context = replace(inputs.folders[""], root=root)
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
            list(need.stages),
            list(need.remotes),
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
            tuple(stages),
            tuple(Remote(*remote) for remote in remotes),
        )
        for platform, (images, used, mounts, fetched, frontend, stages, remotes) in json.loads(kept).items()
    }
