"""Which Nickel evaluates: the `nickel` command where a usable one is on PATH, else the wheel (ADR 003)."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.desired.nickel.settings import Kind
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from reconciler.desired.nickel.settings import EvaluatorSettings

OLDEST = (1, 15)
"""The first command that evaluates stdin as lian asks, in half the memory of those before it."""
_VERSION = re.compile(r"nickel ([0-9]+)\.([0-9]+)\S*")
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Engine:
    """An evaluator: `command` is the path of the executable, None for the wheel."""

    version: str
    command: str | None = None

    @property
    def identity(self) -> str:
        """What results depend on: part of every cache key."""
        return f"{'cli' if self.command else 'wheel'} {self.version}"


class WorkerStartError(Exception):
    """A worker of the evaluator did not become ready; says why."""


_seen: dict[tuple[str, int, int], str] = {}
"""Versions of commands by path, time and size, so that a daemon asks each only once."""


async def choose(settings: EvaluatorSettings) -> Engine:
    """The evaluator to use. Raises LianError `nickel-missing` if there is none of the kind asked for."""
    if settings.kind is not Kind.WHEEL:
        found = await _command()
        if found:
            return found
    if settings.kind is not Kind.CLI and importlib.util.find_spec("nickel"):
        return Engine(_wheel())
    raise LianError(
        Problem(
            "nickel-missing",
            "there is no Nickel to evaluate directives with",
            hint=f"install the Python package py-nickel, or nickel {OLDEST[0]}.{OLDEST[1]} or later",
        )
    )


def _wheel() -> str:
    """The version of the wheel: as the folder of its metadata is named (packaging.python.org, "Recording installed
    projects") where that lies beside the package, else as Python finds it, which costs a pass 8 ms."""
    spec = importlib.util.find_spec("nickel")
    if spec is not None and spec.origin is not None:
        beside = [folder.name for folder in Path(spec.origin).parent.parent.glob("py_nickel-*.dist-info")]
        if len(beside) == 1:
            return beside[0].removeprefix("py_nickel-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("py-nickel")


async def _command() -> Engine | None:
    path = shutil.which("nickel")
    if path is None:
        return None
    real = str(Path(path).resolve())
    status = Path(real).stat()
    key = (real, status.st_mtime_ns, status.st_size)
    if key not in _seen:
        _seen[key] = await _version(real)
    match = _VERSION.search(_seen[key])
    usable = match is not None and (int(match[1]), int(match[2])) >= OLDEST
    return Engine(_seen[key], real) if usable else None


async def _version(command: str) -> str:
    """What the command says of itself, empty if it says nothing in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            command, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env={},
        )  # fmt: skip
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode("utf-8", "replace").strip()
