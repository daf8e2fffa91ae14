"""The builder: BuildKit's own client `buildctl`, one process for each build, on the runner's machine, against its
address."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.digest import Digest
from reconciler.model.masking import NOTHING, Mask
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.builder import CACHE_SILENT, CACHE_STALLED, Built, CacheMade
from reconciler.ports.publisher import PushTo, WriteLayout
from reconciler.providers.builder.arguments import build_words
from reconciler.providers.builder.credentials import hand_over, hosts_of
from reconciler.providers.builder.failure import Evidence, explain, timed_out
from reconciler.providers.builder.here import LocalMachine
from reconciler.providers.builder.lending import secret_words
from reconciler.providers.builder.moved import moved
from reconciler.providers.builder.patience import Held, Patience
from reconciler.providers.builder.progress import Progress
from reconciler.providers.builder.source_policy import source_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from reconciler.ports.access import Access
    from reconciler.ports.builder import BuildRequest, StepSeen
    from reconciler.ports.compute import Runner
    from reconciler.ports.machine import Running, Workplace

METADATA = "metadata.json"
POLICY = "source-policy.json"
KEEP_SECONDS = 600.0
"""Exports of caches have been seen to hang for hours (buildkit#6008)."""
READ_SECONDS = 60.0
"""A layer that comes slowly moves every few moments; one that does not come at all is worth no more than this."""
SENDING = "what it reads was being sent to the builder's machine"
FETCHING = "what it made was being brought back"


class BuildctlBuilder:
    """`buildctl` is this machine's, for runners that are reached from here. `access` gives credentials and certificates
    for the registries that a build needs, None for none. `limit_swap` False is for machines whose kernel does not
    account swap, where runc refuses such a limit. `end_seconds` is how long a build may take to end its steps once it
    is told to, before its client is killed. `keep_seconds` is how long it may go on writing its cache after everything
    else is done, `read_seconds` how long one that it reads may be silent."""

    def __init__(
        self,
        buildctl: Path,
        access: Access | None = None,
        *,
        limit_swap: bool = True,
        end_seconds: float = 5.0,
        keep_seconds: float = KEEP_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._here = LocalMachine(buildctl)
        self._access = access
        self._limit_swap = limit_swap
        self._end_seconds = end_seconds
        self._keep_seconds, self._read_seconds = keep_seconds, read_seconds

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        """See the port; the codes are those of `failure.RULES` and `failure.explain`."""
        began = time.monotonic()
        until = asyncio.get_running_loop().time() + request.deadline
        progress, machine = Progress(await _mask(request)), runner.machine or self._here
        async with machine.workplace(runner.scratch) as place:
            with _opened(request.log) as log:
                async with _within(until, request, progress, SENDING):
                    words = await self._words(runner, request, place)
                running = await place.start(words, {"HOME": str(place.folder), "DOCKER_CONFIG": str(place.private)})
                status = await self._follow(running, progress, log, seen, request, until)
            if status != 0:
                raise LianError(explain(_evidence(request, progress, status)))
            async with _within(until, request, progress, FETCHING):
                metadata = await _metadata(place)
                image = isinstance(request.destination, PushTo | WriteLayout)
                digest = _digest(metadata, request) if image else None
                cache = CacheMade() if request.cache_to is None else _cache(metadata, progress)
                await place.fetch()
        return Built(digest, time.monotonic() - began, progress.steps, progress.pulled, cache)

    async def _words(self, runner: Runner, request: BuildRequest, place: Workplace) -> list[str]:
        """With all that they name there. Raises LianError."""
        metadata = place.folder / METADATA
        there = await moved(request, place)
        words = build_words(runner.address, there, metadata, limit_swap=self._limit_swap)
        if request.pinned or request.frontend:
            policy = await place.write(POLICY, source_policy(request.pinned, only_pinned=request.frontend is not None))
            words += ["--source-policy-file", str(policy)]
        if self._access:
            words += await hand_over(self._access, hosts_of(request), place)
        return words + await secret_words(request.secrets, place)

    async def _follow(
        self,
        running: Running,
        progress: Progress,
        log: BinaryIO,
        seen: Callable[[StepSeen], None],
        request: BuildRequest,
        until: float,
    ) -> int:
        """Wait for the end of buildctl, `until` that time of the event loop's clock; returns its status. Whatever else
        ends the wait ends buildctl first."""
        patience = Patience(self._read_seconds, self._keep_seconds)
        reading = asyncio.create_task(_read(running, progress, log, seen, patience))
        losing = asyncio.create_task(patience.lost())
        try:
            async with asyncio.timeout_at(until) as limit:
                await asyncio.wait({reading, losing}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise LianError(_held_up(request, *losing.result()))
                await reading
                return await running.wait()
        except TimeoutError as error:
            if not limit.expired():
                raise
            if progress.only_keeps:
                raise LianError(_held_up(request, Held.KEEPING, patience.waited)) from error
            raise LianError(_gave_up(request, progress)) from error
        except OSError as error:
            raise LianError(_unwritable(request, error)) from error
        finally:
            losing.cancel()
            await to_its_end(_end(running, reading, self._end_seconds))


async def _read(
    running: Running,
    progress: Progress,
    log: BinaryIO,
    seen: Callable[[StepSeen], None],
    patience: Patience,
) -> None:
    """Every line to the progress, what it makes of them to the log and the callback."""
    rest = b""
    while chunk := await running.read():
        *lines, rest = (rest + chunk).split(b"\n")
        _take(lines, progress, log, seen)
        patience.saw(progress)
    _take([rest] if rest else [], progress, log, seen)


def _take(lines: list[bytes], progress: Progress, log: BinaryIO, seen: Callable[[StepSeen], None]) -> None:
    for line in lines:
        update = progress.feed(line)
        log.write(update.log)
        for step in update.seen:
            seen(step)
    log.flush()


async def _end(running: Running, reading: asyncio.Task[None], seconds: float) -> None:
    """End buildctl if it runs: asked first, so that the daemon ends the build's steps before we go on. Where its
    machine is lost nothing is left to be ended, and that has been told."""
    draining = asyncio.create_task(_drain(running, reading))
    if not running.ended:
        await running.terminate()
        await asyncio.wait({draining}, timeout=seconds)
        await running.kill()
    await draining
    with contextlib.suppress(LianError):
        await running.wait()


async def _drain(running: Running, reading: asyncio.Task[None]) -> None:
    """Read on to the end, also when what reads has failed: a full pipe would keep buildctl from ending."""
    await asyncio.wait({reading})
    reading.exception()  # it was raised already, or the build is being given up
    with contextlib.suppress(LianError):
        while await running.read():
            pass


async def _mask(request: BuildRequest) -> Mask:
    """What the output must not show. To make it of much takes a moment."""
    return await asyncio.to_thread(Mask, request.secrets.values()) if request.secrets else NOTHING


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        log = path.open("wb")
    except OSError as error:
        raise LianError(Problem("log-unwritable", f"the log {path} cannot be written", cause=error.strerror)) from error
    try:
        yield log
    finally:
        with contextlib.suppress(OSError):  # each write is flushed, so that closing tells nothing new
            log.close()


async def _metadata(place: Workplace) -> bytes:
    """What BuildKit says of what it made; nothing if it says nothing. Raises LianError if nobody can tell."""
    try:
        return await place.read(METADATA)
    except OSError:
        return b""


def _digest(metadata: bytes, request: BuildRequest) -> Digest:
    """Of what the exporter made (`containerimage.digest`)."""
    try:
        return Digest.parse(json.loads(metadata)["containerimage.digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise LianError(
            Problem(
                "digest-missing",
                "BuildKit reported success but not what it made",
                artifact=request.artifact,
                cause=repr(error),
                next=Next.BUG,
            )
        ) from error


def _cache(metadata: bytes, progress: Progress) -> CacheMade:
    """`cache.manifest` is a JSON text in a JSON text; it is not there for a cache that is empty, or failed."""
    if (failure := progress.export_failure) is not None:
        return CacheMade(failure=failure)
    try:
        descriptor = json.loads(metadata).get("cache.manifest")
        return CacheMade(Digest.parse(json.loads(descriptor)["digest"]) if descriptor else None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return CacheMade(failure=f"BuildKit does not say what it exported: {error!r}")


def _evidence(request: BuildRequest, progress: Progress, status: int) -> Evidence:
    return Evidence(
        artifact=request.artifact,
        dockerfile=request.dockerfile.name,
        tier=request.tier,
        log=str(request.log),
        status=status,
        text=progress.text,
        step=progress.failed,
        scanner=f"{request.scanner.repository}@{request.scanner.digest}" if request.scanner else None,
        reads_cache=bool(request.cache_from),
    )


@contextlib.asynccontextmanager
async def _within(until: float, request: BuildRequest, progress: Progress, what: str) -> AsyncIterator[None]:
    """The block has ended by that time of the event loop's clock, or is cancelled, and the build is given up while
    `what`. Raises LianError `build-timeout`."""
    try:
        async with asyncio.timeout_at(until) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        problem = _gave_up(request, progress)
        raise LianError(replace(problem, message=f"{problem.message}, while {what}")) from error


def _gave_up(request: BuildRequest, progress: Progress) -> Problem:
    evidence = _evidence(request, progress, 0)
    running = progress.running
    step = progress.interrupted(running[0]) if running else None
    return timed_out(replace(evidence, step=step), request.deadline)


def _held_up(request: BuildRequest, held: Held, seconds: float) -> Problem:
    if held is Held.READING:
        code, message = (
            CACHE_SILENT,
            f"the registry stopped answering while the build read its cache, for {seconds:g} s",
        )
    else:
        code, message = CACHE_STALLED, f"the image was built, but its cache was not written within {seconds:.0f} s"
    hint = f"look at the registry, or keep less with `cache.mode = 'Min`; see the whole log: {request.log}"
    return Problem(code, message, artifact=request.artifact, hint=hint, next=Next.RETRY)


def _unwritable(request: BuildRequest, error: OSError) -> Problem:
    code = "disk-full" if error.errno == errno.ENOSPC else "log-unwritable"
    return Problem(
        code,
        f"the log {request.log} cannot be written",
        artifact=request.artifact,
        cause=error.strerror,
        next=Next.RETRY,
    )
