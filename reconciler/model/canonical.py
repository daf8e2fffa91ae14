"""The one byte form of a document that is hashed: JSON, keys sorted, no white space, UTF-8."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(document: Any) -> bytes:
    """The document as bytes that depend on its content alone.

    Keys are sorted by code point; text is UTF-8 with lone surrogates kept (git names need not be UTF-8).
    Raises ValueError for NaN and infinities, TypeError for what JSON cannot say.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogateescape")


def fingerprint(document: Any) -> str:
    """sha256 of the canonical form, 64 hex digits."""
    return hashlib.sha256(canonical(document)).hexdigest()
