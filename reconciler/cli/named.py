"""The artifact that a line names."""

from __future__ import annotations

from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError, Problem


def artifact_named(text: str) -> ArtifactName:
    """Raises LianError `artifact-name`."""
    try:
        return ArtifactName.parse(text)
    except ValueError as error:
        hint = "`lian diff --detailed` lists all artifacts"
        raise LianError(Problem("artifact-name", str(error), hint=hint)) from error
