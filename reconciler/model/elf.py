"""What a program runs on, and whether it needs other files (the ELF format: elf(5))."""

from __future__ import annotations

import struct
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Program:
    """What a program is for, and what loads its libraries: None if it is linked statically."""

    platform: Platform
    interpreter: str | None


def read_program(head: bytes) -> Program:
    """By a program's first HEAD bytes. Raises ValueError with the reason for what is none that lian knows."""
    if head[:4] != b"\x7fELF":
        raise ValueError("it is no program in the ELF format")
    try:
        width, order = head[4], {1: "<", 2: ">"}[head[5]]
        machine = _MACHINES[struct.unpack_from(f"{order}H", head, 18)[0], order, width]
        interpreter = _interpreter(head, width, order)
    except (struct.error, IndexError):
        raise ValueError("its header is cut off") from None
    except KeyError:
        raise ValueError("it is for a machine that lian does not know") from None
    return Program(Platform.parse(machine), interpreter)


def static_platform(head: bytes) -> Platform:
    """The platform that a statically linked program is for, by its first HEAD bytes. Raises ValueError with the reason
    for anything else."""
    program = read_program(head)
    if program.interpreter is not None:
        raise ValueError("it is linked dynamically")
    return program.platform


def _interpreter(head: bytes, width: int, order: str) -> str | None:
    """What the first segment of that type says; an empty text if it lies beyond the head."""
    word, places = ("Q", (32, 8, 32)) if width == 2 else ("I", (28, 4, 16))
    table, offset, length = places
    (start,) = struct.unpack_from(f"{order}{word}", head, table)
    size, count = struct.unpack_from(f"{order}HH", head, 54 if width == 2 else 42)
    for segment in range(start, start + size * count, size or 1):
        if struct.unpack_from(f"{order}I", head, segment)[0] == _INTERPRETER:
            (at,) = struct.unpack_from(f"{order}{word}", head, segment + offset)
            (long,) = struct.unpack_from(f"{order}{word}", head, segment + length)
            return head[at : at + long].rstrip(b"\0").decode("utf-8", "surrogateescape")
    return None
