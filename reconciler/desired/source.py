"""The desired repo as the port `Source` wants it: one commit of a git repository, read as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.collector import paused
from reconciler.desired import git
from reconciler.desired.assembly import SETTINGS, Assembly, Directives, Overlay, ReadCommit
from reconciler.desired.contexts import Contexts
from reconciler.desired.directives import read_fleet, registry_flag
from reconciler.desired.export import Exporter, Stopped
from reconciler.desired.inputs import Side
from reconciler.desired.lock import Pinning
from reconciler.desired.memo import Memo
from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.settings import (
    BUILD_DIRECTIVES,
    BUILD_SPEC,
    FLEET_SETTINGS,
    TIER_DEFAULTS,
    EvaluatorSettings,
    SourceFile,
)
from reconciler.desired.places import DirectiveText
from reconciler.desired.rules import idle, is_policy, read_rules
from reconciler.desired.specs import Specs
from reconciler.desired.tiers import ShippedTiers, names_tiers, read_sizes
from reconciler.desired.tree import CommitTree, GitObjects
from reconciler.desired.variables import named_variables
from reconciler.finishing import beside
from reconciler.model.artifact import Place
from reconciler.model.git_url import GitAccess
from reconciler.model.lock import NAME, Lock
from reconciler.model.problem import LianError, Problem
from reconciler.model.tree import SYMLINK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    import pygit2

    from reconciler.desired.foreign import Foreign
    from reconciler.desired.mirror import Mirror
    from reconciler.desired.nickel.settings import Evaluated
    from reconciler.desired.tree import Node
    from reconciler.model.credential import SourceRef
    from reconciler.model.desired import Desired, Materials, SentFolder
    from reconciler.model.fleet import RegistrySettings
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import FileSince
    from reconciler.model.rule import Rulebook, Written
    from reconciler.model.secret import Secret
    from reconciler.model.tier import Sizes
    from reconciler.model.tree import Entry

T = TypeVar("T")

_EMPTY_RECORD = "{}"
"""Settings for a repo without lian.ncl: the defaults are those of the contract."""


class GitSource:
    """Fills `ports.source.Source`. One instance may be loaded many times; the rest answers for the last load.

    `location` is a path inside a repository or a URL; `rev` whatever git takes for a commit; `cache` a folder that may
    be deleted at any time; `registry_override` as `--registry` takes it; `secret` hears of the variables that a commit
    names as places of credentials and keys, heeded or not, before anything is asked of a registry; `credential` reads
    one that the fleet's owner has bound to a git server, and hears where it lies, what it is for and the server's host.
    Without `heeds_lock` the commit's lian.lock says nothing but at which commits git contexts are read, as long as
    `keep` says nothing else.

    Raises LianError `registry-invalid`, `source-scheme`.
    """

    def __init__(
        self,
        location: str,
        rev: str = "HEAD",
        *,
        cache: Path,
        registry_override: str | None = None,
        evaluator: EvaluatorSettings | None = None,
        secret: Callable[[Iterable[str]], None] = lambda names: None,
        credential: Callable[[SourceRef, str, str], Awaitable[Secret]] | None = None,
        heeds_lock: bool = True,
    ) -> None:
        self._location = location
        self._heeds_lock = heeds_lock
        self._kept: Lock | None = None
        """At which commits git contexts are read, whatever the commit's own lock says."""
        self._rev = rev
        self._memo_path = cache / "materials.sqlite"
        self._override = registry_flag(registry_override) if registry_override else None
        self._evaluator = evaluator or EvaluatorSettings(cache=cache / "evaluations.sqlite")
        self._secret = secret
        self._cache, self._credential = cache, credential
        self._others: Foreign | None = None
        """The repositories of git contexts; made when a commit has some, and shared by the commits of one pass."""
        self._access = GitAccess()
        """How git servers are logged in to: as the settings of the pass's own commit say. Those of another may not have
        been looked at by anybody."""
        self._mirror: Mirror | None = None
        if git.is_url(location):
            from reconciler.desired.mirror import Mirror

            git.check_url(location)
            self._mirror = Mirror(location, cache)
        self._files: frozenset[str] | None = None
        """The directive files that are read, where these are not all."""
        self._fetched = False
        """True where another has fetched, and told what is not committed."""
        self._commit: ReadCommit | None = None
        self._settings_said: Mapping[str, Any] = {}
        """lian.ncl of that commit, as evaluated."""
        self._said: tuple[Directives, Desired] | None = None
        """Its directives, and what came of them."""

    async def matching(self, globs: Sequence[str]) -> Mapping[str, str]:
        """See the port Revisions. A URL is fetched for it."""
        await self._fetch()
        return await asyncio.to_thread(lambda: git.refs(self._open(), globs))

    def at(self, revision: str) -> GitSource:
        """See the port Revisions."""
        other = copy.copy(self)
        other._rev, other._fetched, other._commit, other._settings_said = revision, True, None, {}
        other._others = self._foreign()
        other._said = None
        return other

    async def parted_from(self, rev: str) -> str:
        """See the port Revisions."""
        from reconciler.desired.merge import fork_point

        commit = self._loaded
        repository = commit.repository
        if repository is None:
            raise LianError(Problem("revision-unknown", f"there is no revision {rev!r}: nothing here is a commit"))

        def found() -> str:
            other = git.resolve(repository, rev)
            return fork_point(repository, (self._rev, commit.revision), (rev, other.commit))

        return await asyncio.to_thread(found)

    async def load(self) -> Desired:
        """See the port. Problems of reaching a commit are those of `git.open_local`, `git.resolve`, `Mirror.fetch`."""
        await self._fetch()
        try:
            return await self._load()
        except LianError as error:
            if self._mirror is None or all(problem.code != "object-unreadable" for problem in error.problems):
                raise
        await self._mirror.rebuild()
        return await self._load()

    def _foreign(self) -> Foreign:
        from reconciler.desired.foreign import Foreign, unbound  # few commits name other repositories

        if self._others is None:
            self._others = Foreign(self._cache, self._credential or unbound)
        return self._others

    async def _load(self) -> Desired:
        commit = await asyncio.to_thread(self._read_commit, self._open)
        self._commit = commit
        if self._others is not None and not self._fetched:  # else it is another commit of the same pass
            self._others.forget()
        uncommitted: list[str] = []

        async def look_around() -> None:
            uncommitted.extend(await asyncio.to_thread(self._uncommitted, commit))

        try:
            async with beside(look_around()):  # it takes long in a large working tree
                desired = await self._desired(commit)
        except asyncio.CancelledError:
            if self._others is not None:
                self._others.call_off()
                await self._others.called_off()
            raise
        finally:
            await asyncio.to_thread(commit.memo.close)
        return replace(desired, notes=(*uncommitted, *desired.notes))

    async def _fetch(self) -> None:
        """Bring the mirror of a URL up to date."""
        if self._mirror is not None and not self._fetched:
            await self._mirror.fetch()

    def _open(self) -> pygit2.Repository:
        return git.open_local(Path(self._location)) if self._mirror is None else self._mirror.opened()

    def _read_commit(self, opened: Callable[[], pygit2.Repository]) -> ReadCommit:
        repository = opened()
        found = git.resolve(repository, self._rev)
        return self._commit_of(repository, found.commit, CommitTree(GitObjects(repository), found.tree))

    def _commit_of(
        self,
        repository: pygit2.Repository,
        commit: str,
        tree: CommitTree,
        notes: tuple[str, ...] = (),
        ruled_by: CommitTree | None = None,
    ) -> ReadCommit:
        memo = Memo(self._memo_path)
        home = Path.cwd() if self._mirror else git.home(repository)
        history = git.history(repository, commit)
        source = self._location if self._mirror else git.origin(repository)
        return ReadCommit(commit, repository, tree, Contexts(tree, memo), memo, home, history, source, notes, ruled_by)

    def _uncommitted(self, commit: ReadCommit) -> tuple[str, ...]:
        """What a person should know of what is not read."""
        if self._fetched or commit.repository is None:
            return ()
        return self._told_of(git.uncommitted_paths(commit.repository))

    def _told_of(self, uncommitted: Sequence[str]) -> tuple[str, ...]:
        return _uncommitted(len([path for path in uncommitted if self._heeds_lock or path != NAME]))

    def _registry_for(self, tree: CommitTree) -> RegistrySettings | None:
        """The registry that beats what the commit says."""
        del tree
        return self._override

    async def _desired(self, commit: ReadCommit) -> Desired:
        settings = await self._settings(commit.ruling)
        if settings.value is None:
            others = await self._directives(commit.tree, _default_globs(await self._defaults(commit.ruling)))
            raise LianError((*settings.problems, *others.problems))
        self._secret(named_variables(settings.value))
        self._settings_said = settings.value
        override = self._registry_for(commit.ruling)
        fleet = read_fleet(settings.value, commit.home, override)
        self._access = self._access if self._fetched else fleet.git
        directives = await self._directives(commit.tree, fleet.directives)
        for one in directives.evaluated.values():
            self._secret(named_variables(one.value or {}))
        specs = await self._specs(commit.tree, directives)
        own = await asyncio.to_thread(Pinning.read, commit.tree)
        pinning = own if self._heeds_lock else Pinning(told=False)
        assembly = Assembly(commit, fleet, override, settings.value, specs, pinning=pinning)
        if names_tiers(settings.value, directives.values):
            sizes, assembly.nothing_builds = await self._sizes()
            assembly.ladder = sizes.ladder
        with paused():
            places = await asyncio.to_thread(assembly.take, directives)
            foreign = await self._sides(commit, places, self._kept or own.lock) if places else {}
            desired = await asyncio.to_thread(assembly.desired, directives, foreign)
        rules = await self._rules(commit.ruling)
        about_none = idle(rules, map(str, desired.wanted)) if directives.all_of_them else ()
        desired = replace(desired, rules=rules, ladder=assembly.ladder, notes=(*desired.notes, *about_none))
        self._said = directives, desired
        return desired

    async def _sides(
        self, commit: ReadCommit, places: frozenset[tuple[str, str]], lock: Lock | None
    ) -> Mapping[tuple[str, str], Side | Problem]:
        """Where each git context is read, or why it cannot be. What `lock` pins is not asked for."""
        pinned = lock.commit_of if lock else lambda url, rev: None
        found = await self._foreign().sides(places, self._access, commit.memo, pinned)
        sides = (side for side in found.values() if isinstance(side, Side))
        commit.foreign.update({(side.origin.url, side.origin.commit): side for side in sides if side.origin})
        return found

    async def commits(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str | Problem]:
        """See the port GitRefs. Logins are those of the commit last loaded."""
        asked = {(url, rev): (url, rev or "HEAD") for url, rev in places}
        found = await self._foreign().commits(asked.values(), self._access)
        return {place: found[whole] for place, whole in asked.items()}

    def keep(self, pins: Mapping[tuple[str, str], str]) -> None:
        """See the port GitRefs."""
        self._kept = Lock(git=pins)

    async def _settings(self, tree: CommitTree) -> Evaluated:
        """lian.ncl under its contract; without one, the contract's defaults."""
        node = tree.at(SETTINGS)
        if node is None:
            return await self._defaults(tree)
        if node.mode == SYMLINK:
            raise LianError(is_link(SETTINGS))
        found = await evaluate(tree, [SourceFile(SETTINGS, node.id)], FLEET_SETTINGS, self._evaluator)
        return found[SETTINGS]

    async def _defaults(self, tree: CommitTree) -> Evaluated:
        overlay = Overlay(tree, SETTINGS, _EMPTY_RECORD)
        return (await evaluate(overlay, [overlay.file], FLEET_SETTINGS, self._evaluator))[SETTINGS]

    async def _directives(self, tree: CommitTree, globs: tuple[str, ...]) -> Directives:
        """Evaluate every directive file of the commit that is read."""
        matched = await asyncio.to_thread(tree.glob, globs)
        named = [
            (path, node) for path, node in matched if path.endswith(".ncl") and path != SETTINGS and not is_policy(path)
        ]
        linked = {path: is_link(path) for path, node in named if node.mode == SYMLINK}
        problems = list(linked.values())
        if not named:
            problems.append(_no_directives(tree.called, globs))
        files = {path: node for path, node in named if node.mode != SYMLINK and self._reads(path)}
        asked = [SourceFile(path, node.id) for path, node in files.items()]
        evaluated = await evaluate(tree, asked, BUILD_DIRECTIVES, self._evaluator)
        problems += [problem for path in files for problem in evaluated[path].problems]
        return Directives(files, evaluated, tuple(problems), all_of_them=self._files is None, linked=linked)

    def _reads(self, path: str) -> bool:
        return self._files is None or path in self._files

    async def _specs(self, tree: CommitTree, directives: Directives) -> Specs:
        """What contexts say of their builds, evaluated as directives are."""
        specs = await asyncio.to_thread(Specs.found, tree, directives.values)
        specs.evaluated = await evaluate(tree, list(specs.files.values()), BUILD_SPEC, self._evaluator)
        return specs

    async def _rules(self, tree: CommitTree) -> Rulebook:
        """What artifacts have to keep."""
        return await read_rules(tree, self._evaluator)

    async def _sizes(self) -> tuple[Sizes, Problem | None]:
        """Those of the commit's settings, and what is wrong with its ladder. Raises LianError."""
        return await self._sizes_under(self._loaded.ruling, self._settings_said)

    async def _sizes_under(self, tree: CommitTree, settings: Mapping[str, Any]) -> tuple[Sizes, Problem | None]:
        """Those of a tree's settings, likewise."""

        def place(field: tuple[str, ...]) -> Place:
            node = tree.at(SETTINGS)
            return DirectiveText(SETTINGS, node, tree).field(field) if node else Place(SETTINGS)

        shipped = await evaluate(ShippedTiers(), [ShippedTiers.FILE], TIER_DEFAULTS, self._evaluator)
        defaults = shipped[ShippedTiers.FILE.path]
        if defaults.value is None:
            raise LianError(defaults.problems)
        return read_sizes(defaults.value, settings, place)

    # -- what the rest of a pass asks of the commit last loaded ---------------------------------------------------

    async def descends(self, revision: str) -> bool | None:
        """See the port."""
        commit = self._loaded
        if commit.repository is None:
            return None
        return await asyncio.to_thread(git.descends, commit.repository, revision, commit.revision)

    async def last_changed(self, files: Collection[FileSince]) -> Mapping[FileSince, str]:
        """See the port."""
        from reconciler.desired.last_changed import last_changed  # for changes alone

        commit = self._loaded
        if commit.repository is None or not files:
            return {}
        return await asyncio.to_thread(last_changed, commit.repository, commit.revision, files)

    async def sizes(self) -> Sizes:
        """See the port."""
        return (await self._sizes())[0]

    async def places(self, written: Collection[Written]) -> Mapping[Written, Place]:
        """See the port."""
        if self._said is None:
            raise RuntimeError("nothing is loaded yet")
        from reconciler.desired.written import WrittenPlaces  # for mistakes alone

        (directives, desired), tree = self._said, self._loaded.tree

        def text(path: str) -> DirectiveText:
            if (node := directives.files.get(path)) is not None:
                return DirectiveText(path, node, directives.overlay or tree)
            return DirectiveText(path, self._file(tree, path), tree)

        def content(name: ArtifactName, path: str) -> bytes:
            materials = desired.wanted[name].materials
            of = self._side_of(materials.context).tree if materials else tree
            return of.read(self._file(of, path).id)

        def shown(name: ArtifactName, path: str) -> str:
            materials = desired.wanted[name].materials
            return materials.context.shown(path) if materials else path

        artifacts = {name: wanted.artifact for name, wanted in desired.wanted.items()}
        places = WrittenPlaces(artifacts, text, content, shown)
        return await asyncio.to_thread(places.of, written)

    async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
        """See the port."""
        return await asyncio.to_thread(lambda: tuple(self._side_of(folder).contexts.listing(folder)))

    async def export(self, folder: SentFolder, into: Path) -> int:
        """See the port. Also `export-failed`, `coarse-file-times`. When cancelled, nothing is left of `into`."""
        return await self._written(folder, lambda exporter: exporter.export(folder, into))

    async def export_dockerfile(self, materials: Materials, into: Path) -> None:
        """See the port. The ignore file beside it says nothing: what it leaves is all that is exported."""
        path = materials.dockerfile_path
        await self._written(materials.context, lambda exporter: exporter.export_dockerfile(path, into))

    def _side_of(self, folder: SentFolder) -> Side:
        """The commit that a folder is of."""
        if folder.origin is None:
            return Side(self._loaded.tree, self._loaded.contexts)
        return self._loaded.foreign[folder.origin.url, folder.origin.commit]

    async def _written(self, folder: SentFolder, work: Callable[[Exporter], T]) -> T:
        """Work in a thread; a cancellation is raised on once the thread has stopped and cleaned up."""
        stop = threading.Event()
        side = self._side_of(folder)
        exporter = Exporter(side.tree, side.contexts, stop)
        thread = asyncio.ensure_future(asyncio.to_thread(work, exporter))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            stop.set()
            if self._others is not None:
                self._others.call_off()
            with contextlib.suppress(Stopped, LianError):  # it was called off; why it ended no longer matters
                await thread
            if self._others is not None:
                await self._others.called_off()
            raise

    async def blob(self, path: str) -> bytes:
        """See the port. Raises LianError `path-missing` too."""
        return await self._blob(self._loaded.tree, path)

    async def _blob(self, tree: CommitTree, path: str) -> bytes:
        node = await asyncio.to_thread(self._file, tree, path)
        return await asyncio.to_thread(tree.read, node.id)

    @staticmethod
    def _file(tree: CommitTree, path: str) -> Node:
        """Raises LianError `path-missing`."""
        node = tree.at(path)
        if node is None or not node.is_file:
            raise LianError(Problem("path-missing", f"{tree.called} holds no file {path}", file=path))
        return node

    @property
    def tree(self) -> CommitTree:
        """Of the commit last loaded."""
        return self._loaded.tree

    @property
    def working_tree(self) -> Path | None:
        """The folder of the working tree; None for a URL and a bare repository. Raises LianError as `git.open_local`
        does."""
        folder = None if self._mirror else git.open_local(Path(self._location)).workdir
        return Path(folder) if folder else None

    @property
    def _loaded(self) -> ReadCommit:
        if self._commit is None:
            raise RuntimeError("nothing is loaded yet")
        return self._commit


def _uncommitted(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    what = "1 uncommitted change is" if count == 1 else f"{count} uncommitted changes are"
    return (f"{what} not part of this pass",)


def _default_globs(defaults: Evaluated) -> tuple[str, ...]:
    return tuple(defaults.value["directives"]) if defaults.value else ()


def is_link(path: str) -> Problem:
    """Why a file that is a symbolic link is not read."""
    message = f"{path} is a symbolic link, and directives are read from files only"
    return Problem("directive-is-link", message, file=path, hint="commit the file itself, or import it from one")


def _no_directives(called: str, globs: tuple[str, ...]) -> Problem:
    message = f"{called} holds no directive: no file matches {', '.join(globs)}"
    hint = "commit a file directives/NAME.ncl, or set `directives` in lian.ncl"
    return Problem("no-directives", message, hint=hint)
