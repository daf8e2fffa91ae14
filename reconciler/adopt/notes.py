"""What has to be known of an adopted repo that no single field is the reason for."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from reconciler.adopt import bake, compose
from reconciler.adopt.names import secret_name
from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.written import directives_path
from reconciler.model.artifact import Folder, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.adopt.artifacts import Adopted
    from reconciler.adopt.build import Found
    from reconciler.ports.project import Project


_MOST_TOLD = 5


def notes(adopted: Adopted, found: Found, project: Project, beside: Sequence[str]) -> Iterator[Remark]:
    """In the order of their weight for what comes next."""
    file = found.file or directives_path(adopted.workspace)
    yield from _named(adopted, found, file)
    yield from _registry(adopted, file)
    yield from _platforms(adopted, found, file)
    yield from _secrets(adopted, file)
    yield from _whole_repo(adopted, project)
    yield from _unread(found, project, beside)


def _note(code: str, message: str, place: Place, hint: str | None = None, build: str | None = None) -> Remark:
    return Remark(Weight.NOTE, code, message, place, "", build, hint)


def _named(adopted: Adopted, found: Found, file: str) -> Iterator[Remark]:
    nameless = [one.document["image"] for one in adopted.carried if not one.build.references]
    if nameless and found.kind != "dockerfiles":
        told = ", ".join(nameless[:_MOST_TOLD]) + (", …" if len(nameless) > _MOST_TOLD else "")
        message = f"{file} says no image's name for some builds, so they are called {told}"
        yield Remark(Weight.SETTLED, "image-named", message, Place(file))


def _registry(adopted: Adopted, file: str) -> Iterator[Remark]:
    named = [one for one in adopted.carried if one.build.references]
    if adopted.host is not None:
        message = f"the registry is {adopted.host}, and what is there under these tags was not made by lian"
        hint = "the first pass holds such tags as `foreign`; docs/adopting.md tells how they are taken over"
        yield _note("registry-named", message, Place(file), hint)
    elif any("." in one.document["image"].partition("/")[0] for one in named):
        message = "images with a registry's host in front are pushed there, the others to the registry of lian.ncl"
        yield _note("registry-mixed", message, Place(file))
    elif named:
        message = "no registry is named, so images go to .lian/registry, a folder of this machine"
        yield _note("registry-none", message, Place(file), "name one in lian.ncl")


def _platforms(adopted: Adopted, found: Found, file: str) -> Iterator[Remark]:
    silent = {build.name for build in found.builds if not build.platforms}
    if any(one.build.name in silent for one in adopted.carried):
        message = "where no platform is said, the image is built for linux/amd64, and not for whatever machine builds"
        yield Remark(
            Weight.SETTLED, "platform-settled", message, Place(file), hint="say `platforms` where it is another one"
        )


def _secrets(adopted: Adopted, file: str) -> Iterator[Remark]:
    for name, each in adopted.secrets.items():
        if name != (taken := secret_name(each.name)):
            message = f"the secret {each.name} is called {name}: another one is called {taken} already"
            yield Remark(Weight.SETTLED, "secret-renamed", message, Place(file))
        if each.variable:
            message = f"the secret {name} is read from the variable {each.variable}, as lian.ncl binds it"
            yield Remark(Weight.SETTLED, "secret-bound", message, Place(file))
        else:
            told = f"in the file {each.file}" if each.file else "outside of the file"
            message = f"the secret {name} lies {told}, and is not bound: what needs it is held"
            hint = f'bind it in lian.ncl: secrets.{adopted.workspace}.{name} = {{ source = \'File, name = "/…" }}'
            yield _note("secret-unbound", message, Place(file), hint)


def _whole_repo(adopted: Adopted, project: Project) -> Iterator[Remark]:
    """A context that holds the directives themselves is sent them, and is new with each change of them."""
    for one in adopted.carried:
        context = one.build.context
        is_whole = isinstance(context, Folder) and context.path == "."
        if is_whole and not _ignores_directives(project, one.build.dockerfile):
            message = "the whole repo is sent, lian.ncl and directives/ too: a change to them builds it anew"
            hint = "add lian.ncl and directives/ to the .dockerignore, or narrow the context with `include`"
            yield _note("context-whole", message, one.build.place, hint, one.build.name)


def _ignores_directives(project: Project, dockerfile: str) -> bool:
    ignore = project.read(f"{dockerfile}.dockerignore")
    ignore = project.read(".dockerignore") if ignore is None else ignore
    lines = {line.strip().strip("/") for line in (ignore or b"").decode("utf-8", "replace").splitlines()}
    return bool(lines & {"*", "**"}) or {"lian.ncl", "directives"} <= lines or bool(lines & {"**/*.ncl"})


def _unread(found: Found, project: Project, beside: Sequence[str]) -> Iterator[Remark]:
    for name in beside:
        message = f"{name} was not read: {found.file or 'the folder'} says what is built"
        yield _note("source-unread", message, Place(name), f"to read it instead: --from {name}")
    folder = posixpath.dirname(found.file or "")
    overrides = {"compose": compose.OVERRIDES, "bake": bake.OVERRIDES}.get(found.kind, ())
    for name in overrides:
        path = posixpath.join(folder, name)
        if project.read(path) is not None:
            message = f"{path} was not read: what it changes of builds is not carried over"
            yield _note("override-unread", message, Place(path))
