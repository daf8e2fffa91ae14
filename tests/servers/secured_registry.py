"""Debian's docker-registry behind TLS, or a token service, or asking for client certificates."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from reconciler.providers.builder.binaries import locate
from tests.servers.registry import PROGRAM, distribution
from tests.servers.running import running, usable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.servers.certificates import Authority, Certified
    from tests.servers.running import RegistryServer
    from tests.servers.token_server import TokenServer


@contextlib.contextmanager
def run_secured(
    folder: Path,
    *,
    tls: Certified | None = None,
    clients: Authority | None = None,
    tokens: TokenServer | None = None,
    password: bool = False,
) -> Iterator[RegistryServer]:
    """See `running`. With `tls` it shows that certificate (its URL begins with https://), with `clients` it speaks only
    to those who show one of that authority's, with `tokens` it asks for a token of that service."""
    program = usable(locate(PROGRAM))

    def command(host: str) -> Sequence[str | Path]:
        words = distribution(program, folder, password, host)
        settings: dict[str, Any] = json.loads((folder / "config.yml").read_text())
        if tls:
            certificate, key = tls.write(folder, "server")
            settings["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        if clients:
            (folder / "clients.pem").write_text(clients.pem)
            settings["http"]["tls"]["clientcas"] = [str(folder / "clients.pem")]
        if tokens:
            settings["auth"] = tokens.settings(folder)
        (folder / "config.yml").write_text(json.dumps(settings))
        return words

    with running(folder, command) as server:
        yield server
