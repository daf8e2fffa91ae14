"""Evaluated documents -> model: the fleet's settings, and the artifacts of one directive file.

The documents have passed their contract and its JSON Schema twin; what is checked here is what those cannot say.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.desired import unheeded
from reconciler.model import duration
from reconciler.model.access import Access, ActorAccess
from reconciler.model.artifact import Artifact, BaseImage, Folder, GitFolder, ParentImage
from reconciler.model.cache import CacheMode, CachePolicy
from reconciler.model.credential import Bindings, SourceKind, SourceRef
from reconciler.model.fleet import (
    CACHE_PREFIX,
    Author,
    ComputeProvider,
    ComputeSettings,
    Fleet,
    RegistryProvider,
    RegistrySettings,
)
from reconciler.model.git_url import GitAccess
from reconciler.model.host import Host
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform
from reconciler.model.policy import DriftPolicy, Policy, PrunePolicy, Response, SignPolicy
from reconciler.model.problem import LianError, Problem, redact
from reconciler.model.reference import MAX_NAME, Reference, Repository
from reconciler.model.tier import RunnerOverride
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.desired.places import DirectiveText
    from reconciler.model.artifact import NamedContext
    from reconciler.model.tier import Ladder

_LAYOUT = "oci-layout:"
_URL = re.compile(r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/?")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Declared:
    """What one directive file declares; `wrong` are artifacts that are not in `artifacts`, and why."""

    artifacts: tuple[Artifact, ...] = ()
    holds: tuple[Problem, ...] = ()
    """Why none of them can be decided, although the file is right."""
    registry: RegistrySettings | None = None
    login: Problem | None = None
    """Why nothing can be decided of any artifact on `registry`, also of other files."""
    wrong: Mapping[ArtifactName, Problem] = field(default_factory=dict)


def registry_flag(text: str) -> RegistrySettings:
    """`oci-layout:PATH` (from the current folder) or `http(s)://HOST[:PORT]`, as `--registry` takes it.

    Raises LianError `registry-invalid`.
    """
    if text.startswith(_LAYOUT) and text != _LAYOUT:
        path = _absolute("", text.removeprefix(_LAYOUT))
        return RegistrySettings(RegistryProvider.OCI_LAYOUT, path=path, by=Author.OPERATOR)
    if _URL.fullmatch(text):
        return RegistrySettings(RegistryProvider.DISTRIBUTION, url=text.rstrip("/"), by=Author.OPERATOR)
    hint = "write oci-layout:PATH or http(s)://HOST[:PORT]"
    raise LianError(Problem("registry-invalid", f"{redact(text)!r} does not name a registry", hint=hint))


def read_fleet(value: Mapping[str, Any], home: Path, override: RegistrySettings | None) -> Fleet:
    """The settings of an evaluated lian.ncl, defaults filled in. `home` is where relative paths start.

    `override` takes the place of all that is said of registries and logins, those of git servers too: so an operator
    looks at settings that nobody has reviewed.
    """
    return Fleet(
        name=value["fleet"],
        registry=override or _registry(value["registry"], home),
        compute=_compute(value["compute"], "lian.ncl"),
        directives=tuple(value["directives"]),
        jobs=value.get("jobs"),
        builder=value.get("builder"),
        source_date_epoch=int(value["source_date_epoch"]),
        policy=_policy(value["policy"], value["immutable_tags"]),
        cache_prefix=value["registry"].get("cache_prefix", CACHE_PREFIX),
        access=_access(value["policy"]["access"]),
        cache=_cache(value["cache"]),
        secrets=_bindings(value["secrets"]),
        git=GitAccess(heeded=False) if override else _git_access(value["git"]),
    )


def _git_access(value: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> GitAccess:
    def bound(sources: Mapping[str, Mapping[str, Any]], port: int) -> dict[str, SourceRef]:
        refs = {
            place: SourceRef(SourceKind(one["source"]), one["name"], one.get("user")) for place, one in sources.items()
        }
        return {_place(place, port): ref for place, ref in refs.items()}

    return GitAccess(bound(value["credentials"], 443), bound(value["keys"], 22))


def _place(written: str, port: int) -> str:
    """As `GitUrl.below` compares it: the host in lower case, without the port that is usual."""
    host, slash, path = written.partition("/")
    return f"{host.lower().removesuffix(f':{port}')}{slash}{path}"


def _compute(value: Mapping[str, Any], file: str | None = None) -> ComputeSettings:
    """Raises LianError for what the contract lets pass and no host can be: a port beyond all ports."""
    try:
        hosts = tuple(Host.parse(text) for text in value.get("hosts", ()))
    except ValueError as error:
        hint = "a port is a number from 1 to 65535"
        raise LianError(Problem("host-invalid", str(error), file=file, hint=hint)) from error
    return ComputeSettings(ComputeProvider(value["provider"]), value.get("url"), value.get("image"), hosts)


def _policy(value: Mapping[str, Any], immutable_tags: Sequence[str]) -> Policy:
    """The owner's rules; the contract has filled in every field but `sign`."""
    prune = value["prune"]
    return Policy(
        drift=DriftPolicy(**{kind: Response(response.lower()) for kind, response in value["drift"].items()}),
        immutable_tags=tuple(immutable_tags),
        trust=tuple(frozenset(group) for group in value["trust"]),
        prune=PrunePolicy(
            revisions=tuple(prune["revisions"]),
            keep_tags=tuple(prune["keep_tags"]),
            keep_last=int(prune["keep_last"]),
            min_age=duration.seconds(prune["min_age"]),
        ),
        sign=_sign(value["sign"]) if "sign" in value else None,
        verify_keys=tuple(value["verify"]["keys"]),
    )


def _access(value: Mapping[str, Any]) -> Access:
    """An actor who names no account has the one of his own name."""
    actors = {
        actor: ActorAccess(
            tuple(each.get("accounts", [actor])), tuple(each["workspaces"]) if "workspaces" in each else None
        )
        for actor, each in value["actors"].items()
    }
    return Access(tuple(value["ci"]), actors, tuple(value["admins"]), tuple(value["readers"]))


def _bindings(value: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Bindings:
    return Bindings(
        {
            group: {name: SourceRef(SourceKind(one["source"]), one["name"]) for name, one in bound.items()}
            for group, bound in value.items()
        }
    )


def _cache(value: Mapping[str, Any]) -> CachePolicy:
    return CachePolicy(CacheMode(value["mode"].lower()), value["mounts"])


def _sign(value: Mapping[str, Any]) -> SignPolicy:
    key = SourceRef(SourceKind(value["key"]["source"]), value["key"]["name"])
    scanner = Reference.parse(value["scanner"]) if value["sbom"] else None
    return SignPolicy(key, value["provenance"], scanner)


class DirectiveReader:
    """Reads directive files under one fleet's settings."""

    def __init__(
        self, fleet: Fleet, home: Path, override: RegistrySettings | None, ladder: Ladder | None = None
    ) -> None:
        """`ladder` holds the tiers that a runner may be; without one nothing names a tier."""
        self._fleet = fleet
        self._ladder = ladder
        self._home = home
        self._override = override

    def read(self, text: DirectiveText, value: Mapping[str, Any]) -> Declared:
        """The artifacts of one evaluated file; `text` says where they are written.

        A directive's own registry and runner beat lian.ncl; `--registry` beats both.
        """
        own = None
        if not self._override and "registry" in value:
            own = _registry(value["registry"], self._home, Author.DIRECTIVE)
        registry = own or self._fleet.registry
        artifacts: list[Artifact] = []
        wrongly: dict[ArtifactName, Problem] = {}
        for key, declared in sorted(value["artifacts"].items()):
            name = ArtifactName(value["workspace"], key)
            try:
                artifacts.append(self._artifact(name, declared, value, registry, text))
            except _Wrong as wrong:
                at = text.field(wrong.field if wrong.of_file else ("artifacts", key, *wrong.field))
                problem = Problem("directive-invalid", f"{name}: {wrong}", artifact=str(name), hint=wrong.hint)
                wrongly[name] = problem.at(at)
        login = unheeded.credentials(own, text) if own else None
        return Declared(tuple(artifacts), self._holds(value, own, text), own, login, wrongly)

    def _holds(
        self, value: Mapping[str, Any], own: RegistrySettings | None, text: DirectiveText
    ) -> tuple[Problem, ...]:
        if own and (misplaced := unheeded.mirrors(own, text)):
            return (misplaced,)
        for misfit in (unheeded.cache_prefix, unheeded.compute, unheeded.session):
            if problem := misfit(value, text):
                return (problem,)
        if "compute" not in value:
            return ()
        place = text.field(("compute",))
        try:
            compute = _compute(value["compute"])
        except LianError as error:
            return tuple(problem.at(place) for problem in error.problems)
        if compute.agrees_with(self._fleet.compute):
            return ()
        asked, has = compute.provider, self._fleet.compute.provider
        message = f"the file asks for compute {asked}, the fleet has {has}"
        if asked == has:
            message = f"the file says something else of compute {asked} than lian.ncl"
        hint = "set it in lian.ncl: a fleet has one compute so far"
        return (Problem("compute-unsupported", message, hint=hint).at(place),)

    def _artifact(
        self,
        name: ArtifactName,
        one: Mapping[str, Any],
        file: Mapping[str, Any],
        registry: RegistrySettings,
        text: DirectiveText,
    ) -> Artifact:
        return Artifact(
            name=name,
            image=_image(one["image"], registry),
            place=text.artifact(name.artifact),
            tags=_shared(tuple(one["tags"])),
            platforms=_platforms(tuple(one["platforms"])),
            context=_folder(one["context"]),
            dockerfile=one["dockerfile"],
            target=one.get("target"),
            args=one["args"] or _NOTHING,
            labels=one["labels"] or _NOTHING,
            contexts={key: _context(key, named, name.workspace) for key, named in one["contexts"].items()} or _NOTHING,
            secrets={key: secret["name"] for key, secret in one["secrets"].items()} or _NOTHING,
            checks=tuple(one["checks"]),
            language=one.get("language"),
            max_age=duration.seconds(one["max_age"]) if "max_age" in one else None,
            os_epoch=one.get("os_epoch"),
            source_date_epoch=int(one.get("source_date_epoch", self._fleet.source_date_epoch)),
            runner=self._runner(one.get("runner"), file.get("runner")),
            cache=self._policy(file.get("cache"), one.get("cache")),
            registry=_host(registry),
        )

    def _runner(self, own: Mapping[str, Any] | None, of_file: Mapping[str, Any] | None) -> RunnerOverride | None:
        """The artifact's wishes, then the file's, field by field."""
        merged = {**(of_file or {}), **(own or {})}
        wishes = RunnerOverride(*(merged.get(name) for name in ("cpu", "memory_gb", "time_budget", "tier")))
        if wishes.tier and self._ladder and self._ladder.named(wishes.tier) is None:
            known = ", ".join(tier.name for tier in self._ladder.tiers)
            message = f"there is no tier {wishes.tier}; the ladder has {known}"
            hint = meant(wishes.tier, (tier.name for tier in self._ladder.tiers), "choose one of these")
            raise _Wrong(message, "runner", "tier", of_file="tier" not in (own or {}), hint=hint)
        return None if wishes == RunnerOverride() else wishes

    def _policy(self, of_file: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> CachePolicy:
        """The artifact's wishes, then the file's, then the fleet's."""
        policy = _cache(of_file) if of_file is not None else self._fleet.cache
        return _narrowed(policy, own.get("mode"), own.get("mounts")) if own else policy


@lru_cache(maxsize=64)
def _narrowed(policy: CachePolicy, mode: str | None, mounts: bool | None) -> CachePolicy:
    return CachePolicy(
        policy.mode if mode is None else CacheMode(mode.lower()), policy.mounts if mounts is None else mounts
    )


class _Wrong(ValueError):
    """A value of an artifact is wrong; `field` is its path below the artifact, or `of_file` in the file."""

    def __init__(self, message: str, *field: str, of_file: bool = False, hint: str | None = None) -> None:
        super().__init__(message)
        self.field, self.of_file, self.hint = field, of_file, hint


def _registry(value: Mapping[str, Any], home: Path, by: Author = Author.OWNER) -> RegistrySettings:
    path = value.get("path")
    return RegistrySettings(
        provider=RegistryProvider(value["provider"]),
        path=_absolute(str(home), path) if path is not None else None,
        url=value["url"].rstrip("/") if "url" in value else None,
        images_prefix=value.get("images_prefix", ""),
        ca=value.get("ca"),
        insecure=bool(value.get("insecure", False)),
        client_cert=value.get("client_cert"),
        client_key=_source(value.get("client_key")),
        credentials=_source(value.get("credentials")),
        mirrors=tuple(sorted((host, tuple(urls)) for host, urls in value.get("mirrors", {}).items())),
        by=by,
    )


def _source(value: Mapping[str, Any] | None) -> SourceRef | None:
    return SourceRef(SourceKind(value["source"]), value["name"], value.get("user")) if value else None


def _absolute(home: str, path: str) -> str:
    """Links stay as they are written: what a person typed is what messages and `lian images` show."""
    return os.path.abspath(os.path.join(home, path))  # noqa: PTH100, PTH118


def _image(text: str, registry: RegistrySettings) -> Repository:
    try:
        image = Repository.parse(text, "")
    except ValueError as error:
        raise _Wrong(str(error), "image") from error
    if image.host:
        return image
    path = "/".join(part for part in (registry.images_prefix.strip("/"), image.path) if part)
    if len(path) > MAX_NAME:
        message = f"a repository path has at most {MAX_NAME} characters, with the prefix this one has {len(path)}"
        raise _Wrong(message, "image")
    return Repository(_host(registry), path)


@lru_cache(maxsize=256)
def _host(registry: RegistrySettings) -> str:
    return registry.host


@lru_cache(maxsize=1024)
def _shared(values: tuple[str, ...]) -> tuple[str, ...]:
    """One object for equal tuples: thousands of artifacts have the same tags."""
    return values


@lru_cache(maxsize=1024)
def _platforms(texts: tuple[str, ...]) -> tuple[Platform, ...]:
    """In normal form, each once: `linux/arm64` and `linux/arm64/v8` are the same."""
    try:
        return tuple(dict.fromkeys(Platform.parse(text) for text in texts))
    except ValueError as error:
        raise _Wrong(str(error), "platforms") from error


def _folder(value: Mapping[str, Any]) -> Folder | GitFolder:
    if "git" in value:
        return GitFolder(value["git"], value.get("rev", "HEAD"), value.get("path", "."))
    return Folder(value["path"], tuple(value.get("include", ())))


def _context(key: str, value: Mapping[str, Any], workspace: str) -> NamedContext:
    try:
        if "artifact" in value:
            return ParentImage(ArtifactName.parse(value["artifact"], workspace))
        if "image" in value:
            return BaseImage(Reference.parse(value["image"]))
    except ValueError as error:
        raise _Wrong(str(error), "contexts", key) from error
    return _folder(value)
