"""A reference to a credential (schemas/vault_refs.ncl) -> the credential."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.credential import SourceKind
from reconciler.model.problem import LianError, Problem
from reconciler.model.secret import Secret, SecretBytes
from reconciler.programs import NoAnswer, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.credential import SourceRef

LONGEST = 1 << 16
"""Bytes of a credential; keys with their whole chain have a tenth of it."""
LONGEST_SECRET = 500 * 1024
"""Bytes of a build's secret; BuildKit takes no more (session/secrets/secretsprovider)."""
COMMAND_SECONDS = 30.0


class Sources:
    """Reads credentials. `environ` is where variables are looked up; `handed_on` is the environment of commands, which
    holds no credential that lian was given by name."""

    def __init__(self, environ: Mapping[str, str], handed_on: Mapping[str, str] | None = None) -> None:
        self._environ = environ
        self._handed_on = environ if handed_on is None else handed_on

    async def read(self, ref: SourceRef, purpose: str) -> Secret:
        """What the reference leads to, without the line end behind it. `purpose` says in a problem what it is needed
        for, as in "the login of registry.example.org".

        Raises LianError `credential-missing`, `credential-unreadable` or `credentials-unsupported`; each names the
        variable, file or command, none what it holds.
        """
        data = await self._data(ref, purpose, LONGEST)
        try:
            text = data.decode("utf-8", "surrogateescape" if ref.kind is SourceKind.ENV else "strict")
        except UnicodeDecodeError:
            raise LianError(_bad(_shown(ref), purpose, "it is not text")) from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise LianError(_bad(_shown(ref), purpose, "it is empty"))
        return Secret(text)

    async def resolve(self, source: SourceRef, purpose: str) -> SecretBytes:
        """See ports.secrets."""
        data = await self._data(source, purpose, LONGEST_SECRET)
        if not data:
            raise LianError(_bad(_shown(source), purpose, "it is empty"))
        return SecretBytes(data)

    async def _data(self, ref: SourceRef, purpose: str, longest: int) -> bytes:
        match ref.kind:
            case SourceKind.ENV:
                data = self._variable(ref.name, purpose)
            case SourceKind.FILE:
                data = await asyncio.to_thread(_file, ref.name, purpose, longest)
            case SourceKind.COMMAND:
                data = await self._command(ref.name, purpose)
            case SourceKind.VAULT:
                raise LianError(_unsupported(ref.name, purpose))
        if len(data) > longest:
            raise LianError(_bad(_shown(ref), purpose, f"it holds more than {longest:,} bytes"))
        return data

    def _variable(self, name: str, purpose: str) -> bytes:
        if name not in self._environ:
            message = f"the variable {name}, which is to hold {purpose}, is not set"
            raise LianError(Problem("credential-missing", message, hint=f"set {name} where lian runs"))
        return self._environ[name].encode("utf-8", "surrogateescape")

    async def _command(self, line: str, purpose: str) -> bytes:
        ref = f"the command {line!r}"
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise LianError(_bad(ref, purpose, f"it is no command line: {str(error).lower()}")) from None
        try:
            answer = await ask(words, b"", self._handed_on, COMMAND_SECONDS)
        except NoAnswer as error:
            raise LianError(_bad(ref, purpose, str(error))) from None
        if answer.status:
            raise LianError(_bad(ref, purpose, f"it ended with exit code {answer.status}"))
        return answer.output


def _file(name: str, purpose: str, longest: int) -> bytes:
    """The content of a regular file, and one byte more than `longest` of one that is too long. A FIFO or a device could
    keep lian waiting for ever."""
    path, ref = Path(name).expanduser(), f"the file {name}"
    if not path.is_absolute():
        raise LianError(_bad(ref, purpose, "its path is not absolute: a credential does not lie in the desired repo"))
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise LianError(_bad(ref, purpose, "it is not a file"))
            return opened.read(longest + 1)
    except FileNotFoundError:
        message = f"{ref}, which is to hold {purpose}, is not there"
        raise LianError(
            Problem("credential-missing", message, hint="put it there on the machine that runs lian")
        ) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise LianError(_bad(ref, purpose, cause or "its name cannot be one")) from None


def _shown(ref: SourceRef) -> str:
    kinds = {SourceKind.ENV: f"the variable {ref.name}", SourceKind.FILE: f"the file {ref.name}"}
    return kinds.get(ref.kind, f"the command {ref.name!r}")


def _bad(ref: str, purpose: str, cause: str) -> Problem:
    return Problem(
        "credential-unreadable",
        f"{ref}, which is to give {purpose}, gives none",
        cause=cause,
        hint="try it by hand, as the account that runs lian",
    )


def _unsupported(name: str, purpose: str) -> Problem:
    return Problem(
        "credentials-unsupported",
        f"{purpose} is to come from the vault path {name}, and no vault can be read yet",
        hint="use source 'Env, 'File or 'Command; a vault's own command line makes a 'Command",
    )
