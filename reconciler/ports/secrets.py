"""Port: where the secrets of builds are had from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.credential import SourceRef
    from reconciler.model.secret import SecretBytes


class Secrets(Protocol):
    """Reads what lian.ncl binds names to. Asked right before a build, and never by a plan."""

    async def resolve(self, source: SourceRef, purpose: str) -> SecretBytes:
        """What lies there, every byte as it is. `purpose` says in a problem what it is needed for, as in "the secret
        npm-token".

        Raises LianError `credential-missing`, `credential-unreadable` or `credentials-unsupported`; each names the
        variable, file or command, none what it holds.
        """
        ...
