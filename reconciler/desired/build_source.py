"""What one build asks for, as the port `Source` wants it: flags or one directive file, with the commit that the path
lies in; a folder that lies in no repository stands for a commit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.desired import git
from reconciler.desired.assembly import SETTINGS, Directives, Overlay, ReadCommit
from reconciler.desired.contexts import Contexts
from reconciler.desired.directives import registry_flag
from reconciler.desired.flags import PATH, FlagsDirective
from reconciler.desired.folder import read_folder
from reconciler.desired.memo import Memo
from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.settings import BUILD_DIRECTIVES, SourceFile
from reconciler.desired.rules import FOLDER as RULES
from reconciler.desired.rules import is_policy
from reconciler.desired.source import GitSource, is_link
from reconciler.desired.tree import Node
from reconciler.model.applied import History
from reconciler.model.fleet import ComputeProvider
from reconciler.model.lock import NAME as LOCK
from reconciler.model.one_build import ByFlags
from reconciler.model.problem import LianError, Problem
from reconciler.model.rule import Rulebook
from reconciler.model.tree import FILE, SYMLINK
from reconciler.model.wording import meant, short, some

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    import pygit2

    from reconciler.desired.nickel.settings import Evaluated, EvaluatorSettings
    from reconciler.desired.tree import CommitTree
    from reconciler.model.artifact import Place
    from reconciler.model.credential import SourceRef
    from reconciler.model.desired import Desired
    from reconciler.model.fleet import RegistrySettings
    from reconciler.model.one_build import Asked
    from reconciler.model.rule import Written
    from reconciler.model.secret import Secret

_NEWEST = "HEAD"
_HINTS = {
    "context-missing": "commit it; what git ignores can be built as a copy outside of the repository",
    "dockerfile-missing": "--dockerfile starts from the context's folder; what is not committed is not there",
}
_HINTS_OF_FOLDERS = {"dockerfile-missing": "--dockerfile starts from the context's folder"}


class BuildSource(GitSource):
    """Fills `ports.source.Source` for what is `asked`. Of settings, the repo's `lian.ncl` holds. That of a folder in no
    repository does not: settings may name commands to run, and such a folder may be anybody's.

    `fallback` is the registry where there are no settings and no `registry_override`, `runner_image` what runners start
    from in place of what settings say; the rest as for GitSource.
    Raises LianError `context-missing`, `directives-missing`.
    """

    def __init__(
        self,
        asked: Asked,
        rev: str = _NEWEST,
        *,
        cache: Path,
        registry_override: str | None = None,
        fallback: str | None = None,
        runner_image: str | None = None,
        evaluator: EvaluatorSettings | None = None,
        secret: Callable[[Iterable[str]], None] = lambda names: None,
        credential: Callable[[SourceRef, str, str], Awaitable[Secret]] | None = None,
    ) -> None:
        self._asked = asked
        self._real = _on_disk(asked)
        self._fallback = registry_flag(fallback) if fallback else None
        self._runner_image = runner_image
        self._below = "."
        """Where it lies below the root of what is read: the context, or the directive file."""
        folder = self._real if isinstance(asked, ByFlags) else self._real.parent
        super().__init__(
            str(folder),
            rev,
            cache=cache,
            registry_override=registry_override,
            evaluator=evaluator,
            secret=secret,
            credential=credential,
        )

    async def load(self) -> Desired:
        """See the port. What is wrong with a flag is told of the flag. Also `rev-without-repo`, `artifacts-none`,
        `runner-image-unsupported`, what `read_folder` raises, and what is wrong with a directive that declares nothing
        because of it."""
        try:
            desired = self._named(await super().load())
        except LianError as error:
            raise LianError(map(self._told, error.problems)) from error
        if not desired.wanted and desired.problems:
            raise LianError(desired.problems)
        return self._with_image(desired)

    def _with_image(self, desired: Desired) -> Desired:
        compute = desired.fleet.compute
        if self._runner_image is None:
            return desired
        if compute.provider is not ComputeProvider.DOCKER_LOCAL:
            message = f"compute {compute.provider} starts no runner from an image"
            hint = "leave --runner-image (BUILDKIT_RUNNER_IMAGE) out, or set compute = { provider = 'DockerLocal }"
            raise LianError(Problem("runner-image-unsupported", message, "--runner-image", hint=hint))
        compute = replace(compute, image=self._runner_image)
        return replace(desired, fleet=replace(desired.fleet, compute=compute))

    async def places(self, written: Collection[Written]) -> Mapping[Written, Place]:
        """See the port. What stands in the directive that flags are is told of the flag."""
        if (flags := self._flags) is None:
            return await super().places(written)
        said = {one: replace(one, file=PATH) if one.fields and one.file in flags.flags else one for one in written}
        found = await super().places(frozenset(said.values()))
        return {one: flags.place(found[text]) for one, text in said.items()}

    # -- what is read

    def _read_commit(self, opened: Callable[[], pygit2.Repository]) -> ReadCommit:
        repository = git.discover(Path(self._location))
        if repository is None:
            return self._read_folder()
        root = Path(repository.workdir or repository.path).resolve()
        if not self._real.is_relative_to(root):
            message = f"{self._real} lies outside of {root}, the working tree of its repository"
            raise LianError(Problem("context-missing", message, hint="give a folder of the working tree"))
        self._below = self._real.relative_to(root).as_posix()
        commit = super()._read_commit(lambda: repository)
        if commit.tree.at(SETTINGS) is None:
            return commit
        settings = f"settings: {SETTINGS} of {root} at {short(commit.revision)}"
        return replace(commit, notes=(settings, *commit.notes))

    def _read_folder(self) -> ReadCommit:
        root, asked = Path(self._location), self._asked
        if self._rev != _NEWEST:
            message = f"there is no revision {self._rev!r}: {root} lies in no git repository"
            hint = "leave --rev (LIAN_REV) out: a folder is built as it is"
            raise LianError(Problem("rev-without-repo", message, hint=hint))
        self._below = "." if isinstance(asked, ByFlags) else self._real.name
        found = read_folder(root, asked.dockerfile if isinstance(asked, ByFlags) else None)
        memo = Memo(self._memo_path)
        notes = [f"{root} lies in no git repository: it is built as it is now, and the image's record says so"]
        if found.passed_over:
            notes.append(f"{found.passed_over} socket(s), pipe(s) or device(s) in it are not sent")
        if found.tree.at(SETTINGS) is not None:
            notes.append(f"its {SETTINGS} has no effect: settings are read from a commit")
        if found.tree.at(RULES) is not None:
            notes.append(f"its {RULES}/ has no effect: rules are read from a commit")
        if found.tree.at(LOCK) is not None:
            notes.append(f"its {LOCK} counts: what it pins is what is built on")
        return ReadCommit("", None, found.tree, Contexts(found.tree, memo), memo, root, History(""), None, tuple(notes))

    def _told_of(self, uncommitted: Sequence[str]) -> tuple[str, ...]:
        """What is not committed of the context and of what decides with it; anywhere where a directive file says what
        is built."""
        if isinstance(self._asked, ByFlags) and self._below != ".":
            uncommitted = [path for path in uncommitted if _concerns(path, self._below)]
        if not uncommitted:
            return ()
        return (f"warning: what is not committed is not built: {some(uncommitted)} (commit it first)",)

    # -- what is asked for

    async def _settings(self, tree: CommitTree) -> Evaluated:
        return await super()._settings(tree) if self._loaded.revision else await self._defaults(tree)

    def _registry_for(self, tree: CommitTree) -> RegistrySettings | None:
        unsaid = tree.at(SETTINGS) is None or not self._loaded.revision
        return self._override or (self._fallback if unsaid else None)

    async def _directives(self, tree: CommitTree, globs: tuple[str, ...]) -> Directives:
        if self._flags is None:
            return await self._of_file(tree)
        overlay = Overlay(tree, PATH, self._flags.text)
        found = await evaluate(overlay, [overlay.file], BUILD_DIRECTIVES, self._evaluator)
        return Directives({PATH: Node(FILE, overlay.file.blob)}, found, found[PATH].problems, overlay, False)

    async def _of_file(self, tree: CommitTree) -> Directives:
        path = self._below
        node = await asyncio.to_thread(tree.at, path)
        if node is None or not (node.is_file or node.mode == SYMLINK):
            raise LianError(await asyncio.to_thread(self._no_file, tree, path))
        if node.mode == SYMLINK:
            raise LianError(is_link(path))
        found = await evaluate(tree, [SourceFile(path, node.id)], BUILD_DIRECTIVES, self._evaluator)
        value = found[path].value
        if value is not None and not value["artifacts"]:
            hint = "declare one: artifacts.api = lian.make_artifact { … }"
            raise LianError(Problem("artifacts-none", f"{path} declares no artifact", file=path, hint=hint))
        return Directives({path: node}, found, found[path].problems, None, False)

    async def _rules(self, tree: CommitTree) -> Rulebook:
        return await super()._rules(tree) if self._loaded.revision else Rulebook()

    # -- how it is told

    @property
    def _flags(self) -> FlagsDirective | None:
        return FlagsDirective.of(self._asked, self._below) if isinstance(self._asked, ByFlags) else None

    def _named(self, desired: Desired) -> Desired:
        """With flags in the places of lines that nobody wrote."""
        if (flags := self._flags) is None:
            return desired
        wanted = {
            name: replace(
                one,
                artifact=replace(one.artifact, place=flags.place(one.artifact.place)),
                holds=tuple(map(self._told, one.holds)),
            )
            for name, one in desired.wanted.items()
        }
        return replace(desired, wanted=wanted, problems=tuple(map(self._told, desired.problems)))

    def _told(self, problem: Problem) -> Problem:
        told = self._flags.told(problem) if self._flags else problem
        if problem.file != PATH:
            return told
        of_commit = self._commit is None or self._commit.revision
        hints = _HINTS if of_commit else _HINTS_OF_FOLDERS
        return replace(told, hint=hints.get(told.code, told.hint))

    def _no_file(self, tree: CommitTree, path: str) -> Problem:
        """Why there is no directive file here: it is not in the commit, or nowhere."""
        if self._real.exists():
            hint = "commit it; or copy it, with its contexts, out of the repository, and it is built as it is"
            return Problem("directives-missing", f"{tree.called} holds no file {path}", "--directives", hint=hint)
        known = [name for name, _ in tree.glob(["**/*.ncl"])]
        hint = meant(path, known, "give the path of a directive file, such as directives/shop.ncl")
        return Problem("directives-missing", f"there is no file {path}", "--directives", hint=hint)


def _on_disk(asked: Asked) -> Path:
    """The real path. Raises LianError."""
    path = Path(asked.where).expanduser()
    try:
        real = path.resolve()
        if isinstance(asked, ByFlags):
            return _folder(asked.context, real)
        if real.is_dir():
            message = f"--directives {asked.file} is a folder, and one file is built from"
            hint = "give a file of it; `lian reconcile --once` builds those of a whole repository"
            raise LianError(Problem("directives-missing", message, "--directives", hint=hint))
        if not real.parent.is_dir():
            hint = "give the path of a directive file, such as directives/shop.ncl"
            raise LianError(Problem("directives-missing", f"there is no file {asked.file}", "--directives", hint=hint))
    except (OSError, ValueError, RuntimeError) as error:
        raise LianError(Problem("context-missing", f"{asked.where} cannot be found", cause=str(error))) from error
    return path.parent.resolve() / path.name


def _folder(given: str, real: Path) -> Path:
    if real.is_dir():
        return real
    what = "is a file, not a folder" if real.exists() else "does not exist"
    hint = "give the folder that is sent to the build; --dockerfile names the file in it"
    raise LianError(Problem("context-missing", f"--context {given} {what}", "--context", hint=hint))


def _concerns(path: str, context: str) -> bool:
    """Whether a path that `git status` lists is of the context, around it (git names a folder of which it has nothing
    by its own path), or of what decides with it: the settings, the lock, the rules."""
    return path in {SETTINGS, LOCK} or is_policy(path) or _is_of(path, context)


def _is_of(path: str, context: str) -> bool:
    return path.startswith(f"{context}/") or (path.endswith("/") and f"{context}/".startswith(path))
