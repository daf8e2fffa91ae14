"""What a test needs from the machine, and saying so when it is not there."""

from __future__ import annotations

import os
from functools import cache
from typing import NoReturn

import pytest

from reconciler.checks.parts import PARTS, probe
from reconciler.checks.probes import Surroundings
from reconciler.providers.builder.binaries import cache_folder, locate
from tests import programs

PREFIX = "could not run: "
BUILD_PARTS = ("buildkitd", "buildctl", "runc", "namespaces", "cgroups")


def not_run(reason: str, *, optional: bool = False) -> NoReturn:
    """End the test as not run, because of something the machine lacks; with LIAN_TEST_STRICT=1 that is an error.

    `optional` is for what set-up does not install: it is told, and never an error.
    """
    if os.environ.get("LIAN_TEST_STRICT") == "1" and not optional:
        pytest.fail(PREFIX + reason, pytrace=False)
    pytest.skip(PREFIX + reason)


@cache
def builds_lack() -> str | None:
    """Why nothing can be built here, all reasons together; None when builds work."""
    around = Surroundings.here(locate, cache_folder())
    found = [probe(part, around) for part in PARTS if part.name in BUILD_PARTS]
    return "; ".join(part.why for part in found if part.why) or None


@cache
def docker_lacks() -> str | None:
    """Why no Docker can be started here, all reasons together; None when one can be. Its containers build, too."""
    missing = [found.why for name in programs.DOCKER if (found := programs.find(name)).why]
    return "; ".join([*filter(None, [builds_lack()]), *missing]) or None
