"""Versioned keys and the content tag that carries them. Golden vectors in the tests keep them for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.platform import Platform

VERSION = 1
CONTENT_TAG_PREFIX = "lian-"


def platform_key(inputs: Mapping[str, Any]) -> str:
    """64 hex digits: sha256 of the canonical JSON of the inputs, under the version of the key."""
    return fingerprint({"kind": "lian-platform-key", "version": VERSION, "inputs": dict(inputs)})


def artifact_key(keys: Mapping[Platform, str]) -> str:
    """The key of the whole artifact. One platform: its image is that manifest, so the key is that key (ADR 020)."""
    if len(keys) == 1:
        return next(iter(keys.values()))
    platforms = {str(platform): key for platform, key in keys.items()}
    return fingerprint({"kind": "lian-artifact-key", "version": VERSION, "platforms": platforms})


def content_tag(key: str) -> str:
    """`lian-<40 hex of the key>`."""
    return CONTENT_TAG_PREFIX + key[:40]
