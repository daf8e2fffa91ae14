"""What `git add` is to take at first, and what it must not: a secret that was committed once stays in the history."""

from __future__ import annotations

import posixpath
import shlex
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.written import IGNORED
from reconciler.model.artifact import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.ports.project import Project

DOTENV = ".env"
_SECRETS = (
    DOTENV, ".env.*", "*.key", "*.pem", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk", ".netrc", ".pypirc",
    ".git-credentials", ".htpasswd", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
)  # fmt: skip
_HARMLESS = ("*.example", "*.sample", "*.template", "*.dist")


def secrets_in(project: Project, folders: Collection[str]) -> dict[str, list[str]]:
    """Folder -> the files in it that look like secrets by their names, and that git would not ignore; only folders that
    hold some. Raises LianError as `Project.find` does."""
    if not folders:
        return {}
    lines = (project.read(IGNORED) or b"").decode("utf-8", "replace").split()
    paths = [path for path in project.find(_looks_secret) if not _is_ignored(path, lines)]
    held = {folder: [path for path in paths if folder == "." or path.startswith(f"{folder}/")] for folder in folders}
    return {folder: found for folder, found in held.items() if found}


def _looks_secret(name: str) -> bool:
    is_one = any(fnmatchcase(name, pattern) for pattern in _SECRETS)
    return is_one and not any(fnmatchcase(name, pattern) for pattern in _HARMLESS)


def _is_ignored(path: str, lines: Sequence[str]) -> bool:
    """For a folder that is no repository yet, by the plainest lines; where some take others back, by none."""
    if any(line.startswith("!") for line in lines):
        return False
    name = posixpath.basename(path)
    return any(path == line.lstrip("/") or ("/" not in line and fnmatchcase(name, line)) for line in lines)


def held_back(folder: str, secrets: Sequence[str]) -> Remark:
    """Why a folder is not to be added."""
    what = "the folder itself" if folder == "." else folder
    message = f"{secrets[0]} looks like a secret, so {what} is not among what is committed"
    ignored = "; ".join(f"echo {shlex.quote(path)} >> {IGNORED}" for path in secrets)
    hint = f"keep it out ({ignored}), or see that it is none; then git add {shlex.quote(folder)}"
    return Remark(Weight.NOTE, "secret-in-folder", message, Place(secrets[0]), hint=hint)
