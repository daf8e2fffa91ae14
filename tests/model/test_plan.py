"""Changes of a plan."""

from __future__ import annotations

from reconciler.model.name import ArtifactName
from reconciler.model.plan import Action, Change, Reason, ReasonCode
from reconciler.model.problem import Problem
from reconciler.model.reference import Repository

NAME = ArtifactName("shop", "api")
WHY = Problem("registry-down", "the registry does not answer")


def test_what_is_held_says_nothing_of_how_it_would_be_built() -> None:
    forced = Change(
        NAME,
        Repository.parse("shop/api", "registry.example"),
        ("1",),
        (),
        Action.BUILD,
        (Reason(ReasonCode.FORCED),),
        key="k",
        waits_for=(ArtifactName("shop", "base"),),
        conditional=True,
        replaces=True,
    )
    held = forced.held([Reason(ReasonCode.UNKNOWN), *forced.reasons], [WHY])
    assert (held.action, held.conditional, held.replaces) == (Action.HOLD, False, False)
    assert [reason.code for reason in held.reasons] == [ReasonCode.UNKNOWN, ReasonCode.FORCED]
    assert held.holds == (WHY,)
    assert (held.key, held.tags, held.waits_for) == (forced.key, forced.tags, forced.waits_for)
