"""The secrets of a build as files that its client can read, and that lie nowhere.

BuildKit's client takes a secret from a file and reads it anew each time a step asks. Here the file is one in memory
without a name in any folder (memfd_create(2)): the client inherits it, and it is gone when the last process that has it
open has ended, however that came. Neither an argument nor the environment holds more than its number.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.providers.builder.arguments import csv_record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from reconciler.model.secret import SecretBytes
    from reconciler.ports.machine import Workplace

_NAME = "lian-secret"
"""What the kernel shows as the target of its link in /proc; the same for all."""


class Lent:
    """Secrets for one client, as long as the block lasts: whoever starts it passes `descriptors` on. `folder` is one
    for its owner alone that is gone after the build; it is used where the system has no such files (macOS)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.descriptors: list[int] = []

    def __enter__(self) -> Lent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())

    def lend(self, name: str, secret: SecretBytes) -> str:
        """Where the client reads it; `name` is a file's where it has to be one. Raises LianError."""
        try:
            return self._in_memory(secret) if sys.platform == "linux" else self._in_folder(name, secret)
        except OSError as error:
            raise LianError(_unwritable(error)) from error

    def _in_memory(self, secret: SecretBytes) -> str:
        descriptor = os.memfd_create(_NAME)
        self.descriptors.append(descriptor)
        os.fchmod(descriptor, 0o400)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(secret.reveal())
        return f"/proc/self/fd/{descriptor}"

    def _in_folder(self, name: str, secret: SecretBytes) -> str:
        path = self._folder / name
        with open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
            file.write(secret.reveal())
        return str(path)


async def secret_words(secrets: Mapping[str, SecretBytes], place: Workplace) -> list[str]:
    """What tells the client of these secrets, by their ids. Raises LianError."""
    words: list[str] = []
    for number, (identity, secret) in enumerate(sorted(secrets.items())):
        words += ["--secret", csv_record({"id": identity, "src": str(await place.lend(f"secret-{number}", secret))})]
    return words


def _unwritable(error: OSError) -> Problem:
    full = error.errno in {errno.ENOSPC, errno.ENOMEM}
    message = "the secrets of the build cannot be handed to BuildKit's client"
    return Problem("disk-full" if full else "builder-lost", message, cause=error.strerror, next=Next.RETRY)
