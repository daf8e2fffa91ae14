"""What is wrong with a Dockerfile, before it is known which file it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Iterable


class Fault(Exception):
    """BuildKit would refuse the Dockerfile, or lian cannot tell what it would do; `line` starts at 1."""

    def __init__(self, code: str, message: str, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.line = line
        self.hint = hint

    def at(self, line: int) -> Fault:
        """The same fault, with this line where it has none."""
        return Fault(self.code, str(self), self.line or line, self.hint)


def raised(faults: Iterable[Fault], source: str) -> LianError:
    """The error to raise for these faults of the file `source`."""
    return LianError([Problem(f"dockerfile-{f.code}", str(f), source, f.line, hint=f.hint) for f in faults])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """`Did you mean …?` for the nearest known name, or None."""
    return meant(name.lower(), known, "") or None
