"""The envelope in which what became of one artifact is handed on (schemas/build_result.ncl)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.outcome import Status

if TYPE_CHECKING:
    from reconciler.model.outcome import Result
    from reconciler.model.plan import Change

KIND = "build-result"
VERSION = 1


@dataclass(frozen=True, slots=True)
class BuildResult:
    """One artifact's end. `revision` is empty for a build of a folder that is in no repository. `change` is None for an
    artifact that is declared, and of which nothing more can be read."""

    revision: str
    result: Result
    change: Change | None

    def to_json(self) -> dict[str, Any]:
        """The document of schemas/json/build_result.json; what does not apply is left out."""
        result = self.result
        document: dict[str, Any] = {
            "kind": KIND,
            "version": VERSION,
            "workspace": result.artifact.workspace,
            "artifact": str(result.artifact),
            **({"revision": self.revision} if self.revision else {"origin": "Folder"}),
            "status": result.status.value.capitalize(),
            "tags": list(self._tags()),
            "seconds": round(result.seconds, 3),
        }
        if self.change is not None:
            image = self.change.image
            document["image"] = image.path if image.layout is not None else str(image)
        if result.digest:
            document["digest"] = str(result.digest)
        if result.problem:
            document["problem"] = result.problem.to_json()
        return document

    def _tags(self) -> tuple[str, ...]:
        """Those that point at the image."""
        if self.change is None or self.result.status not in {Status.DONE, Status.NONE}:
            return ()
        return tuple(tag for tag in self.change.tags if tag not in self.change.left)
