"""What a build is given of credentials: those of the registries it needs, in files of its own, for as long as it runs.

BuildKit asks its client for them (docs: session, auth); nothing of them stands in an argument or the environment, and a
credential helper is asked by lian, so that the client needs none of the user's configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.secret import Secret
from reconciler.ports.builder import PinnedImage
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.providers.builder.arguments import csv_record

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from reconciler.ports.access import Access, Route
    from reconciler.ports.builder import BuildRequest
    from reconciler.ports.machine import Workplace

_HUB, _HUB_HOST = "docker.io", "registry-1.docker.io"
"""Docker Hub as BuildKit names it to its client."""


def hosts_of(request: BuildRequest) -> frozenset[str]:
    """The registry hosts that one build pulls from or pushes to."""
    origins = (context.origin for context in request.contexts.values() if isinstance(context, PinnedImage))
    hosts = {origin.repository.host for origin in origins if isinstance(origin, PullFrom)}
    hosts |= {c.origin.repository.host for c in request.cache_from if isinstance(c.origin, PullFrom)}
    destinations = (request.destination, request.cache_to.destination if request.cache_to else None)
    hosts |= {d.repository.host for d in destinations if isinstance(d, PushTo)}
    if request.frontend is not None and isinstance(request.frontend.origin, PullFrom):
        hosts.add(request.frontend.origin.repository.host)
    if request.scanner is not None:
        hosts.add(request.scanner.repository.host)
    return frozenset(hosts)


async def hand_over(access: Access, hosts: Collection[str], place: Workplace) -> list[str]:
    """Write what buildctl needs for these hosts where nobody else can read it, its DOCKER_CONFIG; returns the words
    that tell of certificates, which it needs for token services. Raises LianError."""
    if not hosts:
        return []
    logins = await access.logins(hosts)
    routes = await access.routes(hosts)
    await _private(place, "config.json", logins)
    return [word for number, route in enumerate(routes) for word in await _tls(route, number, place)]


async def _tls(route: Route, number: int, place: Workplace) -> list[str]:
    fields = {"host": _HUB_HOST if route.host == _HUB else route.host}
    words: list[str] = []
    for count, pem in enumerate(route.authorities):
        file = await _private(place, f"{number}-{count}.crt", pem)
        words += ["--registry-auth-tlscontext", csv_record(fields | {"ca": str(file)})]
    if route.identity:
        certificate = await _private(place, f"{number}.cert", route.identity.certificate)
        key = await _private(place, f"{number}.key", route.identity.key)
        pair = {"cert": str(certificate), "key": str(key)}
        words += ["--registry-auth-tlscontext", csv_record(fields | pair)]
    if route.insecure:
        words += ["--registry-auth-tlscontext", csv_record(fields | {"insecure": "true"})]
    return words


async def _private(place: Workplace, name: str, content: str | Secret) -> Path:
    text = content.reveal() if isinstance(content, Secret) else content
    return await place.write(name, text.encode("utf-8", "surrogateescape"))
