"""What can be wrong with an archive, in words."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.archives import BROKEN, TOO_LARGE, TOOL_MISSING, UNSAFE

if TYPE_CHECKING:
    from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_COLD = "the build goes on without it; the next one that runs saves it anew"
_SHOWN = 140


def too_large(cause: str) -> LianError:
    """Beyond the bounds, or beyond what it says of itself."""
    hint = "keep less in the folder: let the step remove what it can do without, or leave `cache.mounts` off"
    return LianError(Problem(TOO_LARGE, "the archive of a cache mount is too large", cause=cause, hint=hint))


def unsafe(cause: str, name: bytes | None = None) -> LianError:
    """Something in it that does not belong into a folder."""
    where = f": {name[:_SHOWN].decode(errors='replace')!r}" if name is not None else ""
    message = "the archive of a cache mount holds what does not belong into a folder"
    hint = f"{_COLD}; find out who wrote it: whoever may write this cache could choose what a build reads"
    return LianError(Problem(UNSAFE, message, cause=f"{cause}{where}", hint=hint))


def broken(cause: str) -> LianError:
    """Not readable to its end."""
    return LianError(Problem(BROKEN, "the archive of a cache mount cannot be read", cause=cause, hint=_COLD))


def unwritten(file: Path, error: OSError) -> LianError:
    """The file system said no."""
    if error.errno in _FULL:
        message = f"no space is left for the archive of a cache mount in {file.parent}"
        return LianError(Problem("disk-full", message, hint="free some space, then run again", next=Next.RETRY))
    message = f"the archive of a cache mount cannot be read or written in {file.parent}"
    return LianError(Problem("cache-unusable", message, cause=error.strerror or str(error), next=Next.RETRY))


def tool_missing(cause: str) -> LianError:
    """No static busybox."""
    return LianError(
        Problem(
            TOOL_MISSING,
            "cache mounts are not kept: there is no busybox here that needs no other file",
            cause=cause,
            hint="apt-get install busybox-static, or apk add busybox-static",
        )
    )
