"""`lian version`: versions of lian and of the parts it uses."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.cli import exits
from reconciler.cli.views.text import as_json

if TYPE_CHECKING:
    import argparse

LIBRARIES = ("py-nickel", "pygit2", "httpx")


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    versions = {name: metadata.version(name) for name in LIBRARIES}
    if arguments.json:
        document = {"kind": "version", "version": 1, "lian": __version__, "python": platform.python_version()}
        sys.stdout.write(as_json(document | {"libraries": versions}))
        return exits.DONE
    print(f"lian {__version__} (Python {platform.python_version()})")
    for name, version in versions.items():
        print(f"  {name} {version}")
    return exits.DONE
