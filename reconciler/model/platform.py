"""A platform as OCI image indexes name it (image-spec, image-index.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORM = re.compile(r"(?P<os>[a-z0-9]+)/(?P<architecture>[a-z0-9_]+)(?:/(?P<variant>v[0-9]+))?")


class Platform(NamedTuple):
    """`os/architecture[/variant]` in BuildKit's normal form: arm64 has no v8, amd64 no v1, bare arm is v7."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Raises ValueError for anything that is not a platform."""
        match = _FORM.fullmatch(text)
        if not match:
            raise ValueError(f"not a platform: {text[:100]!r}; expected os/architecture[/variant]")
        architecture, variant = match["architecture"], match["variant"] or ""
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(architecture, architecture)
        if (architecture, variant) in {("arm64", "v8"), ("amd64", "v1")}:
            variant = ""
        if architecture == "arm" and not variant:
            variant = "v7"
        return cls(match["os"], architecture, variant)

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Platform:
        """The inverse of to_json. Raises ValueError."""
        parts = (document.get(part) for part in ("os", "architecture", "variant"))
        return cls.parse("/".join(str(part) for part in parts if part))

    def to_json(self) -> dict[str, str]:
        """The `platform` object of an image index."""
        parts = {"architecture": self.architecture, "os": self.os}
        return parts | {"variant": self.variant} if self.variant else parts

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
