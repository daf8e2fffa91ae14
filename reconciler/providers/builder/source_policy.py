"""What holds BuildKit to the sources that lian.lock pins: its source policy (buildkit v0.33: sourcepolicy/pb).

The Dockerfile stays as it is, byte for byte. A URL gets the checksum that `ADD --checksum` would give it, so that other
content fails the build; a git source is asked for by its commit in place of its branch or tag. Pure.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.model.git_url import as_commit

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONLY_BY_DIGEST = [
    {"action": action, "selector": {"identifier": identifier, "match_type": "WILDCARD"}}
    for action, identifier in (("DENY", "docker-image://*"), ("ALLOW", "docker-image://*@sha*"))
]
"""The last rule that matches counts."""
_SCP = re.compile(r"(?:[A-Za-z0-9._~-]+@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>.*)", re.DOTALL)


def source_policy(pinned: Mapping[str, str], *, only_pinned: bool = False) -> bytes:
    """The policy's document for these locations, as a Dockerfile's ADD has them: a digest pins what a URL has, a commit
    pins a git source. With `only_pinned` an image by tag is refused: a frontend of another release may read a name
    otherwise than lian does."""
    rules = [_commit(where, pin) if as_commit(pin) else _checksum(where, pin) for where, pin in sorted(pinned.items())]
    rules = [*(_ONLY_BY_DIGEST if only_pinned else []), *rules]
    return json.dumps({"version": 1, "rules": rules}).encode()


def _checksum(url: str, digest: str) -> dict[str, Any]:
    return _rule(url, {"identifier": url, "attrs": {"http.checksum": digest}})


def _commit(location: str, commit: str) -> dict[str, Any]:
    return _rule(git_identifier(location), {"identifier": git_identifier(location, commit)})


def _rule(identifier: str, updates: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "CONVERT",
        "selector": {"identifier": identifier, "match_type": "EXACT"},
        "updates": updates,
    }


def git_identifier(location: str, commit: str | None = None) -> str:
    """How BuildKit names a git source (client/llb/source.go, Git): host, path and fragment, whatever the protocol and
    the user. With `commit`, of that one."""
    url, _, fragment = location.partition("#")
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path
    else:
        found = _SCP.fullmatch(url)
        host, path = (found["host"], found["path"]) if found else (url, "")
    ref, _, folder = fragment.partition(":")
    ref, folder = commit or ref, _absolute(folder)[1:]
    end = f"#{ref}{f':{folder}' if folder else ''}" if ref or folder else ""
    return f"git://{host}{_absolute(path)}{end}"


def _absolute(path: str) -> str:
    """As Go's path.Join("/", path)."""
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")
