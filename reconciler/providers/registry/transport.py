"""HTTP with one registry: authentication, redirects, limits and retries in one place."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.auth import PULL, Authorizer, is_loopback
from reconciler.providers.registry.docker_config import DockerConfig
from reconciler.providers.registry.lane import SMALL_BODY, Lane
from reconciler.providers.registry.reply import MAX_MANIFEST, Broken
from reconciler.providers.registry.retry import Retrier, RetryPolicy, Timing, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from reconciler.model.problem import Problem
    from reconciler.providers.registry.client import Client
    from reconciler.providers.registry.reply import Reply

_HUB = "docker.io"
_HUB_URL = "https://registry-1.docker.io"
_MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how a registry is reached. `host` as in Repository; `url` without path; `tls` None is plain HTTP."""

    host: str
    url: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, host: str, url: str | None = None, *, ca: str | None = None, insecure: bool = False) -> Endpoint:
        """HTTPS, unless `url` says http:// or the host is loopback. `ca` is a file of certificates to trust besides
        the system's; `insecure` checks no certificate. Raises LianError `ca-unreadable`."""
        if url is None:
            name = urlsplit(f"//{host}").hostname or host
            url = _HUB_URL if host == _HUB else f"{'http' if is_loopback(name) else 'https'}://{host}"
        return cls(host, url.rstrip("/"), _context(ca, insecure) if url.startswith("https://") else None)

    @property
    def plain(self) -> bool:
        """True for plain HTTP."""
        return self.tls is None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (80 if self.plain else 443)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `target` is a path, or the whole URL that the registry gave; `repository` and `actions` make the
    scope asked for, `source` is a repository that is pulled from in the same request; content larger than `limit`
    bytes is not read."""

    method: str
    target: str
    repository: str
    actions: str = PULL
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    limit: int = MAX_MANIFEST
    follow: bool = True
    source: str | None = None

    @property
    def scope(self) -> str:
        """As token services understand it (distribution: docs/content/spec/auth/scope.md)."""
        scope = f"repository:{self.repository}:{self.actions}"
        return f"{scope} repository:{self.source}:{PULL}" if self.source else scope


class Transport:
    """All requests to one registry. Used from one event loop; `aclose()` ends its connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        config: DockerConfig | None = None,
        *,
        policy: RetryPolicy | None = None,
        timing: Timing | None = None,
        connections: int = 4,
    ) -> None:
        self.endpoint = endpoint
        self.connections = connections
        policy, timing = policy or RetryPolicy(), timing or Timing()
        self._opened: Client | None = None
        self._retrier = Retrier(endpoint.host, policy, timing)
        self._token_retrier = Retrier(f"{endpoint.host} (its token service)", policy, timing)
        self._auth = Authorizer(endpoint.host, endpoint.url, config or DockerConfig.load(), self._fetch, timing.now)
        self._laned = not _proxied(endpoint.url)

    async def aclose(self) -> None:
        """End all connections."""
        opened, self._opened = self._opened, None
        if opened:
            await opened.aclose()

    async def send(self, call: Call) -> Reply:
        """The final answer: neither transient nor a redirect (unless `follow` is False) nor a refusal that a new
        token would lift. Raises LianError `registry-unreachable`, `-busy`, `-failing`, `-denied`."""
        return await self._retrier.run(lambda: self._authorised(call))

    @contextlib.asynccontextmanager
    async def lane(self) -> AsyncIterator[Lane | None]:
        """A connection of one's own for many small requests; None where a proxy stands between."""
        if not self._laned:
            yield None
            return
        async with Lane(*self.endpoint.address, self.endpoint.tls) as lane:
            yield lane

    @property
    def at_once(self) -> int:
        """How many requests this registry bears at a time, as far as it is known."""
        return self._retrier.pace.limit

    async def quick(self, lane: Lane, call: Call, *, limit: int = SMALL_BODY) -> Reply | None:
        """One try on the lane; None for whatever `send` should rather do, and for a body of more than `limit` bytes.
        Raises LianError as `send` does."""
        given = await self._headers(call)
        headers = [("host", self._host_header()), *given.items()]
        try:
            async with Turn(self._retrier) as turn:
                reply = await lane.exchange(call.method, call.target, headers, content=call.content, limit=limit)
                if reply.status == 429:
                    turn.limited(reply)
                if reply.truncated or reply.status not in {200, 404}:
                    return None
                turn.answered()
        except Broken:
            return None
        return reply

    def _host_header(self) -> str:
        return urlsplit(self.endpoint.url).netloc

    async def _headers(self, call: Call) -> dict[str, str]:
        headers = {"user-agent": "lian", "accept-encoding": "identity", **call.headers}
        authorization = await self._auth.authorization(call.scope)
        return headers | {"authorization": authorization} if authorization else headers

    async def _authorised(self, call: Call) -> Reply:
        headers = await self._headers(call)
        reply = await self._followed(call, headers)
        if reply.status == 401:
            refused = headers.pop("authorization", None)
            renewed = await self._auth.challenged(reply, call.scope, refused)
            if renewed:
                reply = await self._followed(call, headers | {"authorization": renewed})
        if reply.status in {401, 403}:
            what = f"{call.repository} ({call.actions.rpartition(',')[2]})"
            raise LianError(problems.denied(self.endpoint.host, what, reply.told))
        return reply

    async def _followed(self, call: Call, headers: Mapping[str, str]) -> Reply:
        url = self._absolute(call.target)
        reply = await self._exchange(call, url, self._trusting(url, headers))
        for _ in range(_MAX_REDIRECTS):
            location = reply.headers.get("location", "")
            if not (call.follow and reply.status in {301, 302, 303, 307, 308} and location):
                return reply
            if call.method not in {"GET", "HEAD"} and reply.status not in {307, 308}:
                return reply
            url = self._safe(urljoin(url, location))
            reply = await self._exchange(call, url, self._trusting(url, headers))
        raise LianError(self._odd(call, f"it redirects more than {_MAX_REDIRECTS} times"))

    def _absolute(self, target: str) -> str:
        return self._safe(urljoin(self.endpoint.url + "/", target))

    def _safe(self, url: str) -> str:
        """The URL, never weaker than the registry's own: a proxy that forgot about TLS names itself by http://.

        Raises LianError for what is neither HTTP nor HTTPS, and for plain HTTP elsewhere.
        """
        own, there = urlsplit(self.endpoint.url), urlsplit(url)
        if there.scheme == "http" and own.scheme == "https":
            if there.hostname == own.hostname:
                return there._replace(scheme="https", netloc=own.netloc).geturl()
            raise LianError(problems.not_oci(self.endpoint.host, "content", "it redirects from HTTPS to plain HTTP"))
        if there.scheme not in {"http", "https"} or not there.hostname:
            raise LianError(problems.not_oci(self.endpoint.host, "content", "it redirects to what is not HTTP"))
        return url

    def _trusting(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers that may go to this URL: a credential goes to its own origin only."""
        if _origin(self.endpoint.url) == _origin(url):
            return headers
        return {name: value for name, value in headers.items() if name != "authorization"}

    async def _exchange(self, call: Call, url: str, headers: Mapping[str, str]) -> Reply:
        return await self._client.exchange(call.method, url, headers, content=call.content, limit=call.limit)

    @property
    def _client(self) -> Client:
        if self._opened is None:
            from reconciler.providers.registry.client import Client

            direct = is_loopback(self.endpoint.address[0])
            self._opened = Client(self.endpoint.tls, self.connections, direct=direct)
        return self._opened

    async def _fetch(self, url: str, authorization: str | None, form: Mapping[str, str] | None) -> Reply:
        headers = {"user-agent": "lian", "accept": "application/json", "accept-encoding": "identity"}
        if authorization:
            headers["authorization"] = authorization
        method = "POST" if form else "GET"
        return await self._token_retrier.run(lambda: self._client.exchange(method, url, headers, form=form))

    def _odd(self, call: Call, cause: str) -> Problem:
        return problems.not_oci(self.endpoint.host, f"{call.repository}", cause)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _context(ca: str | None, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    if ca:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise LianError(problems.ca_unreadable(ca, str(error))) from None
    return context


def _proxied(url: str) -> bool:
    """True if the environment puts a proxy before this URL; never before loopback, as Docker has it."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return False
    proxies = getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.netloc)
