"""What a person chose on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.providers.builder import binaries

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def cache_folder(chosen: str | None) -> Path:
    """Where everything lies that can be made again: `--cache`, LIAN_CACHE, or lian's folder in the user's cache."""
    return Path(chosen).expanduser().absolute() if chosen else binaries.cache_folder()


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose: which repo, at which revision, against which registry; None leaves it to the settings."""

    repo: str
    rev: str
    registry: str | None
    cache: Path
    ssh_key: str | None = None
    """The private key's file for machines that are reached by SSH; None leaves it to the agent."""
    waits: Callable[[str], None] | None = None
    """Told of each host that lets the command wait for long."""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Choice:
        """From the command line."""
        key = getattr(arguments, "ssh_key", None)  # verbs that rent nothing have none
        waits = getattr(arguments, "waits", None)
        return cls(arguments.repo, arguments.rev, arguments.registry, cache_folder(arguments.cache), key, waits)
