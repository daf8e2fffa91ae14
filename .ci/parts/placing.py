"""Laying a folder of programs down in the parts cache in one move: it is there whole, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path


def scratch_beside(target: Path) -> Path:
    """A new empty folder on the target's file system; scratch of earlier, interrupted runs goes.

    Call it under the lock of the target's parent: nobody else's scratch can be live then.
    """
    for stale in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(stale)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))


def place(scratch: Path, target: Path) -> None:
    """Rename `scratch` to `target`; what lay there before (it was found unusable) is removed."""
    scratch.chmod(0o755)
    if target.exists():
        worn_out = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        target.rename(worn_out / "old")
        scratch.rename(target)
        shutil.rmtree(worn_out)
    else:
        scratch.rename(target)
