"""What a lease has on this machine beside its container: its record, its scratch folder, the socket to the builder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from reconciler.providers.compute.lease_folders import LeaseFolder

_ASKED = "asked"


def links_folder() -> Path:
    """Where short ways to sockets are made, for a user who may write nothing of the system's."""
    return Path(tempfile.gettempdir()) / f"lian-{os.geteuid()}"


def furnish(folder: LeaseFolder) -> None:
    """The scratch folder, and the short way to the socket where one is needed. Raises OSError, also if the place of
    short ways is someone else's: what is connected to there would be theirs."""
    folder.scratch.mkdir(mode=0o700)
    if folder.needs_link:
        folder.links.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.links.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(errno.EPERM, "it is another user's", str(folder.links))
        folder.link.symlink_to(folder.path)


def note_asking(folder: LeaseFolder, *, asking: bool) -> None:
    """Remember that Docker may be about to make a container that no answer has told of yet. Raises OSError."""
    note = folder.path / _ASKED
    if asking:
        note.touch()
    else:
        note.unlink(missing_ok=True)


def may_be_asked(folder: LeaseFolder) -> bool:
    """Whether that was the last that was heard."""
    return (folder.path / _ASKED).exists()


def remove(folder: LeaseFolder) -> None:
    """All of it, the record last, so that an interrupted removal is seen to be one; gone already is fine. Raises
    OSError."""
    with contextlib.suppress(FileNotFoundError):
        folder.link.unlink()
    with contextlib.suppress(OSError):  # other links are in it, or it was never made
        folder.links.rmdir()
    try:
        content = [Path(entry) for entry in os.scandir(folder.path) if Path(entry) != folder.record]
    except FileNotFoundError:
        return
    for path in content:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    folder.record.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        folder.path.rmdir()


def unmade(folder: Path, error: OSError) -> LianError:
    """What cannot be written there, as a problem."""
    code = "disk-full" if error.errno == errno.ENOSPC else "compute-unavailable"
    return LianError(
        Problem(
            code,
            f"the folder {folder} for what goes with a runner cannot be made",
            cause=error.strerror or str(error),
            hint="give lian's state a place that can be written to and has room",
        )
    )
