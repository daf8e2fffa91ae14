"""Which commit a directive's `rev` means in another repository, by the refs that its server tells. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HEX = re.compile(r"[0-9a-fA-F]{4,64}")
_EXPRESSION = re.compile(r"[~^]|@\{|\.\.|:")
_PEELED = "^{}"
_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_MAX_HINTED = 5


@dataclass(frozen=True, slots=True)
class Tip:
    """A ref by its full name, and the commit it leads to."""

    ref: str
    commit: str


@dataclass(frozen=True, slots=True)
class Refs:
    """What a server tells of a repository: full name -> commit, through annotated tags."""

    commits: Mapping[str, str]

    @classmethod
    def of(cls, heads: Iterable[tuple[str | None, str, str | None]]) -> Refs:
        """From names, ids and what they stand for, as a server lists them: the commit of an annotated tag has a line of
        its own, the tag's name with `^{}` behind it (gitprotocol-pack(5))."""
        told = {name: commit for name, commit, _ in heads if name}
        plain = {name: commit for name, commit in told.items() if not name.endswith(_PEELED)}
        return cls({name: told.get(name + _PEELED, commit) for name, commit in plain.items()})

    def find(self, rev: str) -> Tip:
        """A branch, a tag, `HEAD`, or a full `refs/…`. Raises LianError `git-rev-unknown`, `git-rev-ambiguous`."""
        names = [rev] if rev == "HEAD" or rev.startswith("refs/") else [f"refs/{rev}", _TAG + rev, _BRANCH + rev]
        found = [Tip(name, self.commits[name]) for name in names if name in self.commits]
        if not found:
            raise LianError(self._unknown(rev))
        if len({tip.commit for tip in found}) > 1:
            message = f"there are two refs {rev!r}: {' and '.join(tip.ref for tip in found)}"
            hint = f"write the whole name: {found[-1].ref}"
            raise LianError(Problem("git-rev-ambiguous", message, hint=hint, next=Next.RETRY))
        return found[0]

    def ref_of(self, commit: str) -> str | None:
        """A ref that leads to this commit, by which every server gives it."""
        return next((ref for ref, tip in self.commits.items() if tip == commit), None)

    def _unknown(self, rev: str) -> Problem:
        message = f"there is no branch and no tag {rev!r}"
        if not self.commits:
            message = "the repository has no commit yet"
            return Problem("git-rev-unknown", message, hint="push one first", next=Next.RETRY)
        if _HEX.fullmatch(rev):
            hint = "a commit is written with all of its 40 digits"
        elif _EXPRESSION.search(rev):
            hint = "write the name of a branch or a tag, or a commit with all of its 40 digits"
        else:
            hint = meant(rev, self._names(), self._examples(), likeness=0.5)
        return Problem("git-rev-unknown", message, hint=hint, next=Next.RETRY)

    def _names(self) -> list[str]:
        prefixes = (_BRANCH, _TAG)
        return sorted({name.split("/", 2)[2] for name in self.commits if name.startswith(prefixes)})

    def _examples(self) -> str:
        names = self._names()
        more = ", …" if len(names) > _MAX_HINTED else ""
        return f"there are {', '.join(names[:_MAX_HINTED])}{more}" if names else "push a branch first"
