"""Builds that were done again, in words."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from reconciler.model.attempt import Again

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.attempt import FailedTry
    from reconciler.model.tier import Tier

_WHERE = {
    Again.NEW_RUNNER: "again on a new runner",
    Again.OWN_RUNNER: "again on a runner of its own",
    Again.LARGER_RUNNER: "again on a larger runner",
}


def sentence(failed: FailedTry, tier: Tier | None = None) -> str:
    """What failed where, and what came of it, at this tier."""
    where = _WHERE[failed.then] + (f", {tier.words}" if tier else "")
    message = failed.problem.message.split("\n")[0]
    return f"{message} [{failed.problem.code}] with {failed.tier.words}, after {failed.seconds:.1f} s: {where}"


def sentences(tries: Iterable[FailedTry]) -> Iterator[str]:
    """One for all that failed alike, one after another, with the seconds of the last."""
    for _, group in groupby(tries, key=lambda one: (one.problem.code, one.problem.message, one.tier, one.then)):
        *earlier, last = group
        yield sentence(last) + (f" ({len(earlier) + 1} times)" if earlier else "")
