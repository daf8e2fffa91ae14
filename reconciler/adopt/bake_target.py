"""One target of a printed bake document -> one build."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.adopt.build import Build, FromBuild, SecretFrom
from reconciler.adopt.fields import UNCARRIED, uncarried
from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.sources import Uncarried, context_of, dockerfile_of, source_of
from reconciler.model.artifact import Folder
from reconciler.model.problem import LianError, Problem
from reconciler.plan.secret_looks import looks_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.adopt.build import Source
    from reconciler.model.artifact import GitFolder, Place

CARRIED = frozenset({"context", "contexts", "dockerfile", "args", "labels", "target", "tags", "platforms", "secret"})
_SAYS_NOTHING = frozenset({"description", "inherits", "name", "matrix"})
LINK = "target:"
"""In front of the name of a target that stands for a named context."""
_OF_FILES = frozenset({"local", "tar", "cacheonly"})


def linked_of(target: Mapping[str, Any]) -> Iterator[str]:
    """The targets that it stands on."""
    contexts = target.get("contexts")
    for each in (contexts if isinstance(contexts, dict) else {}).values():
        if isinstance(each, str) and each.startswith(LINK):
            yield each.removeprefix(LINK)


@dataclass(slots=True)
class TargetReader:
    """`file` is the bake file, `place` where the target stands in it."""

    file: str
    name: str
    place: Place
    is_linked: bool = False
    """Whether another target stands on it: bake then prints that nothing is made of it by itself."""
    remarks: list[Remark] = field(default_factory=list)

    def read(self, target: dict[str, Any]) -> Build:
        """The build of a target. Raises LianError `bake-printed` for a field of another type than bake prints."""
        self._others(target)
        found = Build(
            self.name,
            self.place,
            context=self._context(target),
            dockerfile=self._dockerfile(target),
            target=self._text(target, "target") or None,
            references=tuple(self._texts(target, "tags")),
            platforms=tuple(self._texts(target, "platforms")),
            args=self._args(target),
            labels=dict(self._pairs(target, "labels")),
            contexts=self._contexts(target),
            secrets=dict(self._secrets(target)),
        )
        return replace(found, remarks=tuple(dict.fromkeys(self.remarks)))

    def _path(self, name: str) -> str:
        return f"target.{self.name}.{name}"

    def _remark(self, weight: Weight, code: str, message: str, path: str, hint: str | None = None) -> None:
        self.remarks.append(Remark(weight, code, message, self.place, self._path(path), self.name, hint))

    def _wrong(self, name: str) -> LianError:
        message = f"{self._path(name)} is not of the form that bake gives it"
        hint = "write it as bake wants it: `docker buildx bake --print` checks the file"
        return LianError(Problem("bake-invalid", message, self.file, self.place.line or None, hint=hint))

    def _others(self, target: dict[str, Any]) -> None:
        for name, value in target.items():
            if name in CARRIED or name in _SAYS_NOTHING or value in (None, [], {}, ""):
                continue
            if name == "output":
                self._output(value)
            elif name.replace("-", "_") in UNCARRIED:
                said = str(value).lower() if isinstance(value, str | bool | int) else None
                remark = uncarried(name, said, self.place, self._path(name), self.name)
                self.remarks += [remark] if remark else []
            else:
                message = "this field of bake is not known to lian"
                hint = "take it out, or write the directive by hand"
                self._remark(Weight.LEFT_OUT, "field-unknown", message, name, hint)

    def _output(self, value: Any) -> None:
        outputs = [_attributes(each) for each in (value if isinstance(value, list) else [value])]
        if self.is_linked and outputs == [{"type": "cacheonly"}]:
            return
        kinds = {output.get("type", "local" if "dest" in output else "image") for output in outputs}
        if kinds <= _OF_FILES:
            message = "the target makes files or nothing, and no image"
            hint = "name the stage by `checks` where a build is to wait for it, or leave it to bake"
            self._remark(Weight.LEFT_OUT, "output-unsupported", message, "output", hint)
            return
        message = "images are pushed to the fleet's registry, in the form that keeps them reproducible"
        self._remark(Weight.DROPPED, "output-dropped", message, "output")

    def _text(self, target: dict[str, Any], name: str) -> str:
        value = target.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name)
        return value or ""

    def _texts(self, target: dict[str, Any], name: str) -> Iterator[str]:
        value = target.get(name) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._wrong(name)
        yield from (each for each in value if each)

    def _pairs(self, target: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
        value = target.get(name) or {}
        if not isinstance(value, dict):
            raise self._wrong(name)
        for key, each in value.items():
            if each is None:
                message = "it takes its value from whoever builds, and is left out"
                self._remark(Weight.SETTLED, "arg-open", message, f"{name}.{key}", "write the value into the directive")
            elif isinstance(each, bool):
                yield key, str(each).lower()
            elif isinstance(each, str | int):
                yield key, str(each)
            else:
                raise self._wrong(f"{name}.{key}")

    def _context(self, target: dict[str, Any]) -> Folder | GitFolder:
        text = self._text(target, "context") or "."
        if text.startswith(LINK):
            message = "another target's image cannot be a build's context"
            hint = "name a folder, and the image in its Dockerfile"
            self._remark(Weight.LEFT_OUT, "context-unsupported", message, "context", hint)
            return Folder()
        try:
            return context_of(text, ".")
        except Uncarried as error:
            self._remark(Weight.LEFT_OUT, "context-unsupported", str(error), "context", error.hint)
            return Folder()

    def _dockerfile(self, target: dict[str, Any]) -> str:
        try:
            return dockerfile_of(self._text(target, "dockerfile") or "Dockerfile")
        except Uncarried as error:
            self._remark(Weight.LEFT_OUT, "dockerfile-outside", str(error), "dockerfile", error.hint)
            return "Dockerfile"

    def _args(self, target: dict[str, Any]) -> dict[str, str]:
        args = dict(self._pairs(target, "args"))
        for name in (name for name, value in args.items() if looks_secret(name, value)):
            message = "the arg looks like a secret, and args can be read from the image"
            hint = "hand it to the build as a secret: `RUN --mount=type=secret,id=…`"
            self._remark(Weight.NOTE, "secret-in-arg", message, f"args.{name}", hint)
        return args

    def _contexts(self, target: dict[str, Any]) -> dict[str, Source]:
        contexts: dict[str, Source] = {}
        for name, text in self._pairs(target, "contexts"):
            try:
                linked = text.startswith(LINK)
                contexts[name] = FromBuild(text.removeprefix(LINK)) if linked else source_of(text, ".")
            except Uncarried as error:
                self._remark(Weight.LEFT_OUT, "context-unsupported", str(error), f"contexts.{name}", error.hint)
        return contexts

    def _secrets(self, target: dict[str, Any]) -> Iterator[tuple[str, SecretFrom]]:
        listed = target.get("secret") or []
        if not isinstance(listed, list):
            raise self._wrong("secret")
        for each in listed:
            said = _attributes(each)
            key = said.get("id")
            if not key:
                raise self._wrong("secret")
            file = said.get("src") or said.get("source")
            variable = said.get("env")
            if file is None and variable is None:
                file = key  # as buildx has it
            yield key, SecretFrom(key, variable, file)


def _attributes(value: Any) -> dict[str, str]:
    """`type=image,push=true`, or the object that newer versions print."""
    if isinstance(value, dict):
        return {key: str(each) for key, each in value.items()}
    pairs = (part.partition("=") for part in str(value).split(","))
    found = {name.strip(): text.strip() if sign else "" for name, sign, text in pairs}
    return found if "=" in str(value) else {"dest": str(value)}
