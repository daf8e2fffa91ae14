"""Commits made of a dict, packaged files made of a dict, and evaluating them."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.desired import packaged
from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.settings import Contract, EvaluatorSettings, Kind, Limits, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.desired.nickel.settings import Evaluated
    from reconciler.desired.packaged import Packaged

REPOSITORY = Path(__file__).resolve().parents[3]
KINDS = [Kind.WHEEL, *([Kind.CLI] if shutil.which("nickel") else [])]
"""Every evaluator that this machine has."""

THING = Contract("schemas/thing.ncl", "Thing", "schemas/json/thing.json")
ANYTHING = Contract("schemas/thing.ncl", "Anything", "schemas/json/anything.json")
QUICK = Limits(seconds=2.0, memory=256 << 20)

_SCHEMA = """{
  Thing | not_exported = { name | String, size | Number | default = 1, tags | Array String | optional },
  Anything | not_exported = Dyn,
}"""
_DEFAULTS = """let S = import "../schemas/thing.ncl" in
{ make_thing | not_exported = fun value => value | S.Thing, usual = "usual" }"""
_TWIN = """{"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
  "name": {"type": "string", "description": "A name."}, "size": {"type": "number", "default": 1},
  "tags": {"type": "array", "items": {"type": "string"}}}}"""


class Commit:
    """A commit held in memory; counts what is read of it."""

    called = "the commit"

    def __init__(self, files: Mapping[str, str | bytes], modes: Mapping[str, str] | None = None) -> None:
        self.reads = 0
        self._blobs: dict[str, bytes] = {}
        self._entries: dict[str, tuple[str, str]] = {}
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self._blobs[blob] = data
            self._entries[path] = ((modes or {}).get(path, "100644"), blob)

    def lookup(self, path: str) -> tuple[str, str] | None:
        return self._entries.get(path)

    def read(self, blob: str) -> bytes:
        self.reads += 1
        return self._blobs[blob]

    def sources(self, paths: Iterable[str] | None = None) -> list[SourceFile]:
        return [SourceFile(path, self._entries[path][1]) for path in (self._entries if paths is None else paths)]


def schemas(root: Path, changed: Mapping[str, str] | None = None) -> Packaged:
    """A small set of packaged files, written below `root`."""
    files = {
        "schemas/thing.ncl": _SCHEMA,
        "schemas/json/thing.json": _TWIN,
        "schemas/json/anything.json": "{}",
        "defaults/thing.ncl": _DEFAULTS,
    } | dict(changed or {})
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return packaged.read(root)


def settings(
    root: Path, *, kind: Kind = Kind.WHEEL, cache: bool = False, limits: Limits = QUICK, workers: int = 1
) -> EvaluatorSettings:
    """Settings with the small packaged files."""
    base = root / "cache" / "evaluation.sqlite" if cache else None
    return EvaluatorSettings(base, workers, limits, kind, schemas(root / "packaged"))


def evaluated(
    commit: Commit, how: EvaluatorSettings, contract: Contract = THING, paths: Iterable[str] | None = None
) -> Mapping[str, Evaluated]:
    """`evaluate`, run to its end."""
    return asyncio.run(evaluate(commit, commit.sources(paths), contract, how))
