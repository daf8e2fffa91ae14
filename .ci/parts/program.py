"""Which steps a target needs, run in order, one line with a time for each."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TextIO

from parts.buildkit import ensure_buildkit
from parts.buildx import ensure_buildx
from parts.debian import (
    BUSYBOX,
    GIT,
    JQ,
    RSYNC,
    RUNC,
    Package,
    ensure_docker,
    ensure_packages,
    ensure_registry,
    ensure_sshd,
)
from parts.host import Host, Missing, StepFailed
from parts.testprograms import ensure_test_programs
from parts.virtualenv import ensure_virtualenv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DEMO_PACKAGES = (GIT, RUNC, BUSYBOX)
TEST_PACKAGES = (*DEMO_PACKAGES, JQ, RSYNC)
TARGETS = ("check", "demo", "test", "all")


@dataclass(frozen=True)
class Step:
    """One line of set-up. `action` returns what was done or raises StepFailed."""

    name: str
    action: Callable[[Host, Callable[[str], None]], str]


def steps_of(target: str) -> list[Step]:
    """The steps of a target, in order. `all` is what the other targets need together."""
    virtualenv = Step("venv", ensure_virtualenv)
    buildkit = Step("buildkit", ensure_buildkit)
    registry = Step("docker-registry", ensure_registry)
    if target == "check":
        return [_packages(()), virtualenv]
    if target == "demo":
        return [_packages(DEMO_PACKAGES), virtualenv, buildkit]
    servers = [registry, Step("sshd", ensure_sshd), Step("docker", ensure_docker)]
    compared = [Step("test programs", ensure_test_programs), Step("buildx", ensure_buildx)]
    return [_packages(TEST_PACKAGES), *servers, virtualenv, buildkit, *compared]


def main(arguments: Sequence[str], checkout: Path, host: Host | None = None, out: TextIO | None = None) -> int:
    """Run set-up. 0: all there; 1: something could not be had; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="setup", description="Lay down what a target of the Makefile needs.")
    parser.add_argument("target", nargs="?", choices=TARGETS, default="all")
    parser.add_argument("--tolerate", action="store_true", help="status 0 without a part, as long as .venv/ is there")
    chosen = parser.parse_args(arguments)
    out = out or sys.stderr
    host = host or Host.detect(checkout)
    missing: list[Missing] = []
    failed: list[str] = []
    try:
        for step in steps_of(chosen.target):
            lacking = run_step(step, host, out)
            missing += lacking
            failed += [step.name] if lacking else []
    except KeyboardInterrupt:
        print("\nsetup: interrupted; the next run goes on from here", file=out)
        return 130
    _tell(missing, out)
    tolerable = chosen.tolerate and "venv" not in failed
    return 0 if not missing or tolerable else 1


def run_step(step: Step, host: Host, out: TextIO) -> tuple[Missing, ...]:
    """Run one step and finish its line; what it could not get."""
    began = time.monotonic()
    print(f"setup: {step.name} … ", end="", file=out, flush=True)
    missing: tuple[Missing, ...] = ()
    try:
        done = step.action(host, partial(_remark, out))
    except StepFailed as failure:
        done, missing = "not available", failure.missing
    except OSError as error:
        done, missing = "failed", (Missing(step.name, str(error), "make the place writable, then run this again"),)
    print(f"{done} ({time.monotonic() - began:.1f} s)", file=out, flush=True)
    return missing


def _packages(packages: Sequence[Package]) -> Step:
    return Step("debian packages", lambda host, say: ensure_packages(host, packages, say))


def _remark(out: TextIO, text: str) -> None:
    print(f"{text} … ", end="", file=out, flush=True)


def _tell(missing: list[Missing], out: TextIO) -> None:
    if not missing:
        return
    print("setup: could not be had:", file=out)
    for part in missing:
        print(f"  {part.what}\n    why: {part.why}\n    do:  {part.remedy}", file=out)
