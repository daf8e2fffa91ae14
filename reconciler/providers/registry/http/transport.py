"""HTTP with one registry: authentication, redirects, limits and retries in one place."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from reconciler.model.manifest import MAX_MANIFEST
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.http.auth import Authorizer, Pull, is_loopback
from reconciler.providers.registry.http.dialect import Dialect
from reconciler.providers.registry.http.docker_config import DockerConfig
from reconciler.providers.registry.http.lane import SMALL_BODY, Lane
from reconciler.providers.registry.http.lanes import Lanes
from reconciler.providers.registry.http.patience import Patience
from reconciler.providers.registry.http.reply import Broken
from reconciler.providers.registry.http.retry import TRANSIENT, Retrier, RetryPolicy, Timing, Turn
from reconciler.providers.registry.http.scopes import PULL, PUSH, Scope
from reconciler.providers.registry.http.trust import Trust
from reconciler.providers.registry.refusal import Refusal

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from reconciler.model.problem import Problem
    from reconciler.providers.registry.http.auth import Credentials, Need
    from reconciler.providers.registry.http.client import Client
    from reconciler.providers.registry.http.reply import Reply

_HUB = "docker.io"
_HUB_URL = "https://registry-1.docker.io"
_MAX_REDIRECTS = 5


def _nobody(waited_for: str) -> None:
    del waited_for


def url_of(host: str, url: str | None = None) -> str:
    """The base URL of a registry: as the settings have it, else HTTPS, or plain HTTP on the loopback."""
    if host == _HUB and url in {None, f"https://{_HUB}"}:
        return _HUB_URL
    if url is None:
        name = urlsplit(f"//{host}").hostname or host
        url = f"{'http' if is_loopback(name) else 'https'}://{host}"
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how a registry is reached. `host` as in Repository; `url` without path; `tls` None is plain HTTP.
    `abroad` is for where the registry sends us."""

    host: str
    url: str
    tls: ssl.SSLContext | None
    abroad: ssl.SSLContext | None = None

    @classmethod
    def of(cls, host: str, url: str | None = None, trust: Trust | None = None) -> Endpoint:
        """HTTPS, unless `url` says http:// or the host is loopback. Raises LianError `ca-unreadable` or
        `client-cert-unusable`."""
        url, trust = url_of(host, url), trust or Trust()
        if not url.startswith("https://"):
            return cls(host, url, None, trust.abroad(host) if trust.authorities else None)
        tls = trust.context(host)
        return cls(host, url, tls, trust.abroad(host) if trust.insecure or trust.identity else tls)

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
    bytes is not read. What is `optional` not every registry has: a 404 to it says nothing of content, and is told to
    everyone."""

    method: str
    target: str
    repository: str
    actions: str = PULL
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    limit: int = MAX_MANIFEST
    follow: bool = True
    source: str | None = None
    optional: bool = False

    @property
    def told(self) -> str:
        """As problems name it."""
        return f"{self.repository} ({self.actions.rpartition(',')[2]})" if self.repository else "its own listing"

    def to(self, method: str, target: str) -> Call:
        """The same access, to ask for something small of this registry."""
        return Call(method, target, self.repository, self.actions, self.headers)

    @property
    def need(self) -> Need:
        """What it takes: access to its repository, and pull of the one it takes blobs from."""
        own = (Scope(self.repository, self.actions),) if self.repository else ()
        return (*own, Scope(self.source)) if self.source else own


class Transport:
    """All requests to one registry. Used from one event loop; `aclose()` ends its connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None = None,
        *,
        dialect: Dialect | None = None,
        policy: RetryPolicy | None = None,
        timing: Timing | None = None,
        connections: int = 4,
        waits: Callable[[str], None] | None = None,
    ) -> None:
        """`waits` is told, once, of what lets us wait for long."""
        self.endpoint = endpoint
        self.connections = connections
        self._dialect = dialect or Dialect()
        policy, timing = policy or RetryPolicy(), timing or Timing()
        self._clients: dict[tuple[bool, bool], Client] = {}
        self._retrier, self._token_retrier = (
            Retrier(name, policy, timing, patience=Patience(partial(waits or _nobody, name)))
            for name in (endpoint.host, f"{endpoint.host} (its token service)")
        )
        self._auth = Authorizer(
            endpoint.host,
            endpoint.url,
            credentials or DockerConfig.load(),
            self._fetch,
            timing.now,
            self._dialect.denied,
        )
        self._settling, self._finding = asyncio.Lock(), asyncio.Lock()
        self._door: dict[str | None, str | None] = {}
        """Header -> the words in which `GET /v2/` refuses it, None if it does not."""
        self._abilities: dict[str, bool] = {}
        self._laned = not _proxied(endpoint.url)
        self._lanes = Lanes(lambda: Lane(*endpoint.address, endpoint.tls))

    async def aclose(self) -> None:
        """End all connections."""
        await self._lanes.aclose()
        opened, self._clients = list(self._clients.values()), {}
        for client in opened:
            await client.aclose()

    def renew(self) -> None:
        """Another pass begins: what the registry says of itself is asked for anew."""
        self._auth.unsettle()
        self._abilities.clear()
        self._door.clear()

    async def able(self, what: str, find: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the registry can do something: `find` is called once in a pass, however many ask. Who is broken off
        while it finds out has waited long enough, and it counts as a no. Raises LianError as `find` does."""
        async with self._finding:
            if what not in self._abilities:
                self._abilities[what] = False
                try:
                    self._abilities[what] = await find()
                except LianError:
                    del self._abilities[what]
                    raise
            return self._abilities[what]

    @property
    def asks(self) -> bool:
        """True once the registry has asked who it is."""
        return self._auth.asks

    def expect(self, repositories: Iterable[str]) -> None:
        """These will be read now: where tokens are needed, one is asked for many of them."""
        self._auth.expect(repositories)

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
        async with self._lanes.one() as lane:
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
                turn.answered(alike=call.method == "HEAD")
                if reply.status == 404 and not await self._certain(lane, call, given.get("authorization")):
                    return None
        except Broken:
            return None
        return self._dialect.read(self.endpoint.host, call.repository, reply, self._auth.account)

    async def _certain(self, lane: Lane, call: Call, header: str | None) -> bool:
        """True if a 404 to this request was told to one who may read."""
        if self._auth.pull(call.need, header) is Pull.UNSETTLED and header is None:
            plain = [("host", self._host_header()), ("user-agent", "lian")]
            await self._settled(lambda: lane.exchange("GET", "/v2/", plain))
        if header is None and self._auth.asks and self._auth.login is not False:
            return False  # a login may see more
        return self._auth.pull(call.need, header) is Pull.GRANTED

    async def _settled(self, ask: Callable[[], Awaitable[Reply]]) -> Reply | None:
        """Whether the registry wants to know who asks: `ask` is called unless another request has found it out
        meanwhile. The answer if there is none yet, since it is a transient one."""
        async with self._settling:
            if self._auth.pull((), None) is not Pull.UNSETTLED:
                return None
            asked = await ask()
            if asked.status in TRANSIENT:
                return asked
            self._noted(asked)
            return None

    def _noted(self, asked: Reply, header: str | None = None) -> None:
        """What `GET /v2/` answers to this header."""
        self._door[header] = asked.told if asked.status == 401 else None
        if header is None:
            self._auth.settle(asked)

    def _host_header(self) -> str:
        return urlsplit(self.endpoint.url).netloc

    async def _headers(self, call: Call) -> dict[str, str]:
        headers = {"user-agent": "lian", "accept-encoding": "identity", **call.headers}
        authorization = await self._auth.authorization(call.need)
        return headers | {"authorization": authorization} if authorization else headers

    async def _authorised(self, call: Call) -> Reply:
        headers = await self._headers(call)
        reply = await self._followed(call, headers)
        for again in (False, True):
            if reply.status != 401:
                break
            refused = headers.get("authorization")
            renewed = await self._auth.challenged(reply, call.need, refused, again=again)
            if renewed is None:
                break
            headers["authorization"] = renewed
            reply = await self._followed(call, headers)
        if reply.status == 404 and call.actions != PUSH:  # to one who puts, a 404 says: it is yours to put
            reply = await self._granted(call, headers, reply)
        if reply.status in {401, 403}:
            raise LianError(self._dialect.denied(await self._refusal(call, headers, reply)))
        return self._dialect.read(self.endpoint.host, call.repository, reply, self._auth.account)

    async def _refusal(self, call: Call, headers: Mapping[str, str], reply: Reply) -> Refusal:
        header = headers.get("authorization")
        account = self._auth.account if header else None
        if reply.status == 401 and (told := await self._at_the_door(header)):
            return Refusal(self.endpoint.host, None, told, account)
        return Refusal(self.endpoint.host, call.told, await self._why(call, headers, reply), account)

    async def _at_the_door(self, header: str | None) -> str | None:
        """The words of the 401 with which a registry refuses this login, or the lack of one, whatever is asked for
        (distribution-spec, end-1). None where it does not: some answer 401 for one repository to whom they know."""
        if not (self._auth.asks if header is None else self._auth.proves(header)):
            return None
        async with self._settling:
            if header not in self._door:
                own = {"user-agent": "lian"} | ({"authorization": header} if header else {})
                asked = await self._followed(Call("GET", "/v2/", ""), own)
                if asked.status in TRANSIENT:
                    return None
                self._noted(asked, header)
            return self._door[header]

    async def _granted(self, call: Call, headers: Mapping[str, str], reply: Reply) -> Reply:
        """The answer that stands in the place of a 404: absent is only what someone with the right to pull is told to
        be absent. Raises LianError if that right was refused, or nobody said who asks."""
        header = headers.get("authorization")
        if header is None:
            if self._auth.pull(call.need, header) is Pull.UNSETTLED:
                ask = call.to("GET", "/v2/")
                if failed := await self._settled(lambda: self._exchange(ask, self._absolute(ask.target), headers)):
                    return failed
            if header := await self._auth.authorization(call.need):
                reply = await self._followed(call, {**headers, "authorization": header})
        if reply.status == 404 and self._auth.pull(call.need, header) is Pull.UNSETTLED:
            header = await self._auth.by_itself(call.need)
            reply = await self._followed(call, _plain(headers) | ({"authorization": header} if header else {}))
        if reply.status == 404 and not call.optional:
            self._told_to_a_reader(call, header, reply)
        return reply

    def _told_to_a_reader(self, call: Call, header: str | None, reply: Reply) -> None:
        """Raises LianError for a 404 to one who perhaps may not read."""
        match self._auth.pull(call.need, header):
            case Pull.REFUSED:
                why = "the token that its token service gave does not grant pull"
            case Pull.NAMELESS if header is None:
                why = "it asks for a login, and there is none for it"
            case Pull.NAMELESS:
                why = "its token service gave an anonymous reader a token that does not say what it grants"
            case _:
                return
        cause = f"{why}; the registry answered {reply.told}"
        account = self._auth.account if header else None
        raise LianError(problems.not_granted(self.endpoint.host, call.repository, cause, account))

    async def _why(self, call: Call, headers: Mapping[str, str], reply: Reply) -> str:
        """What the registry says of a refusal; an answer to HEAD has no body to say it in."""
        if call.method == "HEAD" and self._dialect.explains_get:
            told = await self._followed(call.to("GET", call.target), headers)
            if told.status == reply.status:
                return told.told
        return reply.told

    async def _followed(self, call: Call, headers: Mapping[str, str]) -> Reply:
        url = self._absolute(call.target)
        reply = await self._exchange(call, url, self._trusting(url, headers))
        for _ in range(_MAX_REDIRECTS):
            location = reply.headers.get("location", "")
            if not (call.follow and reply.status in {301, 302, 303, 307, 308} and location):
                return reply
            if call.method not in {"GET", "HEAD"} and reply.status not in {307, 308}:
                return reply
            url = self._absolute(location, url)
            reply = await self._exchange(call, url, self._trusting(url, headers))
        raise LianError(self._odd(call, f"it redirects more than {_MAX_REDIRECTS} times"))

    def _absolute(self, target: str, base: str | None = None) -> str:
        try:
            url = urljoin(base or self.endpoint.url + "/", target)
            urlsplit(url).port  # noqa: B018 - it is read for what it raises
        except ValueError:  # brackets that hold no address, a port that is none
            raise LianError(problems.not_oci(self.endpoint.host, "content", "it redirects to what is no URL")) from None
        return self._safe(url)

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
        return headers if _origin(self.endpoint.url) == _origin(url) else _plain(headers)

    async def _exchange(self, call: Call, url: str, headers: Mapping[str, str]) -> Reply:
        if call.method in {"GET", "HEAD"} and call.content is None and (target := self._lane_to(url)):
            own = {"host": self._host_header(), **headers}
            return await self._lanes.exchange(call.method, target, own, limit=call.limit)
        return await self._client(url).exchange(call.method, url, headers, content=call.content, limit=call.limit)

    def _lane_to(self, url: str) -> str | None:
        """The path and query of what is the registry's own; None for what lies elsewhere, behind a proxy, or is written
        in a way that a request line cannot take."""
        if not self._laned or _origin(self.endpoint.url) != _origin(url):
            return None
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return target if target.isascii() and target.isprintable() and " " not in target else None

    def _client(self, url: str) -> Client:
        """For the registry itself, or for where it sends us."""
        host = urlsplit(url).hostname or ""
        own, direct = host == self.endpoint.address[0], is_loopback(host)
        if (own, direct) not in self._clients:
            from reconciler.providers.registry.http.client import Client

            tls = self.endpoint.tls if own else self.endpoint.abroad
            self._clients[own, direct] = Client(tls, self.connections, direct=direct)
        return self._clients[own, direct]

    async def _fetch(self, url: str, authorization: str | None, form: Mapping[str, str] | None) -> Reply:
        headers = {"user-agent": "lian", "accept": "application/json", "accept-encoding": "identity"}
        if authorization:
            headers["authorization"] = authorization
        if form is None:
            ask = Call("GET", url, "")
            return await self._token_retrier.run(lambda: self._exchange(ask, url, headers))
        client = self._client(url)
        return await self._token_retrier.run(lambda: client.exchange("POST", url, headers, form=form))

    def _odd(self, call: Call, cause: str) -> Problem:
        return problems.not_oci(self.endpoint.host, f"{call.repository}", cause)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Without the credential."""
    return {name: value for name, value in headers.items() if name != "authorization"}


def _proxied(url: str) -> bool:
    """True if the environment puts a proxy before this URL; never before loopback, as Docker has it."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return False
    proxies = getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.netloc)
