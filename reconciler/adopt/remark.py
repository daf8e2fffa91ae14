"""What has to be said of a file that was read: what is left out, what is not carried over, what is settled now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model.problem import redact

if TYPE_CHECKING:
    from reconciler.model.artifact import Place


class Weight(StrEnum):
    """What it means for the image."""

    LEFT_OUT = "left-out"
    """No directive is written for it: another image would come out, or none."""
    DROPPED = "dropped"
    """The directive does not say it, and the image is the same without."""
    SETTLED = "settled"
    """What was open is written as a fixed value."""
    NOTE = "note"
    """Something to know."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One of them. `code` is stable kebab-case, `message` one sentence that needs no name of the build, so that the
    same about many is said once."""

    weight: Weight
    code: str
    message: str
    place: Place
    field: str = ""
    """Where in the file, as `services.api.build.ssh`."""
    build: str | None = None
    """Of which image, as the file that was read calls it; None for the file as a whole."""
    hint: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))
        if self.hint is not None:
            object.__setattr__(self, "hint", redact(self.hint))

    def to_json(self) -> dict[str, Any]:
        """One entry of `remarks` in schemas/json/init.json."""
        return {
            "weight": self.weight.value,
            "code": self.code,
            "build": self.build,
            "field": self.field,
            "message": self.message,
            "hint": self.hint,
            "file": self.place.file,
            "line": self.place.line or None,
            "column": self.place.column or None,
        }
