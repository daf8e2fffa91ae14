"""GitHub's registry (ghcr.io): where it differs from the specification.

It is known by its documents (docs.github.com, "Working with the Container registry") and by what others met: even
public images are read with a token, which anyone gets; the token service answers 401 or 403 for what is private or was
never pushed; token answers hold no `expires_in`; there is no referrers API (404, or a redirect to a web page).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem
from reconciler.providers.registry import problems
from reconciler.providers.registry.http.dialect import Dialect

if TYPE_CHECKING:
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.refusal import Account, Refusal

_RIGHTS = {
    "write_package": "give the token the scope write:packages; a GITHUB_TOKEN writes only packages that are linked to"
    " its repository (package settings, Manage Actions access)",
    "read_package": "give the token the scope read:packages, and the account access to the package",
    "delete_package": "give the token the scope delete:packages, and the account the role of an admin of the package",
}


class Ghcr(Dialect):
    """Private packages are hidden: without a login, absent and private look alike."""

    explains_get = True

    def read(self, host: str, repository: str, reply: Reply, account: Account | None) -> Reply:
        """A 404 to an anonymous reader says nothing."""
        if reply.status == 404 and account is None:
            cause = f"it answered {reply.told} to an anonymous reader, as it does for what is private"
            raise LianError(problems.not_granted(host, repository, cause, account))
        return reply

    def denied(self, refusal: Refusal) -> Problem:
        """Which right is missing, where it says so."""
        hint = next((advice for right, advice in _RIGHTS.items() if right in refusal.cause), None)
        where = refusal.account.origin.remedy if refusal.account else f"run `docker login {refusal.host}`"
        hint = hint or (
            f"{where}; it takes a personal access token (classic) that has read:packages, and write:packages to push;"
            " to whom it is hidden, a package looks as if it were not there"
        )
        return replace(problems.denied(refusal), hint=hint)
