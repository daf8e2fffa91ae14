"""Where files are evaluated: a scratch folder with its workers. Settles one chunk of files at a time and worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.desired.nickel import diagnostics, driver
from reconciler.desired.nickel.isolate import separate
from reconciler.desired.nickel.pool import Pool, Reply, Status, Worker
from reconciler.desired.nickel.report import SYNTAX, Reporter
from reconciler.desired.nickel.scratch import Scratch
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.desired.nickel.engine import Engine
    from reconciler.desired.nickel.settings import Contract, EvaluatorSettings, SourceFile
    from reconciler.desired.nickel.twin import Twin
    from reconciler.desired.nickel.verdicts import Verdicts
    from reconciler.desired.packaged import Packaged

_IMPORTS = (f"../{driver.PACKAGED}",)


class Workshop:
    """Open from its making until `close`."""

    def __init__(
        self, engine: Engine, packaged: Packaged, contract: Contract, settings: EvaluatorSettings, verdicts: Verdicts
    ) -> None:
        """Raises LianError if the scratch folder cannot be made."""
        self._contract = contract
        self._limits = settings.limits
        self._verdicts = verdicts
        self._broken: dict[tuple[str, str], Reply] = {}
        self._sound = False
        try:
            self._scratch = Scratch(packaged, verdicts.content).__enter__()
        except OSError as error:
            raise LianError(_no_room(error)) from error
        workers = [Worker(self._scratch.root, engine.command, settings.limits) for _ in range(settings.parallel)]
        self._pool = Pool(workers)

    async def close(self) -> None:
        """End the workers and remove the folder."""
        try:
            await self._pool.close()
        finally:
            await asyncio.to_thread(self._scratch.__exit__)

    async def settle(
        self, files: Sequence[tuple[SourceFile, Sequence[tuple[str, str]]]], twin: Twin
    ) -> tuple[Mapping[str, Reply], Mapping[str, tuple[Problem, ...]]]:
        """Evaluate files, each with its closure. Every path gets its reply, every bad one its problems.

        Raises LianError if the disk is full or the packaged files are broken, WorkerStartError.
        """
        closures = {file.path: closure for file, closure in files}
        blobs = {file.path: file.blob for file, _ in files}
        async with self._pool.worker() as worker:
            try:
                for closure in closures.values():
                    self._scratch.put(closure)
                trial = _Trial(self, worker, closures)
                replies = await separate(list(closures), trial, self._limits)
                bad = {path: reply for path, reply in replies.items() if reply.status is not Status.OK}
                if not bad:
                    return replies, {}
                self._scratch.open_packaged()
            except OSError as error:
                raise LianError(_no_room(error)) from error
            reporter = Reporter(
                ask=trial.evaluate, ours=self._scratch.ours, plain=self._scratch.plain,
                text=lambda path: self._verdicts.content(blobs[path]).decode(), twin=twin, limits=self._limits,
            )  # fmt: skip
            return replies, await reporter.all(bad)


class _Trial:
    """One chunk before one worker: what `isolate` asks of it."""

    def __init__(self, shop: Workshop, worker: Worker, closures: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        self._shop = shop
        self._worker = worker
        self._closures = closures

    async def ask(self, paths: Sequence[str], seconds: float) -> Reply:
        """Evaluate files under the contract; learns which imported files cannot be read."""
        expression = driver.checked(paths, self._shop._contract)
        reply = await self._worker.ask(expression, _IMPORTS, [driver.key(path) for path in paths], seconds)
        if reply.status is Status.ERROR:
            if self.blame(reply.error, paths) is None:
                await self._doubt()
            elif len(paths) == 1:
                self._learn(paths[0], reply)
        return reply

    async def evaluate(self, expression: str, imports: Sequence[str], keys: Sequence[str] | None) -> Reply:
        """Evaluate an expression about one file."""
        return await self._worker.ask(expression, imports, keys, self._shop._limits.seconds)

    def blame(self, error: str, paths: Sequence[str]) -> str | None:
        """The file of `paths` that Nickel's text names."""
        return diagnostics.blamed(error, self._shop._scratch.ours, paths)

    def foreseen(self, path: str) -> Reply | None:
        """The reply that a file with a broken import will have."""
        broken = self._shop._broken
        return next((broken[each] for each in self._closures[path] if each in broken), None) if broken else None

    def _learn(self, path: str, reply: Reply) -> None:
        """A syntax error in an imported file is the same for whoever imports it."""
        found = diagnostics.read(reply.error)
        if found and SYNTAX.match(found[0].headline):
            culprit = next((self._shop._scratch.ours(s.file) for s in found[0].spots if s.primary), None)
            if culprit != path:
                self._shop._broken.update({each: reply for each in self._closures[path] if each[0] == culprit})

    async def _doubt(self) -> None:
        """An error that names no file of ours: is it the contract itself? Raises LianError if it is."""
        if self._shop._sound:
            return
        reply = await self._worker.ask(driver.trusted(self._shop._contract), _IMPORTS, None, self._shop._limits.seconds)
        if reply.status is Status.ERROR:
            raise LianError(
                Problem(
                    "installation-broken",
                    "the schemas that ship with lian cannot be evaluated",
                    cause=self._shop._scratch.plain("\n".join(d.headline for d in diagnostics.read(reply.error))),
                    hint="install lian again",
                    next=Next.PERSON,
                )
            )
        self._shop._sound = True


def _no_room(error: OSError) -> Problem:
    return Problem(
        "scratch-unwritable", "files for the evaluator cannot be written", cause=error.strerror,
        hint="make room in the temporary folder, or name another one in TMPDIR", next=Next.RETRY,
    )  # fmt: skip
