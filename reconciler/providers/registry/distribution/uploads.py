"""Blobs on their way into a registry over HTTP (distribution-spec 1.1, "Pushing blobs").

A blob that another repository of the registry holds is mounted. Where that is not done it is read from there in parts
and sent in chunks, so that memory does not grow with the blob. An upload session may be lost at any time: it goes on
where the registry says it stands, or starts over.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urljoin

from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.reading import BlobReader
from reconciler.providers.registry.distribution.writes import push_call
from reconciler.providers.registry.http.scopes import PUSH
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport

CHUNK = 4 << 20
"""Bytes sent at a time: ghcr.io takes no larger chunk."""
MOST_CHUNK = 64 << 20
"""No registry may ask for more by OCI-Chunk-Min-Length."""
_TRIES = 3
_STALLS = 5
"""Answers in a row that do not bring an upload forward."""
_BYTES = {"content-type": "application/octet-stream"}
_LOST_CODES = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "SIZE_INVALID"})
_STANDS = re.compile(r"(?:bytes=)?0-(?P<last>\d{1,18})")


class Lost(Exception):
    """The registry does not know this upload any more, or not as it was; the text is what it answered last."""


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that may go on: where to, and the smallest chunk the registry takes."""

    location: str
    least: int = 0


class Content(Protocol):
    """What is sent."""

    async def read(self, at: int, length: int) -> bytes:
        """Exactly these bytes. Raises LianError."""
        ...

    def check(self) -> None:
        """Raises LianError unless what was read is all of it."""
        ...


class Uploads:
    """Into all repositories of one registry."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host

    async def has(self, repository: Repository, digest: Digest) -> bool:
        """False also where it is not certain: sending a blob twice harms nothing. Raises LianError."""
        reply = await self._transport.send(push_call("HEAD", repository, f"blobs/{digest}"))
        if reply.status not in {200, 404}:
            raise LianError(problems.not_oci(self._host, f"{repository.path}@{digest}", reply.told))
        return reply.status == 200

    async def put(self, repository: Repository, digest: Digest, data: bytes) -> None:
        """A small blob, in one piece ("POST then PUT"), unless it is there. Raises LianError `registry-refused`, …"""
        if not digest.matches(data):
            raise ValueError(f"the bytes do not have the digest {digest}")
        told = ""
        for _ in range(_TRIES):
            if await self.has(repository, digest):
                return
            session = await self._session(repository)
            try:
                await self._finish(repository, digest, session.location, 0, data)
            except Lost as error:
                told = str(error)
            else:
                return
        raise self._refused(repository, told)

    async def bring(self, source: Repository, target: Repository, blob: Descriptor) -> None:
        """A blob of `source` into `target`. Raises LianError `registry-refused`, `registry-wrong-digest`, …"""
        session = await self._mount(source, target, blob.digest)
        if session is not None:
            await self._send(target, blob, lambda: BlobReader(self._transport, source, blob), session)

    async def send(self, target: Repository, blob: Descriptor, content: Callable[[], Content]) -> None:
        """A large blob, unless it is there; `content` opens it for each try. Raises LianError `registry-refused`, …"""
        await self._send(target, blob, content, None)

    async def _send(
        self, target: Repository, blob: Descriptor, content: Callable[[], Content], session: Session | None
    ) -> None:
        told = ""
        for _ in range(_TRIES):
            if await self.has(target, blob.digest):
                if session:
                    await self._cancel(target, session)
                return
            session = session or await self._session(target)
            try:
                await self._transfer(content(), target, blob, session)
            except Lost as error:
                told = str(error)
                session = None
            else:
                return
        raise self._refused(target, told)

    async def _mount(self, source: Repository, target: Repository, digest: Digest) -> Session | None:
        """None once it is mounted, else a session to send it by. Whoever may not mount may still send."""
        rest = f"blobs/uploads/?mount={digest}&from={quote(source.path, safe='')}"
        reply = await self._transport.send(push_call("POST", target, rest, content=b"", source=source))
        if reply.status == 201:
            return None
        return self._opened(target, reply) if reply.status == 202 else await self._session(target)

    async def _session(self, repository: Repository) -> Session:
        return self._opened(
            repository, await self._transport.send(push_call("POST", repository, "blobs/uploads/", content=b""))
        )

    def _opened(self, repository: Repository, reply: Reply) -> Session:
        location, least = reply.headers.get("location"), reply.headers.get("oci-chunk-min-length", "0")
        if reply.status != 202 or not location:
            raise self._refused(repository, reply.told)
        smallest = int(least) if least.isascii() and least.isdigit() else 0
        if smallest > MOST_CHUNK:
            raise self._refused(repository, f"it takes no chunk under {smallest:,} bytes")
        return Session(urljoin(f"/v2/{quote(repository.path)}/blobs/uploads/", location), smallest)

    async def _transfer(self, content: Content, target: Repository, blob: Descriptor, session: Session) -> None:
        """Raises Lost when it has to start over."""
        chunk = max(CHUNK, session.least)
        location, at, stalls = session.location, 0, 0
        while blob.size - at > chunk:
            data = await content.read(at, chunk)
            location, now = await self._patch(target, location, at, data)
            stalls = 0 if now > at else stalls + 1
            if stalls > _STALLS or not 0 <= now <= at + len(data):
                raise Lost(f"the upload stands at {now} after {at + len(data)} bytes")
            at = now
        data = await content.read(at, blob.size - at)
        try:
            content.check()
        except LianError:
            await self._cancel(target, Session(location))
            raise
        await self._finish(target, blob.digest, location, at, data)

    async def _patch(self, repository: Repository, location: str, at: int, data: bytes) -> tuple[str, int]:
        """Where the upload goes on, and at which byte."""
        headers = {**_BYTES, **_range(at, data)}
        reply = await self._transport.send(Call("PATCH", location, repository.path, PUSH, headers, data))
        if reply.status == 416:
            reply = await self._transport.send(Call("GET", location, repository.path, PUSH))
        if _is_lost(reply):
            raise Lost(reply.told)
        if reply.status not in {202, 204}:
            raise self._refused(repository, reply.told)
        return urljoin(location, reply.headers.get("location", "")), _stands(reply, at + len(data))

    async def _finish(self, repository: Repository, digest: Digest, location: str, at: int, data: bytes) -> None:
        """The rest of the content, and the end of the upload."""
        target = f"{location}{'&' if '?' in location else '?'}digest={quote(str(digest), safe='')}"
        headers = {**_BYTES, **(_range(at, data) if at and data else {})}
        reply = await self._transport.send(Call("PUT", target, repository.path, PUSH, headers, data))
        if _is_lost(reply):
            raise Lost(reply.told)
        if reply.status != 201:
            raise self._refused(repository, reply.told)

    async def _cancel(self, repository: Repository, session: Session) -> None:
        """Give up an upload. Whatever comes of it is no matter: registries clear uploads away that nobody ends."""
        with contextlib.suppress(LianError):
            await self._transport.send(Call("DELETE", session.location, repository.path, PUSH))

    def _refused(self, repository: Repository, told: str) -> LianError:
        return LianError(problems.refused(self._host, f"a blob of {repository.path}", told))


def _range(at: int, data: bytes) -> dict[str, str]:
    """Of a chunk; without the unit, unlike RFC 9110."""
    return {"content-range": f"{at}-{at + len(data) - 1}"}


def _is_lost(reply: Reply) -> bool:
    """The session is gone (404), stands elsewhere (416), or holds other bytes than were sent."""
    return reply.status in {404, 416} or (reply.status == 400 and bool(_LOST_CODES.intersection(reply.codes)))


def _stands(reply: Reply, sent: int) -> int:
    """How many bytes the registry says it has, else what was sent. `0-0` is none: no chunk has a single byte."""
    told = _STANDS.fullmatch(reply.headers.get("range", ""))
    if told is None:
        return sent
    return int(told["last"]) + 1 if int(told["last"]) else 0
