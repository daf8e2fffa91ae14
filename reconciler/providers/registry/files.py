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
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO


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


def described(file: Path, media_type: str) -> Descriptor:
    """The descriptor of a file's content. Raises LianError if it cannot be read."""
    try:
        with file.open("rb") as reader:
            digest = hashlib.file_digest(reader, "sha256").hexdigest()
            return Descriptor(media_type, Digest("sha256", digest), reader.tell())
    except OSError as error:
        raise LianError(problems.unread(file, error)) from error
