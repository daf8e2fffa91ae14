"""Port: the machine on which the client of a build runs, beside its builder. What a build reads is brought there, what
it makes is brought back; whether that is a copy over a network or nothing at all is the machine's own matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.model.secret import SecretBytes


class Running(Protocol):
    """BuildKit's client, started."""

    @property
    def ended(self) -> bool:
        """True once it is known to have ended."""
        ...

    async def read(self) -> bytes:
        """What it has written to stderr since the last call, as soon as there is something; empty at its end. One call
        at a time. Raises LianError `builder-lost` once nobody can know any more what becomes of it; it has ended then,
        and does nothing later."""
        ...

    async def wait(self) -> int:
        """Its exit status, negative for a signal, when it has ended. Raises LianError as `read` does."""
        ...

    async def terminate(self) -> None:
        """Ask it to end (SIGTERM), so that its daemon ends the build's steps before it. Raises nothing."""
        ...

    async def kill(self) -> None:
        """End it (SIGKILL). Raises nothing."""
        ...


class Workplace(Protocol):
    """What one build has on a machine. All of it is gone when the block that it is had in is left."""

    @property
    def folder(self) -> Path:
        """There: what the client writes for us alone, its metadata say."""
        ...

    @property
    def private(self) -> Path:
        """There: what `write` has written. Nobody else can read it, and where the machine can it is in memory."""
        ...

    async def send(self, folder: Path, role: str) -> Path:
        """Have exactly this folder's content there: bytes, modes, times, links as links. Returns where. `role` says
        what it is to the build, in the same words from build to build: what is sent in one role is mostly what was sent
        in it before. Raises LianError."""
        ...

    async def expect(self, folder: Path) -> Path:
        """Where the client writes what `fetch` then brings into this folder. Raises LianError."""
        ...

    async def fetch(self) -> None:
        """Bring back what was expected. Raises LianError."""
        ...

    async def write(self, name: str, content: bytes) -> Path:
        """A file in `private`, there when the client is started. Raises LianError `builder-lost` or `disk-full`."""
        ...

    async def lend(self, name: str, secret: SecretBytes) -> Path:
        """A file that the client alone can read, there when it is started and gone with it, in memory where the machine
        has such files. Raises LianError `builder-lost` or `disk-full`."""
        ...

    async def read(self, name: str) -> bytes:
        """A file in `folder`. Raises OSError if it is not there, LianError if nothing can be read there any more."""
        ...

    async def start(self, words: Sequence[str], environ: Mapping[str, str]) -> Running:
        """Start the client with these words after its name. Of its environment it gets these variables, and the
        machine's own way to the outside. When cancelled, it is ended again. Raises LianError."""
        ...


class Machine(Protocol):
    """Where builds run."""

    def workplace(self, scratch: Path) -> AbstractAsyncContextManager[Workplace]:
        """For one build on a runner with this `scratch` folder. Raises LianError `builder-lost` or `disk-full` if there
        is no place for it."""
        ...
