"""A change of a file as a unified diff, in the form that `git apply` takes."""

from __future__ import annotations

from difflib import unified_diff

_NAMED = {"\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}
_NO_NEWLINE = "\n\\ No newline at end of file\n"


def patch(path: str, old: str | None, new: str) -> str:
    """From `old`, None for a file that is not there yet, to `new`; empty if they are the same."""
    if old == new:
        return ""
    before, after = quoted(f"a/{path}"), quoted(f"b/{path}")
    head = f"diff --git {before} {after}\n" + ("new file mode 100644\n" if old is None else "")
    lines = unified_diff(_lines(old or ""), _lines(new), "/dev/null" if old is None else _ended(before), _ended(after))
    return head + "".join(line if line.endswith("\n") else line + _NO_NEWLINE for line in lines)


def quoted(path: str) -> str:
    """As git writes a path (core.quotePath): in C's quotes if anything in it is not plain ASCII."""
    data = path.encode("utf-8", "surrogateescape")
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in data):
        return path
    return '"' + "".join(_escaped(byte) for byte in data) + '"'


def _escaped(byte: int) -> str:
    sign = chr(byte)
    if sign in _NAMED:
        return f"\\{_NAMED[sign]}"
    return sign if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def _ended(path: str) -> str:
    """A path that holds a blank ends with a tab, or the blank would end it."""
    return f"{path}\t" if " " in path and not path.startswith('"') else path


def _lines(text: str) -> list[str]:
    """Cut at line feeds alone, which stay."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([last] if (last := text.rpartition("\n")[2]) else [])
