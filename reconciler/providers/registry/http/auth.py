"""Who asks: basic and bearer-token authentication (RFC 9110 section 11; distribution: docs/content/spec/auth)."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

from reconciler.model.problem import LianError, Problem
from reconciler.providers.registry import problems
from reconciler.providers.registry.http.scopes import Challenge, Granted, Scope, challenges
from reconciler.providers.registry.refusal import Account, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.providers.registry.http.docker_config import Credential
    from reconciler.providers.registry.http.reply import Reply

MOST_SCOPES = 50
LONGEST_URL = 4096
"""Bounds of one token request. Servers and proxies before them take 8 KiB of a request line at least; a token that
grants too much grows beyond what they take of headers."""
_DEFAULT_LIFE, _SHORTEST_LIFE = 60.0, 5.0
"""Seconds: of a token whose answer does not say, and of one that says less. No service hands out a dead one."""
_OLD = 30.0
"""Seconds after which what an account may do can have changed."""
_CREDENTIAL_LIFE = 300.0
"""Seconds until a credential is asked for again: helpers hand out credentials that expire."""
_FAILED_GROUPS = 2
"""After so many groups that were refused or granted for the lesser part, each scope is asked for by itself."""

Need = tuple[Scope, ...]
"""What one request takes: nearly always one scope; two for a mount from another repository; none for a question about
no repository."""


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses (no port)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Credentials(Protocol):
    """Knows which credential is for which registry host."""

    async def credential(self, host: str) -> Credential | None:
        """None where there is none. Raises LianError if there is one that cannot be had."""
        ...


class TokenFetch(Protocol):
    """Asks a token service once, without following redirects: GET, or POST when there is a form. Raises LianError."""

    async def __call__(self, url: str, authorization: str | None, form: Mapping[str, str] | None) -> Reply: ...


class Pull(Enum):
    """Whether the one who asks was granted pull: what a 404 is worth depends on it."""

    GRANTED = "granted"
    """As far as anyone can tell; a registry that asks for nothing grants everything."""
    REFUSED = "refused"
    """The token says that it grants no pull."""
    NAMELESS = "nameless"
    """Nobody said who asks, the registry wants to know, and no token says that everyone may read."""
    UNSETTLED = "unsettled"
    """The registry was not asked whether it wants to know who asks, or the token was asked for many repositories at
    once and does not say which it grants."""


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    header: str
    until: float
    asked: tuple[Scope, ...]
    granted: Granted | None
    since: float


class _LoginRefused(LianError):
    """By the token service, whatever is asked for."""


@dataclass(slots=True)
class Authorizer:
    """Authorization headers for one registry. Asks for nothing until the registry demands it, then keeps what it got.

    `url` is the registry's own (it decides how far a token service is trusted), `host` its name in Docker's config.
    """

    host: str
    url: str
    credentials: Credentials
    fetch: TokenFetch
    now: Callable[[], float]
    denied: Callable[[Refusal], Problem] = problems.denied
    login: bool | None = None
    """Whether there is a credential for this registry; None as long as nobody asked."""
    account: Account | None = None
    """As whom it asks, as far as it was found out; None where there is no login."""
    _challenge: Challenge | None = None
    _open: bool | None = None
    """Whether the registry answers those who do not say who they are; None as long as it was not asked."""
    _listing: str = ""
    """The scope that the registry names for questions about no repository."""
    _expected: dict[str, None] = field(default_factory=dict)
    _tokens: dict[Need, _Token] = field(default_factory=dict)
    _alone: set[Need] = field(default_factory=set)
    """Asked for by themselves: a group did not do for them."""
    _failed_groups: int = 0
    _locks: dict[Need | str, asyncio.Lock] = field(default_factory=dict)
    _credential: tuple[Credential | None, float] | None = None
    _proofs: set[str | None] = field(default_factory=set)
    _refused: tuple[Credential | None, str | None] | None = None
    """The credential that the token service refused last, and its words where it refuses it whatever is asked for."""

    @property
    def asks(self) -> bool:
        """True once the registry has asked who it is."""
        return self._challenge is not None

    def proves(self, header: str | None) -> bool:
        """True for a header that holds the login itself, and no token that was given for some repositories."""
        return header in self._proofs

    def expect(self, repositories: Iterable[str]) -> None:
        """These will be read soon: one token for many of them saves a request for each."""
        self._expected |= dict.fromkeys(repositories)

    async def authorization(self, need: Need) -> str | None:
        """The header for this need, None as long as the registry asked for none. Raises LianError."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return await self._basic()
        if (kept := self._kept(need)) is None and self._grouped(need):
            async with self._locks.setdefault("group", asyncio.Lock()):
                if self._kept(need) is None and self._grouped(need):
                    await self._ask_for_group(need)
            kept = self._kept(need)
        return (kept or await self._single(need)).header

    async def challenged(self, reply: Reply, need: Need, refused: str | None, *, again: bool = False) -> str | None:
        """After a 401: a header worth another try, None if there is none. `refused` is the header it refused; `again`:
        it is one that this very request was given after an earlier 401."""
        chosen = self._chosen(challenges(reply.headers.get("www-authenticate", "")))
        if chosen is None:
            return None
        self._challenge = chosen
        if not need:
            self._listing = chosen.parameters.get("scope", "")
        if (kept := self._tokens.get(need)) and kept.header == refused:
            if not self._worth_another(kept, need, again=again):
                return None
            self._forget(need, kept, chosen)
        if refused and chosen.scheme == "basic":
            if again:
                return None
            self._credential = None
        header = await self.authorization(need)
        return header if header != refused else None

    def settle(self, reply: Reply) -> None:
        """Take note of what `GET /v2/` answers to one who does not say who asks (distribution-spec, end-1). It may
        know logins and answer all the same (RFC 9110, 11.6.1), as zot does where some may be read by everyone."""
        chosen = self._chosen(challenges(reply.headers.get("www-authenticate", "")))
        self._open = reply.status not in {401, 403}
        self._challenge = self._challenge or chosen

    def unsettle(self) -> None:
        """Whether the registry wants to know who asks may have changed, and whom it knows."""
        self._open, self._refused = None, None

    def pull(self, need: Need, header: str | None) -> Pull:
        """What is known of the right to read that a request with this header had."""
        if header is None:
            return Pull.UNSETTLED if self._open is None else Pull.GRANTED if self._open else Pull.NAMELESS
        if not need:
            return Pull.GRANTED
        kept = self._tokens.get(need)
        if kept is None or kept.header != header:  # a password, or a token that another has taken the place of
            granted, alone = Granted.by(header.removeprefix("Bearer ")), True
        else:
            granted, alone = kept.granted, len(kept.asked) == len(need)
        if granted is not None:
            return Pull.GRANTED if granted.may_pull(need[0].repository) else Pull.REFUSED
        if not alone:
            return Pull.UNSETTLED
        return Pull.GRANTED if self.login else Pull.NAMELESS

    async def by_itself(self, need: Need) -> str | None:
        """A header from a token that was asked for this need alone. Raises LianError."""
        self._alone.add(need)
        if (kept := self._tokens.get(need)) and len(kept.asked) > len(need):
            del self._tokens[need]
        return await self.authorization(need)

    def _chosen(self, offered: tuple[Challenge, ...]) -> Challenge | None:
        """The strongest that is understood. A registry that once named a token service keeps it: Harbor offers Basic
        to a token that does not do."""
        bearer = next((c for c in offered if c.scheme == "bearer" and c.parameters.get("realm")), None)
        if bearer is None and self._challenge and self._challenge.scheme == "bearer":
            return self._challenge
        return bearer or next((c for c in offered if c.scheme == "basic"), None)

    def _worth_another(self, kept: _Token, need: Need, *, again: bool) -> bool:
        """Whether another token may do where this one did not: one for this need alone, one in the place of a token
        that should have done, or one that is newer than a change of rights."""
        if len(kept.asked) > len(need):
            return True
        if kept.granted is None or not need:
            return not again
        return kept.granted.covers_all(need) or self.now() - kept.since > _OLD

    def _forget(self, need: Need, kept: _Token, told: Challenge) -> None:
        """The registry refused this token. One that grants the need by its own word is over, for all its needs; of a
        group's token that does not say, this need may just be the one that was not granted."""
        over = kept.granted is not None and kept.granted.covers_all(need)
        if over or told.parameters.get("error") == "invalid_token":
            self._tokens = {n: t for n, t in self._tokens.items() if t is not kept}
            return
        del self._tokens[need]
        if len(kept.asked) > len(need):
            self._alone.add(need)

    def _kept(self, need: Need) -> _Token | None:
        kept = self._tokens.get(need)
        return kept if kept and self.now() < kept.until else None

    def _grouped(self, need: Need) -> bool:
        """True for reading a repository that is expected with others, as long as groups do."""
        expected = len(need) == 1 and need[0].reads and need[0].repository in self._expected
        return expected and need not in self._alone and self._failed_groups < _FAILED_GROUPS

    async def _single(self, need: Need) -> _Token:
        async with self._locks.setdefault(need, asyncio.Lock()):
            if kept := self._kept(need):
                return kept
            self._tokens[need] = token = await self._token(need)
            return token

    async def _ask_for_group(self, need: Need) -> None:
        """One token for this need and for others that are expected. What it does not grant is asked for alone, where
        the service can say why."""
        group = self._group(need)
        try:
            token = await self._token(tuple(scope for one in group for scope in one))
        except _LoginRefused:
            raise
        except LianError as error:
            if len(group) == 1 or any(problem.code != "registry-denied" for problem in error.problems):
                raise
            self._alone.update(group)
            self._failed_groups += 1
            return
        granted = [one for one in group if token.granted is None or token.granted.covers(one[0])]
        self._tokens |= dict.fromkeys(granted, token)
        self._alone.update(set(group).difference(granted))
        if len(group) > 1 and 2 * len(granted) < len(group):
            self._failed_groups += 1

    def _group(self, need: Need) -> list[Need]:
        group, length = [need], len(urlencode({"scope": str(need[0])}))
        for repository in self._expected:
            other = (Scope(repository),)
            if other == need or other in self._alone or self._kept(other):
                continue
            length += len(urlencode({"scope": str(other[0])})) + 1
            if len(group) == MOST_SCOPES or length > LONGEST_URL - self._base_length():
                break
            group.append(other)
        return group

    def _base_length(self) -> int:
        parameters = self._challenge.parameters if self._challenge else {}
        return len(parameters.get("realm", "")) + len(urlencode({"service": parameters.get("service", "")})) + 2

    async def _basic(self) -> str | None:
        credential, _ = await self._own()
        return credential.basic if credential else None

    async def _own(self) -> tuple[Credential | None, float]:
        """The credential and until when it is kept; asked for once by however many requests wait for it, since a
        helper is a process."""
        async with self._locks.setdefault("", asyncio.Lock()):
            if self._credential is None or self.now() >= self._credential[1]:
                found = await self.credentials.credential(self.host)
                self._credential = (found, self.now() + _CREDENTIAL_LIFE)
                self.login = found is not None
                self.account = found.account if found else None
                self._proofs = {found.basic, f"Bearer {found.registry_token}"} if found else set()
            return self._credential

    async def _token(self, scopes: tuple[Scope, ...]) -> _Token:
        """From the token service. A credential that it refuses is asked for again once, unless it is new. Raises
        LianError."""
        began = self.now()
        credential, until = await self._own()
        if credential and credential.registry_token:
            header = f"Bearer {credential.registry_token}"
            return _Token(header, float("inf"), scopes, Granted.by(credential.registry_token), began)
        asked = [str(scope) for scope in scopes] or ([self._listing] if self._listing else [])
        reply = await self._request(credential, asked)
        if reply.status == 401 and credential and until - _CREDENTIAL_LIFE < began:
            self._credential = None
            again, _ = await self._own()
            if again != credential:
                credential, reply = again, await self._request(again, asked)
        if reply.status != 200:
            refusal = await self._refusal(credential, scopes, reply)
            raise (LianError if refusal.what else _LoginRefused)(self.denied(refusal))
        return self._read(reply, scopes, credential)

    async def _refusal(self, credential: Credential | None, scopes: tuple[Scope, ...], reply: Reply) -> Refusal:
        """Asked for nothing at all, a token service answers 401 to a login that it does not know (so `docker login`
        finds out); to one that it knows, the 401 was for what was asked for."""
        account = credential.account if credential else None
        said = None
        if reply.status == 401:
            async with self._locks.setdefault("refused", asyncio.Lock()):
                if self._refused is None or self._refused[0] != credential:
                    bare = await self._request(credential, [])
                    self._refused = (credential, bare.told if bare.status == 401 else None)
                said = self._refused[1]
        what, told = (None, said) if said else (_told(scopes), reply.told)
        return Refusal(self.host, what, f"the token service answered {told}", account)

    async def _request(self, credential: Credential | None, asked: list[str]) -> Reply:
        parameters = self._challenge.parameters if self._challenge else {}
        realm, service = self._trusted(parameters["realm"]), parameters.get("service", "")
        query = [("service", service)] if service else []
        if credential and credential.identity_token:
            form = dict(query) | {
                "grant_type": "refresh_token",
                "client_id": "lian",
                "scope": " ".join(asked),
                "refresh_token": credential.identity_token,
            }
            return await self.fetch(realm, None, form)
        joined = "&" if urlsplit(realm).query else "?"
        url = f"{realm}{joined}{urlencode(query + [('scope', scope) for scope in asked])}"
        return await self.fetch(url, credential.basic if credential else None, None)

    def _read(self, reply: Reply, scopes: tuple[Scope, ...], credential: Credential | None) -> _Token:
        """Raises LianError for what is no token."""
        try:
            document = json.loads(reply.body)
            token = str(document.get("token") or document["access_token"])
            life = float(document.get("expires_in") or _DEFAULT_LIFE)
            issued = document.get("issued_at")
            if not token or not token.isascii() or not token.isprintable():
                raise ValueError("a token is printable ASCII")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            cause = "the token service's answer holds no token"
            account = credential.account if credential else None
            raise LianError(self.denied(Refusal(self.host, _told(scopes), cause, account))) from None
        left = max(_SHORTEST_LIFE, life - _age(issued, reply.headers.get("date", "")))
        return _Token(f"Bearer {token}", self.now() + 0.75 * left, scopes, Granted.by(token), self.now())

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
            raise LianError(problems.realm_untrusted(self.host, realm, cause))
        return realm


def _told(scopes: tuple[Scope, ...]) -> str:
    if not scopes:
        return "its own listing"
    first = f"{scopes[0].repository} ({scopes[0].actions.rpartition(',')[2]})"
    return first if len(scopes) == 1 else f"{first} and {len(scopes) - 1} more"


def _age(issued: object, date: str) -> float:
    """Seconds between the issue of a token and the answer that brought it, by the service's own clock: a service may
    hand out a token that it keeps. 0 where it does not say both."""
    try:
        then = datetime.fromisoformat(str(issued))
        return max(0.0, (parsedate_to_datetime(date) - then).total_seconds())
    except (ValueError, TypeError):
        return 0.0
