"""Compute `docker-local`: each lease is a container of this machine's Docker, gone with all it had when it is
returned, and by itself when its deadline is over."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.lease import LABEL, Lease
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import NOT_REMOVED, TAKEN, Listing, Rental, RentalState, Runner, Usage
from reconciler.providers.compute.docker import container, gauge, lease_folder, problems
from reconciler.providers.compute.docker.authorities import read_authorities
from reconciler.providers.compute.docker.engine import ANSWER_SECONDS, Engine
from reconciler.providers.compute.docker.gauge import Gauge
from reconciler.providers.compute.docker.hijack import OUTPUT
from reconciler.providers.compute.docker.image import RunnerImage
from reconciler.providers.compute.docker.relay import Relay
from reconciler.providers.compute.docker.socket import find_socket
from reconciler.providers.compute.greeting import greeted
from reconciler.providers.compute.lease_folders import LeaseFolders

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from reconciler.ports.compute import LeaseRequest
    from reconciler.providers.compute.docker.hijack import Connection
    from reconciler.providers.compute.docker.image import Programs
    from reconciler.providers.compute.lease_folders import LeaseFolder

START_SECONDS = 60.0
"""How long the daemon may take to serve in its container."""
UNSURE_SECONDS = 3.0
"""How long a container is waited for that Docker may have been asked for by a process that died before the answer."""
REFUSED_SECONDS = 0.2
"""How long Docker may take to know that a container has ended in which it can start nothing more."""
POLL_SECONDS = 0.05
MAX_LOG = 1 << 14
"""Bytes kept of what the builder says."""

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")
_STATES = {"created": RentalState.STARTING, "running": RentalState.READY, "paused": RentalState.READY}


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """`url` is where Docker is, as unix:///path, and `image` what runners start from, where the fleet says so;
    `environ` is the environment: DOCKER_HOST, proxies and certificates are taken from it. `oldest` is the oldest
    release of BuildKit that does."""

    environ: Mapping[str, str]
    url: str | None = None
    image: str | None = None
    oldest: tuple[int, ...] = ()
    home: Path = field(default_factory=Path.home)


@dataclass(slots=True)
class _Rented:
    """What this process has of a lease."""

    folder: LeaseFolder
    making: asyncio.Task[Runner] | None = None
    container: str | None = None
    asked: bool = False
    """Whether Docker was asked for a container; without that it has nothing of the lease."""
    log: bytearray = field(default_factory=bytearray)
    gauge: Gauge | None = None
    open: AsyncExitStack = field(default_factory=AsyncExitStack)
    """Connections to the container."""

    def told(self, content: bytes) -> None:
        """The builder's output, of which the end is kept."""
        self.log += content
        del self.log[:-MAX_LOG]


class DockerLocalCompute:
    """Rents builders from this machine's Docker. `programs` are those of the runner's image, and `state` is the folder
    of all leases of this machine's user; `links` is that of short ways to sockets. Docker is waited for
    `answer_seconds` at each request, a builder that starts `start_seconds`, and a container that may still come
    `unsure_seconds`."""

    def __init__(
        self,
        programs: Programs,
        state: Path,
        settings: DockerSettings,
        links: Path | None = None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        start_seconds: float = START_SECONDS,
        unsure_seconds: float = UNSURE_SECONDS,
    ) -> None:
        self._programs, self._settings = programs, settings
        self._answer_seconds, self._start_seconds = answer_seconds, start_seconds
        self._unsure_seconds = unsure_seconds
        self._folders = LeaseFolders(state.absolute(), links or lease_folder.links_folder())
        self._rented: dict[str, _Rented] = {}
        self._made: Engine | None = None
        self._image: RunnerImage | None = None
        self._loading: asyncio.Task[str] | None = None

    @property
    def shared(self) -> bool:
        """See the port: other users of this Docker, and other fleets, have containers there, too."""
        return True

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port. Raises LianError `compute-unavailable` naming what is missing, `runner-image-missing`,
        `lease-taken`, `builder-start-failed` with the end of the builder's log, or what Engine raises."""
        rented = self._rented.get(lease.name)
        if rented is None:
            rented = self._rented[lease.name] = _Rented(self._create(lease))
            rented.making = asyncio.create_task(self._make(request, lease, rented))
            rented.making.add_done_callback(_seen)
        assert rented.making is not None
        return await asyncio.shield(rented.making)

    async def describe(self, lease: str) -> Rental | None:
        """See the port."""
        folder = self._folders.folder(lease)
        found = await self._container(lease)
        if found is not None:
            its, _, word = found
            return Rental(its, self._state(folder, word))
        if folder.path.is_dir():
            return Rental(self._folders.lease(folder, ""), _without_container(folder))
        return next((Rental(its, RentalState.ENDED) for its, _ in await self._volumes(lease)), None)

    async def owned_by(self, fleet: str) -> Listing:
        """See the port. What has a folder here or a volume, and no container yet, or no more, is one as well."""
        found: dict[str, Rental] = {}
        of_the_fleet = [f"{LABEL}fleet={fleet}"]
        for volume in await self._engine().volumes(of_the_fleet):
            if (its := _lease_of(volume.get("Labels"))) is not None:
                found[its.name] = Rental(its, RentalState.ENDED)
        for folder in self._folders:
            found[folder.lease] = Rental(self._folders.lease(folder, fleet), _without_container(folder))
        for entry in await self._engine().containers(of_the_fleet):
            its = _lease_of(entry.get("Labels"))
            if its is not None and container.is_container_of(its, entry.get("Names")):
                state = self._state(self._folders.folder(its.name), entry.get("State"))
                found[its.name] = Rental(its, state)
        return Listing(tuple([rental for _, rental in sorted(found.items()) if rental.lease.fleet == fleet]))

    async def give_back(self, lease: str) -> None:
        """See the port."""
        folder = self._folders.folder(lease)
        try:
            if (rented := self._rented.get(lease)) is not None:
                await to_its_end(self._end(rented))
            if rented is None or rented.asked:
                await self._remove_from_docker(folder)
            await asyncio.to_thread(lease_folder.remove, folder)
        except LianError as error:
            raise LianError(self._not_removed(folder, error.problems[0])) from error
        except OSError as error:
            told = f"{error.filename or folder.path}: {error.strerror}"
            raise LianError(self._not_removed(folder, Problem(NOT_REMOVED, told, next=Next.RETRY))) from error
        self._rented.pop(lease, None)

    def _not_removed(self, folder: LeaseFolder, left: Problem) -> Problem:
        where = f"--host {shlex.quote(self._settings.url)} " if self._settings.url else ""
        remove = f"docker {where}rm --force --volumes {container.container_name(folder.lease)}"
        return Problem(
            NOT_REMOVED,
            f"the lease {folder.lease} could not be removed completely",
            cause="; ".join(part for part in (left.message, left.cause) if part),
            hint=f"`{remove}`, then remove {folder.path}; the next sweep tries again",
            next=Next.RETRY if left.code == problems.MISSING else left.next,
        )

    async def usage(self, runner: Runner) -> Usage:
        """See the port. The daemon itself is not counted."""
        rented = self._rented.get(runner.lease)
        return Usage() if rented is None or rented.gauge is None else await rented.gauge.usage()

    def _engine(self) -> Engine:
        if self._made is None:
            socket = find_socket(self._settings.url, self._settings.environ, self._settings.home)
            self._made = Engine(socket, self._answer_seconds)
        return self._made

    def _create(self, lease: Lease) -> LeaseFolder:
        try:
            folder = self._folders.create(lease)
            lease_folder.furnish(folder)
        except OSError as error:
            raise lease_folder.unmade(self._folders.state, error) from error
        return folder

    async def _make(self, request: LeaseRequest, lease: Lease, rented: _Rented) -> Runner:
        """All of it, in order; each step leaves what `give_back` finds."""
        engine = self._engine()
        image = await self._image_there(engine)
        furnishing = await asyncio.to_thread(self._furnishing, request)
        until = time.monotonic() + request.deadline
        rented.container = await self._container_made(engine, request, lease, rented, image)
        await engine.upload(rented.container, furnishing)
        await self._follow(engine, rented)
        await engine.start(rented.container)
        await self._ready(engine, rented)
        relay = Relay(engine, rented.container, rented.told)
        rented.open.push_async_callback(relay.close)
        rented.gauge = await self._gauge(engine, rented)
        builder = self._builder(await rented.gauge.builder(), image)
        await self._beside(rented, rented.gauge.watch())
        if time.monotonic() > until:
            raise LianError(problems.failed_start("its lease was over before it served", ""))
        try:
            await relay.serve(rented.folder.socket)
        except OSError as error:
            raise lease_folder.unmade(rented.folder.path, error) from error
        return Runner(lease.name, f"unix://{rented.folder.socket}", rented.folder.scratch, builder)

    def _furnishing(self, request: LeaseRequest) -> bytes:
        try:
            authorities = read_authorities(self._settings.environ)
        except OSError as error:
            told = f"{error.filename}: {error.strerror}"
            hint = "check SSL_CERT_FILE and SSL_CERT_DIR"
            problem = Problem("compute-unavailable", "whom to trust cannot be read", cause=told, hint=hint)
            raise LianError(problem) from error
        return container.furnishing(request, self._settings.environ, authorities)

    async def _image_there(self, engine: Engine) -> str:
        """The name of the runner's image, which Docker has. Several leases at once load it once."""
        if self._settings.image is not None:
            if await engine.image(self._settings.image) is None:
                raise LianError(problems.image_missing(self._settings.image))
            return self._settings.image
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._own_image(engine))
            self._loading.add_done_callback(_seen)
        return await asyncio.shield(self._loading)

    async def _own_image(self, engine: Engine) -> str:
        try:
            if self._image is None:
                wanted = Platform.parse(f"linux/{(await engine.version()).architecture}")
                files = await asyncio.to_thread(self._programs.gather, wanted)
                self._image = await asyncio.to_thread(RunnerImage.of, wanted, files)
            if await engine.image(self._image.name) is None:
                await engine.load(self._image.archive())
        except OSError as error:
            raise LianError(problems.unmade_image(error)) from error
        return self._image.name

    async def _container_made(
        self, engine: Engine, request: LeaseRequest, lease: Lease, rented: _Rented, image: str
    ) -> str:
        """A container's id. If its name is someone else's, nothing is left here. Raises LianError."""
        body = container.body(image, lease, request.deadline)
        try:
            lease_folder.note_asking(rented.folder, asking=True)
            rented.asked = True
            try:
                made = await self._created(engine, lease.name, body)
            except LianError as error:
                if error.problems[0].code not in problems.UNSETTLED:
                    lease_folder.note_asking(rented.folder, asking=False)
                raise
            lease_folder.note_asking(rented.folder, asking=False)
            if made is None:
                await asyncio.to_thread(lease_folder.remove, rented.folder)
                del self._rented[lease.name]
        except OSError as error:
            raise lease_folder.unmade(rented.folder.path, error) from error
        if made is None:
            raise LianError(_taken(lease.name))
        return made

    async def _created(self, engine: Engine, lease: str, body: Mapping[str, Any]) -> str | None:
        """See Engine. Where the answer was lost, what is there now is asked for, if the lease on it is this one."""
        try:
            return await engine.create(container.container_name(lease), body)
        except LianError as error:
            if error.problems[0].code in problems.UNSETTLED and (found := await self._container(lease)) is not None:
                return found[1]
            raise

    async def _follow(self, engine: Engine, rented: _Rented) -> None:
        """Keep the end of what the builder says, from its start on."""
        assert rented.container is not None
        connection = await rented.open.enter_async_context(await engine.attached(rented.container))
        await self._beside(rented, _read(connection, rented.told))

    async def _gauge(self, engine: Engine, rented: _Rented) -> Gauge:
        assert rented.container is not None
        connection = await rented.open.enter_async_context(
            await engine.running(rented.container, gauge.command(rented.container))
        )
        return Gauge(connection, self._answer_seconds, rented.told)

    @staticmethod
    async def _beside(rented: _Rented, work: Coroutine[Any, Any, None]) -> None:
        """Go on with it until the lease ends."""
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.wait({task})

        rented.open.push_async_callback(end)

    async def _ready(self, engine: Engine, rented: _Rented) -> None:
        """Return as soon as the daemon serves. Raises LianError if it ends before that, or takes too long."""
        assert rented.container is not None
        try:
            async with asyncio.timeout(self._start_seconds):
                while not await self._serves(engine, rented.container, rented.told):
                    if not await self._running(engine, rented.container):
                        raise LianError(problems.failed_start("its container ended", _text(rented.log)))
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            how = f"it did not serve within {self._start_seconds:g} s"
            raise LianError(problems.failed_start(how, _text(rented.log))) from error

    async def _serves(self, engine: Engine, made: str, told: Callable[[bytes], None]) -> bool:
        try:
            async with await engine.running(made, container.FIRST_DIAL) as connection:
                return await greeted(_Output(connection, told), connection.writer)
        except LianError as error:
            if error.problems[0].code != problems.REFUSED:
                raise
            await asyncio.sleep(REFUSED_SECONDS)
            if await self._running(engine, made):
                raise
            return False  # it has ended, and that is why

    async def _running(self, engine: Engine, made: str) -> bool:
        found = await engine.container(made)
        return found is not None and bool(found.get("State", {}).get("Running"))

    def _builder(self, said: str, image: str) -> str:
        """`buildkit <version>`, of `buildkitd github.com/moby/buildkit v0.33.1 …`. Raises LianError `docker-unsuitable`
        for one that is too old."""
        words = said.split()
        version = words[2] if len(words) > 2 else ""
        if _numbers(version) < self._settings.oldest:
            oldest = ".".join(map(str, self._settings.oldest))
            message = f"the image {image} has BuildKit {version or 'of no version'}; v{oldest} or newer is needed"
            raise LianError(problems.unsuitable(message, "name a newer one in `compute.image`, or leave it out"))
        return f"buildkit {version}".rstrip()

    async def _container(self, lease: str) -> tuple[Lease, str, object] | None:
        """The lease, the id and the state of the container that is this lease's. One of its name that says nothing of
        the lease is someone else's. Raises LianError."""
        found = await self._engine().container(container.container_name(lease))
        if found is None:
            return None
        config, state = found.get("Config"), found.get("State")
        its = _lease_of(config.get("Labels") if isinstance(config, dict) else None)
        if its is None or its.name != lease:
            return None
        return its, str(found["Id"]), state.get("Status") if isinstance(state, dict) else None

    async def _volumes(self, lease: str) -> Sequence[tuple[Lease, str]]:
        """The volumes of a lease. One goes with its container, but Docker forgets that when it dies meanwhile."""
        found = await self._engine().volumes([f"{LABEL}lease={lease}"])
        leases = ((_lease_of(volume.get("Labels")), volume) for volume in found)
        return [(its, str(volume["Name"])) for its, volume in leases if its is not None and its.name == lease]

    def _state(self, folder: LeaseFolder, word: object) -> RentalState:
        """By Docker's word for it. Where it was rented from this folder it is ready when there is a way to it."""
        state = _STATES.get(str(word), RentalState.ENDED)
        if state is RentalState.READY and folder.path.is_dir() and not folder.socket.exists():
            return RentalState.STARTING
        return state

    async def _end(self, rented: _Rented) -> None:
        """What this process has under way for it."""
        if rented.making is not None and not rented.making.done():
            rented.making.cancel()
            await asyncio.wait({rented.making})
        await rented.open.aclose()

    async def _remove_from_docker(self, folder: LeaseFolder) -> None:
        await self._remove_container(folder)
        for _, volume in await self._volumes(folder.lease):
            await self._engine().remove_volume(volume)

    async def _remove_container(self, folder: LeaseFolder) -> None:
        """Of what may have been asked for and is not there yet, nobody knows but Docker: it is waited for a moment."""
        end = time.monotonic() + self._unsure_seconds
        while True:
            if (found := await self._container(folder.lease)) is not None:
                return await self._engine().remove(found[1])
            if not lease_folder.may_be_asked(folder) or time.monotonic() > end:
                return None
            await asyncio.sleep(POLL_SECONDS)


class _Output:
    """A process's output as a stream of its own; `told` is given what it says of errors."""

    def __init__(self, connection: Connection, told: Callable[[bytes], None]) -> None:
        self._frames, self._told, self._rest = connection.frames(), told, b""

    async def readexactly(self, n: int) -> bytes:
        """Raises asyncio.IncompleteReadError at the end."""
        while len(self._rest) < n:
            try:
                stream, content = await anext(self._frames)
            except StopAsyncIteration as error:
                raise asyncio.IncompleteReadError(self._rest, n) from error
            if stream == OUTPUT:
                self._rest += content
            else:
                self._told(content)
        taken, self._rest = self._rest[:n], self._rest[n:]
        return taken


async def _read(connection: Connection, told: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # then there is nothing more to be told
        async for _, content in connection.frames():
            told(content)


def _lease_of(labels: object) -> Lease | None:
    """Of a container's labels; None for those of others, whatever stands in them."""
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        return None
    try:
        return Lease.from_labels(labels)
    except ValueError:
        return None


def _without_container(folder: LeaseFolder) -> RentalState:
    """It is still to come, or it has ended by itself."""
    return RentalState.ENDED if folder.socket.exists() else RentalState.STARTING


def _numbers(version: str) -> tuple[int, ...]:
    """Of `v0.33.1` and the like; none of anything else."""
    found = _VERSION.match(version)
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def _text(log: bytearray) -> str:
    return log.decode(errors="replace")


def _seen(task: asyncio.Task[Any]) -> None:
    """What it raises is told by whoever waits for it, if anyone does."""
    if not task.cancelled():
        task.exception()


def _taken(lease: str) -> Problem:
    return Problem(
        TAKEN,
        f"the lease {lease} exists already",
        cause=f"Docker has a container {container.container_name(lease)}",
        hint="run `lian runners sweep` if no pass of lian is running, and try again",
        next=Next.RETRY,
    )
