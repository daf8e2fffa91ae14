"""What each account may do in each namespace: the rules of `rules`, said to a registry (design section 6, ADR 053).

A registry that enforces these makes a session's credential unable to write `ci/`, whatever lian or anybody does with
it, and CI's unable to read `dev/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.cache import rules
from reconciler.cache.namespace import Namespace
from reconciler.model.cache import Ci, Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.cache.namespace import Layout
    from reconciler.model.access import Access
    from reconciler.model.cache import BuildMode


class Right(StrEnum):
    """What can be done with a repository."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


READS, WRITES = frozenset({Right.PULL}), frozenset(Right)


@dataclass(frozen=True, slots=True)
class Territory:
    """Repositories that are given away together: all below `folder` or, if `exact`, the one of that path. `rights` has
    every account that may do anything there."""

    folder: str
    rights: tuple[tuple[str, frozenset[Right]], ...]
    exact: bool = False

    def of(self, account: str) -> frozenset[Right]:
        """What the account may do there."""
        return dict(self.rights).get(account, frozenset())


@dataclass(frozen=True, slots=True)
class Ground:
    """What rights are given on: where caches and session images lie, the workspaces and their product repositories."""

    caches: Layout
    sessions: Layout
    """Where the images of sessions lie, each actor's and workspace's in a `dev` namespace."""
    products: tuple[tuple[str, str], ...]
    """(workspace, path of a repository of its images), in any order."""
    workspaces: tuple[str, ...]


def territories(access: Access, ground: Ground) -> tuple[Territory, ...]:
    """All of them, in the order of their folders: the same for the same fleet, whatever the order it is told in.

    Raises ValueError where the registry has no path for a namespace, or a session's images would lie among caches.
    """
    if ground.caches.meets(ground.sessions):
        raise ValueError("the images of sessions and the caches would lie in one another's folders")
    builders = list(_builders(access))
    found = [_caches(workspace, builders, ground, None) for workspace in ground.workspaces]
    for mode, _, workspaces in builders:
        if isinstance(mode, Session):
            for workspace in ground.workspaces if workspaces is None else workspaces:
                found.append(_caches(workspace, builders, ground, mode.actor))
                found.append(_session_images(workspace, builders, ground, mode.actor))
    found += _products(builders, ground, access.readers)
    return tuple(sorted(found, key=lambda each: (each.folder, each.exact)))


_Builder = tuple["BuildMode", tuple[str, ...], "tuple[str, ...] | None"]


def _builders(access: Access) -> Iterator[_Builder]:
    yield Ci(), access.ci, None
    for actor, each in sorted(access.actors.items()):
        yield Session(actor), each.accounts, each.workspaces


def _caches(workspace: str, builders: Iterable[_Builder], ground: Ground, actor: str | None) -> Territory:
    namespace = Namespace(workspace, actor)
    rights: dict[str, frozenset[Right]] = {}
    for mode, accounts, workspaces in builders:
        if workspaces is not None and workspace not in workspaces:
            continue
        given: frozenset[Right] = frozenset()
        if rules.may_read(mode, workspace, namespace):
            given |= READS
        if rules.may_write(mode, workspace, namespace):
            given |= WRITES
        _give(rights, accounts, given)
    return _territory(ground.caches.folder(namespace), rights)


def _session_images(workspace: str, builders: Iterable[_Builder], ground: Ground, actor: str) -> Territory:
    rights: dict[str, frozenset[Right]] = {}
    for mode, accounts, _ in builders:
        _give(rights, accounts, WRITES if mode == Session(actor) else frozenset())
    return _territory(ground.sessions.folder(Namespace(workspace, actor)), rights)


def _products(builders: Iterable[_Builder], ground: Ground, readers: Iterable[str]) -> Iterator[Territory]:
    """CI writes the products; the actors of a workspace read them, and so does what runs them."""
    owners: dict[str, set[str]] = {}
    for workspace, path in ground.products:
        owners.setdefault(path, set()).add(workspace)
    for path, workspaces in owners.items():
        rights: dict[str, frozenset[Right]] = {}
        for mode, accounts, of_actor in builders:
            reads = of_actor is None or not workspaces.isdisjoint(of_actor)
            _give(rights, accounts, WRITES if isinstance(mode, Ci) else READS if reads else frozenset())
        _give(rights, readers, READS)
        yield _territory(path, rights, exact=True)


def _give(rights: dict[str, frozenset[Right]], accounts: Iterable[str], given: frozenset[Right]) -> None:
    for account in accounts:
        if given:
            rights[account] = rights.get(account, frozenset()) | given


def _territory(folder: str, rights: dict[str, frozenset[Right]], *, exact: bool = False) -> Territory:
    return Territory(folder, tuple(sorted(rights.items())), exact)
