"""Which artifacts a report is about. A plan is made with their parents too; a report leaves those out."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.name import ArtifactName


def chosen(name: ArtifactName, only: Collection[str]) -> bool:
    """True if the artifact matches one of the globs, or if there is none."""
    return not only or any(fnmatchcase(str(name), glob) for glob in only)
