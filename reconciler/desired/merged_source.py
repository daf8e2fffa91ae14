"""What merging one revision into another would make of the desired repo, as the port `Source` wants it (ADR 067).

Whoever proposes a change is not trusted yet: settings are those of the revision that it would go into, and so is
everything that they name; what it would make of them is checked and told. Of the change, directives are read, and what
they build from.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.desired.lock import Pinning
from reconciler.desired.merge import merged
from reconciler.desired.narrowing import changed_paths, concerned
from reconciler.desired.nickel.closures import closures
from reconciler.desired.not_yet import NotYet
from reconciler.desired.proposed import Proposal
from reconciler.desired.source import GitSource
from reconciler.desired.specs import importing
from reconciler.desired.tree import CommitTree
from reconciler.model.lock import NAME as LOCK
from reconciler.model.lock import Lock
from reconciler.model.wording import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pygit2

    from reconciler.desired.assembly import Directives, ReadCommit
    from reconciler.desired.inputs import Side
    from reconciler.desired.merge import Merge
    from reconciler.desired.narrowing import Said
    from reconciler.model.desired import Desired
    from reconciler.model.problem import Problem


class MergedSource(GitSource):
    """Fills `ports.source.Source` for what merging `head` into `base` gives, of which only those directive files are
    read that may ask for something else than they do in `base`, with what they stand on. Its commit is that of `head`.
    The rest as for GitSource. `load` raises what `merge.merged` does too."""

    def __init__(self, location: str, base: str, head: str, **more: Any) -> None:
        super().__init__(location, head, **more)
        self._base, self._head, self._more = base, head, more
        self._merge: Merge | None = None
        self._concerned: frozenset[str] = frozenset()
        self._unread: frozenset[str] = frozenset()
        """Names of artifacts that both sides ask for alike."""
        self._proposal: Proposal | None = None

    @property
    def before(self) -> GitSource:
        """`base`, of which the same directive files are read. To be asked once this is loaded."""
        if self._merge is None:
            raise RuntimeError("nothing is merged yet")
        source = self.at(self._merge.base.commit)
        source._files = self._concerned
        return source

    def at(self, revision: str) -> GitSource:
        """See the port Revisions."""
        source = GitSource(self._location, revision, **self._more)
        source._fetched, source._others, source._access = True, self._foreign(), self._access
        source._evaluator = self._evaluator
        return source

    async def load(self) -> Desired:
        """See the port."""
        desired, commit = await super().load(), self._loaded
        sides = commit.ruling, commit.tree, self._base, self._head
        told = NotYet(*sides, commit.home, self._evaluator, self._settings, self._sizes_under)
        await told.look(self._settings_said)
        return replace(
            desired,
            problems=(*told.problems, *desired.problems),
            notes=(*(() if self._fetched else told.notes), *desired.notes),
            unread=self._unread,
        )

    async def blob(self, path: str) -> bytes:
        """See the port. It is what settings name, so it is read where the settings are."""
        return await self._blob(self._loaded.ruling, path)

    def _read_commit(self, opened: Callable[[], pygit2.Repository]) -> ReadCommit:
        repository = opened()
        self._evaluator = replace(self._evaluator, shared={})  # both sides have most files
        self._merge = merge = merged(repository, self._base, self._head)
        ruling = CommitTree(merge.objects, merge.base.tree, f"{self._base} ({short(merge.base.commit)})")
        tree = CommitTree(merge.objects, merge.tree)
        return self._commit_of(repository, merge.head.commit, tree, ruled_by=ruling)

    async def _directives(self, tree: CommitTree, globs: tuple[str, ...]) -> Directives:
        ruling = self._loaded.ruling
        before, after = await super()._directives(ruling, globs), await super()._directives(tree, globs)
        old, new = ({path: one.value for path, one in side.evaluated.items()} for side in (before, after))
        self._proposal = proposal = Proposal(self._base, old, new)
        self._concerned = await asyncio.to_thread(self._touched_files, ruling, tree, old, new)
        self._unread = frozenset(_names(value for path, value in new.items() if value and path not in self._concerned))
        strange = {} if self._override else dict(proposal.registries())
        return after.only(self._concerned, strange, dict(proposal.hosts()))

    def _touched_files(self, ruling: CommitTree, tree: CommitTree, before: Said, after: Said) -> frozenset[str]:
        if ruling.at(LOCK) != tree.at(LOCK):  # what it pins stands in Dockerfiles, which may be any
            return frozenset(before.keys() | after.keys())
        if self._merge is None:
            raise RuntimeError("nothing is merged yet")
        file_in = self._merge.objects.file_in
        changed = set(changed_paths(ruling, tree))
        specs = importing(tree, (value for value in after.values() if value), file_in) if changed else []
        old, new = (closures(side, specs, self._evaluator) if specs else {} for side in (ruling, tree))
        changed |= {path for path, closure in new.items() if closure != old[path]}
        return concerned(before, after, changed, tree, file_in)

    async def _sides(
        self, commit: ReadCommit, places: frozenset[tuple[str, str]], lock: Lock | None
    ) -> Mapping[tuple[str, str], Side | Problem]:
        """What only the proposal would have asked is not, or what lies there would be told to whoever proposes it."""
        before = (await asyncio.to_thread(Pinning.read, commit.ruling)).lock or Lock()
        after, proposal = lock or Lock(), self._proposal
        if proposal is None:
            raise RuntimeError("no directives are read yet")

        def moved(url: str, rev: str) -> bool:
            return before.commit_of(url, rev) != after.commit_of(url, rev)

        refused = {place: why for place, why in proposal.repositories(self._access, moved) if place in places}
        return {**await super()._sides(commit, places - refused.keys(), lock), **refused}


def _names(values: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for value in values:
        yield from (f"{value['workspace']}/{key}" for key in value["artifacts"])
