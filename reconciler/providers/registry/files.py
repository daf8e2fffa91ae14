"""Files on this machine that blobs come from and go to."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.manifest import Descriptor
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

CHUNK = 1 << 20
"""Bytes that are read at a time."""


@contextlib.contextmanager
def made(into: Path) -> Iterator[BinaryIO]:
    """A new file, gone again if the block is not left in peace. Raises LianError for what cannot be written."""
    try:
        with into.open("xb") as file:
            try:
                yield file
                file.flush()
            except BaseException:
                into.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise LianError(problems.unwritten(into, error)) from error


def described(file: Path, media_type: str, going_on: Callable[[], None]) -> Descriptor:
    """The descriptor of a file's content; `going_on` is called often (finishing.in_thread). Raises LianError if it
    cannot be read."""
    seen = hashlib.sha256()
    try:
        with file.open("rb") as reader:
            while data := reader.read(CHUNK):
                going_on()
                seen.update(data)
            return Descriptor(media_type, Digest("sha256", seen.hexdigest()), reader.tell())
    except OSError as error:
        raise LianError(problems.unread(file, error)) from error
