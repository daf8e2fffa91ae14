"""One connection to each registry host: where it is, whom to trust there, and as whom to ask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

from reconciler.model.problem import LianError
from reconciler.ports.access import Identity, Route
from reconciler.providers.registry import problems
from reconciler.providers.registry.http import trust
from reconciler.providers.registry.http.docker_config import DockerConfig, rendered
from reconciler.providers.registry.http.logins import Logins
from reconciler.providers.registry.http.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from reconciler.model.credential import SourceRef
    from reconciler.model.fleet import RegistrySettings
    from reconciler.model.reference import Repository
    from reconciler.model.secret import Secret
    from reconciler.providers.registry.http.docker_config import Credential
    from reconciler.providers.registry.http.transport import Transport

OnDisk = TypeVar("OnDisk")
OverHttp = TypeVar("OverHttp")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A place where base images of another host are looked for: `path` stands in front of their repositories."""

    host: str
    url: str
    path: str = ""

    @classmethod
    def of(cls, url: str) -> Mirror:
        """From `http(s)://HOST[:PORT][/PATH]`."""
        parts = urlsplit(url)
        return cls(parts.netloc, f"{parts.scheme}://{parts.netloc}", parts.path.strip("/"))

    @property
    def place(self) -> str:
        """As BuildKit writes it."""
        return f"{self.host}/{self.path}" if self.path else self.host


@dataclass(frozen=True, slots=True)
class _Known:
    """A host that settings describe; `problem` says why it cannot be reached as they say."""

    settings: RegistrySettings
    trust: Trust
    problem: LianError | None = None


def _no_cache(repository: Repository) -> bool:
    del repository
    return False


class Connections:
    """One transport per registry host, made when it is first needed and shared by reading and publishing.

    `settings` say how hosts are reached; any other host (a base image's) is reached as Docker would. `root` is the
    folder that relative paths in settings start from. `environ` holds the operator's variables, `read` gives what a
    reference to a credential leads to, `certificates` are the folders where Docker has them for each host, `waits` is
    told of a host that lets us wait for long. Used from one event loop.
    """

    def __init__(
        self,
        settings: Iterable[RegistrySettings] = (),
        *,
        root: Path | None = None,
        config: Callable[[], DockerConfig] = DockerConfig.load,
        environ: Mapping[str, str] | None = None,
        read: Callable[[SourceRef, str], Awaitable[Secret]] | None = None,
        certificates: Sequence[Path] = trust.DOCKER_FOLDERS,
        writable: Collection[str] = (),
        waits: Callable[[str], None] | None = None,
    ) -> None:
        self._waits = waits
        self._root = root or Path.cwd()
        self._certificates = certificates
        self._known = {s.host: _Known(s, Trust(insecure=s.insecure)) for s in settings}
        self._logins = Logins(
            config, environ or {}, read, {host: known.settings for host, known in self._known.items()}
        )
        self._mirrors: dict[str, tuple[Mirror, ...]] = {}
        self._own: frozenset[Repository] = frozenset()
        self._is_cache: Callable[[Repository], bool] = _no_cache
        self._writable = frozenset(writable)
        self._transports: dict[str, Transport] = {}
        self._adapters: dict[str, dict[object, object]] = {}
        self._used: set[str] = set()
        """Hosts that were asked for in this pass."""

    async def learn(
        self,
        settings: Iterable[RegistrySettings],
        *,
        fleet: RegistrySettings | None = None,
        own: Iterable[Repository] = (),
        is_cache: Callable[[Repository], bool] = _no_cache,
        writable: Collection[str] = (),
        blob: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        """A pass begins. From now on these settings hold; a transport that they would make differently is ended, and
        so is one that the last pass had no use for.

        `fleet` is the fleet's own registry, `own` are the repositories that the fleet writes, `is_cache` tells those of
        its caches, `writable` are the hosts that may be changed, `blob` reads a file of the commit. What cannot be used
        of a host is told when it is asked for.
        """
        described = {s.host: s for s in settings}
        self._logins = replace(self._logins, settings=described, fleet=fleet.host if fleet else None)
        known = {host: await self._know(s, blob or self._on_disk) for host, s in described.items()}
        mirrors = {host: tuple(map(Mirror.of, urls)) for host, urls in (fleet.mirrors if fleet else ())}
        kept = {host for host in self._used if _same(known.get(host), self._known.get(host))}
        if mirrors != self._mirrors:
            kept.clear()
        self._known, self._mirrors, self._own = known, mirrors, frozenset(own)
        self._is_cache, self._writable = is_cache, frozenset(writable)
        self._used.clear()
        await self._end(kept)
        for transport in self._transports.values():
            transport.renew()

    def layout_root(self, repository: Repository) -> Path | None:
        """The folder of the registry on disk that the repository is on, None for one over HTTP."""
        return None if repository.layout is None else self._root / repository.layout

    def mirrors(self, host: str) -> tuple[Mirror, ...]:
        """Where base images of this host are looked for first."""
        return self._mirrors.get(host, ())

    def is_own(self, repository: Repository) -> bool:
        """True for a repository that the fleet writes: no mirror is asked what it holds."""
        return repository in self._own or self._is_cache(repository)

    def check_writable(self, repository: Repository, otherwise: str) -> None:
        """Raises LianError `registry-foreign` for a registry that is not the fleet's: `otherwise`, as `nothing is
        published to`."""
        if repository.host not in self._writable:
            raise LianError(problems.foreign(f"{otherwise} {repository.host}"))

    def transport(self, host: str) -> Transport:
        """Raises LianError `docker-config-invalid`, `ca-unreadable`, `client-cert-unusable`, or what kept a key of the
        settings from being read."""
        self._used.add(host)
        if host not in self._transports:
            self._transports[host] = self._made(host)
        return self._transports[host]

    def _made(self, host: str) -> Transport:
        from reconciler.providers.registry.http.dialect import dialect_of  # a fleet on disk does without all of it
        from reconciler.providers.registry.http.retry import OF_A_MIRROR
        from reconciler.providers.registry.http.transport import Endpoint, Transport

        known, mirror = self._known.get(host), self._as_mirror(host)
        return Transport(
            Endpoint.of(host, self._url(host), self._trust(host)),
            self._logins.of(host),
            dialect=dialect_of(known.settings.provider if known else None, host),
            policy=OF_A_MIRROR if mirror and known is None else None,
            waits=self._waits,
        )

    def adapter(
        self,
        repository: Repository,
        on_disk: Callable[[Path], OnDisk],
        over_http: Callable[[Transport], OverHttp],
    ) -> OnDisk | OverHttp:
        """What speaks to the registry of this repository; the same one as long as its folder or transport is kept.
        Raises LianError as `transport` does."""
        self._used.add(repository.host)
        kept = self._adapters.setdefault(repository.host, {})
        if over_http not in kept:
            root = self.layout_root(repository)
            kept[over_http] = on_disk(root) if root else over_http(self.transport(repository.host))
        return cast("OnDisk | OverHttp", kept[over_http])

    async def routes(self, hosts: Collection[str]) -> tuple[Route, ...]:
        """See ports.access."""
        return tuple(self._route(host) for host in self._with_mirrors(hosts))

    async def logins(self, hosts: Collection[str]) -> Secret:
        """See ports.access."""
        found = {host: await self._login(host) for host in self._with_mirrors(hosts)}
        return rendered({host: credential for host, credential in found.items() if credential})

    async def aclose(self) -> None:
        """End all connections."""
        await self._end(but=())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _end(self, but: Collection[str]) -> None:
        """What is kept for hosts, except for these."""
        self._adapters = {host: kept for host, kept in self._adapters.items() if host in but}
        ended = [host for host in self._transports if host not in but]
        for transport in [self._transports.pop(host) for host in ended]:
            await transport.aclose()

    async def _login(self, host: str) -> Credential | None:
        """The credential for this host. A helper that is broken does not matter to a registry that never asked."""
        try:
            return await self._logins.of(host).credential(host)
        except LianError:
            transport = self._transports.get(host)
            if self._logins.names(host) or transport is None or transport.asks:
                raise
            return None

    async def _know(self, settings: RegistrySettings, blob: Callable[[str], Awaitable[bytes]]) -> _Known:
        try:
            authorities = (await _pem(settings.ca, blob),) if settings.ca else ()
            return _Known(settings, Trust(authorities, await self._identity(settings, blob), settings.insecure))
        except LianError as error:
            return _Known(settings, Trust(), error)
        except (OSError, UnicodeDecodeError) as error:
            return _Known(settings, Trust(), LianError(problems.ca_unreadable(settings.host, str(error))))

    async def _identity(self, settings: RegistrySettings, blob: Callable[[str], Awaitable[bytes]]) -> Identity | None:
        if not settings.client_cert or not settings.client_key:
            return None
        key = await self._logins.named(settings, settings.client_key, "the client key")
        return Identity(await _pem(settings.client_cert, blob), key)

    async def _on_disk(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def _url(self, host: str) -> str | None:
        known, mirror = self._known.get(host), self._as_mirror(host)
        if known:
            return known.settings.url
        return mirror.url if mirror else None

    def _as_mirror(self, host: str) -> Mirror | None:
        return next((m for mirrors in self._mirrors.values() for m in mirrors if m.host == host), None)

    def _trust(self, host: str) -> Trust:
        """What the settings say, and where they say nothing, what Docker would do. Raises LianError."""
        known = self._known.get(host)
        if known and known.problem:
            raise known.problem
        docker = trust.of_docker(host, self._certificates)
        said = known.trust if known else Trust()
        return Trust(said.authorities or docker.authorities, said.identity or docker.identity, said.insecure)

    def _with_mirrors(self, hosts: Collection[str]) -> list[str]:
        over_http = sorted(host for host in hosts if not host.startswith("oci-layout:"))
        return list(dict.fromkeys(name for host in over_http for name in (host, *(m.host for m in self.mirrors(host)))))

    def _route(self, host: str) -> Route:
        from reconciler.providers.registry.http.transport import url_of

        trusted = self._trust(host)
        return Route(
            host,
            plain=url_of(host, self._url(host)).startswith("http://"),
            insecure=trusted.insecure,
            authorities=trusted.authorities,
            identity=trusted.identity,
            mirrors=tuple(mirror.place for mirror in self.mirrors(host)),
        )


async def _pem(path: str, blob: Callable[[str], Awaitable[bytes]]) -> str:
    return (await blob(normpath(path))).decode("ascii")


def _same(one: _Known | None, other: _Known | None) -> bool:
    """True if both make the same transport. A problem may be gone at the next look."""
    if one is None or other is None:
        return one is other
    said = one.settings == other.settings and one.settings.by == other.settings.by
    return said and one.trust == other.trust and not one.problem and not other.problem
