"""Compose files (compose-spec.io, "Compose Build Specification"): the services that are built."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from reconciler.adopt.build import Found
from reconciler.adopt.compose_merge import Services, services_of
from reconciler.adopt.compose_service import ServiceReader
from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.variables import Unusable, expand, read_dotenv
from reconciler.adopt.yaml_tree import read_yaml
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.adopt.build import Build
    from reconciler.adopt.yaml_tree import Node

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""As compose looks for them: the first that is there."""
_PROJECT = "COMPOSE_PROJECT_NAME"
OVERRIDES = tuple(f"{name.rpartition('.')[0]}.override.{name.rpartition('.')[2]}" for name in FILES)


def read_compose(content: bytes, file: str, read: Callable[[str], bytes | None], folder: str) -> Found:
    """The images that a compose file builds; `read` gives another file of the repository, `folder` names the project
    where the file does not.

    Raises LianError: as `read_yaml`, `compose-invalid`, `compose-extends`, `compose-variable` for a name that cannot be
    told.
    """
    root = read_yaml(content, file)
    if root is None or root.fields is None:
        raise LianError(Problem("compose-invalid", f"{file} holds no services", file, hint="give a compose file"))
    values = _dotenv(read(posixpath.join(posixpath.dirname(file), ".env")))
    project = values.get(_PROJECT) or _project(root, values) or folder
    known = services_of(root)
    services = Services(file, known, read)
    reader = ServiceReader(project, values, _secrets(root))
    builds: list[Build] = []
    problems: list[Problem] = []
    for name in known:
        try:
            service = services.named(name)
            if service.get("build") is not None:
                builds.append(reader.read(name, service))
        except LianError as error:
            problems += error.problems
    if problems:
        raise LianError(dict.fromkeys(problems))
    return Found("compose", file, project, tuple(builds), tuple(_around(root)))


def _dotenv(content: bytes | None) -> Mapping[str, str]:
    return {} if content is None else read_dotenv(content.decode("utf-8", "replace"))


def _project(root: Node, values: Mapping[str, str]) -> str | None:
    """Raises LianError `compose-variable`."""
    name = root.get("name")
    if name is None or not name.text:
        return None
    try:
        return expand(name.text, values).text or None
    except Unusable as error:
        place = name.place
        message = f"name {error}"
        hint = "set it in .env, give it a default, or write the project's name out"
        problem = Problem("compose-variable", message, place.file, place.line, place.column, hint=hint)
        raise LianError(problem) from error


def _secrets(root: Node) -> Mapping[str, Node]:
    found = root.get("secrets")
    return (found.fields or {}) if found is not None else {}


def _around(root: Node) -> Iterator[Remark]:
    """What is to be said of the file as a whole."""
    include = root.get("include")
    if include is not None:
        message = "the files that it includes are not read"
        hint = "give each of them by --from; a directive may stand on an artifact of another one"
        yield Remark(Weight.NOTE, "include-unread", message, include.place, "include", hint=hint)
