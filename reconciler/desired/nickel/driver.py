"""The Nickel expressions that are evaluated, and where their files lie in the scratch folder.

<scratch>/tree/…        files of the commit, by their paths; the worker's current folder
<scratch>/packaged/…    lian's schemas and defaults; the import path
<scratch>/open/…        the same names with contracts that accept anything, for the reporter
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.desired.nickel.settings import Contract

VERSION = 1
"""Part of every cache key: raised when an expression here changes."""

TREE, PACKAGED, OPEN = "tree", "packaged", "open"


def quoted(text: str) -> str:
    """A Nickel string literal; the text has no control characters (see imports: such paths are refused)."""
    return json.dumps(text, ensure_ascii=False).replace("%{", "\\%{")


def key(path: str) -> str:
    """The field of a path's value. The slash keeps it from being a name that an expression could refer to."""
    return f"/{path}"


def checked(paths: Iterable[str], contract: Contract) -> str:
    """A record of each file's value under the contract."""
    body = ",\n".join(f"{quoted(key(path))} | C = import {quoted(path)} as 'Nickel" for path in paths)
    return f"let C = (import {quoted(contract.file)}).{contract.name} in {{\n{body}\n}}"


def unchecked(paths: Iterable[str]) -> str:
    """A record of each file's value as it is."""
    body = ",\n".join(f"{quoted(key(path))} = import {quoted(path)} as 'Nickel" for path in paths)
    return f"{{\n{body}\n}}"


def parsed(path: str) -> str:
    """Reads one file and what it imports, and evaluates nothing of it."""
    return f"let _file = import {quoted(path)} as 'Nickel in null"


def trusted(contract: Contract) -> str:
    """The contract alone: fails if the packaged files themselves are broken."""
    return f"let _contract = (import {quoted(contract.file)}).{contract.name} in {{}}"


def opened(path: str) -> str:
    """The text of `<scratch>/open/<path>`: the packaged file with its contracts and constructors taken out.

    Contracts have a capital (or are a bounded value, `bounded_cpu_`) and become `Dyn`; constructors (`make_…`) give
    back what they are given. Everything else is the packaged file's own.
    """
    up = "../" * (path.count("/") + 1)
    return f"""let packaged = import {quoted(f"{up}{PACKAGED}/{path}")} in
let free = fun name => if std.string.is_match "^make_" name then (fun value => value) else Dyn in
let freed = fun name => std.string.is_match "^(make_|[A-Z]|bounded_)" name in
std.array.fold_left
  (fun record name => std.record.insert name (if freed name then free name else packaged."%{{name}}") record)
  {{}}
  (std.record.fields packaged)
"""
