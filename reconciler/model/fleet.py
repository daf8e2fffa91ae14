"""The fleet's settings (`lian.ncl`, with defaults filled in)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.model.policy import Policy


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


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """One registry: `path` for a layout on disk, `url` (http(s)://HOST[:PORT]) elsewhere."""

    provider: RegistryProvider
    path: str | None = None
    url: str | None = None
    images_prefix: str = ""
    ca: str | None = None
    insecure: bool = False

    @property
    def host(self) -> str:
        """What stands in front of a repository's path (see model.reference.Repository)."""
        if self.url is None:
            return f"oci-layout:{self.path}"
        return self.url.partition("://")[2].rstrip("/")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Settings that hold for a whole desired repo."""

    name: str
    registry: RegistrySettings
    compute: ComputeProvider = ComputeProvider.LOCAL
    directives: tuple[str, ...] = ("directives/**/*.ncl",)
    jobs: int | None = None
    builder: str | None = None
    """A declared builder pin: an input of every key."""
    source_date_epoch: int = 0
    policy: Policy = field(default_factory=Policy)
