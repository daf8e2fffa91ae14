"""What a merge would make of settings and rules: checked and told to whoever proposes it, and heeded only once it is
merged (ADR 067). Nothing that they name is read or asked, and no credential is looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.desired.assembly import SETTINGS
from reconciler.desired.directives import read_fleet
from reconciler.desired.places import DirectiveText
from reconciler.desired.rules import FOLDER as POLICY_FOLDER
from reconciler.desired.rules import read_rules
from reconciler.desired.tiers import names_tiers
from reconciler.desired.unheeded import compute, credentials, session
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.desired.nickel.settings import Evaluated, EvaluatorSettings
    from reconciler.desired.tree import CommitTree
    from reconciler.model.fleet import Fleet
    from reconciler.model.problem import Problem
    from reconciler.model.tier import Sizes

    Value = Mapping[str, Any]


_DECIDING: Mapping[str, tuple[str, Callable[[Fleet], object]]] = {
    "builder": ("part of every key", lambda fleet: fleet.builder),
    "source_date_epoch": (
        "part of every key without its own",
        lambda fleet: fleet.source_date_epoch,
    ),
    "registry": ("where images go", lambda fleet: (fleet.registry.host, fleet.registry.images_prefix)),
    "directives": ("which files count", lambda fleet: fleet.directives),
    "fleet": ("whose images are the fleet's own", lambda fleet: fleet.name),
}
"""The settings that decide what is to be done with artifacts that nothing else touches: what each says, and how it is
read. The rest says how, when and by whom, or is a rule."""


@dataclass(slots=True)
class NotYet:
    """Two trees: the settings and rules of `ruling` count, those of `tree` will. `base` and `head` are what the sides
    are called, `home` is where relative paths start; `settings` and `sizes` read those of a tree."""

    ruling: CommitTree
    tree: CommitTree
    base: str
    head: str
    home: Path
    evaluator: EvaluatorSettings
    settings: Callable[[CommitTree], Awaitable[Evaluated]]
    sizes: Callable[[CommitTree, Value], Awaitable[tuple[Sizes, Problem | None]]]
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with what will count."""
    notes: list[str] = field(default_factory=list)

    async def look(self, now: Value) -> None:
        """Fill in what there is to tell. `now` are the settings in force."""
        if self.ruling.root == self.tree.root:
            return
        try:
            await self._settings(now)
        except LianError as error:
            self.problems += error.problems
            self._note(SETTINGS, "settings")
        if self._verb(POLICY_FOLDER):
            self._note(POLICY_FOLDER, "rules")
            self.problems += (await read_rules(self.tree, self.evaluator)).problems

    async def _settings(self, now: Value) -> None:
        """Raises LianError for settings that cannot be read."""
        then = await self.settings(self.tree)
        if then.value is None:
            raise LianError(then.problems)
        if self._verb(SETTINGS) or then.value != now:
            self._note(SETTINGS, "settings")
        if then.value == now:
            return
        self.notes += self._otherwise(now, then.value)
        self.notes += self._holding(then.value)
        if names_tiers(then.value, ()):
            _, wrong = await self.sizes(self.tree, then.value)
            self.problems += [wrong] if wrong else []

    def _otherwise(self, now: Value, then: Value) -> Iterator[str]:
        """What will decide otherwise about every artifact, which no plan under the base's settings can show. Raises
        LianError."""
        old, new = (read_fleet(value, self.home, None) for value in (now, then))
        changed = [f"{name} ({what})" for name, (what, read) in _DECIDING.items() if read(old) != read(new)]
        if changed:
            told = ", ".join(changed)
            yield f"merging {self.head} changes {told}: what a pass will build, copy or hold for that is not told here"

    def _holding(self, value: Value) -> Iterator[str]:
        """What is right and not there yet. Raises LianError."""
        fleet = read_fleet(value, self.home, None)
        node = self.tree.at(SETTINGS)
        if node is None:
            return
        text = DirectiveText(SETTINGS, node, self.tree)
        for problem in (compute(value, text), session(value, text), credentials(fleet.registry, text)):
            if problem is not None:
                yield f"{problem.place}: {problem.message}: once this is merged, artifacts are held for it"

    def _note(self, path: str, what: str) -> None:
        verb = self._verb(path) or "changes what is imported by"
        then = ", and then the defaults" if path == SETTINGS and verb == "deletes" else ""
        self.notes.append(f"{self.head} {verb} {path}: until it is merged, the {what} are those of {self.base}{then}")

    def _verb(self, path: str) -> str | None:
        """What the merge does to the file or folder; None for nothing."""
        before, after = self.ruling.at(path), self.tree.at(path)
        if before == after:
            return None
        return "adds" if before is None else "deletes" if after is None else "changes"
