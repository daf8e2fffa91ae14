"""buildkitd.toml, as every builder that lian starts has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import PurePath

    from reconciler.model.reference import Repository
    from reconciler.ports.access import Route
    from reconciler.ports.compute import LeaseRequest


def configuration(request: LeaseRequest, cgroup_parent: str | None, certificates: Mapping[str, Certificates]) -> str:
    """buildkitd.toml. The daemon's own paths are given on its command line, where any byte may stand; `certificates`
    are those of registry hosts, on the daemon's disk."""
    lines = [
        "[worker.containerd]",
        "enabled = false",
        "[worker.oci]",
        "enabled = true",
        "gc = false",
        f"max-parallelism = {request.parallelism}",
        *([f"defaultCgroupParent = {json.dumps(cgroup_parent)}"] if cgroup_parent else []),
        "[cdi]",
        "disabled = true",
        "[history]",
        "maxEntries = 1",
        '[frontend."gateway.v0"]',
        *_gateway(request.frontends),
    ]
    for route in request.routes:
        lines += _registry(route, certificates.get(route.host, Certificates()))
    return "\n".join(lines) + "\n"


def _gateway(frontends: Collection[Repository]) -> list[str]:
    """What runs frontend images: nothing but those that are known, and for none of them nothing at all."""
    if not frontends:
        return ["enabled = false"]
    return ["enabled = true", f"allowedRepositories = [{', '.join(_quoted(each) for each in sorted(frontends))}]"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files for one registry host."""

    authorities: tuple[PurePath, ...] = ()
    identity: tuple[PurePath, PurePath] | None = None
    """Certificate and key."""


def _registry(route: Route, certificates: Certificates) -> list[str]:
    """One host's table. `http` is said either way: left out, BuildKit takes whatever is on the loopback for plain."""
    authorities = ", ".join(map(_quoted, certificates.authorities))
    lines = [f"[registry.{_quoted(route.host)}]", f"http = {'true' if route.plain else 'false'}"]
    if route.insecure and not route.plain:
        lines.append("insecure = true")
    if route.mirrors:
        lines.append(f"mirrors = [{', '.join(map(_quoted, route.mirrors))}]")
    if authorities:
        lines.append(f"ca = [{authorities}]")
    if certificates.identity:
        certificate, key = certificates.identity
        lines += [f"[[registry.{_quoted(route.host)}.keypair]]", f"cert = {_quoted(certificate)}"]
        lines.append(f"key = {_quoted(key)}")
    return lines


def _quoted(value: object) -> str:
    """A basic string of TOML: JSON's, but with DEL escaped, and all beyond ASCII as it is (no surrogate pairs)."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
