"""Whether artifacts keep the rules of the platform's owner. Linear in artifacts, for any number that breaks them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError, Problem
from reconciler.plan.graph import invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.model.artifact import Place
    from reconciler.model.desired import Desired
    from reconciler.model.rule import Written
    from reconciler.plan.judge import Violation


def violations(desired: Desired) -> list[Violation]:
    """Every violation of every rule, by artifact and rule; the same thing once, however many platforms have it."""
    if not desired.rules.rules:
        return []
    from reconciler.plan.case import Case  # few repos have a policy
    from reconciler.plan.judge import Judge

    found: dict[tuple[Written, Place, str], Violation] = {}
    judges = [Judge(rule, desired.ladder, desired.lock) for rule in desired.rules.rules]
    for name, wanted in desired.wanted.items():
        said, case = str(name), Case(wanted)
        for judge in judges:
            if judge.is_about(said):
                for violation in judge.judged(case):
                    found.setdefault((violation.written, judge.rule.place, violation.message), violation)
    return list(found.values())


def ruled(desired: Desired, broken: Iterable[Problem]) -> Desired:
    """The same desired state, with every artifact held of which a problem in `broken` tells that it breaks a rule, and
    all of them while a file of the rules is wrong. What is wrong is added to `Desired.problems`."""
    told, unread = tuple(broken), desired.rules.problems
    if not told and not unread:
        return desired
    wanted = dict(desired.wanted)
    for problem in told:
        name = ArtifactName.parse(problem.artifact or "")
        wanted[name] = invalid(wanted[name].held(problem))
    if unread:
        nothing = _lawless(unread[0])
        wanted = {name: invalid(one.held(nothing)) for name, one in wanted.items()}
    return replace(desired, wanted=wanted, problems=(*desired.problems, *unread, *told))


def _lawless(first: Problem) -> Problem:
    """Why nothing is built while a file of the policy is wrong: what it would say may be a no."""
    message = "a file of the policy cannot be read, so nobody knows what may be built"
    return replace(first, code="policy-unknown", message=message, cause=first.message, hint=f"mend {first.file}")


def refuse_force(desired: Desired, forced: Collection[ArtifactName]) -> None:
    """Raises LianError `force-denied`, a problem for each artifact that a rule does not let be forced."""
    rules = [rule for rule in desired.rules.rules if not rule.force]
    denied = [(name, rule) for name in sorted(forced) for rule in rules if rule.is_about(str(name))]
    if not denied:
        return
    from reconciler.plan.judge import told_of  # for mistakes alone

    hint = "leave it out of --force; a new `os_epoch` in its directive builds it anew, and is reviewed"
    problems = [
        Problem(
            "force-denied",
            f"the rule {rule.name} does not let {name} be forced",
            "--force",
            artifact=str(name),
            cause=told_of(rule, ("force",)),
            hint=hint,
            shared=f"the rule {rule.name} does not let these be forced",
        )
        for name, rule in denied
    ]
    raise LianError((*desired.problems, *problems))
