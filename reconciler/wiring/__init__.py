"""The only place that names concrete classes: choose adapters, wrap them, hand them to a command as ports."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from reconciler.model.one_build import ByFlags
from reconciler.ports.bundle import Locking, Ports, Previewing, Reading, Removing, Renting, Surveying
from reconciler.wiring.choice import Choice, cache_folder
from reconciler.wiring.documents import checked, wrong_in
from reconciler.wiring.learning import Learning
from reconciler.wiring.runners import LateBuilder, compute, locate, runner_program

__all__ = ["Choice", "cache_folder", "checked", "locate", "runner_program", "wrong_in"]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.adopt.init import Tools
    from reconciler.desired.source import GitSource
    from reconciler.model.contract import Contracts
    from reconciler.model.credential import SourceRef
    from reconciler.model.one_build import Asked
    from reconciler.ports.archives import Archives
    from reconciler.ports.blob_files import BlobFiles
    from reconciler.ports.clock import Clock
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
    from reconciler.providers.secrets.git_logins import GitLogins
    from reconciler.providers.secrets.handed_on import HandedOn
    from reconciler.providers.secrets.sources import Sources
    from reconciler.record.memory import FileMemory

LOGS_KEPT = 20
"""Passes whose build logs are kept."""
KEY_PASSWORD = "COSIGN_PASSWORD"
"""Opens the signing key; cosign's own name for it. Set and empty is a password too."""


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
    async with _connections(choice) as connections:
        yield Reading(**_read(_memory(choice), Learning(_source(choice), connections)))


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
        credential=_git_logins().read,
    )
    async with _connections(choice) as connections:
        read = _read(_memory(choice), Learning(source, connections))
        yield Previewing(**read, base=base, head=choice.rev, before=lambda: source.before)


@asynccontextmanager
async def locking(choice: Choice) -> AsyncIterator[Locking]:
    """The ports of `lian lock`: registries are asked for pull alone, and what is written is one file. Of the commit's
    own lock only the pins of git contexts are heeded, or it could not be mended by this."""
    from reconciler.desired.lock_file import LockFile
    from reconciler.providers.contents.http import HttpContents
    from reconciler.providers.registry.router import RoutedRegistry

    async with _connections(choice) as connections:
        commit = _source(choice, heeds_lock=False)
        source = Learning(commit, connections)
        registry = RoutedRegistry(connections)
        yield Locking(source, registry, HttpContents(), git_refs=commit, locks=LockFile(commit))


@asynccontextmanager
async def renting(choice: Choice) -> AsyncIterator[Renting]:
    """The ports of what is told of rented runners, and of returning them."""
    async with _connections(choice) as connections:
        source = Learning(_source(choice), connections)
        yield Renting(source, time.time, compute(source, choice))


@asynccontextmanager
async def surveying(choice: Choice) -> AsyncIterator[Surveying]:
    """The ports of a report on registries; as `reading`, they cannot write."""
    from reconciler.providers.registry.abilities import RoutedAbilities

    async with _connections(choice) as connections:
        read = _read(_memory(choice), Learning(_source(choice), connections))
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
        credential=_git_logins().read,
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

    async with _connections(choice) as connections:
        publisher, remover = RoutedPublisher(connections), RoutedRemover(connections)
        files = RoutedBlobFiles(connections)
        source = Learning(desired, connections)
        yield Bench(choice, source, _read(memory, source), {"publisher": publisher, "remover": remover}, files)


@asynccontextmanager
async def removing(choice: Choice) -> AsyncIterator[Removing]:
    """The ports of a prune: what reads, what announces, and what takes away. No mirror is believed in it."""
    async with working(choice) as bench:
        bench.source.mirrored = False
        yield Removing(**bench.read, **bench.written)


def _read(memory: Memory, source: Learning) -> _Read:
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
    from reconciler.desired.git import is_url
    from reconciler.record.memory import FileMemory

    where = choice.repo if is_url(choice.repo) else str(Path(choice.repo).absolute())
    return FileMemory(choice.cache / "applied", f"{where} {choice.registry or ''}")


def _connections(choice: Choice) -> Connections:
    """Registries, with the operator's credentials."""
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.registry.http.docker_config import DockerConfig

    config = partial(DockerConfig.load, handed_on())
    return Connections(config=config, environ=os.environ, read=_sources().read, waits=choice.waits)


def _sources() -> Sources:
    """What reads credentials where settings say they are."""
    from reconciler.providers.secrets.sources import Sources

    return Sources(os.environ, handed_on())


def _git_logins() -> GitLogins:
    """What reads the credentials of git servers."""
    from reconciler.providers.secrets.git_logins import GitLogins

    return GitLogins(_sources(), os.environ)


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
        credential=_git_logins().read,
        heeds_lock=heeds_lock,
    )


def verifier(pem: bytes, name: str) -> Verifier:
    """Who trusts this public key. Raises LianError for one that cannot be used. `cryptography` is loaded here."""
    from reconciler.providers.signer.by_key import KeyVerifier

    return KeyVerifier(pem, name)


async def evaluation() -> str:
    """Which evaluator reads directives here, and what confines it. Raises LianError if none works."""
    from reconciler.desired.nickel.describe import describe
    from reconciler.desired.nickel.settings import EvaluatorSettings

    return await describe(EvaluatorSettings(cache=None))


def _archives() -> Archives:
    from reconciler.providers.archive.mount_archives import MountArchives
    from reconciler.providers.archive.tool import find_tool

    return MountArchives(find_tool)


@dataclass(frozen=True, slots=True)
class Bench:
    """Ports for one pass after another on the same repo and registries."""

    choice: Choice
    source: Learning
    read: _Read
    written: _Written
    files: BlobFiles

    def ports(self, recorder: Recorder) -> Ports:
        """The ports of one pass, with a name and a log folder of its own."""
        pass_id = secrets.token_hex(5)
        return Ports(
            **self.read,
            **self.written,
            compute=compute(self.source, self.choice),
            builder=LateBuilder(self.source.connections),
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
        return RefsTrigger.of(open_local(Path(self.choice.repo)))


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
