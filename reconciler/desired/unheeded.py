"""What a commit may say and lian does not heed yet: a note where leaving it out changes nothing, else a hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.credential import SourceKind
from reconciler.model.fleet import Author, ComputeProvider, RegistryProvider
from reconciler.model.problem import Problem
from reconciler.model.wording import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.desired.places import DirectiveText
    from reconciler.model.fleet import RegistrySettings

_OF_A_FLEET = ("events",)
_OF_A_DIRECTIVE = ("events",)
_OF_A_RUNNER = ("labels",)
_THERE = {ComputeProvider.LOCAL, ComputeProvider.DOCKER_LOCAL, ComputeProvider.SSH}
"""Compute that can be rented."""
_MAX_FILES = 3
"""Directives that get a line each; where there are more, each setting gets one."""


def compute(value: Mapping[str, Any], text: DirectiveText) -> Problem | None:
    """The hold for a document that asks for compute which is not there yet; `text` is the document's file."""
    provider = value["compute"]["provider"] if "compute" in value else ComputeProvider.LOCAL
    if provider in _THERE:
        return None
    message = f"compute provider {provider} is not there yet"
    hint = "set compute = { provider = 'Local }, 'DockerLocal, or 'Ssh with its hosts, or leave it out"
    return Problem("compute-unsupported", message, hint=hint).at(text.field(("compute",)))


def credentials(registry: RegistrySettings, text: DirectiveText) -> Problem | None:
    """The hold for all artifacts on a registry whose settings, in this document, name a login or a key that lian does
    not read, or that this document may not name.

    A directive's author may be less trusted than the fleet's owner. He may say where a login lies, and it goes to the
    host that he names with it (which the registry room lets pass only with the operator's leave); he may not have lian
    run a command of his choice.
    """
    for name, ref in (("credentials", registry.credentials), ("client_key", registry.client_key)):
        place = text.field(("registry", name))
        if ref is None:
            continue
        if registry.provider is RegistryProvider.OCI_LAYOUT:
            message = f"{registry.host} has `{name}`, and a folder asks for none"
            return Problem("credentials-unsupported", message, hint="remove them").at(place)
        if ref.kind is SourceKind.VAULT:
            message = f"`{name}` of the registry {registry.host} lie in a vault, and no vault can be read yet"
            hint = "use source 'Env, 'File or 'Command; a vault's own command line makes a 'Command"
            return Problem("credentials-unsupported", message, hint=hint).at(place)
        if registry.by is Author.DIRECTIVE and ref.kind is SourceKind.COMMAND:
            message = f"`{name}` of the registry {registry.host} come from a command, which no directive may name"
            hint = "name the command in lian.ncl, or let Docker's configuration name a credential helper"
            return Problem("credentials-forbidden", message, hint=hint).at(place)
    return None


def mirrors(registry: RegistrySettings, text: DirectiveText) -> Problem | None:
    """The hold for a directive that would decide where everyone's base images are read."""
    if not registry.mirrors:
        return None
    message = "`mirrors` stand in a directive, and are the fleet's"
    return Problem("mirrors-misplaced", message, hint="move them to `registry` in lian.ncl").at(
        text.field(("registry", "mirrors"))
    )


def cache_prefix(value: Mapping[str, Any], text: DirectiveText) -> Problem | None:
    """The hold for a directive that would decide where CI's caches lie: where a session may write, say (ADR 052)."""
    if "cache_prefix" not in value.get("registry", {}):
        return None
    message = "`cache_prefix` stands in a directive, and is the fleet's"
    return Problem("cache-prefix-misplaced", message, hint="move it to `registry` in lian.ncl").at(
        text.field(("registry", "cache_prefix"))
    )


def session(value: Mapping[str, Any], text: DirectiveText) -> Problem | None:
    """The hold for a document whose cache policy is a session's: a pass is CI, and never reads what an actor wrote
    (ADR 052)."""
    if value.get("cache", {}).get("build_mode", "Ci") == "Ci":
        return None
    message = "the cache policy is a session's, and a pass builds as CI: it never reads what an actor's session wrote"
    return Problem("cache-session", message, hint="leave `build_mode` and `actor` out of `cache`").at(
        text.field(("cache", "build_mode"))
    )


@dataclass(slots=True)
class Unheeded:
    """Collects settings without effect, and words them in few lines however many files there are."""

    fleet: tuple[str, Sequence[str]] | None = None
    directives: dict[str, Sequence[str]] = field(default_factory=dict)

    def take_fleet(self, path: str, value: Mapping[str, Any]) -> None:
        """Look through the fleet's settings, as evaluated."""
        self.fleet = (path, [name for name in _OF_A_FLEET if value.get(name)])

    def take_directive(self, path: str, value: Mapping[str, Any]) -> None:
        """Look through a directive, as evaluated."""
        found = [name for name in _OF_A_DIRECTIVE if value.get(name)]
        artifacts = value["artifacts"].values()
        if any(one["rebuild_on_rotate"] for one in artifacts):
            found.append("rebuild_on_rotate")
        runners = [one["runner"] for one in (value, *artifacts) if "runner" in one]
        found += [f"runner.{name}" for name in _OF_A_RUNNER if any(runner.get(name) for runner in runners)]
        if found:
            self.directives[path] = found

    def notes(self) -> Iterator[str]:
        """Sentences for people."""
        if self.fleet and self.fleet[1]:
            yield _note(*self.fleet)
        if len(self.directives) <= _MAX_FILES:
            yield from (_note(path, names) for path, names in sorted(self.directives.items()))
            return
        files: dict[str, list[str]] = {}
        for path, names in sorted(self.directives.items()):
            for name in names:
                files.setdefault(name, []).append(path)
        for name, paths in sorted(files.items()):
            yield f"{some(paths, 1)}: {name} has no effect yet"


def _note(path: str, names: Sequence[str]) -> str:
    return f"{path}: {', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect yet"
