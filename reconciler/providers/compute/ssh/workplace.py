"""Where one build is at work on a leased machine: what it is sent, and what is brought back."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.model.problem import LianError
from reconciler.programs import OUTWARD
from reconciler.providers.compute.ssh import script, transfer
from reconciler.providers.compute.ssh.running import SshRunning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.secret import SecretBytes
    from reconciler.providers.compute.ssh.machine import SshMachine


class SshWorkplace:
    """The port Workplace: folders of one build's own in those of the lease."""

    def __init__(self, machine: SshMachine, identity: str) -> None:
        self._machine, self._id = machine, identity
        self.folder = Path(f"{machine.folder}/builds/{identity}")
        self.private = Path(f"{machine.folder}/private/{identity}")
        self._files: dict[str, bytes] = {}
        self._expected: dict[Path, str] = {}
        self._running: SshRunning | None = None

    async def send(self, folder: Path, role: str) -> Path:
        """See the port. What was sent in this role last, to this lease or the one before it, is what it is compared
        with."""
        machine = self._machine
        slot = script.slot(machine.fleet, role)
        there = f"{machine.folder}/contexts/{slot}.{self._id}"
        like = [f"{machine.state}/contexts/{slot}/tree", *machine.sent.get(slot, ())]
        await machine.until_done(lambda room: transfer.send(room, folder, there, like))
        machine.sent[slot] = [there]
        return Path(there)

    async def expect(self, folder: Path) -> Path:
        """See the port."""
        there = self._expected.setdefault(folder, f"{self.folder}/out-{len(self._expected)}")
        return Path(there)

    async def fetch(self) -> None:
        """See the port."""
        fetches = (self._fetch(there, folder) for folder, there in self._expected.items())
        await all_of(fetches)

    async def _fetch(self, there: str, folder: Path) -> None:
        await self._machine.until_done(lambda room: transfer.fetch(room, there, folder))

    async def write(self, name: str, content: bytes) -> Path:
        """See the port: it goes there with the client's words."""
        self._files[name] = content
        return self.private / name

    async def lend(self, name: str, secret: SecretBytes) -> Path:
        """See the port: it goes there in the same way."""
        return await self.write(name, secret.reveal())

    async def read(self, name: str) -> bytes:
        """See the port."""
        done = await self._machine.ask("take", self._id, name)
        if done.status == script.TAKEN:
            raise FileNotFoundError(name)
        if done.status != 0:
            raise LianError(self._machine.gone(done.cause or "the lease has ended"))
        return done.output

    async def start(self, words: Sequence[str], environ: Mapping[str, str]) -> SshRunning:
        """See the port. It is the supervisor that starts it, once: a connection that breaks now is no reason to do it
        again."""
        contents = {**self._files, "start": _start(words, environ)}
        self._running = SshRunning(self._machine, self._id, script.handed(contents))
        return self._running

    async def forget(self) -> None:
        """Nothing of the build is left there. If nobody can be told, the lease's end is its end."""
        if self._running is not None:
            await self._running.close()
        with contextlib.suppress(LianError):
            await self._machine.ask("forget", self._id)


def _start(words: Sequence[str], environ: Mapping[str, str]) -> bytes:
    """A script that becomes the client. Of the machine's own environment it has what leads outside."""
    own = [f"{name}={value}" for name, value in environ.items()]
    lines = [
        f"set -- {shlex.join(own)}",
        f"for name in {' '.join(OUTWARD)}; do",
        '    eval "value=\\${$name-}"; [ -z "$value" ] || set -- "$@" "$name=$value"',
        "done",
        f'exec env -i PATH="$PATH" "$@" buildctl {shlex.join(words)}',
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
