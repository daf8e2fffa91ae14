"""Names of workspaces and artifacts (design section 6: the grammar that keeps cache namespaces injective)."""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME = re.compile(r"[a-z0-9]+(-+[a-z0-9]+)*")
MAX_NAME = 63


def is_name(text: str) -> bool:
    """True for lower-case letters, digits and inner dashes, at most 63 characters."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


class ArtifactName(NamedTuple):
    """`<workspace>/<artifact>`, the artifact's name everywhere."""

    workspace: str
    artifact: str

    @classmethod
    def parse(cls, text: str, workspace: str | None = None) -> ArtifactName:
        """`workspace/artifact`, or `artifact` inside the given workspace. Raises ValueError."""
        head, slash, tail = text.rpartition("/")
        home = head if slash else workspace
        if home is None or not is_name(home) or not is_name(tail):
            raise ValueError(f"not an artifact's name: {text[:140]!r}; expected workspace/artifact")
        return cls(home, tail)

    def __str__(self) -> str:
        return f"{self.workspace}/{self.artifact}"
