"""Whom lian trusts and as whom it connects: certificates for one registry host.

They come from the fleet's settings, or as Docker has them on this machine: `certs.d/HOST/*.crt` are authorities,
`certs.d/HOST/NAME.cert` with `NAME.key` is a client certificate (docs.docker.com, "Verify repository client with
certificates").
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.model.secret import Secret
from reconciler.ports.access import Identity
from reconciler.providers.registry import problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCKER_FOLDERS = (Path("/etc/docker/certs.d"), Path("~/.config/docker/certs.d"))


@dataclass(frozen=True, slots=True)
class Trust:
    """`authorities` are PEM certificates to trust besides the system's; `insecure` looks at no certificate."""

    authorities: tuple[str, ...] = ()
    identity: Identity | None = None
    insecure: bool = False

    def context(self, host: str) -> ssl.SSLContext:
        """For connections to the registry. Raises LianError `ca-unreadable` or `client-cert-unusable`."""
        context = self.abroad(host)
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.identity:
            _show(context, self.identity, host)
        return context

    def abroad(self, host: str) -> ssl.SSLContext:
        """For connections to where the registry sends us: its token service, its storage. They are not the registry:
        they see no client certificate, and theirs is always looked at. Raises LianError `ca-unreadable`."""
        context = ssl.create_default_context()
        for pem in self.authorities:
            try:
                context.load_verify_locations(cadata=pem)
            except (ValueError, TypeError, ssl.SSLError) as error:
                raise LianError(problems.ca_unreadable(host, str(error))) from None
        return context


def of_docker(host: str, folders: Sequence[Path] = DOCKER_FOLDERS) -> Trust:
    """What Docker would use for this host; of several client certificates the first by name. Raises LianError
    `ca-unreadable`."""
    if not host.strip("."):
        return Trust()
    for folder in folders:
        mine = folder.expanduser() / host
        try:
            files = sorted(mine.iterdir())
            authorities = tuple(file.read_text() for file in files if file.suffix == ".crt")
            certificates = [file for file in files if file.suffix == ".cert"]
            pairs = [Identity(c.read_text(), Secret(c.with_suffix(".key").read_text())) for c in certificates]
        except (FileNotFoundError, NotADirectoryError) as error:
            if not mine.is_dir():
                continue
            raise LianError(problems.ca_unreadable(host, f"{error.filename} is not there")) from None
        except (OSError, ValueError) as error:
            raise LianError(problems.ca_unreadable(host, f"{mine}: {error}")) from None
        if authorities or pairs:
            return Trust(authorities, pairs[0] if pairs else None)
    return Trust()


def _show(context: ssl.SSLContext, identity: Identity, host: str) -> None:
    with _as_file(f"{identity.certificate}\n{identity.key.reveal()}\n") as path:
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(path, password="")
        except (ValueError, ssl.SSLError) as error:
            cause = error.reason if isinstance(error, ssl.SSLError) and error.reason else "it cannot be read"
            raise LianError(problems.client_cert_unusable(host, str(cause))) from None


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path at which OpenSSL can read the text: in memory, or where that is not possible, in a file of our own that is
    gone at once."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        handle = os.memfd_create("lian-identity", os.MFD_CLOEXEC)
        try:
            os.write(handle, text.encode())
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield file.name
