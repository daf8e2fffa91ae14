"""Harbor as its documents and sources describe it, in this process: projects, accounts, its token service, its words.

Written after goharbor/harbor 2.x: src/server/middleware/v2auth (who may do what, and which challenge is offered),
src/core/service/token (tokens), src/server/registry (NOT_FOUND), docs "Create Robot Accounts" and "Configure Project
Quotas". It was never compared with a running Harbor.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.servers.faulty_registry import Answer, FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.faulty_registry import Seen

PULL, PUSH = frozenset({"pull"}), frozenset({"pull", "push", "delete"})
_REPOSITORY = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<rest>.*)")


@dataclass(frozen=True)
class Account:
    """A person or a robot: a password, and project -> actions."""

    password: str
    rights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    expired: bool = False


class ScriptedHarbor(FaultyRegistry):
    """`projects` are project -> whether anyone may read it; `full` are those whose quota is used up."""

    def __init__(self, projects: Mapping[str, bool], accounts: Mapping[str, Account]) -> None:
        super().__init__(referrers=True)
        self.deletes = {"digest"}
        self.projects, self.accounts = dict(projects), dict(accounts)
        self.full: set[str] = set()
        self.granted: dict[str, dict[str, frozenset[str]]] = {}
        """Token -> project -> actions."""
        self.asked_tokens: list[tuple[str | None, tuple[str, ...]]] = []

    def answer(self, seen: Seen, data: bytes) -> Answer:
        """As Harbor answers; faults apply to what the registry behind it says."""
        parts = urlsplit(seen.path)
        if parts.path == "/service/token":
            return self._give_token(seen, parse_qs(parts.query))
        if parts.path == "/v2/":
            known = "authorization" in seen.headers
            return Answer(200) if known else self._unauthorized(seen, "unauthorized", None)
        match = _REPOSITORY.fullmatch(parts.path)
        if match is not None and (refusal := self._checked(seen, match["name"], match["kind"])):
            self.requests.append(seen)
            return refusal
        return self._in_its_words(super().answer(seen, data), match["name"] if match else "", seen.path)

    def _checked(self, seen: Seen, name: str, kind: str) -> Answer | None:
        """The checks of v2auth, and of the quota before an upload."""
        project = name.partition("/")[0]
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(seen.method, "push")
        if seen.method == "HEAD" and "authorization" not in seen.headers:
            return self._unauthorized(seen, "authorize header needed to send HEAD to repository", name)
        if project not in self.projects:
            return _error(401, "UNAUTHORIZED", f"project {project} not found", {"WWW-Authenticate": ""})
        if action not in self._rights(seen, project):
            return self._unauthorized(seen, f"unauthorized to access repository: {name}, action: {action}", name)
        if kind == "blobs" and action == "push" and project in self.full:
            what = "adding 12.0 MiB of storage resource, which when updated to current usage of 5.0 GiB"
            return _error(403, "DENIED", f"{what} will exceed the configured upper limit of 5.0 GiB.")
        return None

    def _rights(self, seen: Seen, project: str) -> frozenset[str]:
        scheme, _, value = seen.headers.get("authorization", "").partition(" ")
        public = PULL if self.projects[project] else frozenset()
        if scheme == "Bearer":
            return self.granted.get(value, {}).get(project, frozenset())
        account = self._account(value) if scheme == "Basic" else None
        return public | (account.rights.get(project, frozenset()) if account else frozenset())

    def _account(self, pair: str) -> Account | None:
        name, _, password = base64.b64decode(pair).decode().partition(":")
        account = self.accounts.get(name)
        return account if account and account.password == password and not account.expired else None

    def _unauthorized(self, seen: Seen, message: str, name: str | None) -> Answer:
        """Whoever has shown something already is offered Basic, and nothing else."""
        scope = f',scope="repository:{name}:pull"' if name else ""
        bearer = f'Bearer realm="{self.url}/service/token",service="harbor-registry"{scope}'
        offered = 'Basic realm="harbor"' if "authorization" in seen.headers else bearer
        return _error(401, "UNAUTHORIZED", f"{message}: {message}", {"WWW-Authenticate": offered})

    def _give_token(self, seen: Seen, query: dict[str, list[str]]) -> Answer:
        """What is not granted is left out, without an error; a robot that has expired is told so."""
        scopes = tuple(scope for one in query.get("scope", ()) for scope in one.split())
        scheme, _, value = seen.headers.get("authorization", "").partition(" ")
        account = self._account(value) if scheme == "Basic" else None
        self.asked_tokens.append((base64.b64decode(value).decode().partition(":")[0] if scheme else None, scopes))
        if scheme and account is None:
            return _error(401, "UNAUTHORIZED", "unauthorized")
        access, granted = [], {}
        for scope in scopes:
            name = scope.split(":")[1]
            project = name.partition("/")[0]
            rights = account.rights.get(project, frozenset()) if account else frozenset()
            rights = rights | PULL if self.projects.get(project) else rights
            granted[project] = rights if project in self.projects else frozenset()
            access.append({"type": "repository", "name": name, "actions": sorted(granted[project])})
        claims = base64.urlsafe_b64encode(json.dumps({"access": access}).encode()).decode().rstrip("=")
        token = f"e30.{claims}.{secrets.token_hex(8)}"
        self.granted[token] = granted
        document = {"token": token, "access_token": "", "expires_in": 1800, "issued_at": "2026-01-01T00:00:00Z"}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _in_its_words(self, right: Answer, name: str, path: str) -> Answer:
        if right.status != 404 or b"UNKNOWN" not in right.body:
            return right
        reference = path.partition("?")[0].rpartition("/")[2]
        joined = "@" if ":" in reference else ":"
        known = any(repository == name for repository, _ in self.manifests)
        what = f"artifact {name}{joined}{reference}" if known else f"repository {name}"
        return _error(404, "NOT_FOUND", f"{what} not found")


def _error(status: int, code: str, message: str, more: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **(more or {})}, body)
