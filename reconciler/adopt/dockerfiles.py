"""Dockerfiles that nothing else names: each is an artifact called after its folder."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from reconciler.adopt.build import Build, Found
from reconciler.adopt.names import folder_names
from reconciler.adopt.remark import Remark, Weight
from reconciler.model.artifact import Folder, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAMES = ("Dockerfile", "Containerfile")
_NO_DOCKERFILES = (".dockerignore", ".containerignore", ".md", ".txt", ".tmpl", ".template", ".j2", ".jinja", ".jinja2",
                   ".in", ".erb", ".bak", ".orig", ".swp", "~", ".mustache", ".gotmpl", ".tpl")  # fmt: skip
"""Endings of what belongs to Dockerfiles and is none: ignore files, templates, notes, what an editor left."""


def is_dockerfile(name: str) -> bool:
    """`Dockerfile`, `Dockerfile.dev`, `dev.Dockerfile`, `api.dockerfile`, and the same of Containerfile."""
    if name.endswith(_NO_DOCKERFILES):
        return False
    return variant(name) is not None


def variant(name: str) -> str | None:
    """What a Dockerfile's name says beside that it is one: empty for `Dockerfile`, `dev` for `Dockerfile.dev`; None for
    the name of another file."""
    for usual in _NAMES:
        if name == usual:
            return ""
        for separator in (".", "-"):
            if name.startswith(usual + separator):
                return name[len(usual) + 1 :]
        if name.endswith(("." + usual, "." + usual.lower())):
            return name[: -len(usual) - 1]
    return None


def read_dockerfiles(paths: Sequence[str], folder: str) -> Found:
    """A build for each; `folder` is the name of the folder that all of it lies in."""
    called = {path: _called(path, folder) for path in sorted(paths)}
    names = folder_names(called, "image")
    builds = [_build(path, name) for path, name in names.items()]
    remarks = []
    if builds:
        message = "the context of each Dockerfile is taken to be the folder that it lies in"
        hint = "where `docker build` is run elsewhere, change `context.path`, and `dockerfile` with it"
        remarks.append(Remark(Weight.SETTLED, "context-assumed", message, Place(builds[0].place.file), hint=hint))
    remarks += _beside(names)
    return Found("dockerfiles", None, folder, tuple(builds), tuple(remarks))


def _beside(names: Mapping[str, str]) -> Iterator[Remark]:
    """Of those that lie in one folder and say by their names that they are of one image."""
    first: dict[tuple[str, str | None], str] = {}
    for path in sorted(names, reverse=True):  # Dockerfile comes before Containerfile
        within, name = posixpath.split(path)
        other = first.setdefault((within, variant(name)), path)
        if other != path:
            message = f"{name} lies beside {posixpath.basename(other)}, and each of them is an image of its own now"
            hint = "if only one is built, take the other's artifact out of the directives"
            yield Remark(Weight.NOTE, "dockerfiles-beside", message, Place(path), build=names[path], hint=hint)


def _called(path: str, folder: str) -> str:
    """The folders down to it, and its variant joined to the last of them."""
    within, name = posixpath.split(path)
    more = variant(name)
    whole = posixpath.join(folder, within) if within else folder
    return f"{whole}-{more}" if more else whole


def _build(path: str, name: str) -> Build:
    within, dockerfile = posixpath.split(path)
    return Build(name, Place(path), context=Folder(within or "."), dockerfile=dockerfile)
