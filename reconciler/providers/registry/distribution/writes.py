"""The requests that change a registry over HTTP, one function for each kind, shared by all who write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.calls import ABSENT_CODES, DIGEST_HEADER
from reconciler.providers.registry.http.scopes import DELETE, PUSH
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport

_UNSUPPORTED_CODES = frozenset({"UNSUPPORTED", "DIGEST_INVALID"})
"""docker-registry 2.8 takes a tag to be a digest that is none."""
_PART_UNKNOWN_CODES = frozenset({"MANIFEST_BLOB_UNKNOWN", "DIGEST_INVALID"})
"""docker-registry 2.8 writes the link to a blob in place: in that moment another's manifest of the same content finds
it empty. Seen for one in 75 when two wrote the same at once; the next try found it."""
_PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds."""


def push_call(
    method: str,
    repository: Repository,
    rest: str,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    *,
    source: Repository | None = None,
) -> Call:
    """A request with the right to push to the repository, and to pull from `source`."""
    target = f"/v2/{quote(repository.path)}/{rest}"
    return Call(method, target, repository.path, PUSH, headers or {}, content, source=source.path if source else None)


async def put_manifest(transport: Transport, repository: Repository, manifest: Manifest, name: str) -> Reply:
    """Put a manifest under a tag or its digest. Raises LianError `registry-refused`, `registry-wrong-digest`, …

    Where a part of it is said not to be there it is tried again: someone else may be writing the same content.
    """
    host, what = transport.endpoint.host, f"the manifest {repository.path} {name}"
    call = push_call("PUT", repository, f"manifests/{name}", {"content-type": manifest.media_type}, manifest.data)
    reply = await transport.send(call)
    for pause in _PAUSES:
        if reply.status != 400 or not _PART_UNKNOWN_CODES.intersection(reply.codes):
            break
        await asyncio.sleep(pause)
        reply = await transport.send(call)
    if reply.status not in {200, 201}:
        raise LianError(problems.refused(host, what, reply.told))
    told = reply.headers.get(DIGEST_HEADER)
    if told is not None and told != str(manifest.digest):
        raise LianError(problems.wrong_digest(host, what, f"it stored {told}, not {manifest.digest}"))
    return reply


async def delete_tag(transport: Transport, repository: Repository, tag: str) -> bool:
    """Remove a tag; False where the registry does not delete by tag. Raises LianError `registry-refused`, …"""
    reply = await _delete(transport, repository, tag)
    if _is_gone(reply):
        return True
    if reply.status in {400, 405} and _UNSUPPORTED_CODES.intersection(reply.codes):
        return False
    raise LianError(problems.refused(transport.endpoint.host, f"the removal of {repository.path}:{tag}", reply.told))


async def delete_digest(transport: Transport, repository: Repository, digest: Digest) -> None:
    """Remove a manifest with its tags. Raises LianError `registry-refused`: deletion may be switched off, or this
    manifest may be needed (zot refuses what an index names)."""
    reply = await _delete(transport, repository, str(digest))
    if _is_gone(reply):
        return
    host = transport.endpoint.host
    if reply.status in {400, 405} and "UNSUPPORTED" in reply.codes:
        raise LianError(problems.keeps_all(host, reply.told))
    raise LianError(problems.refused(host, f"the removal of {repository.path}@{digest}", reply.told))


async def _delete(transport: Transport, repository: Repository, name: str) -> Reply:
    target = f"/v2/{quote(repository.path)}/manifests/{quote(name, safe=':')}"
    return await transport.send(Call("DELETE", target, repository.path, DELETE))


def _is_gone(reply: Reply) -> bool:
    """Also what was not there; zot says 400 where the whole repository is not."""
    absent = reply.status in {400, 404} and ABSENT_CODES.intersection(reply.codes)
    return reply.status in {200, 202, 204} or bool(absent)
