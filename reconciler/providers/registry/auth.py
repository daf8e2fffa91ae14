"""Who asks: basic and bearer-token authentication (RFC 9110 section 11; distribution: docs/content/spec/auth)."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

from reconciler.model.problem import LianError
from reconciler.providers.registry import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.providers.registry.docker_config import Credential, DockerConfig
    from reconciler.providers.registry.reply import Reply

PULL, PUSH, DELETE = "pull", "pull,push", "pull,push,delete"
_SCHEME = re.compile(r"\s*,?\s*(?P<scheme>[A-Za-z][A-Za-z0-9_-]*)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(
    r"\s*,?\s*(?P<name>[A-Za-z0-9_-]+)\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<token>[^\s,\"]+))"
)
_DEFAULT_LIFE = 60.0
"""Seconds a token lives whose answer does not say."""
_CREDENTIAL_LIFE = 300.0
"""Seconds until Docker's configuration is asked again: helpers hand out credentials that expire."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(header: str) -> tuple[Challenge, ...]:
    """The challenges of a header, as far as it can be read; quoted commas and quotes are understood."""
    found: list[Challenge] = []
    at = 0
    while match := _SCHEME.match(header, at):
        at, parameters = match.end(), {}
        while pair := _PARAMETER.match(header, at):
            quoted = pair["quoted"]
            value = pair["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters[pair["name"].lower()] = value
            at = pair.end()
        found.append(Challenge(match["scheme"].lower(), parameters))
    return tuple(found)


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses (no port)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class TokenFetch(Protocol):
    """Asks a token service once, without following redirects: GET, or POST when there is a form. Raises LianError."""

    async def __call__(self, url: str, authorization: str | None, form: Mapping[str, str] | None) -> Reply: ...


@dataclass(slots=True)
class Authorizer:
    """Authorization headers for one registry. Asks for nothing until the registry demands it, then keeps what it got.

    `url` is the registry's own (it decides how far a token service is trusted), `host` its name in Docker's config.
    """

    host: str
    url: str
    config: DockerConfig
    fetch: TokenFetch
    now: Callable[[], float]
    _challenge: Challenge | None = None
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _credential: tuple[Credential | None, float] | None = None

    async def authorization(self, scope: str) -> str | None:
        """The header for this scope, None as long as the registry asked for none. Raises LianError."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return await self._basic()
        if (kept := self._tokens.get(scope)) and self.now() < kept[1]:
            return kept[0]
        async with self._locks.setdefault(scope, asyncio.Lock()):
            if (kept := self._tokens.get(scope)) and self.now() < kept[1]:
                return kept[0]
            header, life = await self._token(scope)
            self._tokens[scope] = (header, self.now() + life)
            return header

    async def challenged(self, reply: Reply, scope: str, refused: str | None) -> str | None:
        """After a 401: a header worth another try, None if there is none. `refused` is the header it refused."""
        offered = challenges(reply.headers.get("www-authenticate", ""))
        chosen = next((c for c in offered if c.scheme == "bearer" and c.parameters.get("realm")), None)
        chosen = chosen or next((c for c in offered if c.scheme == "basic"), None)
        if chosen is None:
            return None
        self._challenge = chosen
        if (kept := self._tokens.get(scope)) and kept[0] == refused:
            del self._tokens[scope]
        if refused:
            self._credential = None
        header = await self.authorization(scope)
        return header if header != refused else None

    async def _basic(self) -> str | None:
        credential = await self._own()
        return credential.basic if credential else None

    async def _own(self) -> Credential | None:
        """The credential; asked for once by however many requests wait for it, since a helper is a process."""
        async with self._locks.setdefault("", asyncio.Lock()):
            if self._credential is None or self.now() >= self._credential[1]:
                self._credential = (await self.config.credential(self.host), self.now() + _CREDENTIAL_LIFE)
            return self._credential[0]

    async def _token(self, scope: str) -> tuple[str, float]:
        """An Authorization header and the seconds it is good for: a quarter of a token's life is left unused."""
        credential = await self._own()
        if credential and credential.registry_token:
            return f"Bearer {credential.registry_token}", float("inf")
        parameters = self._challenge.parameters if self._challenge else {}
        realm, service = self._trusted(parameters["realm"]), parameters.get("service", "")
        query = {"service": service} if service else {}
        if credential and credential.identity_token:
            form = query | {
                "grant_type": "refresh_token",
                "client_id": "lian",
                "scope": scope,
                "refresh_token": credential.identity_token,
            }
            reply = await self.fetch(realm, None, form)
        else:
            joined = "&" if urlsplit(realm).query else "?"
            scopes = [("scope", one) for one in scope.split()]
            url = f"{realm}{joined}{urlencode([*query.items(), *scopes])}"
            reply = await self.fetch(url, credential.basic if credential else None, None)
        return self._read(reply, scope)

    def _read(self, reply: Reply, scope: str) -> tuple[str, float]:
        if reply.status != 200:
            raise LianError(problems.denied(self.host, scope, f"the token service answered {reply.told}"))
        try:
            document = json.loads(reply.body)
            token = str(document.get("token") or document["access_token"])
            life = float(document.get("expires_in") or _DEFAULT_LIFE)
            if not token.isascii() or not token.isprintable():
                raise ValueError("a token is printable ASCII")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            cause = "the token service's answer holds no token"
            raise LianError(problems.denied(self.host, scope, cause)) from None
        return f"Bearer {token}", life * 0.75

    def _trusted(self, realm: str) -> str:
        """The realm, if it may see a credential: HTTPS, or no weaker than the registry itself. Raises LianError."""
        try:
            there, here = urlsplit(realm), urlsplit(self.url)
            host = there.hostname or ""
            plain = there.scheme == "http" and here.scheme == "http" and (host == here.hostname or is_loopback(host))
        except ValueError:
            host, plain, there = "", False, urlsplit("")
        if not host or there.username is not None or not (there.scheme == "https" or plain):
            cause = "the token service it names is not reached over HTTPS; no credential is sent there"
            raise LianError(problems.denied(self.host, f"a token from {realm!r}", cause))
        return realm
