"""What a URL has, over HTTP, as BuildKit's own fetch would get it (source/http): ten redirects, no cookies, and what is
compressed only for the way is unpacked. Of credentials those in the URL itself are sent, and to its own host alone."""

from __future__ import annotations

import hashlib
import ssl

import httpx

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError, Next, Problem, redact

MAX_BYTES = 8 << 30
"""What is larger is no file for a Dockerfile's ADD."""
_CHUNK = 1 << 20
_REDIRECTS = 10
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_MISSING = {401, 403, 404, 410}


class HttpContents:
    """Fills `ports.contents.Contents`. `limit` in bytes."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit

    async def digest(self, url: str) -> Digest:
        """See the port. Nothing is kept but the hash."""
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT, headers={"accept-encoding": "gzip"}) as client:
                return await self._digest(client, url)
        except httpx.InvalidURL as error:
            raise LianError(_unreadable(url, str(error), Next.PERSON)) from error
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise LianError(_unreadable(url, str(error) or type(error).__name__)) from error

    async def _digest(self, client: httpx.AsyncClient, url: str) -> Digest:
        request = client.build_request("GET", url)
        for _ in range(_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            try:
                if response.next_request is None:
                    return await self._hashed(response, url)
                if request.url.scheme == "https" and response.next_request.url.scheme != "https":
                    raise LianError(_downgraded(url))
                request = response.next_request
                request.headers.pop("cookie", None)
            finally:
                await response.aclose()
        raise LianError(_unreadable(url, f"it leads on more than {_REDIRECTS} times", Next.PERSON))

    async def _hashed(self, response: httpx.Response, url: str) -> Digest:
        if response.status_code != httpx.codes.OK:
            raise LianError(_refused(url, response.status_code))
        hashed, size = hashlib.sha256(), 0
        async for chunk in response.aiter_bytes(_CHUNK):
            size += len(chunk)
            if size > self._limit:
                raise LianError(_too_large(url, self._limit))
            hashed.update(chunk)
        return Digest("sha256", hashed.hexdigest())


def _unreadable(url: str, cause: str, next_: Next = Next.RETRY) -> Problem:
    message = f"what {redact(url)} has could not be found out"
    hint = "check the URL, and that its server can be reached from here"
    return Problem("url-unreadable", message, cause=cause, hint=hint, next=next_)


def _refused(url: str, status: int) -> Problem:
    if status in _MISSING:
        message = f"{redact(url)} is not there, or not for everyone: its server answers with {status}"
        return Problem("url-missing", message, hint="check the URL of ADD")
    return _unreadable(url, f"its server answers with {status}")


def _too_large(url: str, limit: int) -> Problem:
    message = f"{redact(url)} has more than {limit:,} bytes"
    return Problem("url-too-large", message, hint="pin it by hand with `ADD --checksum=sha256:…`")


def _downgraded(url: str) -> Problem:
    message = f"{redact(url)} leads from https on to plain http, where anybody on the way can change it"
    hint = "name a URL that stays on https, or pin it by hand with a --checksum"
    return Problem("url-downgraded", message, hint=hint)
