"""The secrets of one artifact's build, read where the fleet's owner says they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.credential import Bindings
    from reconciler.model.secret import SecretBytes
    from reconciler.ports.secrets import Secrets


async def read_secrets(secrets: Secrets, artifact: Artifact, bindings: Bindings) -> Mapping[str, SecretBytes]:
    """BuildKit's id -> what is mounted under it. Raises HeldBack, for a person has to mend it: nothing is wrong with
    the build, and no other try would find more."""
    found: dict[str, SecretBytes] = {}
    problems: dict[str, Problem] = {}
    for name in sorted(set(artifact.secrets.values())):
        source = bindings.of(artifact.name.workspace, name)
        if source is None:
            raise ValueError(f"{artifact.name} is held: its secret {name} is bound to nothing")
        try:
            found[name] = await secrets.resolve(source, f"the secret {name}")
        except LianError as error:
            problems[name] = error.problems[0]
    if problems:
        raise HeldBack(_together(problems))
    return {identity: found[name] for identity, name in artifact.secrets.items()}


def _together(problems: Mapping[str, Problem]) -> Problem:
    """The first, with the names of the others: a result has one."""
    first, *others = problems.values()
    names: Sequence[str] = list(problems)[1:]
    return replace(first, message=f"{first.message}; nor can {', '.join(names)} be had") if others else first
