"""Compute `ssh`: a lease is a builder on one of the fleet's hosts, owned there by a supervisor that ends it by itself
when lian is not heard of any more."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.secret import Secret
from reconciler.ports.compute import NOT_REMOVED, TAKEN, Listing, NothingRented, Rental, Runner, Usage
from reconciler.providers.compute.configuration import Certificates, configuration
from reconciler.providers.compute.ssh import script
from reconciler.providers.compute.ssh.connection import UNREACHABLE, Done, Door, Identity, Lost, Room
from reconciler.providers.compute.ssh.machine import SshMachine, Timing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from reconciler.model.host import Host
    from reconciler.model.lease import Lease
    from reconciler.ports.access import Route
    from reconciler.ports.compute import LeaseRequest
    from reconciler.providers.compute.ssh.script import Listed

T = TypeVar("T")


@dataclass(slots=True)
class _Rented:
    """`machine` is None until its host is asked for the lease. Once it is `returned` nothing is kept alive."""

    starting: asyncio.Future[Runner] | None = None
    machine: SshMachine | None = None
    returned: bool = False

    async def settle(self) -> None:
        """Until its start has ended: one that has asked for nothing yet is cancelled, and any other is waited for, as
        nobody knows what comes of it."""
        assert self.starting is not None
        while not self.starting.done():  # a cancellation may be lost in a dial that ends in that moment
            if self.machine is None:
                self.starting.cancel()
            await asyncio.wait({self.starting}, timeout=1.0)


@dataclass(slots=True)
class SshCompute:
    """Rents builders on these hosts. `scratch` is a folder of this machine for what is not sent yet or was brought
    back; `state` is the folder of all leases on each host."""

    hosts: Sequence[Host]
    identity: Identity
    scratch: Path
    state: str = script.STATE
    timing: Timing = field(default_factory=Timing)
    _rented: dict[str, _Rented] = field(default_factory=dict)
    _chosen: Counter[Host] = field(default_factory=Counter)
    """Of those that are being rented now: no listing tells of them yet."""
    _doors: dict[Host, Door] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """See the port: other fleets may use the same hosts."""
        return True

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port. Raises LianError `compute-unavailable` naming what is lacking there or here, `lease-taken`,
        `disk-full`, `builder-start-failed` with the end of the builder's log, or what `connect` raises."""
        if shutil.which("rsync") is None:
            raise NothingRented(_no_rsync())
        rented = self._rented.get(lease.name)
        if rented is None:
            rented = self._rented[lease.name] = _Rented()
            rented.starting = asyncio.ensure_future(self._start(rented, request, lease))
            rented.starting.add_done_callback(_seen)
        try:
            return await _started(rented, lease.name)
        except NothingRented:
            self._rented.pop(lease.name, None)  # nobody gives it back, and the name may be asked for again
            raise

    async def describe(self, lease: str) -> Rental | None:
        """See the port. Raises LianError if a host that may have it cannot be asked."""
        answers, problems = await self._answers(self._listed)
        for one in (one for listed in answers.values() for one in listed if one.name == lease):
            return one.rental or one.unowned
        if problems:
            raise LianError(problems)
        return None

    async def owned_by(self, fleet: str) -> Listing:
        """See the port. Raises LianError if no host can be asked."""
        answers, problems = await self._answers(self._listed)
        if problems and not answers:
            raise LianError(problems)
        found = (one.rental for listed in answers.values() for one in listed)
        rentals = tuple(rental for rental in found if rental is not None and rental.lease.fleet == fleet)
        return Listing(rentals, tuple(problems))

    async def give_back(self, lease: str) -> None:
        """See the port."""
        try:
            if (rented := self._rented.get(lease)) is None:
                await self._on_each(lambda room: self._ended(room, lease))
            else:
                await self._take_back(rented)
        except LianError as error:
            raise _not_removed(lease, error) from error
        await asyncio.to_thread(shutil.rmtree, self.scratch / lease, ignore_errors=True)
        self._rented.pop(lease, None)

    async def usage(self, runner: Runner) -> Usage:
        """See the port. The daemon itself is not counted."""
        rented = self._rented.get(runner.lease)
        return Usage() if rented is None or rented.machine is None else await rented.machine.usage()

    async def _take_back(self, rented: _Rented) -> None:
        """Nothing of it is there any more. If this fails or is cut off, nothing keeps the lease alive, and it can be
        done again. Raises LianError."""
        rented.returned = True
        try:
            await rented.settle()
            if rented.machine is not None:
                await self._ended_on(rented.machine)
        finally:
            if rented.machine is not None:
                await to_its_end(rented.machine.close())

    async def _start(self, rented: _Rented, request: LeaseRequest, lease: Lease) -> Runner:
        with _before_asking():
            host = await self._choose(request.fleet)
        self._chosen[host] += 1
        try:
            dial = self._door(host).connect
            machine = SshMachine(host, lease.name, request.fleet, self.state, dial, self.timing)
            with _before_asking():
                first = await machine.first()
            with first as room:
                rented.machine = machine
                scratch = self._made(lease.name)
                await self._unless_returned(rented, machine)
                done = await self._asked(machine, room, request, lease)
            if done.status == script.TAKEN:
                rented.machine = None  # another one's is not ours to give back
            if done.status != 0:
                await machine.close()
                raise LianError(_no_runner(host, done, lease.name))
            await self._unless_returned(rented, machine)
            machine.attend()
        finally:
            self._chosen[host] -= 1
        return Runner(lease.name, f"unix://{machine.folder}/socket", scratch, _version(done.output), machine)

    async def _unless_returned(self, rented: _Rented, machine: SshMachine) -> None:
        """If it was returned meanwhile it ends, for who returned it may have been cut off. Raises LianError, or
        CancelledError, as nobody waits for it any more."""
        if rented.returned:
            try:
                await self._ended_on(machine)
            finally:
                await to_its_end(machine.close())
            raise asyncio.CancelledError

    async def _asked(self, machine: SshMachine, room: Room, request: LeaseRequest, lease: Lease) -> Done:
        """Once: whether it was done is not known if the connection breaks. Raises LianError."""
        cgroup = cgroup_of(machine.folder)
        terms = [cgroup, str(self.timing.silence), str(max(1, int(request.deadline)))]
        words = script.command(self.state, "rent", lease.name, *terms)
        try:
            return await room.run(words, script.handed(_contents(machine.folder, cgroup, request, lease)))
        except Lost as error:
            raise LianError(_broken(machine.host, error)) from error

    async def _choose(self, fleet: str) -> Host:
        """The host with the fewest leases of ours, of those that answer; the only one need not be asked. Raises
        LianError if none does."""
        if len(self.hosts) == 1:
            return self.hosts[0]
        answers, problems = await self._answers(self._listed)
        if not answers:
            raise LianError(problems)
        counts: Counter[Host] = Counter()
        for host, listed in answers.items():
            rentals = [one.rental for one in listed]
            counts[host] = sum(rental is not None and rental.lease.fleet == fleet for rental in rentals)
        return min(answers, key=lambda host: counts[host] + self._chosen[host])

    def _door(self, host: Host) -> Door:
        return self._doors.setdefault(host, Door(host, self.identity))

    async def _on_each(self, work: Callable[[Room], Awaitable[T]]) -> list[T]:
        """On all hosts at once; what is wrong with any is raised when all have answered."""
        answers, problems = await self._answers(work)
        if problems:
            raise LianError(problems)
        return list(answers.values())

    async def _answers(self, work: Callable[[Room], Awaitable[T]]) -> tuple[dict[Host, T], list[Problem]]:
        """Of all hosts at once: what those that can be asked say, and what is wrong with the others."""
        ends = await asyncio.gather(*(self._on(host, work) for host in self.hosts), return_exceptions=True)
        answers: dict[Host, T] = {}
        problems: list[Problem] = []
        for host, end in zip(self.hosts, ends, strict=True):
            if isinstance(end, LianError):
                problems += end.problems
            elif isinstance(end, BaseException):
                raise end
            else:
                answers[host] = end
        return answers, problems

    async def _on(self, host: Host, work: Callable[[Room], Awaitable[T]]) -> T:
        """Over a connection of its own. Raises LianError."""
        connection = await self._door(host).connect()
        try:
            with connection.take() as room:
                return await work(room)
        except Lost as error:
            raise LianError(_broken(host, error)) from error
        finally:
            await connection.close()

    async def _listed(self, room: Room) -> list[Listed]:
        """Raises Lost or LianError."""
        done = await room.run(script.command(self.state, "list"))
        if done.status != 0:
            raise LianError(_refused(room.host, done.cause or f"it ended with status {done.status}"))
        try:
            return list(script.listed(done.output))
        except ValueError as error:
            raise LianError(_refused(room.host, str(error))) from error

    async def _ended_on(self, machine: SshMachine) -> None:
        """Over the lease's own connection if it holds. Raises LianError."""
        try:
            with await machine.room() as room:
                return await self._ended(room, machine.lease)
        except (Lost, LianError):
            return await self._on(machine.host, lambda room: self._ended(room, machine.lease))

    async def _ended(self, room: Room, lease: str) -> None:
        """Nothing of it is on this host. Raises Lost or LianError."""
        done = await room.run(script.command(self.state, "end", lease))
        if done.status != 0:
            told = done.output.decode(errors="replace") + done.errors
            raise LianError(_left(room.host, lease, "; ".join(told.splitlines())))

    def _made(self, lease: str) -> Path:
        """The lease's folder on this machine. Raises LianError."""
        scratch = self.scratch / lease
        try:
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder {scratch} for what is built elsewhere cannot be made"
            code = "disk-full" if error.errno == errno.ENOSPC else "compute-unavailable"
            hint = "give lian's cache folder a place that can be written to and has room"
            raise LianError(Problem(code, message, cause=error.strerror, hint=hint, next=Next.HOLD)) from error
        return scratch


async def _started(rented: _Rented, lease: str) -> Runner:
    """What its start gives. Raises what that raises, or NothingRented when cancelled before a host was asked."""
    assert rented.starting is not None
    try:
        return await asyncio.shield(rented.starting)
    except asyncio.CancelledError:
        if rented.machine is None:
            await to_its_end(rented.settle())
        if rented.machine is None:
            raise NothingRented(_cut_off(lease)) from None
        raise


def _seen(starting: asyncio.Future[Runner]) -> None:
    """What it raises when nobody waits for it any more."""
    if not starting.cancelled():
        starting.exception()


@contextlib.contextmanager
def _before_asking() -> Iterator[None]:
    """What fails in the block fails before a host is asked for the lease. Raises NothingRented."""
    try:
        yield
    except LianError as error:
        raise NothingRented(error.problems) from error


def cgroup_of(folder: str) -> str:
    """The name of the cgroup of a lease with this folder there: those of one name in two folders must not share one."""
    return f"{folder.rpartition('/')[2]}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}"


def _contents(folder: str, cgroup: str, request: LeaseRequest, lease: Lease) -> dict[str, bytes]:
    """The lease's files there: first of all, whose it is."""
    record = {"kind": "lease", "version": 1} | lease.to_json()
    contents = {"lease.json": json.dumps(record).encode(), "supervisor": script.text().encode()}
    certificates = {route.host: _certificates(route, n, folder, contents) for n, route in enumerate(request.routes)}
    contents["buildkitd.toml"] = configuration(request, f"/lian/{cgroup}", certificates).encode()
    return contents


def _certificates(route: Route, number: int, folder: str, contents: dict[str, bytes]) -> Certificates:
    """A host's, as files in memory there."""

    def file(name: str, content: str | Secret) -> Path:
        text = content.reveal() if isinstance(content, Secret) else content
        contents[f"private/{number}-{name}"] = text.encode("utf-8", "surrogateescape")
        return Path(f"{folder}/private/{number}-{name}")

    authorities = tuple(file(f"{n}.crt", pem) for n, pem in enumerate(route.authorities))
    if route.identity is None:
        return Certificates(authorities)
    pair = file("client.cert", route.identity.certificate), file("client.key", route.identity.key)
    return Certificates(authorities, pair)


def _version(output: bytes) -> str:
    """From what it says last, `buildkitd github.com/moby/buildkit v0.33.1 <commit>`."""
    words = (output.decode(errors="replace").strip().splitlines() or [""])[-1].split()
    return f"buildkit {words[2]}" if len(words) > 2 else "buildkit"


def _no_runner(host: Host, done: Done, lease: str) -> Problem:
    if done.status == script.LACKING:
        return Problem(
            "compute-unavailable",
            f"{host} cannot build: {', '.join(done.output.decode(errors='replace').split())} missing",
            hint="install the programs there, where a login finds them, and log in as root; see docs/runners.md",
            next=Next.HOLD,
        )
    if done.status == script.TAKEN:
        hint = "run `lian runners sweep` if no pass of lian is running, and try again"
        return Problem(TAKEN, f"the lease {lease} exists already on {host}", hint=hint, next=Next.RETRY)
    if script.is_full(done.errors):
        message = f"no space is left for the builder's state on {host}"
        hint = "make room there, in /var/lib/lian and in memory"
        return Problem("disk-full", message, cause=done.cause, hint=hint, next=Next.RETRY)
    message = f"the builder did not start on {host}"
    hint = "the cause is the end of what it said; see what the machine needs in docs/runners.md"
    return Problem("builder-start-failed", message, cause=done.cause, hint=hint, next=Next.RETRY)


def _no_rsync() -> Problem:
    message = "this machine cannot send contexts: rsync is not on PATH"
    return Problem("compute-unavailable", message, hint="install rsync 3.2 or newer here, too", next=Next.HOLD)


def _cut_off(lease: str) -> Problem:
    return Problem("compute-unavailable", f"no host was asked for {lease}: it was cancelled before", next=Next.RETRY)


def _refused(host: Host, cause: str) -> Problem:
    hint = "let lian log in as root, with a POSIX shell"
    message = f"{host} does not tell what is rented there"
    return Problem("compute-unavailable", message, cause=cause, hint=hint, next=Next.HOLD)


def _broken(host: Host, error: Lost) -> Problem:
    message = f"the connection to {host} broke"
    hint = "check the network between here and there if it happens again"
    return Problem(UNREACHABLE, message, cause=str(error), hint=hint, next=Next.RETRY)


def _left(host: Host, lease: str, what: str) -> Problem:
    return Problem(NOT_REMOVED, f"{lease} is still there on {host}", cause=what, next=Next.RETRY)


def _not_removed(lease: str, error: LianError) -> LianError:
    told = "; ".join(f"{p.message}: {p.cause}" if p.cause else p.message for p in error.problems)
    hint = "what lian is not heard of ends by itself; the next sweep tries again"
    message = f"the lease {lease} could not be removed completely"
    return LianError(Problem(NOT_REMOVED, message, cause=told, hint=hint, next=Next.RETRY))
