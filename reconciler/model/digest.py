"""A content digest (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_FORM = re.compile(r"(?P<algorithm>sha256|sha512):(?P<hex>[a-f0-9]{64}|[a-f0-9]{128})")
_LENGTH = {"sha256": 64, "sha512": 128}


class Digest(NamedTuple):
    """`sha256:<64 hex>` or `sha512:<128 hex>`, the two algorithms the specification registers."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises ValueError for anything that is not a digest."""
        match = _FORM.fullmatch(text)
        if not match or len(match["hex"]) != _LENGTH[match["algorithm"]]:
            raise ValueError(f"not a digest: {text[:100]!r}")
        return cls(match["algorithm"], match["hex"])

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of the bytes."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def matches(self, data: bytes) -> bool:
        """True if the bytes have this digest."""
        return hashlib.new(self.algorithm, data).hexdigest() == self.hex

    @property
    def short(self) -> str:
        """The first twelve hex digits, as docker and git users know them."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
