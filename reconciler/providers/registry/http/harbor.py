"""Harbor (goharbor/harbor, 2.x): where it differs from the specification.

Read in its sources: src/server/registry/manifest.go (404 with the code NOT_FOUND); src/server/middleware/v2auth (a
missing project answers 401 without a challenge; a token that does not do is answered with a Basic challenge);
src/core/service/token (several scopes in one token; what is not granted is left out of it, without an error).
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem
from reconciler.providers.registry import problems
from reconciler.providers.registry.http.dialect import Dialect

if TYPE_CHECKING:
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.refusal import Account, Refusal

_NOT_FOUND = "NOT_FOUND"
_REPOSITORY = re.compile(r"\brepository \S+ not found")
_ARTIFACT = re.compile(r"\b(?:artifact|blob|reference|tag) \S+ not found|\bnot found\b")
_PROJECT = re.compile(r"\bproject (?P<project>[a-z0-9][a-z0-9._-]*) not found")
_QUOTA = re.compile(r"exceed the configured upper limit")


class Harbor(Dialect):
    """A project must exist before anything is pushed to it; what is missing is NOT_FOUND."""

    explains_get = True

    def read(self, host: str, repository: str, reply: Reply, account: Account | None) -> Reply:
        """Its NOT_FOUND is MANIFEST_UNKNOWN or NAME_UNKNOWN; a missing project is a problem, and not an absence."""
        del account
        if reply.status == 404 and (missing := _PROJECT.search(reply.told)):
            raise LianError(_no_project(host, repository, missing["project"]))
        if reply.status != 404 or reply.codes != (_NOT_FOUND,):
            return reply
        code = "NAME_UNKNOWN" if _REPOSITORY.search(reply.told) else "MANIFEST_UNKNOWN"
        if not _ARTIFACT.search(reply.told):
            return reply
        return replace(reply, body=json.dumps({"errors": [{"code": code, "message": reply.told}]}).encode())

    def denied(self, refusal: Refusal) -> Problem:
        """A missing project and a full quota are told as that."""
        what = refusal.what or "any repository"
        if missing := _PROJECT.search(refusal.cause):
            return _no_project(refusal.host, what, missing["project"])
        if _QUOTA.search(refusal.cause):
            return Problem(
                "registry-refused",
                f"the registry {refusal.host} takes no more for {what}: the quota of its Harbor project is used up",
                cause=refusal.cause,
                hint="raise the project's quota, or remove what is not needed and let Harbor collect its garbage",
            )
        told = problems.denied(refusal)
        return replace(
            told,
            hint=f"{told.hint}; a robot account is called robot$PROJECT+NAME, expires (after 30 days unless told"
            " otherwise), and needs pull to push",
        )


def _no_project(host: str, what: str, project: str) -> Problem:
    return Problem(
        "harbor-project-missing",
        f"the registry {host} has no Harbor project {project} for {what}",
        hint=f"create the project {project} there, or let `images_prefix` name one that exists: a push creates"
        " repositories, not projects",
    )
