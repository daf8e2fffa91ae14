"""One service of a compose file -> one build. What is wrong or cannot be carried over becomes a remark on it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.adopt.build import Build, FromBuild, SecretFrom
from reconciler.adopt.compose_merge import PAIRS, as_build, pairs
from reconciler.adopt.fields import UNCARRIED, uncarried
from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.sources import Uncarried, context_of, dockerfile_of, source_of
from reconciler.adopt.variables import Unusable, expand, told
from reconciler.model.artifact import Folder
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant
from reconciler.plan.secret_looks import looks_secret, masked, secret_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.adopt.build import Source
    from reconciler.adopt.variables import Use
    from reconciler.adopt.yaml_tree import Node
    from reconciler.model.artifact import GitFolder, Place

CARRIED = frozenset(
    {"context", "dockerfile", "args", "labels", "target", "secrets", "platforms", "tags", "additional_contexts"}
)
_SERVICE = "service:"
_BAKE = "x-bake"
_MEND = "write it as compose wants it: `docker compose config` checks the file"


@dataclass(frozen=True, slots=True)
class ServiceReader:
    """`project` is the compose project's name, `values` its variables, `secrets` its secrets by name."""

    project: str
    values: Mapping[str, str]
    secrets: Mapping[str, Node]

    def read(self, name: str, service: Node) -> Build:
        """The build of a service that has one. Raises LianError `compose-invalid` where the file is no compose file."""
        build = service.fields["build"] if service.fields else service
        reading = _Reading(self, name, as_build(build), service)
        return reading.build()


@dataclass(slots=True)
class _Reading:
    reader: ServiceReader
    name: str
    node: Node
    service: Node
    remarks: list[Remark] = field(default_factory=list)

    def build(self) -> Build:
        if self.node.fields is None:
            raise LianError(self._invalid(self.node, "build is neither a folder nor a mapping"))
        self._others()
        self._profiles()
        context, dockerfile = self._context(), self._dockerfile()
        found = Build(
            self.name,
            self.service.place,
            context=context,
            dockerfile=dockerfile,
            target=self._said("target"),
            references=tuple(self._references()),
            platforms=tuple(self._platforms()),
            args=self._args(),
            labels=self._labels(),
            contexts=self._contexts(),
            secrets=dict(self._secrets()),
            known_as=(f"{self.reader.project}-{self.name}",),
        )
        return replace(found, remarks=tuple(dict.fromkeys(self.remarks)))

    # -- what is said of a field

    def _remark(self, weight: Weight, code: str, message: str, at: Node, path: str, hint: str | None = None) -> None:
        self.remarks.append(Remark(weight, code, message, at.place, self._path(path), self.name, hint))

    def _path(self, path: str) -> str:
        return f"services.{self.name}.{path}"

    def _leave_out(self, code: str, message: str, at: Node, path: str, hint: str | None = None) -> None:
        self._remark(Weight.LEFT_OUT, code, message, at, path, hint)

    def _invalid(self, at: Node, message: str, hint: str | None = None) -> Problem:
        place: Place = at.place
        said = f"{self._path('build')}: {message}"
        return Problem(
            "compose-invalid", said, place.file, place.line or None, place.column or None, hint=hint or _MEND
        )

    def _others(self) -> None:
        """Fields that no directive has. Raises LianError for one that compose has not either."""
        for name, value in (self.node.fields or {}).items():
            if name in CARRIED or value.is_null:
                continue
            if name in UNCARRIED and name not in {"call", "resources", "attest", "annotations", "policy"}:
                remark = uncarried(name, value.text, value.place, self._path(f"build.{name}"), self.name)
                self.remarks += [remark] if remark else []
            elif name == _BAKE:
                message = "what is said to bake alone is not carried over"
                self._remark(Weight.DROPPED, "x-bake-dropped", message, value, f"build.{name}")
            elif not name.startswith("x-"):
                hint = meant(name, CARRIED | UNCARRIED.keys(), "see compose's own page on builds")
                raise LianError(self._invalid(value, f"compose knows no field {name}", hint))

    # -- texts

    def _text(self, node: Node, path: str) -> str | None:
        """A scalar with its variables put in; None for one that has no value, or none that can be told."""
        if node.text is None:
            if not node.is_null:
                raise LianError(self._invalid(node, f"{path.rpartition('.')[2]} is a list or a mapping"))
            return None
        try:
            expanded = expand(node.text, self.reader.values)
        except Unusable as error:
            self._leave_out("variable-unset", f"the value {error}", node, path, "set it in .env, or give a default")
            return None
        for use in expanded.uses:
            self._used(use, node, path)
        given = [use.name for use in expanded.uses if use.given]
        if given and secret_form(expanded.text):  # though perhaps none of them is one by itself
            self._withhold(" and ".join(dict.fromkeys(given)), node, path)
        if node.scalar is not None and node.scalar.written is not None:
            message = f"{node.scalar.written} without quotes is read as {node.scalar.text}, as compose does"
            self._remark(Weight.NOTE, "scalar-read", message, node, path, "put it in quotes if that is not meant")
        return expanded.text

    def _used(self, use: Use, node: Node, path: str) -> None:
        if use.given and looks_secret(use.name, use.value):
            self._withhold(use.name, node, path)
        elif use.given:
            message = f"${{{use.name}}} is written as .env has it{told(use.value)}"
            self._remark(Weight.SETTLED, "variable-settled", message, node, path)
        elif use.has_default:
            message = f"${{{use.name}}} is written as its default{told(masked(use.name, use.value))}"
            self._remark(Weight.SETTLED, "variable-settled", message, node, path)
        else:
            message = f"${{{use.name}}} has neither a value in .env nor a default, and is written as nothing"
            hint = "write the value into the directive"
            self._remark(Weight.SETTLED, "variable-empty", message, node, path, hint)

    def _withhold(self, names: str, node: Node, path: str) -> None:
        message = f"what {names} of .env gives looks like a secret, and a directive is committed"
        hint = "hand it to the build as a secret: `RUN --mount=type=secret,id=…`"
        self._leave_out("secret-in-variable", message, node, path, hint)

    def _said(self, name: str) -> str | None:
        """A scalar field of `build`; empty is as not there."""
        node = self.node.get(name)
        return (self._text(node, f"build.{name}") or None) if node is not None else None

    def _listed(self, name: str) -> Iterator[tuple[Node, str]]:
        """The scalars of a list of `build`. Raises LianError `compose-invalid` for no list."""
        node = self.node.get(name)
        if node is None:
            return
        if node.items is None:
            raise LianError(self._invalid(node, f"{name} is not a list"))
        for item in node.items:
            text = self._text(item, f"build.{name}")
            if text:
                yield item, text

    def _paired(self, name: str) -> Iterator[tuple[str, Node]]:
        """The fields of a mapping of `build`, or of the list that stands for one."""
        node = self.node.get(name)
        if node is None:
            return
        if name in PAIRS:
            node = pairs(node)
        if node.fields is None:
            raise LianError(self._invalid(node, f"{name} is neither a mapping nor a list of NAME=VALUE"))
        yield from node.fields.items()

    # -- fields

    def _context(self) -> Folder | GitFolder:
        node = self.node.get("context")
        text = self._said("context")
        if node is None or text is None:
            return Folder(posixpath.dirname(self.service.place.file) or ".")
        try:
            return context_of(text, posixpath.dirname(node.place.file))
        except Uncarried as error:
            self._leave_out("context-unsupported", str(error), node, "build.context", error.hint)
            return Folder()

    def _dockerfile(self) -> str:
        node, text = self.node.get("dockerfile"), self._said("dockerfile")
        if node is None or text is None:
            return "Dockerfile"
        try:
            return dockerfile_of(text)
        except Uncarried as error:
            self._leave_out("dockerfile-outside", str(error), node, "build.dockerfile", error.hint)
            return "Dockerfile"

    def _references(self) -> Iterator[str]:
        image = self.service.get("image")
        text = self._text(image, "image") if image is not None else None
        if text:
            yield text
        yield from (tag for _, tag in self._listed("tags"))

    def _platforms(self) -> Iterable[str]:
        listed = [text for _, text in self._listed("platforms")]
        own = self.service.get("platform")
        if listed or own is None:
            return listed
        text = self._text(own, "platform")
        return [text] if text else []

    def _args(self) -> dict[str, str]:
        args: dict[str, str] = {}
        for name, node in self._paired("args"):
            path = f"build.args.{name}"
            if not node.is_null:
                value = self._text(node, path)
                if value is not None:
                    args[name] = value
                self._hidden(name, value or "", node, path)
            elif name in self.reader.values and looks_secret(name, self.reader.values[name]):
                self._withhold(name, node, path)
            elif name in self.reader.values:
                args[name] = self.reader.values[name]
                message = f"the arg is written as .env has it{told(args[name])}"
                self._remark(Weight.SETTLED, "variable-settled", message, node, path)
            else:
                message = "the arg takes its value from whoever builds, and is left to the Dockerfile's default"
                hint = "write the value into the directive's `args`"
                self._remark(Weight.SETTLED, "arg-open", message, node, path, hint)
        return args

    def _profiles(self) -> None:
        profiles = self.service.get("profiles")
        if profiles is not None and (profiles.items or profiles.text):
            message = "the service has profiles, and compose builds it where one is asked for: a pass builds it always"
            hint = "take the artifact out of the directives, or adopt the others alone by --only"
            self._remark(Weight.NOTE, "profiles-unheeded", message, profiles, "profiles", hint)

    def _hidden(self, name: str, value: str, node: Node, path: str) -> None:
        if looks_secret(name, value):
            message = "the arg looks like a secret, and args can be read from the image"
            hint = "hand it to the build as a secret: `RUN --mount=type=secret,id=…`"
            self._remark(Weight.NOTE, "secret-in-arg", message, node, path, hint)

    def _labels(self) -> dict[str, str]:
        found = ((name, node, self._text(node, f"build.labels.{name}")) for name, node in self._paired("labels"))
        return {name: text or "" for name, node, text in found}

    def _contexts(self) -> dict[str, Source]:
        contexts: dict[str, Source] = {}
        for name, node in self._paired("additional_contexts"):
            path = f"build.additional_contexts.{name}"
            text = self._text(node, path)
            if not text:
                continue
            try:
                if text.startswith(_SERVICE):
                    contexts[name] = FromBuild(text.removeprefix(_SERVICE))
                else:
                    contexts[name] = source_of(text, posixpath.dirname(node.place.file))
            except Uncarried as error:
                self._leave_out("context-unsupported", str(error), node, path, error.hint)
        return contexts

    def _secrets(self) -> Iterator[tuple[str, SecretFrom]]:
        node = self.node.get("secrets")
        for item in (node.items or ()) if node is not None else ():
            source = item if item.text is not None else item.get("source")
            name = self._text(source, "build.secrets") if source is not None else None
            if not name:
                raise LianError(self._invalid(item, "a secret names no source"))
            target = item.get("target") if item.text is None else None
            key = (self._text(target, "build.secrets") if target is not None else None) or name
            yield key, self._bound(name, item)

    def _bound(self, name: str, item: Node) -> SecretFrom:
        declared = self.reader.secrets.get(name)
        if declared is None:
            hint = meant(name, self.reader.secrets, "declare it under `secrets` at the top of the file")
            raise LianError(self._invalid(item, f"the file declares no secret {name}", hint))
        variable, file = declared.get("environment"), declared.get("file")
        return SecretFrom(name, variable.text if variable else None, file.text if file else None)
