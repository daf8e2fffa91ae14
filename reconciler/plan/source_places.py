"""Where something is fetched from, so that a rule can tell: as a place of one form, whatever the URL's."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

GIT = ".git"
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_PLAIN = re.compile(r"[!-\[\]-~]+")
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:]+")
_NO_NAMES = frozenset({"", ".", ".."})


def place_of(url: str) -> str | None:
    """`HOST[:PORT]/PATH` of what is fetched from a URL, or from `USER@HOST:PATH`, without the port that goes without
    saying and without `.git` at its end. None where a server may read it otherwise than it is written: folders that are
    dots or nothing, signs that are encoded twice."""
    text = url.partition("#")[0]
    if "://" not in text:
        text = "ssh://" + text.replace(":", "/", 1)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    path = unquote(parts.path).lstrip("/")
    *folders, last = path.split("/")
    if not _PLAIN.fullmatch(text) or not _HOST.fullmatch(host) or not path.isprintable() or set("%\\") & set(path):
        return None
    if _NO_NAMES.intersection(folders) or last in {".", ".."}:
        return None
    shown = f"[{host}]" if ":" in host else host
    told = shown if port in {None, _PORTS.get(parts.scheme)} else f"{shown}:{port}"
    return f"{told}/{path.removesuffix(GIT)}"
