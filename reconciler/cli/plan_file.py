"""The file of a saved plan: written in one move, read with doubt."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cli.views.text import as_json
from reconciler.model.problem import LianError, Problem
from reconciler.model.saved_plan import KIND, VERSION, SavedPlan
from reconciler.whole_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANEW = "make a new plan: lian diff --out"


def refuse_stream(path: str, flag: str) -> None:
    """Raises LianError `usage` for `-`: a plan goes into a file that is kept, and what is printed has the streams."""
    if path == "-":
        hint = f"name a file; {flag} ./- is one that is called so"
        raise LianError(Problem("usage", f"{flag} takes a file, and - stands for none", hint=hint))


def write(path: str, plan: SavedPlan) -> None:
    """Into the file that a link leads to, or into a pipe. Raises LianError `plan-unwritable`; what a file held before
    stays then."""
    document = wiring.checked("saved_plan", plan.to_json())
    data = as_json(document).encode()
    where = Path(path)
    try:
        if where.exists() and not where.is_file():  # a pipe or a device is no file to be put in the place of
            where.write_bytes(data)
        else:
            replace_file(_behind_links(where), data)
    except OSError as error:
        message = f"the plan cannot be written to {path}"
        raise LianError(Problem("plan-unwritable", message, "--out", cause=error.strerror)) from error


def _behind_links(path: Path) -> Path:
    """The file that is meant, there or not. Raises OSError."""
    meant = Path(os.path.realpath(path))
    if meant.is_symlink():  # it leads to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return meant


def read(path: str) -> SavedPlan:
    """Raises LianError `plan-unreadable`, `plan-invalid` for a file that is no whole and unchanged plan, `usage` for
    `-`."""
    refuse_stream(path, "--plan")
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"the plan {path} cannot be read"
        raise LianError(Problem("plan-unreadable", message, "--plan", cause=cause, hint=_ANEW)) from error
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        line, column = (error.lineno, error.colno) if isinstance(error, json.JSONDecodeError) else (None, None)
        message = f"{path} is no plan: it is no JSON, or was cut off"
        raise LianError(Problem("plan-invalid", message, path, line, column, cause=str(error), hint=_ANEW)) from error
    return _parsed(path, document)


def _parsed(path: str, document: Any) -> SavedPlan:
    kind, version = (document.get("kind"), document.get("version")) if isinstance(document, dict) else (None, None)
    if kind != KIND:
        what = f"it is a document of kind {kind}" if isinstance(kind, str) else "it is another document"
        raise _invalid(path, what, "lian diff --out writes plans; --json only shows them")
    if isinstance(version, int) and version > VERSION:
        raise _invalid(path, f"it is of version {version}, from a newer lian", "carry it out with that lian")
    if cause := wiring.wrong_in("saved_plan", document) or wiring.wrong_in("plan", document["plan"]):
        raise _invalid(path, cause, _ANEW)
    return _unsealed(path, document)


def _unsealed(path: str, document: Mapping[str, Any]) -> SavedPlan:
    try:
        return SavedPlan.from_json(document)
    except ValueError as error:
        raise _invalid(path, str(error), _ANEW) from error


def _invalid(path: str, cause: str, hint: str) -> LianError:
    return LianError(
        Problem("plan-invalid", f"{path} is no plan that can be carried out", path, cause=cause, hint=hint)
    )
