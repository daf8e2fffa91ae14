"""How a registry over HTTP is asked for manifests and lists (OCI distribution-spec 1.1), and what its answers tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from reconciler.model.digest import Digest
from reconciler.model.manifest import ACCEPTED
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from reconciler.model.reference import Reference, Repository
    from reconciler.providers.registry.http.reply import Reply

ACCEPT = {"accept": ", ".join(ACCEPTED)}
DIGEST_HEADER = "docker-content-digest"
ABSENT_CODES = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN"})
"""What a 404 must carry to mean that a manifest is not there."""
ABSENT_BLOB_CODES = ABSENT_CODES | {"BLOB_UNKNOWN"}
"""The same for a blob."""
_RANGE = re.compile(r"bytes\s+(?:(?P<first>\d{1,18})-\d{1,18}|\*)/(?:(?P<total>\d{1,18})|\*)", re.ASCII)
_NEXT = re.compile(r"<(?P<url>[^>]*)>\s*;[^,]*\brel\s*=\s*\"?next\b")


def path(repository: Repository, kind: str, name: str) -> str:
    """The path of something in a repository."""
    return f"/v2/{quote(repository.path)}/{kind}/{quote(name, safe=':')}"


def manifest_call(method: str, reference: Reference) -> Call:
    """Asks for a manifest, with all media types lian reads: without OCI's own, some registries answer 404."""
    target = path(reference.repository, "manifests", reference.name)
    return Call(method, target, reference.repository.path, headers=ACCEPT)


def told_digest(reply: Reply) -> Digest | None:
    """What the header says of the content, None if it says nothing readable."""
    try:
        return Digest.parse(reply.headers.get(DIGEST_HEADER, "").strip())
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Where a part begins, and how long the whole is; None for what is not told."""

    first: int | None
    total: int | None


def content_range(reply: Reply) -> ContentRange | None:
    """Which part of the content an answer is (RFC 9110, 14.4), None if it does not say."""
    told = _RANGE.fullmatch(reply.headers.get("content-range", ""))
    return ContentRange(*(int(n) if n else None for n in told.group("first", "total"))) if told else None


def next_page(reply: Reply, target: str) -> str | None:
    """Where a list goes on (RFC 8288), None at its end; `target` is where this part of it came from."""
    link = _NEXT.search(reply.headers.get("link", ""))
    return urljoin(target, link["url"]) if link else None
