"""The secrets of one artifact's build, read where the fleet's owner says they are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack
from reconciler.model.masking import Mask
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.credential import Bindings
    from reconciler.model.secret import SecretBytes
    from reconciler.ports.secrets import Secrets


async def read_secrets(secrets: Secrets, artifact: Artifact, bindings: Bindings) -> Mapping[str, SecretBytes]:
    """BuildKit's id -> what is mounted under it. Raises HeldBack, for a person has to mend it: nothing is wrong with
    the build, and no other try would find more."""
    found: dict[str, SecretBytes] = {}
    problems: list[Problem] = []
    for name in sorted(set(artifact.secrets.values())):
        source = bindings.of(artifact.name.workspace, name)
        if source is None:
            raise ValueError(f"{artifact.name} is held: its secret {name} is bound to nothing")
        try:
            found[name] = await secrets.resolve(source, f"the secret {name}")
        except LianError as error:
            problems += error.problems
    if not problems and (artifact.args or artifact.labels):
        problems = await asyncio.to_thread(lambda: list(_told(artifact, found)))
    if problems:
        raise HeldBack(_together(problems))
    return {identity: found[name] for identity, name in artifact.secrets.items()}


def _told(artifact: Artifact, secrets: Mapping[str, SecretBytes]) -> Iterator[Problem]:
    """What a secret is and everyone can read all the same, in the image and its record."""
    fields = {f"args.{name}": value for name, value in artifact.args.items()}
    fields |= {f"labels.{name}": value for name, value in artifact.labels.items()}
    for name, secret in secrets.items():
        mask = Mask([secret], lines=False)  # a line of a file may be no secret by itself
        for field, value in fields.items():
            if mask.found_in(value):
                message = f"{field} of {artifact.name} holds the secret {name}, and anyone can read it from the image"
                hint = f"take it out, change the secret (git keeps the old one), and mount it in the step: {_MOUNT}"
                yield Problem("secret-told", message, hint=hint)


_MOUNT = "RUN --mount=type=secret,id=…"


def _together(problems: Sequence[Problem]) -> Problem:
    """The first, and what else there is: a result has one."""
    first, *others = problems
    also = "; ".join(problem.message for problem in others)
    return replace(first, message=f"{first.message}; besides, {also}") if others else first
