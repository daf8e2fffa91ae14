"""`.venv/`: lian in place, and the tools of the `dev` dependency group."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

from parts.host import Host, Missing, StepFailed, exclusive, log_tail, run_logged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STAMP = "lian-set-up"


def ensure_virtualenv(host: Host, say: Callable[[str], None]) -> str:
    """Make or renew `.venv/` when pyproject.toml, the interpreter or the checkout's place changed.

    Returns what was done; raises StepFailed when Python or pip refuses.
    """
    with exclusive(host.checkout, say):
        if is_current(host.checkout):
            return "already there"
        _install(host.checkout)
    return "ok"


def is_current(checkout: Path) -> bool:
    """Whether the stamp fits and the interpreter in it runs and imports lian."""
    folder = checkout / ".venv"
    try:
        if (folder / STAMP).read_text(encoding="utf-8") != _fingerprint(checkout):
            return False
        probe = subprocess.run(
            [folder / "bin" / "python", "-I", "-c", "import reconciler"], capture_output=True, check=False
        )
    except OSError:
        return False
    return probe.returncode == 0


def lacks_ensurepip(checkout: Path) -> bool:
    """Debian ships Python without `ensurepip`; a new environment then needs the package python3-venv."""
    return importlib.util.find_spec("ensurepip") is None and not is_current(checkout)


def requirements(project: dict[str, Any], group: str) -> list[str]:
    """The requirements of a dependency group, its `include-group` entries resolved (PEP 735)."""
    found: list[str] = []
    for entry in project["dependency-groups"][group]:
        found += [entry] if isinstance(entry, str) else requirements(project, entry["include-group"])
    return found


def _fingerprint(checkout: Path) -> str:
    seen = hashlib.sha256((checkout / "pyproject.toml").read_bytes())
    seen.update(f"\0{sys.version_info[:3]}\0{sys.base_prefix}\0{checkout}".encode())
    return seen.hexdigest()


def _install(checkout: Path) -> None:
    """The stamp goes first and is written last: without one the environment is made anew, from nothing."""
    folder = checkout / ".venv"
    stamp, python = folder / STAMP, folder / "bin" / "python"
    log = folder / "set-up.log"
    intact = stamp.exists() and run_logged([python, "-m", "pip", "--version"], log)
    stamp.unlink(missing_ok=True)
    if not intact:
        _run("a virtual environment", [sys.executable, "-m", "venv", "--clear", folder], log)
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    pip: list[str | Path] = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    _run("Python packages", [*pip, "--editable", checkout, *requirements(project, "dev")], log)
    stamp.write_text(_fingerprint(checkout), encoding="utf-8")


def _run(what: str, argv: Sequence[str | Path], log: Path) -> None:
    if not run_logged(argv, log, mortal=True):
        command = shlex.join(map(str, argv))
        raise StepFailed(Missing(f"{what} in .venv/", f"the command failed:\n{log_tail(log)}", command))
