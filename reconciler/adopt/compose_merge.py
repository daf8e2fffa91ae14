"""`extends` in compose files: what a service takes over from another one, of this file or of another."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.adopt.sources import Uncarried, folder_of
from reconciler.adopt.yaml_scalar import Scalar
from reconciler.adopt.yaml_tree import Node, read_yaml
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_FILES = 100
MAX_CHAIN = 50
PAIRS = frozenset({"args", "labels", "additional_contexts", "extra_hosts"})
"""Fields that are a mapping, or a list of NAME=VALUE."""
_SERVICE = ("build", "image", "platform", "profiles")
"""What of a service is about its image, and whether it is built."""
_WHERE = "give its path from the folder of this file"
_MAPPING = "write NAME: VALUE below it: `docker compose config` checks the file"
_FEWER = "extend fewer, or write what they say out"


@dataclass(slots=True)
class Services:
    """The services of a compose file and of those that it extends; `read` gives a file's content, None if there is
    none."""

    file: str
    known: Mapping[str, Node]
    """Of the file itself, by name."""
    read: Callable[[str], bytes | None]
    _files: dict[str, Mapping[str, Node]] = field(default_factory=dict)

    def named(self, name: str) -> Node:
        """A service with all that it extends. Raises LianError `compose-extends`, and as `read_yaml`."""
        return self._extended(self.file, self.known, name, ())

    def _extended(self, file: str, known: Mapping[str, Node], name: str, chain: tuple[tuple[str, str], ...]) -> Node:
        service = known[name]
        if (file, name) in chain or len(chain) > MAX_CHAIN:
            raise LianError(_problem(service, f"the service {name} extends itself, by way of others", "end the circle"))
        service = only(service, (*_SERVICE, "extends"))
        extends = service.get("extends")
        if extends is None:
            return service
        other, base = extends.text, extends.get("service")
        if other is None:
            other = base.text if base is not None else None
        if other is None:
            raise LianError(_problem(extends, "extends names no service", "write `extends: { service: NAME }`"))
        at = extends.get("file")
        there, services = (file, known) if at is None else self._other(file, at)
        if other not in services:
            hint = meant(other, services, "extend a service that the file has")
            raise LianError(_problem(extends, f"{there} has no service {other} to extend", hint))
        return merged(self._extended(there, services, other, (*chain, (file, name))), service)

    def _other(self, file: str, at: Node) -> tuple[str, Mapping[str, Node]]:
        text = at.text or ""
        if "$" in text:
            raise LianError(_problem(at, f"the file {text} to extend has a variable in its name", "write it out"))
        try:
            path = folder_of(text, posixpath.dirname(file))
        except Uncarried as error:
            raise LianError(_problem(at, f"{text} cannot be extended", error.hint, str(error))) from error
        if path not in self._files:
            if len(self._files) >= MAX_FILES:
                raise LianError(_problem(at, f"more than {MAX_FILES} files are extended", _FEWER))
            content = self.read(path)
            tree = None if content is None else read_yaml(content, path)
            if tree is None:
                raise LianError(_problem(at, f"there is no file {path} to extend, or it is empty", _WHERE))
            self._files[path] = services_of(tree)
        return path, self._files[path]


def services_of(root: Node) -> Mapping[str, Node]:
    """The services by name. Raises LianError `compose-invalid` where they are no mapping of mappings."""
    services = root.get("services")
    if services is None:
        return {}
    if services.fields is None:
        raise LianError(_problem(services, "services is not a mapping", _MAPPING, code="compose-invalid"))
    for name, service in services.fields.items():
        if service.fields is None and not service.is_null:
            raise LianError(_problem(service, f"the service {name} is not a mapping", _MAPPING, code="compose-invalid"))
    return services.fields


def only(node: Node, names: tuple[str, ...]) -> Node:
    """A mapping with these of its fields alone."""
    return replace(node, fields={key: value for key, value in (node.fields or {}).items() if key in names})


def merged(base: Node, over: Node) -> Node:
    """What compose makes of a service and of one that extends it: fields of mappings one by one, lists joined, the
    later scalar."""
    fields = dict(base.fields or {})
    for name, value in (over.fields or {}).items():
        fields[name] = _joined(name, fields[name], value) if name in fields else value
    return replace(over, fields=fields)


def _joined(name: str, base: Node, over: Node) -> Node:
    if over.is_null:
        return base
    if name == "build":
        base, over = as_build(base), as_build(over)
    elif name in PAIRS:
        base, over = pairs(base), pairs(over)
    if base.fields is not None and over.fields is not None:
        return merged(base, over)
    if base.items is not None and over.items is not None:
        added = (each for each in over.items if each.text is None or all(e.text != each.text for e in base.items or ()))
        return replace(over, items=(*base.items, *added))
    return over


def as_build(build: Node) -> Node:
    """`build: FOLDER` is short for `build: { context: FOLDER }`."""
    return build if build.text is None else Node(build.place, fields={"context": build})


def pairs(node: Node) -> Node:
    """A list of NAME=VALUE as the mapping that it stands for; a name alone has no value."""
    if node.items is None:
        return node
    fields: dict[str, Node] = {}
    for item in node.items:
        name, sign, value = (item.text or "").partition("=")
        fields[name] = Node(item.place, Scalar(value if sign else None))
    return replace(node, items=None, fields=fields)


def _problem(
    at: Node, message: str, hint: str | None = None, cause: str | None = None, code: str = "compose-extends"
) -> Problem:
    place = at.place
    return Problem(code, message, place.file, place.line or None, place.column or None, cause=cause, hint=hint)
