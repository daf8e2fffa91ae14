"""The only place that names concrete classes: choose adapters, wrap them, hand them to a command as ports."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from reconciler.cache.home import is_cache
from reconciler.model.fleet import ComputeProvider, ComputeSettings
from reconciler.model.one_build import ByFlags
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.bundle import Locking, Ports, Previewing, Reading, Removing, Renting, Surveying
from reconciler.providers.builder import binaries

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from reconciler.adopt.init import Tools
    from reconciler.desired.source import GitSource
    from reconciler.model.artifact import Place
    from reconciler.model.contract import Contracts
    from reconciler.model.credential import SourceRef
    from reconciler.model.desired import Desired, Materials, SentFolder
    from reconciler.model.lease import Lease
    from reconciler.model.one_build import Asked
    from reconciler.model.rule import Written
    from reconciler.model.tier import Sizes
    from reconciler.model.tree import Entry
    from reconciler.ports.access import Access
    from reconciler.ports.archives import Archives
    from reconciler.ports.blob_files import BlobFiles
    from reconciler.ports.builder import BuildRequest, Built, StepSeen
    from reconciler.ports.clock import Clock
    from reconciler.ports.compute import Compute, LeaseRequest, Listing, Provider, Rental, Runner, Usage
    from reconciler.ports.inventory import Inventory
    from reconciler.ports.memory import Memory
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.recorder import Recorder
    from reconciler.ports.registry import Registry
    from reconciler.ports.remover import Remover
    from reconciler.ports.revisions import Revisions
    from reconciler.ports.signer import Signer, Verifier
    from reconciler.ports.source import Source
    from reconciler.ports.trigger import Trigger
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.secrets.handed_on import HandedOn
    from reconciler.providers.secrets.sources import Sources
    from reconciler.record.memory import FileMemory

LOGS_KEPT = 20
"""Passes whose build logs are kept."""
KEY_PASSWORD = "COSIGN_PASSWORD"
"""Opens the signing key; cosign's own name for it. Set and empty is a password too."""


def locate(name: str) -> binaries.Located:
    """Where something is that lian needs, for `lian doctor`. A busybox has to be one that runs inside a builder, and
    Docker one that answers."""
    if name == "docker":
        return _locate_docker()
    if name != "busybox":
        return binaries.locate(name)
    from reconciler.providers.archive.tool import find_tool

    try:
        return binaries.examine_program(name, find_tool().path, binaries.Wanted(asked="--help"))
    except LianError as error:
        return binaries.Located(name, None, None, error.problems[0].cause)


def _locate_docker() -> binaries.Located:
    """At the place that is looked at where no settings say another."""
    import asyncio

    from reconciler.providers.compute.docker.engine import Engine
    from reconciler.providers.compute.docker.socket import find_socket

    socket = None
    try:
        socket = find_socket(None, os.environ, Path.home())
        engine = Engine(socket, binaries.PROBE_SECONDS)
        return binaries.Located("docker", socket, asyncio.run(engine.version()).engine, None)
    except LianError as error:
        problem = error.problems[0]
        why = f"{problem.message}: {problem.cause}" if problem.cause else problem.message
        return binaries.Located("docker", socket, None, why)


def cache_folder(chosen: str | None) -> Path:
    """Where everything lies that can be made again: `--cache`, LIAN_CACHE, or lian's folder in the user's cache."""
    return Path(chosen).expanduser().absolute() if chosen else binaries.cache_folder()


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose: which repo, at which revision, against which registry; None leaves it to the settings."""

    repo: str
    rev: str
    registry: str | None
    cache: Path
    ssh_key: str | None = None
    """The private key's file for machines that are reached by SSH; None leaves it to the agent."""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Choice:
        """From the command line."""
        key = getattr(arguments, "ssh_key", None)  # verbs that rent nothing have none
        return cls(arguments.repo, arguments.rev, arguments.registry, cache_folder(arguments.cache), key)


class _Read(TypedDict):
    """The ports that every bundle begins with."""

    source: Source
    registry: Registry
    inventory: Inventory
    clock: Clock
    memory: Memory
    revisions: Revisions


class _Written(TypedDict):
    """Those that change a registry."""

    publisher: Publisher
    remover: Remover


@asynccontextmanager
async def reading(choice: Choice) -> AsyncIterator[Reading]:
    """The ports of a plan: nothing in them can write, and registries are asked for pull alone."""
    async with _connections() as connections:
        yield Reading(**_read(_memory(choice), _Learning(_source(choice), connections)))


@asynccontextmanager
async def previewing(choice: Choice, base: str) -> AsyncIterator[Previewing]:
    """The ports of a plan of what merging the chosen revision into `base` would do; as `reading`, they cannot write."""
    from reconciler.desired.merged_source import MergedSource

    source = MergedSource(
        choice.repo,
        base,
        choice.rev,
        cache=choice.cache,
        registry_override=choice.registry,
        secret=handed_on().withhold,
        credential=_sources().read,
    )
    async with _connections() as connections:
        read = _read(_memory(choice), _Learning(source, connections))
        yield Previewing(**read, base=base, head=choice.rev, before=lambda: source.before)


@asynccontextmanager
async def locking(choice: Choice) -> AsyncIterator[Locking]:
    """The ports of `lian lock`: registries are asked for pull alone, and what is written is one file. The commit's own
    lock is not heeded, or it could not be mended by this."""
    from reconciler.desired.lock_file import LockFile
    from reconciler.providers.contents.http import HttpContents
    from reconciler.providers.registry.router import RoutedRegistry

    async with _connections() as connections:
        commit = _source(choice, heeds_lock=False)
        source = _Learning(commit, connections)
        registry = RoutedRegistry(connections)
        yield Locking(source, registry, HttpContents(), git_refs=commit, locks=LockFile(commit))


@asynccontextmanager
async def renting(choice: Choice) -> AsyncIterator[Renting]:
    """The ports of what is told of rented runners, and of returning them."""
    async with _connections() as connections:
        source = _Learning(_source(choice), connections)
        yield Renting(source, time.time, _compute(source, choice))


@asynccontextmanager
async def surveying(choice: Choice) -> AsyncIterator[Surveying]:
    """The ports of a report on registries; as `reading`, they cannot write."""
    from reconciler.providers.registry.abilities import RoutedAbilities

    async with _connections() as connections:
        read = _read(_memory(choice), _Learning(_source(choice), connections))
        yield Surveying(**read, abilities=RoutedAbilities(connections))


@asynccontextmanager
async def working(choice: Choice) -> AsyncIterator[Bench]:
    """What whole passes are run on."""
    async with _bench(choice, _source(choice), _memory(choice)) as bench:
        yield bench


@asynccontextmanager
async def building(choice: Choice, asked: Asked, runner_image: str | None = None) -> AsyncIterator[Bench]:
    """What one build is run on. Without settings and --registry, its registry is that of the image. Raises LianError
    for a path that is not there."""
    from reconciler.desired.build_source import BuildSource
    from reconciler.record.memory import NoMemory

    source = BuildSource(
        asked,
        choice.rev,
        cache=choice.cache,
        registry_override=choice.registry,
        fallback=_url_of(asked.image.host) if isinstance(asked, ByFlags) else None,
        runner_image=runner_image,
        secret=handed_on().withhold,
        credential=_sources().read,
    )
    async with _bench(choice, source, NoMemory()) as bench:
        yield bench


def _url_of(host: str) -> str:
    """As a registry is reached of which nobody says how."""
    from reconciler.providers.registry.http.transport import url_of

    return f"{url_of(host).partition('://')[0]}://{host}"


@asynccontextmanager
async def _bench(choice: Choice, desired: GitSource, memory: Memory) -> AsyncIterator[Bench]:
    from reconciler.providers.registry.blob_files_router import RoutedBlobFiles
    from reconciler.providers.registry.remover_router import RoutedRemover
    from reconciler.providers.registry.router import RoutedPublisher

    async with _connections() as connections:
        publisher, remover = RoutedPublisher(connections), RoutedRemover(connections)
        files = RoutedBlobFiles(connections)
        source = _Learning(desired, connections)
        yield Bench(choice, source, _read(memory, source), {"publisher": publisher, "remover": remover}, files)


@asynccontextmanager
async def removing(choice: Choice) -> AsyncIterator[Removing]:
    """The ports of a prune: what reads, what announces, and what takes away. No mirror is believed in it."""
    async with working(choice) as bench:
        bench.source.mirrored = False
        yield Removing(**bench.read, **bench.written)


def _read(memory: Memory, source: _Learning) -> _Read:
    from reconciler.providers.registry.inventory_router import RoutedInventory
    from reconciler.providers.registry.router import RoutedRegistry

    return {
        "source": source,
        "registry": RoutedRegistry(source.connections),
        "inventory": RoutedInventory(source.connections),
        "clock": time.time,
        "memory": memory,
        "revisions": source.revisions,
    }


def _memory(choice: Choice) -> FileMemory:
    from reconciler.record.memory import FileMemory

    where = choice.repo if "://" in choice.repo else str(Path(choice.repo).absolute())
    return FileMemory(choice.cache / "applied", f"{where} {choice.registry or ''}")


def _connections() -> Connections:
    """Registries, with the operator's credentials."""
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.registry.http.docker_config import DockerConfig

    config = partial(DockerConfig.load, handed_on())
    return Connections(config=config, environ=os.environ, read=_sources().read)


def _sources() -> Sources:
    """What reads credentials where settings say they are."""
    from reconciler.providers.secrets.sources import Sources

    return Sources(os.environ, handed_on())


@cache
def handed_on() -> HandedOn:
    """The environment of credential helpers and commands, one for the whole process: without what the operator gives
    lian by name, nor what settings name, from the moment they are read."""
    from reconciler.providers.registry.http.logins import PASSWORD, USER
    from reconciler.providers.secrets.handed_on import HandedOn
    from reconciler.single.flags import SEED_VARIABLE

    return HandedOn(os.environ, {USER, PASSWORD, KEY_PASSWORD, SEED_VARIABLE})


class _Keyring:
    """Signing keys, where the fleet's settings say they are, opened with the operator's COSIGN_PASSWORD."""

    def signer(self, key: SourceRef) -> Signer:
        """See the port. `cryptography` is loaded here, so by those who sign."""
        from reconciler.providers.signer.by_key import KeySigner

        async def read() -> bytes:
            return (await _sources().read(key, "the signing key")).reveal().encode()

        async def password() -> bytes | None:
            given = os.environ.get(KEY_PASSWORD)
            return None if given is None else given.encode("utf-8", "surrogateescape")

        return KeySigner(read, password, key.name)


def _source(choice: Choice, *, heeds_lock: bool = True) -> GitSource:
    from reconciler.desired.source import GitSource

    return GitSource(
        choice.repo,
        choice.rev,
        cache=choice.cache,
        registry_override=choice.registry,
        secret=handed_on().withhold,
        credential=_sources().read,
        heeds_lock=heeds_lock,
    )


class _Learning:
    """The source, with the registries told what the commit says of them: how each is reached, which may be written."""

    def __init__(self, source: GitSource, connections: Connections) -> None:
        self._source, self.connections = source, connections
        self.mirrored = True
        """Whether base images are looked for on mirrors first."""
        self.desired: Desired | None = None

    @property
    def revisions(self) -> Revisions:
        """The repo's other commits. What they say of registries is not learned: the commit of the pass decides that."""
        return self._source

    async def load(self) -> Desired:
        """See the port."""
        self.desired = desired = await self._source.load()
        own = {wanted.artifact.image for wanted in desired.wanted.values()}
        settings = desired.registries.values()
        fleet = desired.fleet.registry if self.mirrored else replace(desired.fleet.registry, mirrors=())
        caches = partial(is_cache, desired)
        writable = {image.host for image in own} | set(desired.registries)
        await self.connections.learn(
            settings, fleet=fleet, own=own, is_cache=caches, writable=writable, blob=self._source.blob
        )
        return desired

    async def places(self, written: Collection[Written]) -> Mapping[Written, Place]:
        """See the port."""
        return await self._source.places(written)

    async def descends(self, revision: str) -> bool | None:
        """See the port."""
        return await self._source.descends(revision)

    async def last_changed(self, paths: Collection[str]) -> Mapping[str, str]:
        """See the port."""
        return await self._source.last_changed(paths)

    async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
        """See the port."""
        return await self._source.listing(folder)

    async def sizes(self) -> Sizes:
        """See the port."""
        return await self._source.sizes()

    async def export(self, folder: SentFolder, into: Path) -> int:
        """See the port."""
        return await self._source.export(folder, into)

    async def export_dockerfile(self, materials: Materials, into: Path) -> None:
        """See the port."""
        await self._source.export_dockerfile(materials, into)

    async def blob(self, path: str) -> bytes:
        """See the port."""
        return await self._source.blob(path)


def verifier(pem: bytes, name: str) -> Verifier:
    """Who trusts this public key. Raises LianError for one that cannot be used. `cryptography` is loaded here."""
    from reconciler.providers.signer.by_key import KeyVerifier

    return KeyVerifier(pem, name)


def checked(schema: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document, if it is what schemas/json/SCHEMA.json says. Raises LianError `document-invalid` if it is not."""
    cause = wrong_in(schema, document)
    if cause is None:
        return document
    message = f"what lian would print is no document of schemas/json/{schema}.json"
    raise LianError(Problem("document-invalid", message, cause=cause, hint="report it", next=Next.BUG))


def wrong_in(schema: str, document: Any) -> str | None:
    """In what a document is not what schemas/json/SCHEMA.json says; None if it is."""
    from reconciler.desired import packaged
    from reconciler.desired.nickel.twin import Twin, dotted

    twin = Twin(packaged.find().document(f"schemas/json/{schema}.json"))
    if twin.accepts(document):
        return None
    return "; ".join(f"{dotted(finding.path)}: {finding.message}" for finding in twin.findings(document))


async def evaluation() -> str:
    """Which evaluator reads directives here, and what confines it. Raises LianError if none works."""
    from reconciler.desired.nickel.describe import describe
    from reconciler.desired.nickel.settings import EvaluatorSettings

    return await describe(EvaluatorSettings(cache=None))


_program = cache(binaries.find_part)
"""A program that is usable; looked for when a build first needs it, since most passes build nothing."""


class _LateProvider:
    """A provider that is loaded when something is rented from it, or may have been left there: most passes build
    nothing. It is told how registries are reached. `leases` is its folder of leases on this machine: without one,
    nothing was ever rented from here, and only what others rent on other machines, `elsewhere`, has to be asked for."""

    def __init__(
        self, connections: Connections, leases: Path, make: Callable[[Path], Provider], shared: bool, elsewhere: bool
    ) -> None:
        self._connections, self._leases, self._make = connections, leases, make
        self.shared, self._elsewhere = shared, elsewhere
        self._made: Provider | None = None

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port."""
        routes = await self._connections.routes(request.hosts)
        return await self._provider().rent(replace(request, routes=routes), lease)

    async def describe(self, lease: str) -> Rental | None:
        """See the port."""
        return await self._provider().describe(lease)

    async def give_back(self, lease: str) -> None:
        """See the port."""
        await self._provider().give_back(lease)

    async def owned_by(self, fleet: str) -> Listing:
        """See the port."""
        from reconciler.ports.compute import Listing

        return await self._provider().owned_by(fleet) if self._elsewhere or self._leases.is_dir() else Listing()

    async def usage(self, runner: Runner) -> Usage:
        """See the port."""
        return await self._provider().usage(runner)

    def _provider(self) -> Provider:
        if self._made is None:
            self._made = self._make(self._leases)
        return self._made


def _local(leases: Path) -> Provider:
    from reconciler.providers.compute.local import LocalCompute

    return LocalCompute(_program, leases)


def _docker_local(leases: Path, compute: ComputeSettings) -> Provider:
    from reconciler.providers.compute.docker.docker_local import DockerLocalCompute, DockerSettings
    from reconciler.providers.compute.docker.image import Programs

    programs = Programs(runner_program, binaries.parts_folder())
    settings = DockerSettings(os.environ, compute.url, compute.image, binaries.BUILDKIT_MINIMUM)
    return DockerLocalCompute(programs, leases, settings)


def runner_program(name: str) -> Path | None:
    """One of this machine's that runs in a container as well: busybox without libraries."""
    if name != "busybox":
        return _program(name)
    found = locate(name)
    return found.path if found.why is None else None


def _ssh(scratch: Path, source: _Learning, key: str | None) -> Provider:
    """On no hosts nothing is rented; what was rented on those of another commit ends by itself. Raises LianError if no
    commit says which they are."""
    from reconciler.providers.compute.ssh.connection import Identity
    from reconciler.providers.compute.ssh.provider import SshCompute

    if source.desired is None:
        message = "what was rented by SSH cannot be looked at: no commit was read that says which hosts there are"
        raise LianError(Problem("compute-unavailable", message, hint="it ends by itself; the next pass looks again"))
    identity = Identity(Path(key).expanduser() if key else None, os.environ.get("SSH_AUTH_SOCK"))
    return SshCompute(source.desired.fleet.compute.hosts, identity, scratch)


def _compute(source: _Learning, choice: Choice) -> Compute:
    """Compute as the fleet's settings choose it; they are known once the commit is read."""
    from reconciler.apply.leasing import Leasing
    from reconciler.record.leases import LeaseFiles

    def settings() -> ComputeSettings:
        return source.desired.fleet.compute if source.desired else ComputeSettings()

    def docker_local(leases: Path) -> Provider:
        known = settings()
        return _docker_local(leases, known if known.provider is ComputeProvider.DOCKER_LOCAL else ComputeSettings())

    cache, ssh = choice.cache, partial(_ssh, source=source, key=choice.ssh_key)
    here = partial(_LateProvider, source.connections, elsewhere=False)
    there = partial(_LateProvider, source.connections, elsewhere=True)
    providers: dict[str, Callable[[], Provider]] = {
        ComputeProvider.LOCAL.value: partial(here, cache / "leases", _local, shared=False),
        ComputeProvider.DOCKER_LOCAL.value: partial(here, cache / "containers", docker_local, shared=True),
        ComputeProvider.SSH.value: partial(there, cache / "remote", ssh, shared=True),
    }
    return Leasing(providers, LeaseFiles(cache / "rented"), time.time, lambda: settings().provider.value)


def _archives() -> Archives:
    from reconciler.providers.archive.mount_archives import MountArchives
    from reconciler.providers.archive.tool import find_tool

    return MountArchives(find_tool)


class _LateBuilder:
    """BuildKit's client, looked for at the first build, and given what it needs of credentials for each."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        """See the port."""
        from reconciler.providers.builder.buildctl import BuildctlBuilder

        # A runner was rented, so there is a buildctl, here or where it runs.
        buildctl = _program("buildctl") or Path("buildctl")
        return await BuildctlBuilder(buildctl, self._access).build(runner, request, seen)


@dataclass(frozen=True, slots=True)
class Bench:
    """Ports for one pass after another on the same repo and registries."""

    choice: Choice
    source: _Learning
    read: _Read
    written: _Written
    files: BlobFiles

    def ports(self, recorder: Recorder) -> Ports:
        """The ports of one pass, with a name and a log folder of its own."""
        pass_id = secrets.token_hex(5)
        return Ports(
            **self.read,
            **self.written,
            compute=_compute(self.source, self.choice),
            builder=_LateBuilder(self.source.connections),
            blob_files=self.files,
            archives=_archives(),
            keyring=_Keyring(),
            secrets=_sources(),
            recorder=recorder,
            pause=_pause,
            pass_id=pass_id,
            logs=_log_folder(self.choice.cache / "logs", pass_id),
        )

    def trigger(self) -> Trigger:
        """What starts a pass beside the timer: moved refs of a local repo."""
        from reconciler.desired.git import is_url, open_local
        from reconciler.desired.refs import NoTrigger, RefsTrigger

        if is_url(self.choice.repo):
            return NoTrigger()
        return RefsTrigger(Path(open_local(Path(self.choice.repo)).path))


def beginning(folder: str) -> Tools:
    """What `lian init` works with. Raises LianError for a folder that no desired repo can be begun in."""
    from reconciler.adopt.init import Tools
    from reconciler.desired.project import ContractGrammar, FolderProject, ReadDockerfiles
    from reconciler.providers.builder.bake import Buildx

    project = FolderProject.at(folder)
    return Tools(project, ReadDockerfiles(), ContractGrammar(), Buildx(project.root))


def contracts() -> Contracts:
    """What directives and settings may say. Raises LianError if the installation is broken."""
    from reconciler.desired.contracts import contracts

    return contracts()


def contracts_folder() -> Path:
    """Where `schemas/` and `defaults/` lie, for editors. Raises LianError if the installation is broken."""
    from reconciler.desired.packaged import folder

    return folder()


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _log_folder(logs: Path, pass_id: str) -> Path:
    """This pass's own, made by its first build; of earlier ones the oldest beyond LOGS_KEPT go."""
    if logs.is_dir():
        for old in sorted(logs.iterdir())[:-LOGS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return logs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{pass_id}"
