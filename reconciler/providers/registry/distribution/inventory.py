"""What a registry over HTTP holds as a whole: its catalogue, and the tags of its repositories.

Lists of tags are complete where zot's own list is not (see zot_search), so where all are needed names come from there;
what they point at is asked for in bulk, for all repositories at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.bulk_names import names_in_bulk
from reconciler.providers.registry.distribution.calls import next_page, path
from reconciler.providers.registry.distribution.hands import answers
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.http.scopes import Scope
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.digest import Digest
    from reconciler.providers.registry.http.auth import Need
    from reconciler.providers.registry.http.lane import Lane
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport

MAX_PAGES = 10_000
PAGE_BYTES = 8 << 20
_NO_REPOSITORY = frozenset({"NAME_UNKNOWN", "NOT_FOUND"})
"""The second is Harbor's own."""
_STARTS = 3
"""How often a list is begun: zot answers 404 when the tag at which the next page begins was removed meanwhile."""


class _Catalogue(Scope):
    """Access to the list of repositories (distribution: docs/content/spec/auth/scope.md)."""

    def __str__(self) -> str:
        return "registry:catalog:*"


@dataclass(frozen=True, slots=True)
class _CatalogueCall(Call):
    @property
    def need(self) -> Need:
        """See Call."""
        return (_Catalogue(self.repository),)


class DistributionInventory:
    """The port Inventory over HTTP, for one registry."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host
        self._registry = DistributionRegistry(transport)

    async def repositories(self, host: str) -> tuple[str, ...]:
        """See the port."""
        found: set[str] = set()
        target: str | None = "/v2/_catalog"
        seen: set[str] = set()
        while target is not None:
            self._checked(target, seen, "its catalogue")
            reply = await self._catalogue(target)
            names = _names(reply, "repositories")
            if names is None:
                raise LianError(problems.catalog_unsupported(host, reply.told))
            found.update(names)
            target = next_page(reply, target)
        return tuple(sorted(found))

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        """See the port."""
        return (await self.all_tags([repository]))[repository]

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        """See the port."""
        listed = await names_in_bulk(self._transport, repositories, self._lists)
        asked = await self._lists([repository for repository in repositories if repository not in listed])
        return {repository: listed.get(repository) or asked.get(repository, ()) for repository in repositories}

    async def _lists(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        """All names, each repository asked for by itself. Raises LianError as `all_names` does."""
        self._transport.expect(repository.path for repository in repositories)
        listed = await answers(self._transport, repositories, self._listed)
        lists: dict[Repository, tuple[str, ...]] = {}
        for repository in repositories:
            found = listed[repository]
            if isinstance(found, LianError):
                raise found
            lists[repository] = found
        return lists

    async def all_tags(self, repositories: Collection[Repository]) -> Mapping[Repository, Mapping[str, Digest]]:
        """`tags` of many repositories of this registry, in bulk. Raises LianError as it does."""
        lists = await self._lists(repositories)
        wanted = [Reference(repository, tag) for repository, names in lists.items() for tag in names]
        seen = await self._registry.heads(wanted)
        if unread := [sighting.problem for sighting in seen.values() if isinstance(sighting, Unknown)]:
            raise LianError(dict.fromkeys(unread))
        tags: dict[Repository, dict[str, Digest]] = {repository: {} for repository in lists}
        for reference, sighting in seen.items():
            if isinstance(sighting, Found) and reference.tag:  # one that is absent was removed after it was listed
                tags[reference.repository][reference.tag] = sighting.digest
        return tags

    async def _catalogue(self, target: str) -> Reply:
        """Raises LianError; one who may not read it is told that there is none."""
        try:
            return await self._transport.send(_CatalogueCall("GET", target, "", limit=PAGE_BYTES))
        except LianError as error:
            if any(problem.code != "registry-denied" for problem in error.problems):
                raise
            raise LianError(problems.catalog_unsupported(self._host, error.problems[0].cause)) from error

    async def _listed(self, lane: Lane | None, repository: Repository) -> tuple[str, ...] | LianError:
        """The names of its tags; the error is returned, so that others are asked to their end."""
        try:
            for _ in range(_STARTS):
                if (names := await self._list(lane, repository)) is not None:
                    return names
        except LianError as error:
            return error
        return LianError(problems.not_oci(self._host, f"the tags of {repository.path}", "its list breaks off"))

    async def _list(self, lane: Lane | None, repository: Repository) -> tuple[str, ...] | None:
        """All pages, None if the list broke off. Raises LianError."""
        found: dict[str, None] = {}
        target: str | None = path(repository, "tags", "list")
        seen: set[str] = set()
        while target is not None:
            self._checked(target, seen, f"the tags of {repository.path}")
            reply = await self._page(lane, Call("GET", target, repository.path, limit=PAGE_BYTES))
            if reply.status == 404 and len(seen) > 1:
                return None
            if reply.status == 404 and _NO_REPOSITORY.intersection(reply.codes):
                return ()
            names = _names(reply, "tags")
            if names is None:
                raise LianError(problems.not_oci(self._host, f"the tags of {repository.path}", reply.told))
            found |= dict.fromkeys(names)
            target = next_page(reply, target)
        return tuple(found)

    async def _page(self, lane: Lane | None, call: Call) -> Reply:
        quick = await self._transport.quick(lane, call, limit=PAGE_BYTES) if lane and _own(call) else None
        return quick or await self._transport.send(call)

    def _checked(self, target: str, seen: set[str], what: str) -> None:
        """Take note of a page. Raises LianError for a list that goes round, or on for ever."""
        if target in seen or len(seen) == MAX_PAGES:
            raise LianError(problems.not_oci(self._host, what, "the pages of its list do not end"))
        seen.add(target)


def _own(call: Call) -> bool:
    """True for a path: a lane goes to the registry and nowhere else."""
    return call.target.startswith("/") and not call.target.startswith("//")


def _names(reply: Reply, what: str) -> list[str] | None:
    """The list in an answer, empty also where it is null (as docker-registry has it); None if there is no such list."""
    if reply.status != 200 or reply.truncated:
        return None
    try:
        names = json.loads(reply.body)[what]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if names is None:
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) and name for name in names) else None
