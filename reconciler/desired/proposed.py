"""What somebody proposes to have asked of others: registries described anew, hosts that images are to be pushed to, and
other git repositories. In a preview nothing is asked on a stranger's word that a login may be bound to, and no host is
called for what is to be built (ADR 067)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.git_url import GitUrl
from reconciler.model.problem import Next, Problem
from reconciler.model.reference import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.desired.narrowing import Said
    from reconciler.model.git_url import GitAccess

_REGISTRY_HINT = "look at it with care: once this is merged, builds are pushed there"
_GIT_HINT = "look at it with care: once this is merged, images are built from it"


@dataclass(frozen=True, slots=True)
class GitUse:
    """How a directive uses another repository; `dockerfile` is empty for a named context."""

    url: str
    rev: str
    path: str
    dockerfile: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the directives of two sides say; `base` is what the first is called."""

    base: str
    before: Said
    after: Said

    def registries(self) -> Iterator[tuple[str, Problem]]:
        """Directive file -> why its registry is not asked: none in `base` describes one like it."""
        known = {canonical(value["registry"]) for value in self.before.values() if value and "registry" in value}
        for path, value in self.after.items():
            if value and "registry" in value and canonical(value["registry"]) not in known:
                message = f"{path} describes a registry as nothing in {self.base} does, so it is not asked yet"
                yield path, Problem("registry-proposed", message, path, hint=_REGISTRY_HINT, next=Next.HOLD)

    def hosts(self) -> Iterator[tuple[str, Problem]]:
        """Host that an image names -> why it is not asked: no image of `base` names it, and no registry is there that a
        directive of `base` describes. The fleet's own registry is not known here."""
        for host in sorted(_image_hosts(self.after) - _image_hosts(self.before) - set(_registry_hosts(self.before))):
            message = f"the registry {host} is named by nothing in {self.base}, so it is not asked yet"
            yield host, Problem("registry-proposed", message, hint=_REGISTRY_HINT, next=Next.HOLD)

    def repositories(
        self, access: GitAccess, moved: Callable[[str, str], bool]
    ) -> Iterator[tuple[tuple[str, str], Problem]]:
        """URL and rev -> why the repository is not asked: no git context of `base` names it, or a login may be shown to
        its server and something else of it would be read than `base` does: another rev, another folder, another
        Dockerfile, or another commit, where `moved` says that a lock pins one."""
        known = frozenset(_git_uses(self.before))
        urls = {use.url for use in known}
        for use in _git_uses(self.after):
            if use.url not in urls:
                why = f"the repository {use.url} is named by no git context of {self.base}"
            elif _may_log_in(use.url, access) and (use not in known or moved(use.url, use.rev)):
                why = f"of the repository {use.url}, whose login is the fleet's, {self.base} reads something else"
            else:
                continue
            yield (
                (use.url, use.rev),
                Problem("git-proposed", f"{why}, so it is not asked yet", hint=_GIT_HINT, next=Next.HOLD),
            )


def _image_hosts(said: Said) -> set[str]:
    firsts = {
        first
        for value in said.values()
        for one in (value["artifacts"].values() if value else ())
        for first, slash, _ in (one["image"].partition("/"),)
        if slash
    }
    return {host for first in firsts if (host := _host(first))}


def _host(first: str) -> str:
    """The host that an image's first part is; empty for none, and for one that is refused anyway."""
    try:
        return Repository.parse(f"{first}/image", "").host
    except ValueError:
        return ""


def _registry_hosts(said: Said) -> Iterator[str]:
    for value in said.values():
        if value and "url" in value.get("registry", {}):
            yield RegistrySettings(RegistryProvider(value["registry"]["provider"]), url=value["registry"]["url"]).host


def _git_uses(said: Said) -> Iterator[GitUse]:
    for value in said.values():
        for one in value["artifacts"].values() if value else ():
            yield from _uses(one)


def _uses(artifact: Mapping[str, Any]) -> Iterator[GitUse]:
    if "git" in artifact["context"]:
        yield _use(artifact["context"], artifact["dockerfile"])
    yield from (_use(context) for context in artifact["contexts"].values() if "git" in context)


def _use(context: Mapping[str, Any], dockerfile: str = "") -> GitUse:
    return GitUse(context["git"], context.get("rev", "HEAD"), context.get("path", "."), dockerfile)


def _may_log_in(url: str, access: GitAccess) -> bool:
    """Whether a login is bound to the repository; by ssh the agent's keys may be shown to any."""
    try:
        parsed = GitUrl.parse(url)
    except ValueError:
        return False  # it is refused anyway
    return parsed.by_ssh or access.of(parsed) is not None
