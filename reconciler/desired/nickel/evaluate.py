"""Files of a commit -> values or problems: guard, cache, workers, check, report.

Files pass in batches: while workers evaluate one chunk, the next is guarded and looked up in the cache.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.desired import packaged as shipped
from reconciler.desired.nickel import driver, engine, guard
from reconciler.desired.nickel.cache import Cache, Stored
from reconciler.desired.nickel.engine import WorkerStartError
from reconciler.desired.nickel.imports import Imports
from reconciler.desired.nickel.settings import Evaluated, EvaluatorSettings, Kind, SourceFile
from reconciler.desired.nickel.twin import Twin
from reconciler.desired.nickel.verdicts import Verdicts
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.desired.nickel.engine import Engine
    from reconciler.desired.nickel.pool import Reply
    from reconciler.desired.nickel.settings import Contract, Tree
    from reconciler.desired.nickel.twin import Finding
    from reconciler.desired.nickel.workshop import Workshop

CHUNK = 200
"""Files of one request: 100 to 500 cost the same (0.5 ms a file), one alone costs 6 ms."""
_SMALL = 50
"""Files that are not worth a second worker."""


async def evaluate(
    tree: Tree, files: Sequence[SourceFile], contract: Contract, settings: EvaluatorSettings
) -> Mapping[str, Evaluated]:
    """Evaluate each file under the contract. Every file gets an answer under its path; a bad one costs no other.

    Raises LianError if nothing can be evaluated at all: no Nickel, no room for the scratch folder, packaged files that
    are broken.
    """
    if not files:
        return {}
    chosen = await engine.choose(settings)
    try:
        return await _run(tree, files, contract, settings, chosen)
    except WorkerStartError as error:
        if chosen.command is None or settings.kind is Kind.CLI:
            raise LianError(_unusable(chosen, error)) from error
    wheel = await engine.choose(EvaluatorSettings(kind=Kind.WHEEL))
    try:
        return await _run(tree, files, contract, settings, wheel)
    except WorkerStartError as error:
        raise LianError(_unusable(wheel, error)) from error


async def _run(
    tree: Tree, files: Sequence[SourceFile], contract: Contract, settings: EvaluatorSettings, chosen: Engine
) -> Mapping[str, Evaluated]:
    with Cache(settings.cache) as cache:
        evaluation = _Evaluation(tree, contract, settings, chosen, cache)
        try:
            await evaluation.all(list({file.path: file for file in files}.values()))
        except ExceptionGroup as group:
            raise _first(group) from group
    return evaluation.results


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first thing that went wrong in parallel work; the rest follows from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _unusable(chosen: Engine, error: WorkerStartError) -> Problem:
    return Problem(
        "nickel-missing", f"the Nickel evaluator ({chosen.identity}) does not start",
        cause=str(error), hint="try it by hand: `nickel --version`, or `python -c 'import nickel'`",
    )  # fmt: skip


class _Job(NamedTuple):
    """A file that must be evaluated."""

    file: SourceFile
    key: bytes
    closure: tuple[tuple[str, str], ...]


class _Evaluation:
    """One call of `evaluate`."""

    def __init__(
        self, tree: Tree, contract: Contract, settings: EvaluatorSettings, chosen: Engine, cache: Cache
    ) -> None:
        self._tree = tree
        self._contract = contract
        self._settings = settings
        self._engine = chosen
        self._cache = cache
        self._packaged = settings.packaged or shipped.find()
        self._twin = Twin(self._packaged.document(contract.twin))
        self._verdicts = Verdicts(tree, cache)
        self._imports = Imports(tree, self._packaged, self._verdicts.of)
        self._workshop: Workshop | None = None
        self._base = self._key_base()
        self.results: dict[str, Evaluated] = {}

    async def all(self, files: Sequence[SourceFile]) -> None:
        """Fill `results`."""
        chunk = min(CHUNK, max(_SMALL, -(-len(files) // self._settings.parallel)))
        gate = asyncio.Semaphore(self._settings.parallel)
        waiting: list[_Job] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                for start in range(0, len(files), CHUNK):
                    waiting.extend(self._unknown(files[start : start + CHUNK]))
                    last = start + CHUNK >= len(files)
                    while len(waiting) >= chunk or (waiting and last):
                        part, waiting = waiting[:chunk], waiting[chunk:]
                        await gate.acquire()
                        tasks.create_task(self._through(gate, part))
                    await asyncio.sleep(0)
        finally:
            if self._workshop:
                await self._workshop.close()

    def _unknown(self, files: Sequence[SourceFile]) -> list[_Job]:
        """Settle the files that are refused by the guard or stand in the cache; the rest are jobs."""
        self._verdicts.foresee(files)
        jobs = []
        for file in files:
            closure = self._imports.closure(file)
            if closure.problems:
                self.results[file.path] = Evaluated(None, closure.problems)
            else:
                jobs.append(_Job(file, self._key(file, closure.files), closure.files))
        self._verdicts.keep()
        jobs = [job for job in jobs if not self._has_shared(job)]
        stored = self._cache.results([job.key for job in jobs])
        known = [(job.file.path, stored[job.key]) for job in jobs if job.key in stored]
        values = _values([result.text for _, result in known if result.text is not None])
        for path, result in known:
            self.results[path] = Evaluated(next(values)) if result.text is not None else _remembered(result)
        self._share(job for job in jobs if job.key in stored)
        return [job for job in jobs if job.key not in stored]

    def _has_shared(self, job: _Job) -> bool:
        """Take the value that another tree has as well."""
        value = self._settings.shared.get(job.key) if self._settings.shared else None
        if value is not None:
            self.results[job.file.path] = value
        return value is not None

    def _share(self, jobs: Iterable[_Job]) -> None:
        if self._settings.shared is not None:
            results = ((job.key, self.results[job.file.path]) for job in jobs)
            self._settings.shared.update((key, value) for key, value in results if not value.problems)

    async def _through(self, gate: asyncio.Semaphore, jobs: Sequence[_Job]) -> None:
        from reconciler.desired.nickel.workshop import Workshop  # what is in the cache needs no workers

        try:
            if self._workshop is None:
                self._workshop = Workshop(self._engine, self._packaged, self._contract, self._settings, self._verdicts)
            replies, problems = await self._workshop.settle([(job.file, job.closure) for job in jobs], self._twin)
            self._take(jobs, replies, problems)
        finally:
            gate.release()

    def _take(
        self, jobs: Sequence[_Job], replies: Mapping[str, Reply], problems: Mapping[str, tuple[Problem, ...]]
    ) -> None:
        """Keep what a chunk has come to."""
        from reconciler.desired.nickel.report import LASTING

        lasting: dict[bytes, Stored] = {}
        passing: dict[bytes, Stored] = {}
        good = [job for job in jobs if job.file.path not in problems]
        texts = [replies[job.file.path].texts[0] or b"" for job in good]
        for job, text, value in zip(good, texts, _values(texts), strict=True):
            lasting[job.key] = self._checked(job.file.path, text, value)
        for job in jobs:
            path = job.file.path
            if path in problems:
                self.results[path] = Evaluated(None, problems[path])
                kept = lasting if replies[path].status in LASTING else passing
                kept[job.key] = Stored(None, problems[path])
        self._share(jobs)
        self._cache.remember(lasting)
        self._cache.quarantine(passing)

    def _checked(self, path: str, text: bytes, value: Any) -> Stored:
        """Hold a value that the contract let through against the twin."""
        if self._twin.accepts(value):
            self.results[path] = Evaluated(value)
            return Stored(text)
        problems = tuple(_mismatch(path, finding) for finding in self._twin.findings(value))
        self.results[path] = Evaluated(None, problems)
        return Stored(None, problems)

    def _key_base(self) -> hashlib._Hash:
        limits, contract = self._settings.limits, self._contract
        said = [
            self._engine.identity, driver.VERSION, guard.VERSION, contract.file, contract.name, contract.twin,
            self._packaged.digest, limits.output, limits.seconds, limits.memory,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(said).encode())

    def _key(self, file: SourceFile, closure: Sequence[tuple[str, str]]) -> bytes:
        key = self._base.copy()
        key.update("\n".join((file.path, *(f"{path}\0{blob}" for path, blob in closure))).encode())
        return key.digest()


def _values(texts: Sequence[bytes]) -> Iterator[Any]:
    """Parse JSON texts together: the field names that they share are kept once."""
    return iter(json.loads(b"[" + b",".join(texts) + b"]"))


def _remembered(result: Stored) -> Evaluated:
    if result.wait is None:
        return Evaluated(None, result.problems)
    again = f"it is tried again when it changes, or in {max(1, round(result.wait / 60))} min"
    return Evaluated(None, tuple(replace(p, hint=f"{p.hint}; {again}" if p.hint else again) for p in result.problems))


def _mismatch(path: str, finding: Finding) -> Problem:
    return Problem(
        "schema-mismatch", finding.message, path, cause="the contract accepts this and its JSON Schema does not",
        hint="report it: this is a fault of lian", next=Next.BUG,
    )  # fmt: skip
