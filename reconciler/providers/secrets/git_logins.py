"""The credentials of git servers: what the fleet's owner has bound, where the operator lets the host have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.credential import HOSTS, is_listed
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.credential import SourceRef
    from reconciler.model.secret import Secret
    from reconciler.providers.secrets.sources import Sources


class GitLogins:
    """`environ` holds the operator's list of hosts, if there is one."""

    def __init__(self, sources: Sources, environ: Mapping[str, str]) -> None:
        self._sources, self._environ = sources, environ

    async def read(self, source: SourceRef, purpose: str, host: str) -> Secret:
        """What `source` leads to, to be shown to this host. Raises LianError `credential-forbidden` before anything is
        read or run, and as `Sources.read` does."""
        listed = self._environ.get(HOSTS, "").strip()
        if listed and not is_listed(host, listed):
            raise LianError(_forbidden(host, listed))
        return await self._sources.read(source, purpose)


def _forbidden(host: str, listed: str) -> Problem:
    message = f"lian.ncl names a credential for the git server {host}, and {host} may have none"
    hint = f"if it may see one, add {host} to {HOSTS} where lian runs"
    return Problem("credential-forbidden", message, cause=f"{HOSTS} is {listed}", hint=hint, next=Next.HOLD)
