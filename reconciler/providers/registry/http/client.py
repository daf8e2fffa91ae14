"""One HTTP exchange over httpx: whatever is written, lies on another host, or is behind a proxy. Imported when it is
first needed: a pass that is in sync asks everything on lanes, and httpx with its client costs 0.1 s."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from reconciler.model.manifest import MAX_MANIFEST
from reconciler.providers.registry.http.lanes import CALL_SECONDS
from reconciler.providers.registry.http.reply import Broken, Reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_TIMEOUT = httpx.Timeout(15.0, connect=5.0)


class Client:
    """Follows no redirect, retries nothing, knows no credential. `tls` None trusts the usual authorities; `direct`
    passes by the environment's proxies."""

    def __init__(self, tls: ssl.SSLContext | None, connections: int, *, direct: bool) -> None:
        self._client = httpx.AsyncClient(
            verify=tls or True,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=2 * connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=not direct,
        )

    async def aclose(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        limit: int = MAX_MANIFEST,
    ) -> Reply:
        """One request, one answer; content beyond `limit` bytes is not read. Raises Broken, whose text has no URL in
        it: a URL may carry a token."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                request = self._client.build_request(
                    method, url, headers=dict(headers), content=content, data=dict(form) if form else None
                )
                response = await self._client.send(request, stream=True)
                try:
                    return await _read(response, limit, has_body=method != "HEAD")
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException) as error:
            what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "no answer"
            raise Broken(f"{what} in time", silent=True) from None
        except httpx.InvalidURL:
            raise Broken("the registry named a URL that is none") from None
        except (httpx.TransportError, OSError) as error:  # an alert behind the handshake comes as it is (TLS 1.3)
            raise Broken(str(error) or type(error).__name__) from error


async def _read(response: httpx.Response, limit: int, *, has_body: bool) -> Reply:
    plain = Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()})
    if not has_body:
        return plain
    limit = limit if response.status_code == 200 else MAX_MANIFEST
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            return replace(plain, truncated=True)
    return replace(plain, body=bytes(body))
