"""The schemas and defaults that ship with lian: the one module that knows where they lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDERS = ("schemas", "defaults")
_SUFFIXES = {".ncl", ".json"}


@dataclass(frozen=True, slots=True)
class Packaged:
    """The shipped files: path as a directive imports it (`schemas/build_directives.ncl`) -> content."""

    files: Mapping[str, bytes]
    digest: str
    """sha256 over every path and content, 64 hex digits: part of what evaluation results depend on."""

    def document(self, path: str) -> Any:
        """A shipped JSON document. Raises KeyError if there is none of that name."""
        return json.loads(self.files[path])


def folder() -> Path:
    """Where `schemas/` and `defaults/` lie: in the wheel, or at the top of a checkout. Raises LianError if nowhere."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "_packaged", package.parent):
        if all((candidate / name).is_dir() for name in FOLDERS):
            return candidate
    raise LianError(
        Problem(
            "installation-broken",
            "the schemas and defaults that ship with lian are not there",
            hint="install lian again",
            next=Next.PERSON,
        )
    )


def read(root: Path) -> Packaged:
    """Everything below `schemas/` and `defaults/` of a folder. Raises OSError if it cannot be read."""
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for name in FOLDERS
        for path in sorted((root / name).rglob("*"))
        if path.suffix in _SUFFIXES and path.is_file()
    }
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(b"%d:%s %d:" % (len(name.encode()), name.encode(), len(content)))
        digest.update(content)
    return Packaged(MappingProxyType(files), digest.hexdigest())


@cache
def find() -> Packaged:
    """What ships with this lian, read once. Raises LianError if it is not there or may not be read."""
    try:
        return read(folder())
    except OSError as error:
        message = "the schemas and defaults that ship with lian cannot be read"
        hint = f"let this user read {error.filename}"
        raise LianError(Problem("installation-broken", message, cause=error.strerror, hint=hint)) from error
