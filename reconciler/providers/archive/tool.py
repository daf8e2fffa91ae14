"""Looking for a busybox that needs no other file."""

from __future__ import annotations

import shutil
from pathlib import Path

from reconciler.model.elf import HEAD, static_platform
from reconciler.ports.archives import Tool
from reconciler.providers.archive import problems

NAMES = ("busybox", "busybox.static", "busybox-static")
"""As distributions call it."""


def find_tool() -> Tool:
    """The first on PATH that will do. Raises LianError `cache-mounts-tool-missing`."""
    reasons: list[str] = []
    for name in NAMES:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            with Path(path).open("rb") as file:
                return Tool(Path(path), static_platform(file.read(HEAD)))
        except (OSError, ValueError) as error:
            reasons.append(f"{path}: {error}")
    raise problems.tool_missing("; ".join(reasons) or f"none of {', '.join(NAMES)} is on PATH")
