"""Whether a program runs without any other file, and on what (the ELF format: elf(5))."""

from __future__ import annotations

import struct

from reconciler.model.platform import Platform

HEAD = 1 << 16
"""Bytes of a program that are looked at."""
_INTERPRETER = 3
"""PT_INTERP: it names a program that loads its libraries."""
_MACHINES = {
    (62, "<", 2): "linux/amd64",
    (183, "<", 2): "linux/arm64",
    (3, "<", 1): "linux/386",
    (40, "<", 1): "linux/arm/v7",
    (243, "<", 2): "linux/riscv64",
    (21, "<", 2): "linux/ppc64le",
    (22, ">", 2): "linux/s390x",
}


def static_platform(head: bytes) -> Platform:
    """The platform that a statically linked program is for, by its first HEAD bytes. Raises ValueError with the reason
    for anything else."""
    if head[:4] != b"\x7fELF":
        raise ValueError("it is no program in the ELF format")
    try:
        width, order = head[4], {1: "<", 2: ">"}[head[5]]
        machine = _MACHINES[struct.unpack_from(f"{order}H", head, 18)[0], order, width]
        kinds = list(_segments(head, width, order))
    except (struct.error, IndexError):
        raise ValueError("its header is cut off") from None
    except KeyError:
        raise ValueError("it is for a machine that lian does not know") from None
    if _INTERPRETER in kinds:
        raise ValueError("it is linked dynamically")
    return Platform.parse(machine)


def _segments(head: bytes, width: int, order: str) -> list[int]:
    """The types of its segments."""
    if width == 2:
        (start,) = struct.unpack_from(f"{order}Q", head, 32)
        size, count = struct.unpack_from(f"{order}HH", head, 54)
    else:
        (start,) = struct.unpack_from(f"{order}I", head, 28)
        size, count = struct.unpack_from(f"{order}HH", head, 42)
    return [struct.unpack_from(f"{order}I", head, start + size * number)[0] for number in range(count)]
