"""The builder: BuildKit's own client `buildctl`, one process for each build, against the runner's address."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path
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
from reconciler.providers.builder.lending import Lent, secret_words
from reconciler.providers.builder.patience import Held, Patience
from reconciler.providers.builder.progress import Progress

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from reconciler.ports.access import Access
    from reconciler.ports.builder import BuildRequest, StepSeen
    from reconciler.ports.compute import Runner

CHUNK = 1 << 16
KEEP_SECONDS = 600.0
"""Exports of caches have been seen to hang for hours (buildkit#6008)."""
READ_SECONDS = 60.0
"""A layer that comes slowly moves every few moments; one that does not come at all is worth no more than this."""

_TIE = '[ "$PPID" = "$0" ] && exec "$@"'
_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


class BuildctlBuilder:
    """`access` gives credentials and certificates for the registries that a build needs, None for none. `limit_swap`
    False is for machines whose kernel does not account swap, where runc refuses such a limit. `end_seconds` is how long
    a build may take to end its steps once it is told to, before its client is killed. `keep_seconds` is how long it may
    go on writing its cache after everything else is done, `read_seconds` how long one that it reads may be silent."""

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
        self._buildctl = buildctl
        self._access = access
        self._limit_swap = limit_swap
        self._end_seconds = end_seconds
        self._keep_seconds, self._read_seconds = keep_seconds, read_seconds

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        """See the port; the codes are those of `failure.RULES` and `failure.explain`."""
        began = time.monotonic()
        progress = Progress(await _mask(request))
        with _own_folder(runner.scratch) as own, Lent(own) as lent, _opened(request.log) as log:
            metadata = own / "metadata.json"
            words = build_words(runner.address, request, metadata, limit_swap=self._limit_swap)
            if self._access:
                words += await hand_over(self._access, hosts_of(request), own)
            words += secret_words(request.secrets, lent)
            process = await self._started(words, own, lent.descriptors)
            status = await self._follow(process, progress, log, seen, request)
            if status != 0:
                raise LianError(explain(_evidence(request, progress, status)))
            image = isinstance(request.destination, PushTo | WriteLayout)
            digest = _digest(metadata, request) if image else None
            cache = CacheMade() if request.cache_to is None else _cache(metadata, progress)
        return Built(digest, time.monotonic() - began, progress.steps, progress.pulled, cache)

    async def _started(self, words: list[str], home: Path, descriptors: Sequence[int]) -> Process:
        """Start it; a cancellation in that moment ends it again."""
        starting = asyncio.create_task(self._start(words, home, descriptors))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await to_its_end(_abandon(starting, self._end_seconds))
            raise

    async def _start(self, words: list[str], home: Path, descriptors: Sequence[int]) -> Process:
        """In a session of its own (a Ctrl-C at the terminal is for lian alone), killed when this process dies."""
        command = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _TIE, str(os.getpid()), str(self._buildctl), *words]
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(os.environ, home),
                start_new_session=True,
                pass_fds=descriptors,
            )
        except OSError as error:
            code = "argument-too-long" if error.errno == errno.E2BIG else "builder-unavailable"
            raise LianError(Problem(code, "BuildKit's client could not be started", cause=error.strerror)) from error

    async def _follow(
        self,
        process: Process,
        progress: Progress,
        log: BinaryIO,
        seen: Callable[[StepSeen], None],
        request: BuildRequest,
    ) -> int:
        """Wait for the end of buildctl; returns its status. Whatever else ends the wait ends buildctl first."""
        assert process.stderr is not None
        patience = Patience(self._read_seconds, self._keep_seconds)
        reading = asyncio.create_task(_read(process.stderr, progress, log, seen, patience))
        losing = asyncio.create_task(patience.lost())
        try:
            async with asyncio.timeout(request.deadline) as limit:
                await asyncio.wait({reading, losing}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise LianError(_held_up(request, *losing.result()))
                await reading
                return await process.wait()
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
            await to_its_end(_end(process, reading, self._end_seconds))


def _environment(inherited: Mapping[str, str], home: Path) -> dict[str, str]:
    """Only what leads outside. buildctl would take SOURCE_DATE_EPOCH and BUILDKIT_* from the caller's environment, and
    a configuration of the user's with credentials that this build does not need."""
    names = (*_PASSED_ON, *(name.lower() for name in _PASSED_ON), "PATH")
    passed = {name: inherited[name] for name in names if name in inherited}
    return passed | {"HOME": str(home), "DOCKER_CONFIG": str(home)}


async def _read(
    stream: StreamReader,
    progress: Progress,
    log: BinaryIO,
    seen: Callable[[StepSeen], None],
    patience: Patience,
) -> None:
    """Every line to the progress, what it makes of them to the log and the callback."""
    rest = b""
    while chunk := await stream.read(CHUNK):
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


async def _end(process: Process, reading: asyncio.Task[None], seconds: float) -> None:
    """End buildctl if it runs: asked first, so that the daemon ends the build's steps before we go on."""
    draining = asyncio.create_task(_drain(process, reading))
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        await asyncio.wait({draining}, timeout=seconds)
        _signal(process, signal.SIGKILL)
    await draining
    await process.wait()


async def _abandon(starting: asyncio.Task[Process], seconds: float) -> None:
    """End what was about to start, if it did."""
    await asyncio.wait({starting})
    if starting.exception() is None:
        await _end(starting.result(), asyncio.create_task(asyncio.sleep(0)), seconds)


async def _drain(process: Process, reading: asyncio.Task[None]) -> None:
    """Read on to the end, also when what reads has failed: a full pipe would keep buildctl from ending."""
    await asyncio.wait({reading})
    reading.exception()  # it was raised already, or the build is being given up
    assert process.stderr is not None
    while await process.stderr.read(CHUNK):
        pass


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


async def _mask(request: BuildRequest) -> Mask:
    """What the output must not show. To make it of much takes a moment."""
    return await asyncio.to_thread(Mask, request.secrets.values()) if request.secrets else NOTHING


@contextlib.contextmanager
def _own_folder(scratch: Path) -> Iterator[Path]:
    """For what belongs to one build."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="build-", dir=scratch, ignore_cleanup_errors=True)
    except OSError as error:
        code = "disk-full" if error.errno == errno.ENOSPC else "builder-lost"
        message = f"nothing can be written in the runner's folder {scratch}"
        raise LianError(Problem(code, message, cause=error.strerror, next=Next.RETRY)) from error
    with folder as own:
        yield Path(own)


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


def _digest(metadata: Path, request: BuildRequest) -> Digest:
    """Of what the exporter made (`containerimage.digest`)."""
    try:
        return Digest.parse(json.loads(metadata.read_bytes())["containerimage.digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LianError(
            Problem(
                "digest-missing",
                "BuildKit reported success but not what it made",
                artifact=request.artifact,
                cause=repr(error),
                next=Next.BUG,
            )
        ) from error


def _cache(metadata: Path, progress: Progress) -> CacheMade:
    """`cache.manifest` is a JSON text in a JSON text; it is not there for a cache that is empty, or failed."""
    if (failure := progress.export_failure) is not None:
        return CacheMade(failure=failure)
    try:
        descriptor = json.loads(metadata.read_bytes()).get("cache.manifest")
        return CacheMade(Digest.parse(json.loads(descriptor)["digest"]) if descriptor else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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
