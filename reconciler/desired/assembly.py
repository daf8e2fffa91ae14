"""Everything that a commit asks for, put together from what its files declare and what it holds for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.desired.bindings import unusable, unused
from reconciler.desired.directives import DirectiveReader
from reconciler.desired.lock import Pinning
from reconciler.desired.materials import MaterialsReader
from reconciler.desired.nickel.settings import SourceFile
from reconciler.desired.places import DirectiveText
from reconciler.desired.unheeded import Unheeded, compute, credentials, session
from reconciler.model.artifact import GitFolder
from reconciler.model.desired import Desired, Unclear, Wanted
from reconciler.model.fleet import Author
from reconciler.model.problem import Problem
from reconciler.model.tree import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    import pygit2

    from reconciler.desired.contexts import Contexts
    from reconciler.desired.directives import Declared
    from reconciler.desired.inputs import Side
    from reconciler.desired.memo import Memo
    from reconciler.desired.nickel.settings import Evaluated, Tree
    from reconciler.desired.specs import Specs
    from reconciler.desired.tree import CommitTree, Node
    from reconciler.model.applied import History
    from reconciler.model.artifact import Artifact, Place
    from reconciler.model.fleet import Fleet, RegistrySettings
    from reconciler.model.name import ArtifactName
    from reconciler.model.tier import Ladder

SETTINGS = "lian.ncl"


@dataclass(frozen=True, slots=True)
class ReadCommit:
    """A commit, ready to be read. `revision` is empty, and there is no repository, where it is but a folder."""

    revision: str
    repository: pygit2.Repository | None
    tree: CommitTree
    contexts: Contexts
    memo: Memo
    home: Path
    history: History
    source: str | None
    notes: tuple[str, ...] = ()
    ruled_by: CommitTree | None = None
    """Whose settings hold, where they are not its own."""
    foreign: dict[tuple[str, str], Side] = field(default_factory=dict)
    """What is read of other repositories: URL and commit -> where."""

    @property
    def ruling(self) -> CommitTree:
        """The tree whose settings hold."""
        return self.ruled_by or self.tree


@dataclass(frozen=True, slots=True)
class Directives:
    """Directive files, evaluated; `problems` hold those of the files that are wrong."""

    files: Mapping[str, Node]
    evaluated: Mapping[str, Evaluated]
    problems: tuple[Problem, ...]
    overlay: Overlay | None = None
    """What holds their texts, where that is not the commit."""
    all_of_them: bool = True
    """Whether these are all that the repo has."""
    strange: Mapping[str, Problem] = field(default_factory=dict)
    """File -> why the registry that it describes is not asked anything."""
    strange_hosts: Mapping[str, Problem] = field(default_factory=dict)
    """Host of an image -> why it is not asked anything, unless it is that of the fleet's registry."""
    linked: Mapping[str, Problem] = field(default_factory=dict)
    """What would be a directive file, and is a symbolic link -> why it is not read."""

    @property
    def unreadable(self) -> dict[str, Problem]:
        """Files of which nobody can say what they ask for -> what is wrong first with each; sorted."""
        wrong = {path: one.problems[0] for path, one in self.evaluated.items() if one.value is None and one.problems}
        return dict(sorted({**wrong, **self.linked}.items()))

    @property
    def values(self) -> list[Mapping[str, Any]]:
        """What the files say that are right."""
        return [one.value for one in self.evaluated.values() if one.value is not None]

    def only(
        self, files: Collection[str], strange: Mapping[str, Problem], strange_hosts: Mapping[str, Problem]
    ) -> Directives:
        """Of these files."""
        kept = {path: node for path, node in self.files.items() if path in files}
        evaluated = {path: self.evaluated[path] for path in kept}
        said = replace(self, files=kept, evaluated=evaluated, all_of_them=False)
        return replace(said, strange=strange, strange_hosts=strange_hosts)


class Overlay:
    """A commit's tree with one file that it does not hold, or holds otherwise; as the evaluator asks for it."""

    def __init__(self, tree: CommitTree, path: str, text: str) -> None:
        self._tree = tree
        self._text = text.encode()
        digest = hashlib.sha1(b"blob %d\0" % len(self._text) + self._text, usedforsecurity=False)
        self.file = SourceFile(path, digest.hexdigest())
        """The file, under the blob id that git would give it."""

    @property
    def called(self) -> str:
        """See nickel.settings.Tree."""
        return self._tree.called

    def lookup(self, path: str) -> tuple[str, str] | None:
        """See nickel.settings.Tree."""
        return (FILE, self.file.blob) if path == self.file.path else self._tree.lookup(path)

    def read(self, blob: str) -> bytes:
        """See nickel.settings.Tree."""
        return self._text if blob == self.file.blob else self._tree.read(blob)


@dataclass(slots=True)
class Assembly:
    """Joins what the files declare with what the commit holds for it."""

    commit: ReadCommit
    fleet: Fleet
    override: RegistrySettings | None
    settings: Mapping[str, object]
    specs: Specs
    ladder: Ladder | None = None
    """What runners may be, where anything names a tier."""
    artifacts: dict[ArtifactName, Artifact] = field(default_factory=dict)
    holds: dict[ArtifactName, list[Problem]] = field(default_factory=dict)
    misdeclared: dict[ArtifactName, Problem] = field(default_factory=dict)
    """What is so wrong that it is not among `artifacts` -> what is wrong."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    registries: dict[str, tuple[RegistrySettings, str]] = field(default_factory=dict)
    logins: dict[str, Problem] = field(default_factory=dict)
    """Host of a registry -> why nothing can be decided of any artifact on it."""
    nothing_builds: Problem | None = None
    """Why nothing of the fleet can be built."""
    unheeded: Unheeded = field(default_factory=Unheeded)
    pinning: Pinning = field(default_factory=Pinning)
    """What the commit's lock pins."""

    def take(self, directives: Directives) -> frozenset[tuple[str, str]]:
        """Note everything that the files declare; the order of files and artifacts carries no meaning. URL and rev of
        all git contexts, which have to be found before `desired` can tell."""
        self.problems += directives.problems
        if self.nothing_builds:
            self.problems.append(self.nothing_builds)
        self._registry(self.fleet.registry, SETTINGS)
        self._not_there_yet()
        reader = DirectiveReader(self.fleet, self.commit.home, self.override, self.ladder)
        for path, node in directives.files.items():
            value = directives.evaluated[path].value
            if value is not None:
                text = DirectiveText(path, node, self._texts(directives))
                self._take(text, value, reader, directives.strange.get(path))
        self._hold_strangers(directives)
        contexts = (each for one in self.artifacts.values() for each in (one.context, *one.contexts.values()))
        return frozenset((each.url, each.rev) for each in contexts if isinstance(each, GitFolder))

    def desired(
        self, directives: Directives, foreign: Mapping[tuple[str, str], Side | Problem] = MappingProxyType({})
    ) -> Desired:
        """Everything that the commit asks for. `foreign` says where each git context is read, or why it cannot be."""
        wanted = self._wanted(directives, foreign)
        if self.pinning.problem and not self.pinning.holds_some:
            self.problems.append(self.pinning.problem)
        self.commit.memo.flush()
        return Desired(
            self.commit.revision,
            self.fleet,
            wanted,
            {host: settings for host, (settings, _) in self.registries.items()},
            tuple(self.problems),
            (*self.commit.notes, *self.unheeded.notes(), *self._in_vain(directives, wanted), *self.notes),
            self.commit.history,
            self.commit.source,
            unclear=Unclear(
                directives.unreadable, {n: p for n, p in self.misdeclared.items() if n not in self.artifacts}
            ),
            lock=self.pinning.lock,
        )

    def _not_there_yet(self) -> None:
        """What lian.ncl says in vain."""
        node = self.commit.ruling.at(SETTINGS)
        if node is not None:
            text = DirectiveText(SETTINGS, node, self.commit.ruling)
            self.nothing_builds = compute(self.settings, text) or session(self.settings, text) or self.nothing_builds
            if self.override is None and (login := credentials(self.fleet.registry, text)):
                self.logins[self.fleet.registry.host] = login
            self.unheeded.take_fleet(SETTINGS, self.settings)

    def _unused(self, directives: Directives) -> Iterator[str]:
        """Secrets bound in vain; not told while a directive is wrong, which may be the one that asks for them, nor
        where not all of them are read."""
        if not directives.all_of_them or self.problems:
            return
        if names := tuple(unused(self.artifacts.values(), self.fleet.secrets)):
            what = "a secret" if len(names) == 1 else "secrets"
            yield f"{SETTINGS} binds {what} that no artifact asks for: {', '.join(names)}"

    def _in_vain(self, directives: Directives, wanted: Mapping[ArtifactName, Wanted]) -> Iterator[str]:
        """What lian.ncl and lian.lock have that nothing uses, where all that could use it is known; and what the lock
        lacks."""
        yield from self._unused(directives)
        yield from self.pinning.lacking()
        if directives.all_of_them and not self.problems and all(one.materials for one in wanted.values()):
            yield from self.pinning.unused()

    def _texts(self, directives: Directives) -> Tree:
        return directives.overlay or self.commit.tree

    def _take(
        self, text: DirectiveText, value: Mapping[str, object], reader: DirectiveReader, strange: Problem | None
    ) -> None:
        """The artifacts of one file; all are held if its registry is `strange`."""
        path, declared = text.path, reader.read(text, value)
        self.problems += declared.wrong.values()
        self.misdeclared |= declared.wrong
        self.unheeded.take_directive(path, value)
        holds = list(declared.holds)
        if self.nothing_builds and not holds:
            holds.append(self.nothing_builds)
        if strange:
            holds.append(strange.at(text.field(("registry",))))
        elif declared.registry:
            holds += self._described(declared, text)
        for artifact in declared.artifacts:
            if (first := self.artifacts.get(artifact.name)) is not None:
                self._twice(first, artifact)
                continue
            self.artifacts[artifact.name] = artifact
            self._hold(artifact.name, holds)

    def _described(self, declared: Declared, text: DirectiveText) -> Iterator[Problem]:
        """Note the registry that a file describes; why its artifacts are held for that."""
        registry, path = declared.registry, text.path
        if registry is None:
            return
        if declared.login:
            if self.registries.get(registry.host, (registry, path))[0].by is Author.DIRECTIVE:
                self.logins.setdefault(registry.host, declared.login)
            else:  # the owner's word stands for everyone else
                yield declared.login
        if clash := self._registry(registry, path, text.field):
            self.problems.append(clash)
            yield clash

    def _hold(self, name: ArtifactName, problems: Sequence[Problem]) -> None:
        if problems:
            said = (problem.of(str(name)) for problem in problems)
            self.holds.setdefault(name, []).extend(said)

    def _hold_strangers(self, directives: Directives) -> None:
        """Whose image is on a host that nothing is asked of."""
        own = self.fleet.registry.host
        strange = {host: problem for host, problem in directives.strange_hosts.items() if host != own}
        for artifact in self.artifacts.values() if strange else ():
            if (problem := strange.get(artifact.image.host)) is not None:
                self._hold(artifact.name, [problem.at(self._place(directives, artifact, ("image",)))])

    def _place(self, directives: Directives, artifact: Artifact, where: tuple[str, ...]) -> Place:
        """Where a field of an artifact is written."""
        file = artifact.place.file
        text = DirectiveText(file, directives.files[file], self._texts(directives))
        return text.field(("artifacts", artifact.name.artifact, *where))

    def _twice(self, first: Artifact, second: Artifact) -> None:
        """Two files declare one name: neither is taken for right."""
        message = f"{first.name} is declared in {first.place.file} and again in {second.place.file}"
        hint = "rename one, or delete it: an artifact's name is workspace/artifact"
        problem = Problem("artifact-twice", message, artifact=str(first.name), hint=hint).at(second.place)
        self.problems.append(problem)
        self._hold(first.name, [problem])

    def _registry(
        self, settings: RegistrySettings, path: str, place: Callable[[tuple[str, ...]], Place] | None = None
    ) -> Problem | None:
        """Note a registry; two files must not say different things of one host."""
        known, said_in = self.registries.setdefault(settings.host, (settings, path))
        if settings.agrees_with(known):
            return None
        message = f"{path} and {said_in} describe the registry {settings.host} differently"
        problem = Problem("registry-ambiguous", message, path, hint="describe it once, in lian.ncl")
        return problem.at(place(("registry",))) if place else problem

    def _wanted(
        self, directives: Directives, foreign: Mapping[tuple[str, str], Side | Problem]
    ) -> dict[ArtifactName, Wanted]:
        place = partial(self._place, directives)
        reader = MaterialsReader(self.commit.tree, self.commit.contexts, self.commit.memo, place, foreign)
        wanted: dict[ArtifactName, Wanted] = {}
        for artifact, found in reader.read([self.artifacts[name] for name in sorted(self.artifacts)]):
            if (login := self.logins.get(artifact.image.host)) is not None:
                self._hold(artifact.name, [login])
            spec, wrong = self.specs.of(artifact)
            self._hold(artifact.name, wrong)
            self.problems += (problem.of(str(artifact.name)) for problem in wrong)
            secrets = unusable(artifact, self.fleet.secrets, place)
            unpinned = tuple(p.of(str(artifact.name)) for p in self.pinning.holds(artifact, found.materials))
            held = (*self.holds.get(artifact.name, ()), *found.problems, *secrets, *found.holds, *unpinned)
            pinned, materials = self.pinning.pinned(artifact, None if held else found.materials)
            wanted[artifact.name] = Wanted(pinned, materials, held, spec)
            self.problems += (*found.problems, *unpinned)
            if found.materials is not None:
                path = found.materials.context.shown(found.materials.dockerfile_path)
                told = (*found.notes, *self.pinning.notes(found.materials))
                self.notes += [f"{artifact.name}: {path} {note}" for note in told]
        return wanted
