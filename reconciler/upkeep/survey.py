"""What the registries of a fleet hold of caches. What cannot be read is told, and the rest goes on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from reconciler.cache.content import CacheContent, CacheKind
from reconciler.cache.holding import Caches, Cupboard, FoundCache
from reconciler.cache.home import cache_layout
from reconciler.cache.namespace import Namespace
from reconciler.cache.upkeep import place
from reconciler.finishing import all_of
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.model.wording import count
from reconciler.observe.stock import catalogue, tags_in
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.cache.namespace import Layout
    from reconciler.cache.upkeep import Selection
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.problem import Problem
    from reconciler.ports.bundle import Reading

Item = TypeVar("Item")

AT_ONCE = 16
"""Manifests that are asked for at a time."""


async def survey(ports: Reading, head: Desired, others: Iterable[Desired], selection: Selection) -> Caches:
    """The chosen caches in the registries of the commit `head`: what each lists, and CI's of all artifacts, for a list
    may leave out what this account must not see (zot). Where a registry does not list its repositories, those are
    looked at that follow from the artifacts of `head` and of `others`, and from the actors of `head`."""
    found = Caches()
    for host in sorted(head.registries):
        here = await _Registry(ports, head, (head, *others), selection, host).caches()
        found = Caches(
            (*found.found, *here.found),
            (*found.cupboards, *here.cupboards),
            (*found.unread, *here.unread),
            (*found.unrecognised, *here.unrecognised),
            (*found.notes, *here.notes),
        )
    return replace(found, found=tuple(sorted(found.found, key=place)))


@dataclass(slots=True)
class _Registry:
    """One of them."""

    ports: Reading
    head: Desired
    desired: Sequence[Desired]
    selection: Selection
    host: str
    problems: dict[tuple[Namespace, str], list[Problem]] = field(default_factory=lambda: defaultdict(list))
    """Of repositories that could not be read, by namespace and code: there may be thousands."""

    async def caches(self) -> Caches:
        """If it does not even answer when asked for its catalogue, nothing else is asked of it."""
        layout = cache_layout(self.head, self.host)
        settings = self.head.registries[self.host]
        cupboard = Cupboard(self.host, None, settings.provider)
        try:
            listed = await catalogue(self.ports.inventory, [self.host])
        except LianError as error:
            return Caches(cupboards=(cupboard,), unread=error.problems)
        silent = self.host in listed.silent
        following = self._following(layout) if silent else self._following(layout, actors=False)
        repositories = sorted({*listed.repositories, *following})
        chosen = {
            repository: parsed
            for repository in repositories
            if (parsed := layout.parse(repository.path)) and self.selection.takes(*parsed)
        }
        odd = [r for r in repositories if layout.reserves(r.path) and layout.parse(r.path) is None]
        tags, problems = await tags_in(self.ports.inventory, chosen)
        for repository, told in problems.items():
            self._note(chosen[repository][0], told[0])
        return Caches(
            await self._contents(chosen, tags),
            (replace(cupboard, catalog=not silent),),
            tuple(self._unread()),
            () if self.selection.namespaces or self.selection.only or self.selection.actors else tuple(odd),
            (f"{self.host} does not list its repositories: caches that no directive leads to are not seen",)
            if silent
            else (),
        )

    def _following(self, layout: Layout, *, actors: bool = True) -> Iterator[Repository]:
        """CI's and every actor's, of all artifacts that have their cache here."""
        for one in self.desired:
            for wanted in one.wanted.values():
                name = wanted.artifact.name
                if wanted.artifact.cache_host != self.host:
                    continue
                for actor in (None, *(self._actors(name.workspace) if actors else ())):
                    try:
                        yield Repository(self.host, layout.repository(Namespace(name.workspace, actor), name.artifact))
                    except ValueError:  # it has no place there, so there is nothing in it
                        continue

    def _actors(self, workspace: str) -> Iterator[str]:
        for actor, access in sorted(self.head.fleet.access.actors.items()):
            if access.workspaces is None or workspace in access.workspaces:
                yield actor

    async def _contents(
        self,
        chosen: Mapping[Repository, tuple[Namespace, str]],
        tags: Mapping[Repository, Mapping[str, Digest]],
    ) -> tuple[FoundCache, ...]:
        """A repository of which one manifest cannot be read is left out as a whole."""
        contents: dict[tuple[Repository, Digest], CacheContent] = {}
        closed: set[Repository] = set()

        async def one(asked: tuple[Repository, Digest]) -> None:
            repository, digest = asked
            try:
                contents[asked] = CacheContent.of(await self.ports.registry.manifest(repository, digest))
            except LianError as error:
                if error.problems[0].code in GONE:
                    contents[asked] = CacheContent(CacheKind.LOST)
                elif repository not in closed:
                    closed.add(repository)
                    self._note(chosen[repository][0], error.problems[0])

        await each(dict.fromkeys((r, digest) for r, named in tags.items() for digest in named.values()), one)
        return tuple(
            FoundCache(repository, *chosen[repository], tag, digest, contents[repository, digest])
            for repository, named in tags.items()
            if repository not in closed
            for tag, digest in named.items()
        )

    def _note(self, namespace: Namespace, problem: Problem) -> None:
        self.problems[namespace, problem.code].append(problem)

    def _unread(self) -> Iterator[Problem]:
        """One for each namespace and code."""
        for (namespace, _), problems in sorted(self.problems.items(), key=lambda item: (str(item[0][0]), item[0][1])):
            first, number = problems[0], len(problems)
            what = count(number, "repository", "repositories")
            message = f"{what} of {namespace} on {self.host} could not be read; nothing is removed there"
            cause = ": ".join(text for text in (first.message, first.cause) if text)
            yield replace(first, message=message, cause=cause)


async def each(items: Collection[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    """The work for every item, AT_ONCE at a time. What is at work when one raises still comes to its end; once all
    AT_ONCE have raised, the rest is not begun."""
    queue = iter(items)

    async def hand() -> None:
        for item in queue:
            await work(item)

    await all_of(hand() for _ in range(min(AT_ONCE, len(items))))
