"""The fleet's settings (`lian.ncl`, with defaults filled in)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.access import Access
from reconciler.model.cache import CachePolicy
from reconciler.model.credential import Bindings
from reconciler.model.git_url import GitAccess
from reconciler.model.policy import Policy

if TYPE_CHECKING:
    from reconciler.model.credential import SourceRef
    from reconciler.model.host import Host


class RegistryProvider(StrEnum):
    """The slots a registry can fill."""

    OCI_LAYOUT = "OciLayout"
    DISTRIBUTION = "Distribution"
    ZOT = "Zot"
    HARBOR = "Harbor"
    GHCR = "Ghcr"


class ComputeProvider(StrEnum):
    """The slots compute can fill."""

    LOCAL = "Local"
    DOCKER_LOCAL = "DockerLocal"
    SSH = "Ssh"
    HCLOUD = "Hcloud"
    PROXMOX = "Proxmox"
    ORCHESTRATOR = "Orchestrator"

    @property
    def rents_sizes(self) -> bool:
        """True where a runner is a machine of one of the ladder's sizes; elsewhere a size is a limit, and builds of any
        size may share a machine that is there anyway."""
        return self in {ComputeProvider.HCLOUD, ComputeProvider.PROXMOX, ComputeProvider.ORCHESTRATOR}


class Author(StrEnum):
    """Who describes a registry."""

    OPERATOR = "operator"
    """The one who runs lian, by --registry."""
    OWNER = "owner"
    """The fleet's owner, in lian.ncl."""
    DIRECTIVE = "directive"
    """The author of a directive, whom the owner need not trust with credentials."""


_NEED_NOT_BE_SAID = ("ca", "client_cert", "client_key", "credentials")


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """One registry: `path` for a layout on disk, `url` (http(s)://HOST[:PORT]) elsewhere. Two values are equal if they
    say the same of the registry, whoever says it and whatever they say of mirrors."""

    provider: RegistryProvider
    path: str | None = None
    url: str | None = None
    images_prefix: str = ""
    ca: str | None = None
    """PEM certificates to trust besides the system's: a path in the desired repo."""
    insecure: bool = False
    client_cert: str | None = None
    """The PEM certificate that lian shows, with `client_key`: a path in the desired repo."""
    client_key: SourceRef | None = None
    credentials: SourceRef | None = None
    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), compare=False)
    """Host of a registry -> URLs from which its base images are read first. Never part of a key."""
    by: Author = field(default=Author.OWNER, compare=False)
    """Who says this: it decides which credentials may go there."""

    def agrees_with(self, known: RegistrySettings) -> bool:
        """True if both say the same of one registry. What the fleet's owner has said (`known`) a directive need not say
        again; what he left out it must not add: a login, say, that everyone's images would then be read with."""
        mine, theirs = replace(self, images_prefix=""), replace(known, images_prefix="")
        if known.by is not Author.DIRECTIVE:
            unsaid = [name for name in _NEED_NOT_BE_SAID if getattr(mine, name) is None]
            mine = replace(mine, **{name: getattr(theirs, name) for name in unsaid})
        return mine == theirs

    @property
    def host(self) -> str:
        """What stands in front of a repository's path (see model.reference.Repository)."""
        if self.url is None:
            return f"oci-layout:{self.path}"
        return self.url.partition("://")[2].rstrip("/")


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """Where builds run. `url` is where the provider's API is, and `image` what runners start from; None leaves it to
    the provider."""

    provider: ComputeProvider = ComputeProvider.LOCAL
    url: str | None = None
    image: str | None = None
    hosts: tuple[Host, ...] = ()
    """The machines of `Ssh`."""

    def agrees_with(self, known: ComputeSettings) -> bool:
        """True if both say the same. What the fleet's owner has said (`known`) need not be said again."""
        said = [(self.url, known.url), (self.image, known.image), (self.hosts or None, known.hosts)]
        return self.provider == known.provider and all(mine in {None, theirs} for mine, theirs in said)


UNNAMED = "default"
"""What a fleet is called whose settings do not name it: any number of them may push to one registry (ADR 049)."""

CACHE_PREFIX = "cache"
"""Where caches lie in a registry unless the fleet says otherwise."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Settings that hold for a whole desired repo."""

    name: str
    registry: RegistrySettings
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    directives: tuple[str, ...] = ("directives/**/*.ncl",)
    jobs: int | None = None
    builder: str | None = None
    """A declared builder pin: an input of every key."""
    source_date_epoch: int = 0
    policy: Policy = field(default_factory=Policy)
    cache_prefix: str = CACHE_PREFIX
    """In front of every cache, on every registry. The owner's to say: caches elsewhere might be someone else's."""
    access: Access = field(default_factory=Access)
    """Who logs in to the registry as what."""
    cache: CachePolicy = field(default_factory=CachePolicy)
    secrets: Bindings = field(default_factory=Bindings)
    """Which secrets the builds of each workspace may ask for."""
    git: GitAccess = field(default_factory=GitAccess)
    """How the servers of git contexts are logged in to."""
