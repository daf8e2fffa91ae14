"""Namespaces of the cache and the repositories they are (design section 6, ADR 051).

A namespace is CI's for a workspace, or one actor's for a workspace. Each is a folder of repositories of its own, so
that a registry can tell them apart: `ci/<workspace>/<artifact>` and `dev/<actor>-<workspace>/<artifact>`, where dashes
inside of names are doubled and the lone one separates. Harbor gives rights for whole projects only, which are the first
part of a path; there the parts are joined by dots, which no name holds: `cache.dev.<actor>.<workspace>/<artifact>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering

from reconciler.model.name import is_name
from reconciler.model.reference import MAX_NAME

CI, DEV = "ci", "dev"
_LONE_DASH = re.compile(r"(?<!-)-(?!-)")


@total_ordering
@dataclass(frozen=True, slots=True)
class Namespace:
    """CI's cache of a workspace, or with an `actor` that actor's. Raises ValueError for what is no name. In order, CI's
    comes before those of the workspace's actors."""

    workspace: str
    actor: str | None = None

    def __post_init__(self) -> None:
        _name(self.workspace, "a workspace")
        if self.actor is not None:
            _name(self.actor, "an actor")

    def __lt__(self, other: Namespace) -> bool:
        return (self.workspace, self.actor or "") < (other.workspace, other.actor or "")

    @property
    def is_ci(self) -> bool:
        """True for CI's own."""
        return self.actor is None

    def __str__(self) -> str:
        return f"{CI}/{self.workspace}" if self.actor is None else f"{DEV}/{join(self.actor, self.workspace)}"


def join(actor: str, workspace: str) -> str:
    """One part of a path for the pair: injective, because a lone dash stands nowhere else."""
    return f"{actor.replace('-', '--')}-{workspace.replace('-', '--')}"


def split(joined: str) -> tuple[str, str] | None:
    """The inverse of `join`; None for what it never returns."""
    parts = _LONE_DASH.split(joined)
    if len(parts) != 2:
        return None
    actor, workspace = (part.replace("--", "-") for part in parts)
    pair = is_name(actor) and is_name(workspace) and join(actor, workspace) == joined
    return (actor, workspace) if pair else None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where namespaces lie in a registry: below `prefix` (empty: at its root), as folders or as projects."""

    prefix: str
    projects: bool = False

    def folder(self, namespace: Namespace) -> str:
        """What all repositories of the namespace have in front of a slash, and no other repository has.

        Raises ValueError where the registry has no such path.
        """
        return _folder(self.prefix, self.projects, namespace)

    def repository(self, namespace: Namespace, artifact: str) -> str:
        """The path of the repository that holds an artifact's cache. Raises ValueError if there can be none: a name is
        wrong, or the path is longer than a registry takes."""
        path = f"{self.folder(namespace)}/{_name(artifact, 'an artifact')}"
        if len(path) > MAX_NAME:
            raise ValueError(f"the cache's path would have {len(path)} characters, and {MAX_NAME} are allowed")
        return path

    def parse(self, path: str) -> tuple[Namespace, str] | None:
        """The namespace and the artifact of a repository; None for one that is no cache's. The inverse of
        `repository`."""
        head, slash, artifact = path.rpartition("/")
        namespace = self.namespace(head)
        fits = slash and is_name(artifact) and len(path) <= MAX_NAME
        return (namespace, artifact) if fits and namespace else None

    def namespace(self, folder: str) -> Namespace | None:
        """The inverse of `folder`."""
        lead = f"{self.prefix}{self.joint}" if self.prefix else ""
        if not folder.startswith(lead):
            return None
        try:
            match folder.removeprefix(lead).split(self.joint):
                case ["ci", workspace]:
                    found = Namespace(workspace)
                case ["dev", actor, workspace] if self.projects:
                    found = Namespace(workspace, actor)
                case ["dev", joined] if not self.projects and (pair := split(joined)):
                    found = Namespace(pair[1], pair[0])
                case _:
                    return None
            return found if self.folder(found) == folder else None
        except ValueError:
            return None

    def reserves(self, path: str) -> bool:
        """True for a path that no image may have: it lies where caches do."""
        return any(f"{path}/".startswith(f"{root}{end}") for root in self.roots for end in {self.joint, "/"})

    def meets(self, sessions: Layout) -> bool:
        """True if the images of sessions, in this layout, may lie where caches do, or below, or caches below them:
        whoever has a session could then write what CI reads."""
        own, theirs = self.joint, sessions.joint
        return any(
            one == other or one.startswith(f"{other}{theirs}") or other.startswith(f"{one}{own}")
            for one in self.roots
            for other in sessions.roots
            if other.endswith(DEV)
        )

    @property
    def roots(self) -> tuple[str, str]:
        """What all of CI's folders, and all of actors', begin with, less what joins them to the rest."""
        lead = f"{self.prefix}{self.joint}" if self.prefix else ""
        return f"{lead}{CI}", f"{lead}{DEV}"

    @property
    def joint(self) -> str:
        """What stands between the parts of a folder."""
        return "." if self.projects else "/"


@lru_cache(maxsize=4096)
def _folder(prefix: str, projects: bool, namespace: Namespace) -> str:
    folder = _project(prefix, namespace) if projects else "/".join(filter(None, (prefix, str(namespace))))
    if len(folder) > MAX_NAME - len("/a"):
        raise ValueError(f"the cache's folder would have {len(folder)} characters; {MAX_NAME} with a name below it")
    return folder


def _project(prefix: str, namespace: Namespace) -> str:
    kind = [CI] if namespace.actor is None else [DEV, namespace.actor]
    parts = [*filter(None, (prefix,)), *kind, namespace.workspace]
    if "/" in prefix:
        raise ValueError(f"the prefix {prefix!r} has several parts, and a project has one")
    if doubled := next((part for part in parts if "--" in part or "__" in part), None):
        raise ValueError(f"{doubled!r} has two signs in a row, which no project's name may have")
    return ".".join(parts)


def _name(text: str, what: str) -> str:
    if not is_name(text):
        raise ValueError(f"not {what}'s name: {text[:140]!r}; 1 to 63 of a-z, 0-9 and inner dashes")
    return text
