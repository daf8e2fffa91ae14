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
from reconciler.model.secret import Secret
from reconciler.programs import NoAnswer, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.credential import SourceRef

LONGEST = 1 << 16
"""Bytes of a credential; keys with their whole chain have a tenth of it."""
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
        match ref.kind:
            case SourceKind.ENV:
                text = self._variable(ref.name, purpose)
            case SourceKind.FILE:
                text = await asyncio.to_thread(_file, ref.name, purpose)
            case SourceKind.COMMAND:
                text = await self._command(ref.name, purpose)
            case SourceKind.VAULT:
                raise LianError(_unsupported(ref.name, purpose))
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise LianError(_unreadable(ref, purpose, "it is empty"))
        return Secret(text)

    def _variable(self, name: str, purpose: str) -> str:
        if name not in self._environ:
            message = f"the variable {name}, which is to hold {purpose}, is not set"
            raise LianError(Problem("credential-missing", message, hint=f"set {name} where lian runs"))
        return self._environ[name]

    async def _command(self, line: str, purpose: str) -> str:
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
        if len(answer.output) > LONGEST:
            raise LianError(_bad(ref, purpose, f"it printed more than {LONGEST:,} bytes"))
        return _decoded(answer.output, ref, purpose)


def _file(name: str, purpose: str) -> str:
    """The content of a regular file; a FIFO or a device could keep lian waiting for ever."""
    path, ref = Path(name).expanduser(), f"the file {name}"
    if not path.is_absolute():
        raise LianError(_bad(ref, purpose, "its path is not absolute: a credential does not lie in the desired repo"))
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise LianError(_bad(ref, purpose, "it is not a file"))
            data = opened.read(LONGEST + 1)
    except FileNotFoundError:
        message = f"{ref}, which is to hold {purpose}, is not there"
        raise LianError(
            Problem("credential-missing", message, hint="put it there on the machine that runs lian")
        ) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise LianError(_bad(ref, purpose, cause or "its name cannot be one")) from None
    if len(data) > LONGEST:
        raise LianError(_bad(ref, purpose, f"it has more than {LONGEST:,} bytes"))
    return _decoded(data, ref, purpose)


def _decoded(data: bytes, ref: str, purpose: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise LianError(_bad(ref, purpose, "it is not text")) from None


def _unreadable(ref: SourceRef, purpose: str, cause: str) -> Problem:
    kinds = {SourceKind.ENV: f"the variable {ref.name}", SourceKind.FILE: f"the file {ref.name}"}
    return _bad(kinds.get(ref.kind, f"the command {ref.name!r}"), purpose, cause)


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
