"""The artifact that a line names, with its workspace or by its own name."""

from __future__ import annotations

from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError, Problem


def artifact_named(text: str) -> str:
    """The same text, for plan.select.sole. Raises LianError `artifact-name`."""
    try:
        ArtifactName.parse(text, workspace="any")
        return text
    except ValueError as error:
        hint = "`lian diff --detailed` lists all artifacts"
        raise LianError(Problem("artifact-name", str(error), hint=hint)) from error
