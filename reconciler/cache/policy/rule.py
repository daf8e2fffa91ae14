"""The rule that a registry is to enforce for one fleet: who may do what where, and which areas are nobody's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.cache.home import cache_layout, session_layout
from reconciler.cache.policy.findings import Standing
from reconciler.cache.rights import Ground, Right, territories
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.cache.policy.findings import Who
    from reconciler.cache.rights import Territory
    from reconciler.model.access import Access
    from reconciler.model.desired import Desired


@dataclass(frozen=True, slots=True)
class Rule:
    """`territories` are apart from one another. Below `fences`, but for territories, nobody may do anything; `joint` is
    what stands between a fence and the rest of a path. Admins may do anything anywhere, and they alone list all
    repositories."""

    territories: tuple[Territory, ...]
    fences: tuple[str, ...]
    admins: tuple[str, ...]
    joint: str = "/"

    @property
    def accounts(self) -> tuple[str, ...]:
        """All that may do something, admins aside."""
        named = {account for territory in self.territories for account, _ in territory.rights}
        return tuple(sorted(named - set(self.admins)))

    def rights(self, who: Who, territory: Territory | None) -> frozenset[Right]:
        """What one may do in a territory, or with None in what only fences hold."""
        if who.standing is Standing.ADMIN:
            return frozenset(Right)
        if territory is None or who.standing is not Standing.ACCOUNT:
            return frozenset()
        return territory.of(who.account)


def rule_of(desired: Desired, *, projects: bool) -> Rule:
    """For the fleet's registry; `projects`: laid out for one that gives rights to projects alone. Raises LianError for
    what a registry could not enforce."""
    return rule(desired.fleet.access, ground_of(desired, projects=projects))


def rule(access: Access, ground: Ground) -> Rule:
    """The same, of settings and of what there is. Raises LianError."""
    if problems := (*_misplaced(access), *_mixed(ground)):
        raise LianError(problems)
    try:
        found = territories(access, ground)
    except ValueError as error:
        hint = "rename the workspace or the actor, or set registry.cache_prefix to one part without `--`"
        message = "a namespace of the cache has no place in this registry"
        raise LianError(Problem("cache-policy-name", message, cause=str(error), hint=hint)) from error
    fences = (*ground.caches.roots, ground.sessions.roots[1])
    return Rule(_apart(found), fences, tuple(sorted(access.admins)), ground.caches.joint)


def ground_of(desired: Desired, *, projects: bool) -> Ground:
    """The commit's workspaces and those that the fleet's settings name; the images on the fleet's registry."""
    host = desired.fleet.registry.host
    named = {workspace for actor in desired.fleet.access.actors.values() for workspace in actor.workspaces or ()}
    artifacts = [wanted.artifact for wanted in desired.wanted.values()]
    return Ground(
        replace(cache_layout(desired, host), projects=projects),
        replace(session_layout(desired, host), projects=projects),
        tuple(sorted({(one.name.workspace, one.image.path) for one in artifacts if one.image.host == host})),
        tuple(sorted(named | {one.name.workspace for one in artifacts})),
    )


def notes_of(desired: Desired) -> tuple[str, ...]:
    """What of `policy.access` may not be what was meant."""
    access = desired.fleet.access
    known = {name.workspace for name in desired.wanted}
    found = [
        f"policy.access.actors.{actor} names the workspace {workspace}, of which this commit has no artifact"
        for actor, each in sorted(access.actors.items())
        for workspace in sorted(set(each.workspaces or ()) - known)
    ]
    if not access.actors:
        found.append("policy.access names no actors: only CI gets rights")
    builders = {*access.ci, *access.readers, *(one for each in access.actors.values() for one in each.accounts)}
    found += [
        f"{account} is an admin too, and no registry keeps an admin from anything"
        for account in sorted(builders & set(access.admins))
    ]
    return tuple(found)


def _misplaced(access: Access) -> Iterator[Problem]:
    """An account of two parties would join what they must not both have."""
    owners: dict[str, list[str]] = {}
    for account in sorted(set(access.ci)):
        owners.setdefault(account, []).append("CI")
    for actor, each in sorted(access.actors.items()):
        for account in sorted(set(each.accounts)):
            owners.setdefault(account, []).append(actor)
    for account in sorted(set(access.readers)):
        owners.setdefault(account, []).append("a reader")
    for account, several in sorted(owners.items()):
        if len(several) > 1:
            message = f"the account {account} is that of {' and of '.join(several)}"
            cause = "a registry knows accounts only: each of them could write what is the other's"
            hint = "give each an account of its own, in policy.access of lian.ncl"
            yield Problem("cache-policy-account", message, file="lian.ncl", cause=cause, hint=hint)


def _mixed(ground: Ground) -> Iterator[Problem]:
    """Prefixes that would have sessions write where CI reads. The same is told of what is built there (plan.graph)."""
    if ground.caches.meets(ground.sessions):
        message = "`cache_prefix` and `images_prefix` would have the images of sessions lie among the caches"
        hint = "give them prefixes of which neither begins with the other"
        yield Problem("cache-prefix-mixed", message, file="lian.ncl", hint=hint)


def _apart(found: tuple[Territory, ...]) -> tuple[Territory, ...]:
    """Each place once. Raises LianError for a place that two sorts of things have with different rights."""
    places: dict[tuple[str, bool], Territory] = {}
    for territory in found:
        known = places.setdefault((territory.folder, territory.exact), territory)
        if known.rights != territory.rights:
            raise LianError(_shared(territory.folder))
    for folder, exact in places:
        parts = folder.split("/")
        if any(("/".join(parts[:end]), False) in places for end in range(1, len(parts) + exact)):
            raise LianError(_shared(folder))
    return tuple(places.values())


def _shared(folder: str) -> Problem:
    message = f"{folder} is a place of images and of caches, or of sessions, at once"
    hint = "rename the image, or set registry.cache_prefix in lian.ncl to something that no image begins with"
    return Problem("cache-policy-place", message, file="lian.ncl", hint=hint)
