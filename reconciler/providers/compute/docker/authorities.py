"""Whom this machine trusts, as one file for a container that trusts nobody by itself."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLES = tuple(
    map(
        Path,
        (
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/ca-bundle.pem",
            "/etc/ssl/cert.pem",
        ),
    )
)
"""Where systems have theirs."""


def read_authorities(environ: Mapping[str, str]) -> bytes | None:
    """PEM certificates: of SSL_CERT_FILE and the folder SSL_CERT_DIR where they are set, else of the system. None if
    there are none. Raises OSError for a file that cannot be read."""
    chosen = [Path(environ["SSL_CERT_FILE"])] if environ.get("SSL_CERT_FILE") else []
    if environ.get("SSL_CERT_DIR"):
        chosen += sorted(path for path in Path(environ["SSL_CERT_DIR"]).iterdir() if path.is_file())
    if not chosen:
        usual = ssl.get_default_verify_paths().cafile
        chosen = [path for path in (*BUNDLES, *([Path(usual)] if usual else [])) if path.is_file()][:1]
    return b"\n".join(path.read_bytes() for path in chosen) or None
