"""`lian init`: what lies in the folder, what is written for it, and what has to be said."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.adopt import bake, bake_json, compose
from reconciler.adopt.artifacts import Adopted, adopt
from reconciler.adopt.committed import DOTENV, held_back, secrets_in
from reconciler.adopt.dockerfiles import is_dockerfile, read_dockerfiles
from reconciler.adopt.names import name_of
from reconciler.adopt.notes import notes
from reconciler.adopt.remark import Weight
from reconciler.adopt.written import DIRECTIVES, IGNORED, OWN, SETTINGS, adopted_files, ignores_own, starter
from reconciler.model.artifact import Folder
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant, together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from reconciler.adopt.build import Found
    from reconciler.adopt.remark import Remark
    from reconciler.ports.project import Bake, Dockerfiles, Grammar, Project


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for: the file to read (None: what is there), the workspace's name (None: the folder's), the
    names to take (empty: all), and how the folder was named."""

    source: str | None = None
    workspace: str | None = None
    only: tuple[str, ...] = ()
    folder: str = "."


@dataclass(frozen=True, slots=True)
class Tools:
    """The ports."""

    project: Project
    dockerfiles: Dockerfiles
    grammar: Grammar
    bake: Bake


@dataclass(frozen=True, slots=True)
class Initiation:
    """What is written, and what has to be said of it. `source` is `nothing` where there was nothing to adopt."""

    source: str
    file: str | None
    workspace: str
    files: Mapping[str, str]
    adopted: Adopted | None
    remarks: tuple[Remark, ...]
    next: tuple[str, ...]
    """Commands, in their order."""

    def to_json(self, *, written: bool) -> dict[str, Any]:
        """The form of schemas/json/init.json."""
        carried = self.adopted.carried if self.adopted else ()
        left_out = self.adopted.left_out if self.adopted else ()
        return {
            "kind": "init",
            "version": 1,
            "source": self.source,
            "file": self.file,
            "workspace": self.workspace,
            "written": written,
            "files": [{"path": path, "content": content} for path, content in self.files.items()],
            "artifacts": [
                {
                    "artifact": f"{self.workspace}/{one.name}",
                    "build": one.build.name,
                    "file": one.build.place.file,
                    "line": one.build.place.line or None,
                    "column": one.build.place.column or None,
                }
                for one in carried
            ],
            "left_out": [build.name for build in left_out],
            "remarks": [remark.to_json() for remark in self.remarks],
            "next": list(self.next),
        }


def prepare(tools: Tools, asked: Asked) -> Initiation:
    """Everything but the writing.

    Raises LianError for input that is wrong (see the readers), `source-missing` for a file that is not there,
    `project-taken` where a file would have to be changed, `nothing-carried` where no build can be carried over.
    """
    source, beside = _source(tools.project, asked.source)
    found = None if source is None else _read(tools, source, asked)
    workspace = name_of(asked.workspace or (found.workspace if found else tools.project.name), "workspace")
    if found is None or not found.builds:
        _check_only(asked, found)
        return _initiation(tools.project, asked, workspace, starter(workspace))
    adopted = adopt(found, workspace, tools.project, tools.dockerfiles, tools.grammar)
    if not adopted.carried:
        raise LianError(_nothing_carried(adopted))
    files = adopted_files(adopted, found)
    remarks = (*adopted.remarks, *notes(adopted, found, tools.project, beside))
    return _initiation(tools.project, asked, workspace, files, found, adopted, remarks)


def _initiation(
    project: Project,
    asked: Asked,
    workspace: str,
    files: dict[str, str],
    found: Found | None = None,
    adopted: Adopted | None = None,
    remarks: tuple[Remark, ...] = (),
) -> Initiation:
    """Raises LianError `project-taken`."""
    gitignore = project.read(IGNORED)
    if gitignore is None:
        files = files | {IGNORED: f"# lian's own: the registry on disk\n{OWN}\n"}
    if taken := project.taken(files.keys()):
        raise LianError([_taken(path) for path in taken])
    if there := _directives_in(project):
        raise LianError(_begun_already(there))
    ignored = gitignore is None or ignores_own(gitignore.decode("utf-8", "replace"))
    contexts = frozenset(() if project.has_commit or adopted is None else _contexts(adopted))
    tops = {path: path.partition("/")[0] for path in files}
    secrets = {} if project.has_commit else secrets_in(project, contexts.union(tops.values()))
    hidden = "." in secrets and all(posixpath.basename(path) == DOTENV for path in secrets["."])
    kept_back = {} if hidden else secrets  # one line keeps all of them out
    remarks = (*remarks, *(held_back(each, kept_back[each]) for each in sorted(contexts & kept_back.keys())))
    paths = {path if top in kept_back else top for path, top in tops.items()} | (contexts - kept_back.keys())
    commands = _commands(project, asked, paths, ignored=ignored, hidden=hidden)
    source, file = (found.kind, found.file) if found else ("nothing", None)
    return Initiation(source, file, workspace, dict(sorted(files.items())), adopted, remarks, commands)


def _directives_in(project: Project) -> Sequence[str]:
    """Directive files that are there: without settings, `directives/**/*.ncl` is where a desired repo has them."""
    if not project.has_folder(DIRECTIVES):
        return ()
    return [path for path in project.find(lambda name: name.endswith(".ncl")) if path.startswith(DIRECTIVES)]


def _contexts(adopted: Adopted) -> Iterator[str]:
    """The folders that builds read: nothing of them is committed yet."""
    for one in adopted.carried:
        for context in (one.build.context, *one.build.contexts.values()):
            if isinstance(context, Folder):
                yield context.path


def _commands(
    project: Project, asked: Asked, paths: Collection[str], *, ignored: bool, hidden: bool
) -> tuple[str, ...]:
    """`paths` are what is to be committed; git ignores lian's own where that is `ignored`, and is to ignore every
    `.env` from now on where these are `hidden`."""
    added = sorted({*paths} | (set() if ignored else {IGNORED}))
    return (
        *(() if asked.folder == "." else (f"cd {shlex.quote(asked.folder)}",)),
        *(() if project.in_git else ("git init",)),
        *(() if ignored else (f"echo {OWN} >> {IGNORED}",)),
        *((f"echo {DOTENV} >> {IGNORED}",) if hidden else ()),
        "git add -A" if "." in added else f"git add {' '.join(map(shlex.quote, added))}",
        "git commit -m 'Images by lian'",
        "lian diff",
        "lian reconcile --once",
    )


def _source(project: Project, named: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The file to read (`.` for Dockerfiles alone, None for nothing), and files beside it that say of images too.
    Raises LianError `source-missing`."""
    there = [name for name in (*bake.FILES, *compose.FILES) if project.read(name) is not None]
    if named is not None:
        path = posixpath.normpath(named)
        if path != "." and project.read(path) is None:
            hint = meant(path, there, "give a compose or bake file by its path from here, or . for Dockerfiles alone")
            raise LianError(Problem("source-missing", f"there is no file {path}", "--from", hint=hint))
        return path, tuple(each for each in there if each != path)
    if there:
        return there[0], tuple(there[1:])
    return ("." if project.find(is_dockerfile) else None), ()


def _read(tools: Tools, path: str, asked: Asked) -> Found:
    """Raises LianError, as the readers and `only-unknown`."""
    project = tools.project
    if path == ".":
        found = read_dockerfiles(project.find(is_dockerfile), project.name)
        return _narrowed(found, asked)
    content = project.read(path) or b""
    if path.endswith((".yaml", ".yml")):
        folder = posixpath.basename(posixpath.dirname(path)) or project.name
        return _narrowed(compose.read_compose(content, path, project.read, folder), asked)
    if path.endswith((".hcl", ".json")):
        return _read_bake(tools, path, content, asked)
    hint = "compose files end in .yaml or .yml, bake files in .hcl or .json; . is for Dockerfiles alone"
    raise LianError(Problem("source-unknown", f"{path} is neither a compose nor a bake file", "--from", hint=hint))


def _narrowed(found: Found, asked: Asked) -> Found:
    if not asked.only:
        return found
    known = {build.name for build in found.builds}
    unknown = [name for name in asked.only if name not in known]
    if unknown:
        hint = meant(unknown[0], known, "name what the file builds")
        raise LianError(Problem("only-unknown", f"nothing is built that is called {unknown[0]}", "--only", hint=hint))
    return replace(found, builds=tuple(build for build in found.builds if build.name in asked.only))


def _read_bake(tools: Tools, path: str, content: bytes, asked: Asked) -> Found:
    """JSON by itself where it says nothing that only buildx can tell; HCL by buildx. Raises LianError."""
    variables: dict[str, str] = {}
    try:
        if path.endswith(".hcl"):
            raise bake_json.NeedsBuildx("it is HCL")
        document, variables = bake_json.print_bake(content, path, asked.only)
    except bake_json.NeedsBuildx as needs:
        try:
            document = tools.bake.printed(path, asked.only)
        except LianError as error:
            raise LianError([_why(problem, path, str(needs)) for problem in error.problems]) from error
    text = content.decode("utf-8", "replace")
    return bake.read_printed(document, path, text, tools.project.name, variables)


def _why(problem: Problem, path: str, needs: str) -> Problem:
    if problem.code != "buildx-missing":
        return problem
    return replace(problem, message=f"{path} can be read by buildx alone: {needs}", file=path)


def _check_only(asked: Asked, found: Found | None) -> None:
    """Raises LianError where something was asked for and there is nothing to take it from."""
    if found is not None:
        message = f"{found.file or 'the folder'} builds no image"
        hint = "give another file by --from, or . for Dockerfiles alone"
        raise LianError(Problem("nothing-built", message, found.file, hint=hint))
    if asked.only:
        raise LianError(Problem("only-unknown", "there is no file that builds anything", "--only", hint="leave it out"))


def _nothing_carried(adopted: Adopted) -> Sequence[Problem]:
    """Each reason once."""
    problems = []
    for build in adopted.left_out:
        for remark in build.remarks:
            if remark.weight is Weight.LEFT_OUT:
                problem = Problem(remark.code, remark.message, artifact=build.name, hint=remark.hint)
                problems.append(problem.at(remark.place))
    return problems


def _begun_already(paths: Sequence[str]) -> Problem:
    """A second set of directives for the same images would be built beside the first."""
    told = "is" if len(paths) == 1 else "are"
    hint = "run `lian validate`; to begin anew, move the folder directives away"
    message = f"{together(paths)} {told} there already: this is a desired repo without settings, which needs none"
    return Problem("project-taken", message, paths[0], hint=hint)


def _taken(path: str) -> Problem:
    if path == SETTINGS or path.startswith(DIRECTIVES):
        hint = "lian changes no file that is there: this is a desired repo already, or move the file away"
    else:
        hint = "lian changes no file that is there: move it away, and run `lian init` again"
    return Problem("project-taken", f"{path} is there already, or something is in its way", path, hint=hint)
