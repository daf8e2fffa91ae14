"""GitHub's registry as its documents and those who use it describe it, in this process.

Written after docs.github.com ("Working with the Container registry", "About permissions for GitHub Packages") and
public reports of its answers. It was never compared with ghcr.io.
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

_REPOSITORY = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs/uploads|blobs|referrers|tags)/(?P<rest>.*)")


@dataclass(frozen=True)
class Pat:
    """A personal access token (classic): its user, its scopes, the packages that user may see and write."""

    user: str
    scopes: frozenset[str]
    sees: frozenset[str] = field(default_factory=frozenset)


class ScriptedGhcr(FaultyRegistry):
    """`packages` are repository -> whether it is public; a push by someone who may makes a private one. `referrers_to`
    is where questions for referrers are sent, None for a plain 404."""

    def __init__(self, packages: Mapping[str, bool], pats: Mapping[str, Pat]) -> None:
        super().__init__()
        self.deletes = set()
        self.packages, self.pats = dict(packages), dict(pats)
        self.owner: dict[str, Pat | None] = {}
        """Token -> whose it is."""
        self.asked_tokens: list[tuple[bool, tuple[str, ...]]] = []
        """(by someone, scopes) of each."""
        self.referrers_to: str | None = None

    def answer(self, seen: Seen, data: bytes) -> Answer:
        """As ghcr.io answers."""
        parts = urlsplit(seen.path)
        if parts.path == "/token":
            return self._give_token(seen, parse_qs(parts.query))
        match = _REPOSITORY.fullmatch(parts.path)
        if (refusal := self._checked(seen, match["name"] if match else "")) is not None:
            self.requests.append(seen)
            return refusal
        if match and match["kind"] == "referrers":
            self.requests.append(seen)
            to = {"Location": self.referrers_to} if self.referrers_to else {}
            return Answer(303 if to else 404, {"Content-Type": "text/html"} | to, b"<html></html>")
        right = super().answer(seen, data)
        if match and seen.method == "PUT" and right.status == 201:
            self.packages.setdefault(match["name"], False)
        return right

    def _checked(self, seen: Seen, name: str) -> Answer | None:
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.owner:
            asked = f'Bearer realm="{self.url}/token",service="ghcr.io",scope="repository:{name or "user/image"}:pull"'
            return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": asked})
        who = self.owner[token]
        if seen.method not in {"GET", "HEAD"}:
            may = who and "write:packages" in who.scopes and (name in who.sees or name not in self.packages)
            return None if may else _error(403, "DENIED", "permission_denied: write_package")
        if not name or self.packages.get(name):
            return None
        if who and "read:packages" in who.scopes and name in who.sees:
            return None
        if who and "read:packages" not in who.scopes:
            return _error(403, "DENIED", "permission_denied: read_package")
        return _error(404, "NAME_UNKNOWN", "repository name not known to registry")

    def _give_token(self, seen: Seen, query: dict[str, list[str]]) -> Answer:
        """Anyone gets one for public packages; what is private or was never pushed is refused here already. The answer
        holds no `expires_in`."""
        scopes = tuple(query.get("scope", ()))
        given = seen.headers.get("authorization", "")
        self.asked_tokens.append((bool(given), scopes))
        who: Pat | None = None
        if given:
            _, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
            if (who := self.pats.get(password)) is None:
                return _error(403, "DENIED", "denied")
        elif not all(self.packages.get(scope.split(":")[1]) for scope in scopes):
            return _error(403, "DENIED", "requested access to the resource is denied")
        token = secrets.token_hex(16)
        self.owner[token] = who
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())


def _error(status: int, code: str, message: str, more: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, {"Content-Type": "application/json", **(more or {})}, body)
