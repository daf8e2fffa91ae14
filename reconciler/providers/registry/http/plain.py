"""The plainest of HTTP/1.1: a request without a body, and an answer to HEAD. What is not as plain as that is left to
h11, which costs several times as much: of a thousand HEADs a third of the processor time.

Strict: a pattern without choices reads each byte once, and whatever RFC 9112 lets a recipient repair is not plain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.providers.registry.http.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_REQUEST = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/1\.1\r\n(?:%b:%b\r\n)*\r\n" % (_NAME, _TEXT))
_ANSWER = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) %b\r\n((?:%b:%b\r\n)*)\r\n" % (_TEXT, _NAME, _TEXT))
_MOST = 100
"""Headers; with more it is not plain."""
_FRAMING = ("connection", "transfer-encoding", "upgrade")


def request_head(method: str, target: str, headers: Sequence[tuple[str, str]]) -> bytes | None:
    """The bytes of a request without a body, None for what a plain one cannot carry."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    try:
        head = "\r\n".join(lines).encode("ascii")
    except UnicodeEncodeError:
        return None
    whole = head.count(b"\n") == len(lines) - 1  # one more would be a header that a value smuggles in
    return head if whole and _REQUEST.fullmatch(head) else None


def head_answer(data: bytes) -> Reply | None:
    """The answer to HEAD that these bytes are: all of it, nothing after it, on a connection that stays. None for
    whatever else they may be."""
    found = _ANSWER.fullmatch(data)
    if found is None:
        return None
    lines = found[2].decode("latin-1").split("\r\n")[:-1]
    headers = {name.lower(): value.strip(" \t") for name, _, value in (line.partition(":") for line in lines)}
    if len(headers) < len(lines) or len(lines) > _MOST or any(name in headers for name in _FRAMING):
        return None
    length = headers.get("content-length", "0")
    return Reply(int(found[1]), headers) if length.isascii() and length.isdigit() else None
