"""Builds -> the artifacts of a directive file, each a document in the words of the contract."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.adopt.build import Build, FromBuild, FromImage
from reconciler.adopt.names import name_of, secret_names, unique_names
from reconciler.adopt.pushed import Pushed, pushed
from reconciler.adopt.remark import Remark, Weight
from reconciler.model.artifact import Folder
from reconciler.model.platform import Platform
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.adopt.build import Found, SecretFrom, Source
    from reconciler.model.artifact import GitFolder
    from reconciler.ports.project import Dockerfiles, Grammar, Project


DEFAULT_PLATFORM = "linux/amd64"
"""The contract's."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A build that became an artifact; `document` is its value in the directive."""

    build: Build
    name: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Adopted:
    """All of one source. `host` is the registry that every image named, None if they do not agree or name none."""

    workspace: str
    carried: tuple[Carried, ...]
    left_out: tuple[Build, ...]
    remarks: tuple[Remark, ...]
    host: str | None = None
    secrets: Mapping[str, SecretFrom] = field(default_factory=dict)
    """By logical name."""


def adopt(found: Found, workspace: str, project: Project, dockerfiles: Dockerfiles, grammar: Grammar) -> Adopted:
    """Carry over what can be: a build whose context, Dockerfile, parent or form will not do is left out, saying so."""
    builds = [_checked(build, project) for build in found.builds]
    makers = {reference: build.name for build in builds for reference in _called(build)}
    builds = [_linked(build, makers, project, dockerfiles) for build in builds]
    names = unique_names((build.name for build in builds), "image")
    writer = _Writer(workspace, names, _secret_names(builds), _common_host(builds))
    builds = _with_parents(builds)
    builds = [build if build.left_out else writer.checked(build, grammar) for build in builds]
    builds = _widened(_with_parents(builds))
    carried = tuple(writer.carried(build) for build in builds if not build.left_out)
    remarks = dict.fromkeys((*found.remarks, *(remark for build in builds for remark in build.remarks)))
    return Adopted(
        workspace,
        carried,
        tuple(build for build in builds if build.left_out),
        tuple(remarks),
        writer.host,
        {writer.secrets[each]: each for one in carried for each in one.build.secrets.values()},
    )


def _remarked(build: Build, *remarks: Remark) -> Build:
    return replace(build, remarks=(*build.remarks, *remarks))


def _left_out(build: Build, code: str, message: str, hint: str) -> Build:
    return _remarked(build, Remark(Weight.LEFT_OUT, code, message, build.place, "", build.name, hint))


# -- what has to be there


def _checked(build: Build, project: Project) -> Build:
    """Left out without its folder or its Dockerfile: the commit would be wrong about it."""
    if build.left_out:
        return build
    folders = [each.path for each in (build.context, *build.contexts.values()) if isinstance(each, Folder)]
    missing = next((path for path in folders if not project.has_folder(path)), None)
    if missing is not None:
        return _left_out(build, "context-missing", f"there is no folder {missing}", "make it, or take the build out")
    path = _dockerfile_path(build)
    if path is not None and project.read(path) is None:
        hint = "write it, or name the right one"
        return _left_out(build, "dockerfile-missing", f"there is no file {path}", hint)
    return build


def _dockerfile_path(build: Build) -> str | None:
    """From the repository's root; None in another repository."""
    if not isinstance(build.context, Folder):
        return None
    return posixpath.normpath(posixpath.join(build.context.path, build.dockerfile))


def _with_parents(builds: Sequence[Build]) -> list[Build]:
    """What stands on a build that is left out is left out too; so is what stands on itself."""
    known = {build.name: build for build in builds}
    children: dict[str, list[str]] = {}
    for build in builds:
        for parent in sorted(_parents(build)):
            children.setdefault(parent, []).append(build.name)
    gone = [*(name for name in children if name not in known), *(b.name for b in builds if b.left_out)]
    for parent in gone:  # which grows
        for name in children.get(parent, ()):
            if not known[name].left_out:
                known[name] = _orphaned(known[name], parent, parent in known)
                gone.append(name)
    standing = [build for build in known.values() if not build.left_out]
    for name in {build.name for build in standing} - set(_parents_first(standing)):
        message = "it stands on itself, by way of others"
        known[name] = _left_out(known[name], "parent-cycle", message, "take one of the named contexts out")
    return [known[build.name] for build in builds]


def _widened(builds: Sequence[Build]) -> list[Build]:
    """What others stand on is built for all the platforms that these are built for, as bake has it."""
    known = {build.name: build for build in builds}
    for name in reversed(_parents_first([build for build in builds if not build.left_out])):
        build = known[name]
        for parent in (known[each] for each in sorted(_parents(build))):
            more = [each for each in _platforms(build) if each not in _platforms(parent)]
            if more:
                message = f"it is built for {', '.join(more)} too, since {build.name} stands on it"
                remark = Remark(Weight.SETTLED, "platform-added", message, parent.place, "", parent.name)
                widened = replace(parent, platforms=(*_platforms(parent), *more))
                known[parent.name] = _remarked(widened, remark)
    return [known[build.name] for build in builds]


def _platforms(build: Build) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(Platform.parse(text)) for text in build.platforms)) or (DEFAULT_PLATFORM,)


def _parents_first(builds: Sequence[Build]) -> list[str]:
    """The names in an order in which each comes behind all that it stands on; what stands on itself is not in it."""
    children: dict[str, list[str]] = {build.name: [] for build in builds}
    waiting = {build.name: len(_parents(build)) for build in builds}
    for build in builds:
        for parent in _parents(build):
            children[parent].append(build.name)
    order = [name for name, count in waiting.items() if not count]
    for name in order:  # which grows
        for child in children[name]:
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    return order


def _parents(build: Build) -> set[str]:
    return {source.name for source in build.contexts.values() if isinstance(source, FromBuild)}


def _orphaned(build: Build, parent: str, is_known: bool) -> Build:
    if is_known:
        message = f"it stands on {parent}, which is left out"
        return _left_out(build, "parent-left-out", message, f"see to {parent} first")
    message = f"it stands on {parent}, which is not among what is built"
    return _left_out(build, "parent-unknown", message, "name another one")


# -- FROM another image of the same file


def _linked(build: Build, makers: Mapping[str, str], project: Project, dockerfiles: Dockerfiles) -> Build:
    """A FROM that names an image of this file stands on its artifact, not on what a registry has of it."""
    path = _dockerfile_path(build)
    if build.left_out or not makers or path is None:
        return build
    content = project.read(path) or b""
    contexts = dict(build.contexts)
    remarks = []
    for base in dockerfiles.bases(content, path, build.target, build.args, tuple(contexts)):
        maker = makers.get(base.reference)
        if maker is not None and maker != build.name:
            contexts[base.written] = FromBuild(maker)
            message = f"FROM {base.written} in {path} is the image of {maker}, so it stands on that artifact"
            remarks.append(Remark(Weight.SETTLED, "parent-linked", message, build.place, "", build.name))
    return replace(build, contexts=contexts, remarks=(*build.remarks, *remarks))


def _called(build: Build) -> list[str]:
    """The references of a build's image, as BuildKit writes them."""
    found = []
    for text in (*build.references, *(() if build.references else build.known_as)):
        try:
            found.append(str(Reference.parse(text)))
        except ValueError:
            continue  # told where its own artifact is written
    return found


def _common_host(builds: Sequence[Build]) -> str | None:
    """The registry's host, where all that are pushed name one and the same."""
    hosts = set()
    for build in builds:
        if not build.left_out and build.references:
            try:
                hosts.add(pushed(build.references).host)
            except ValueError:
                continue
    return hosts.pop() if len(hosts) == 1 else None


def _secret_names(builds: Sequence[Build]) -> dict[SecretFrom, str]:
    """Two that come from two places are two, however alike their names are."""
    secrets = list(dict.fromkeys(each for build in builds if not build.left_out for each in build.secrets.values()))
    return dict(zip(secrets, secret_names(each.name for each in secrets), strict=True))


# -- writing


@dataclass(frozen=True, slots=True)
class _Writer:
    """`names` are the artifacts' by those of the builds, `secrets` the logical ones by what they are; `host` is left
    out of image names: lian.ncl says it."""

    workspace: str
    names: Mapping[str, str]
    secrets: Mapping[SecretFrom, str]
    host: str | None

    def checked(self, build: Build, grammar: Grammar) -> Build:
        """The build with what is to be said of its image; left out if no directive may say what it says."""
        try:
            image = self._image(build)
        except ValueError as error:
            return _left_out(build, "image-invalid", f"the image's name cannot be read: {error}", "correct it")
        build = _remarked(build, *image.remarks(build))
        wrong = [text for text in build.platforms if not _is_platform(text)]
        if wrong:
            hint = "write it as linux/amd64 or linux/arm/v7"
            return _left_out(build, "platform-unsupported", f"{wrong[0]} is no platform of a directive", hint)
        document = {"workspace": self.workspace, "artifacts": {self.names[build.name]: self.document(build)}}
        for path, message in grammar.faults(document):
            said = f"{'.'.join(map(str, path[2:]))}: {message}"
            build = _left_out(build, "value-unsupported", said, "change it to what a directive takes")
        return build

    def carried(self, build: Build) -> Carried:
        """The artifact of a build that is not left out."""
        return Carried(build, self.names[build.name], self.document(build))

    def _image(self, build: Build) -> Pushed:
        if build.references:
            return pushed(build.references, self.host)
        return Pushed(f"{self.workspace}/{self.names[build.name]}", ("latest",), None)

    def document(self, build: Build) -> dict[str, Any]:
        """In the order that a person would write it in; what the contract fills in by itself is left out."""
        image = self._image(build)
        said: dict[str, Any] = {"image": image.image}
        if image.tags != ("latest",):
            said["tags"] = list(image.tags)
        said["context"] = _folder(build.context)
        if build.dockerfile != "Dockerfile":
            said["dockerfile"] = build.dockerfile
        if build.target is not None:
            said["target"] = build.target
        if (platforms := _platforms(build)) != (DEFAULT_PLATFORM,):
            said["platforms"] = list(platforms)
        contexts = {key: self._context(source) for key, source in build.contexts.items()}
        secrets = {key: {"name": self.secrets[each]} for key, each in build.secrets.items()}
        named = {"args": dict(build.args), "labels": dict(build.labels), "contexts": contexts, "secrets": secrets}
        return said | {key: value for key, value in named.items() if value}

    def _context(self, source: Source) -> dict[str, Any]:
        if isinstance(source, FromBuild):
            return {"artifact": self.names.get(source.name) or name_of(source.name, "image")}
        if isinstance(source, FromImage):
            return {"image": source.reference}
        return _folder(source)


def _folder(folder: Folder | GitFolder) -> dict[str, Any]:
    if isinstance(folder, Folder):
        return {"path": folder.path}
    said = {"git": folder.url}
    if folder.rev != "HEAD":
        said["rev"] = folder.rev
    return said if folder.path == "." else said | {"path": folder.path}


def _is_platform(text: str) -> bool:
    try:
        Platform.parse(text)
    except ValueError:
        return False
    return True
