"""One connection to one host: its key is the one that the settings name, and nothing of the user's configuration counts
(no config file, no known_hosts, no keys but those that were chosen)."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncssh

from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from reconciler.model.host import Host

CONNECT_SECONDS = 10.0
"""For TCP, and again for everything until the login is done."""
KEEPALIVE_SECONDS = 2.0
KEEPALIVES = 3
NOTICED_SECONDS = KEEPALIVE_SECONDS * (KEEPALIVES + 1)
"""A connection on which nothing has come for so long is lost; one that is cut is seen to be at once."""
CHANNELS = 8
"""On one connection; sshd allows 10 (MaxSessions)."""
LOGINS = 4
"""Begun on one host at one time; sshd drops some of those above 10 (MaxStartups)."""

UNREACHABLE = "host-unreachable"
"""Code of the problem of a host that cannot be spoken to."""

_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
"""The fastest first."""


class Lost(Exception):
    """The connection broke; what was asked may have been done or not."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who lian is to hosts: a private key's file, or else what the agent at this socket holds."""

    key: Path | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    output: bytes
    errors: str

    @property
    def cause(self) -> str | None:
        """The end of what it complained of."""
        return "\n".join(self.errors.strip().splitlines()[-12:]) or None


class Connection:
    """Open until it is closed or lost."""

    def __init__(self, host: Host, connection: asyncssh.SSHClientConnection) -> None:
        self.host, self._connection = host, connection
        self._taken = 0

    @property
    def has_room(self) -> bool:
        """Whether it is up, and one more channel can be opened."""
        return not self._connection.is_closed() and self._taken < CHANNELS

    @property
    def is_closed(self) -> bool:
        """Whether it is of no more use."""
        return self._connection.is_closed()

    def take(self) -> Room:
        """One channel less for others, from now on."""
        self._taken += 1
        return Room(self.host, self._connection, self._freed)

    def _freed(self) -> None:
        self._taken -= 1

    async def close(self) -> None:
        """End it, whatever runs on it."""
        self._connection.abort()
        await self._connection.wait_closed()


class Room:
    """For one channel at a time on a connection; `freed` is called when the block that it is had in is left, and no
    channel of it is open any more."""

    def __init__(self, host: Host, connection: asyncssh.SSHClientConnection, freed: Callable[[], None]) -> None:
        self.host, self._connection, self._freed = host, connection, freed
        self._uses = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *told: object) -> None:
        self._used()

    async def run(self, words: Sequence[str], given: bytes = b"") -> Done:
        """Run it to its end with this on its stdin. Raises Lost."""
        process = await self.start(words)
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended already, and need not read what it is given
                process.stdin.write(given)
                process.stdin.write_eof()
            output, errors = await process.communicate()
        except (asyncssh.Error, OSError) as error:
            raise Lost(str(error)) from error
        finally:
            process.close()
        if process.returncode is None or process.exit_status is None:
            raise Lost("the connection was closed")
        return Done(process.exit_status, _bytes(output), _bytes(errors).decode(errors="replace"))

    async def start(self, words: Sequence[str]) -> asyncssh.SSHClientProcess[bytes]:
        """Start it; its channel may outlive the block. Raises Lost."""
        return await self.shell(shlex.join(words))

    async def shell(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        """Likewise, by what the login shell there makes of this command."""
        try:
            process: asyncssh.SSHClientProcess[bytes] = await self._connection.create_process(command, encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise Lost(str(error)) from error
        self._uses += 1
        task = asyncio.ensure_future(process.wait_closed())
        task.add_done_callback(self._closed)
        return process

    def _closed(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled():
            task.exception()
        self._used()

    def _used(self) -> None:
        self._uses -= 1
        if self._uses == 0:
            self._freed()


class Door:
    """The way in to one host, for a few at a time: who comes too many at once is turned away there."""

    def __init__(self, host: Host, identity: Identity) -> None:
        self._host, self._identity = host, identity
        self._logins = asyncio.Semaphore(LOGINS)

    async def connect(self) -> Connection:
        """As soon as it is our turn. Raises as `connect`."""
        async with self._logins:
            return await connect(self._host, self._identity)


async def connect(host: Host, identity: Identity) -> Connection:
    """Raises LianError: `host-key-missing`, `host-key-wrong`, `login-refused`, `ssh-key-unusable` or UNREACHABLE."""
    pinned = _pinned(host)
    try:
        async with asyncio.timeout(2 * CONNECT_SECONDS), _Keys(identity) as keys:
            return Connection(host, await _connected(host, pinned, keys))
    except asyncssh.HostKeyNotVerifiable as error:
        raise LianError(_wrong_key(host, error.reason)) from error
    except asyncssh.PermissionDenied as error:
        raise LianError(_refused(host, error.reason)) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise LianError(_unusable(str(identity.key), str(error))) from error
    except (asyncssh.Error, TimeoutError, OSError) as error:
        raise LianError(_unreachable(host, _told(error))) from error


def _pinned(host: Host) -> asyncssh.SSHKey:
    """The key that it must have. Raises LianError."""
    if host.key is None:
        raise LianError(_no_key(host, "the settings do not say which host key {} has"))
    try:
        return asyncssh.import_public_key(host.key)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise LianError(_no_key(host, "what the settings say is the host key of {} is none", str(error))) from error


async def _connected(
    host: Host, pinned: asyncssh.SSHKey, keys: Sequence[asyncssh.SSHKeyPair]
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        host.name,
        host.port,
        config=None,
        username=host.user or _own_name(),
        known_hosts=([pinned], [], []),
        x509_trusted_certs=None,
        x509_trusted_cert_paths=[],
        client_keys=list(keys),
        agent_path=None,
        preferred_auth=["publickey"],
        gss_auth=False,
        gss_kex=False,
        agent_forwarding=False,
        encryption_algs=list(_CIPHERS),
        connect_timeout=CONNECT_SECONDS,
        login_timeout=CONNECT_SECONDS,
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVES,
    )


class _Keys:
    """The identity's keys, for as long as a login takes. Raises LianError `ssh-key-unusable` if there is none."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._agent: asyncssh.SSHAgentClient | None = None

    async def __aenter__(self) -> Sequence[asyncssh.SSHKeyPair]:
        identity = self._identity
        if identity.key is not None:
            try:
                return asyncssh.load_keypairs(str(identity.key))
            except OSError as error:
                raise LianError(_unusable(str(identity.key), error.strerror)) from error
        if not identity.agent:
            raise LianError(_unusable(None, "there is neither a key file nor an agent"))
        try:
            self._agent = await asyncssh.connect_agent(identity.agent)
            keys = await self._agent.get_keys()
        except (OSError, asyncssh.Error, ValueError) as error:
            raise LianError(_unusable("of the agent", str(error))) from error
        if not keys:
            raise LianError(_unusable("of the agent", "it holds none"))
        return keys

    async def __aexit__(self, *told: object) -> None:
        if self._agent is not None:
            self._agent.close()
            await self._agent.wait_closed()


def _bytes(output: bytes | str | None) -> bytes:
    return output.encode() if isinstance(output, str) else output or b""


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"it did not answer within {CONNECT_SECONDS:g} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _own_name() -> str:
    """As ssh takes it where none is given; root, who is needed anyway, where the system knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"


def _no_key(host: Host, message: str, cause: str | None = None) -> Problem:
    hint = (
        f"write what `ssh-keyscan -t ed25519 -p {host.port} {host.name}` tells of it, once it is known to be right, "
        "behind the host in compute.hosts: ssh-ed25519 AAAA…"
    )
    return Problem("host-key-missing", message.format(host), file="lian.ncl", cause=cause, hint=hint, next=Next.HOLD)


def _wrong_key(host: Host, cause: str) -> Problem:
    return Problem(
        "host-key-wrong",
        f"{host} does not have the host key that the settings name",
        file="lian.ncl",
        cause=cause,
        hint="somebody may be in between; if the machine was set up anew, write its new key in compute.hosts",
        next=Next.HOLD,
    )


def _refused(host: Host, cause: str) -> Problem:
    hint = (
        "name the private key by --ssh-key or BUILDKIT_SSH_KEY, or add it to the agent; its public key has to stand in "
    )
    message = f"{host} does not let lian in"
    return Problem("login-refused", message, cause=cause, hint=f"{hint}the host's authorized_keys", next=Next.HOLD)


def _unusable(which: str | None, cause: str | None) -> Problem:
    message = f"the SSH key {which} cannot be used" if which else "no SSH key was given"
    hint = "name one without a passphrase by --ssh-key or BUILDKIT_SSH_KEY, or add it to an agent (SSH_AUTH_SOCK)"
    return Problem("ssh-key-unusable", message, cause=cause, hint=hint, next=Next.HOLD)


def _unreachable(host: Host, cause: str) -> Problem:
    hint = "check that the machine is up, and that its SSH server can be reached from here"
    return Problem(UNREACHABLE, f"{host} cannot be reached by SSH", cause=cause, hint=hint, next=Next.RETRY)
