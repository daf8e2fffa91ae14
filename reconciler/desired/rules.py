"""The policy of a commit: the files below `policy/`, read as rules. Of any commit's tree, so that a pull request can be
judged by the rules of what it would be merged into."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.guard import MAX_BYTES
from reconciler.desired.nickel.settings import BUILD_POLICY, SourceFile
from reconciler.model.artifact import Place
from reconciler.model.platform import Platform
from reconciler.model.problem import Problem
from reconciler.model.rule import ArgRules, Choice, Most, Rule, Rulebook
from reconciler.model.tree import FOLDER as TREE
from reconciler.model.tree import SYMLINK
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.desired.nickel.settings import EvaluatorSettings
    from reconciler.desired.tree import CommitTree, Node
    from reconciler.model.rule import FieldPath

FOLDER = "policy"
_FILES = (f"{FOLDER}/**/*.ncl",)
_NONE: Mapping[str, Any] = MappingProxyType({})


def is_policy(path: str) -> bool:
    """Whether a file of the repo is one of its policy, and so no directive, whatever the patterns of those say."""
    return path.startswith(f"{FOLDER}/")


async def read_rules(tree: CommitTree, evaluator: EvaluatorSettings) -> Rulebook:
    """The rules of this tree; what is wrong with its files is in `problems`. Raises LianError where nothing can be
    evaluated, or the repository cannot be read."""
    node = await asyncio.to_thread(tree.at, FOLDER)
    if node is None:
        return Rulebook()
    if node.mode != TREE:
        message = f"{FOLDER} is no folder of the repository, and the policy is read from one"
        return Rulebook((), (Problem("policy-is-link", message, FOLDER, hint="commit the folder itself"),))
    matched = await asyncio.to_thread(tree.glob, _FILES)
    problems: list[Problem] = []
    places: dict[str, Mapping[FieldPath, tuple[int, int]]] = {}
    asked = []
    for path, file in matched:
        problem, written = _data(tree, path, file)
        if problem:
            problems.append(problem)
        else:
            asked.append(SourceFile(path, file.id))
            places[path] = written
    evaluated = await evaluate(tree, asked, BUILD_POLICY, evaluator)
    rules: list[Rule] = []
    for path, written in places.items():
        found = evaluated[path]
        problems += found.problems
        if found.value is not None:
            rules += _rules(path, found.value, written)
    return Rulebook(tuple(rules), tuple(problems))


def idle(rulebook: Rulebook, artifacts: Iterable[str]) -> Iterator[str]:
    """A sentence for each rule that is about none of all artifacts, or demands nothing: a slip in a pattern or a field
    that is left for later lets everything pass."""
    names = list(artifacts)
    for rule in rulebook.rules:
        if names and not any(map(rule.is_about, names)):
            workspaces = {f"{name.partition('/')[0]}/*" for name in names}
            hint = meant(rule.artifacts[0], workspaces | set(names), "")
            more = f" ({hint})" if hint else ""
            yield f"{rule.place.file}: the rule {rule.name} is about no artifact of this commit{more}"
        elif not rule.demands:
            yield f"{rule.place.file}: the rule {rule.name} demands nothing"


def _data(tree: CommitTree, path: str, file: Node) -> tuple[Problem | None, Mapping[FieldPath, tuple[int, int]]]:
    """Where its fields are written, or why the file is refused unread. What is no Nickel is left to Nickel to say."""
    if file.mode == SYMLINK:
        message = f"{path} is a symbolic link, and a policy is read from files only"
        return Problem("policy-is-link", message, path, hint="commit the file itself"), _NOWHERE
    content = tree.read(file.id)
    if len(content) > MAX_BYTES:
        return None, _NOWHERE
    from reconciler.desired.nickel.data import NotDataError, places_of  # few repos have a policy

    try:
        return None, places_of(content.decode("utf-8", "replace")) or _NOWHERE
    except NotDataError as error:
        message = f"a policy is data only, and {error.what} stands here"
        hint = "write out what it comes to, as records, lists, strings, numbers, true, false and tags such as 'Deny"
        return Problem("policy-not-data", message, path, error.line, error.column, hint=hint), _NOWHERE


_NOWHERE: Mapping[FieldPath, tuple[int, int]] = MappingProxyType({})


def _rules(path: str, value: Mapping[str, Any], places: Mapping[FieldPath, tuple[int, int]]) -> Iterator[Rule]:
    below: dict[str, dict[FieldPath, Place]] = {}
    for field, place in places.items():
        if field[:1] == ("rules",) and len(field) > 1:
            below.setdefault(field[1], {})[field[2:]] = Place(path, *place)
    for name, one in sorted(value["rules"].items()):
        of_rule = below.get(name, {})
        yield _rule(name, one, of_rule.pop((), Place(path)), of_rule)


def _rule(name: str, one: Mapping[str, Any], place: Place, places: Mapping[FieldPath, Place]) -> Rule:
    platforms, args, runner = (one.get(part, _NONE) for part in ("platforms", "args", "runner"))
    most = runner.get("max", _NONE)
    return Rule(
        name,
        place,
        because=one.get("because"),
        artifacts=tuple(one["artifacts"]),
        excepted=tuple(one.get("except", ())),
        bases=_choice(one.get("bases", _NONE)),
        pinned=one.get("bases", _NONE).get("pinned", False),
        sources=_choice(one.get("sources", _NONE)),
        sources_pinned=one.get("sources", _NONE).get("pinned", False),
        image=_choice(one.get("image", _NONE)),
        tags=_choice(one.get("tags", _NONE)),
        platforms=_platforms(platforms["allow"]) if "allow" in platforms else None,
        required_platforms=_platforms(platforms.get("require", ())),
        labels=one.get("labels", _NONE).get("require", _NONE),
        args=ArgRules(tuple(args.get("deny", ())), args.get("no_secrets", False), tuple(args.get("except", ()))),
        most=Most(most.get("cpu"), most.get("memory_gb"), most.get("time_budget")),
        tiers=tuple(runner["tiers"]) if "tiers" in runner else None,
        secrets=_choice(one.get("secrets", _NONE)),
        max_age=one.get("max_age"),
        force="force" not in one,
        places=places,
    )


def _choice(value: Mapping[str, Any]) -> Choice:
    return Choice(tuple(value["allow"]) if "allow" in value else None, tuple(value.get("deny", ())))


def _platforms(texts: Iterable[str]) -> frozenset[Platform]:
    return frozenset(Platform.parse(text) for text in texts)
