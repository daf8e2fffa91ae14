"""What a commit may say and lian does not heed yet: a note where leaving it out changes nothing, else a hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.fleet import ComputeProvider, RegistryProvider
from reconciler.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.desired.places import DirectiveText
    from reconciler.model.fleet import RegistrySettings

LOCK = "lian.lock"
_OF_A_FLEET = ("events", "cache", "tiers", "policy", "secrets", "immutable_tags")
_OF_A_DIRECTIVE = ("events", "cache")
_OF_A_RUNNER = ("tier", "labels")
_MAX_FILES = 3
"""Directives that get a line each; where there are more, each setting gets one."""


def compute(value: Mapping[str, Any], text: DirectiveText) -> Problem | None:
    """The hold for a document that asks for compute which is not there yet; `text` is the document's file."""
    provider = value["compute"]["provider"] if "compute" in value else ComputeProvider.LOCAL
    if provider == ComputeProvider.LOCAL:
        return None
    message = f"compute provider {provider} is not there yet"
    hint = "set compute = { provider = 'Local }, or leave it out"
    return Problem("compute-unsupported", message, hint=hint).at(text.field(("compute",)))


def credentials(value: Mapping[str, Any], registry: RegistrySettings, text: DirectiveText) -> Problem | None:
    """The hold for all artifacts on a registry whose settings, in this document, say where its login is."""
    if "credentials" not in value.get("registry", {}):
        return None
    message = f"the registry {registry.host} has `credentials`, which lian does not read yet"
    hint = f"remove them, and run `docker login {registry.host}` or let DOCKER_CONFIG name the folder of a config.json"
    if registry.provider is RegistryProvider.OCI_LAYOUT:
        hint = "remove them: a folder asks for no login"
    problem = Problem("credentials-unsupported", message, hint=hint)
    return problem.at(text.field(("registry", "credentials")))


@dataclass(slots=True)
class Unheeded:
    """Collects settings without effect, and words them in few lines however many files there are."""

    fleet: tuple[str, Sequence[str]] | None = None
    directives: dict[str, Sequence[str]] = field(default_factory=dict)

    def take_fleet(self, path: str, value: Mapping[str, Any]) -> None:
        """Look through the fleet's settings, as evaluated."""
        found = [name for name in _OF_A_FLEET if value.get(name)]
        self.fleet = (path, [*found, *_of_registry(value)])

    def take_directive(self, path: str, value: Mapping[str, Any]) -> None:
        """Look through a directive, as evaluated."""
        found = [name for name in _OF_A_DIRECTIVE if value.get(name)] + _of_registry(value)
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
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            yield f"{paths[0]}{more}: {name} has no effect yet"


def _of_registry(value: Mapping[str, Any]) -> list[str]:
    return ["registry.cache_prefix"] if value.get("registry", {}).get("cache_prefix") else []


def _note(path: str, names: Sequence[str]) -> str:
    return f"{path}: {', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect yet"
