"""What a program says of itself in its head."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.elf import HEAD, read_program, static_platform
from reconciler.model.platform import Platform


def program(interpreter: str | None, width: int = 2, order: str = "<", machine: int = 62) -> bytes:
    """A head as linkers write it: one segment of code, and one that names the interpreter."""
    word, ident = ("Q", 64) if width == 2 else ("I", 52)
    size = 56 if width == 2 else 32
    text = b"" if interpreter is None else interpreter.encode() + b"\0"
    at = ident + 2 * size
    head = b"\x7fELF" + bytes((width, 1 if order == "<" else 2, 1)) + bytes(9) + struct.pack(f"{order}HH", 2, machine)
    head = head.ljust(32 if width == 2 else 28, b"\0") + struct.pack(f"{order}{word}", ident)
    head = head.ljust(54 if width == 2 else 42, b"\0") + struct.pack(f"{order}HH", size, 2)
    head = head.ljust(ident, b"\0")
    code = struct.pack(f"{order}I", 1).ljust(size, b"\0")
    if width == 2:
        named = struct.pack(f"{order}IIQQQQ", 3, 4, at, 0, 0, len(text))
    else:
        named = struct.pack(f"{order}IIIII", 3, at, 0, 0, len(text))
    second = code if interpreter is None else named.ljust(size, b"\0")
    return head + code + second + text


@pytest.mark.parametrize(
    ("width", "order", "machine", "platform"),
    [
        (2, "<", 62, "linux/amd64"),
        (2, "<", 183, "linux/arm64"),
        (1, "<", 40, "linux/arm/v7"),
        (2, ">", 22, "linux/s390x"),
    ],
)
def test_the_platform_and_the_interpreter_are_read(width: int, order: str, machine: int, platform: str) -> None:
    for interpreter in (None, "/lib64/ld-linux-x86-64.so.2"):
        found = read_program(program(interpreter, width, order, machine))
        assert (found.platform, found.interpreter) == (Platform.parse(platform), interpreter)


def test_one_that_is_linked_dynamically_is_not_static() -> None:
    with pytest.raises(ValueError, match="linked dynamically"):
        static_platform(program("/lib/ld.so"))
    assert static_platform(program(None)) == Platform.parse("linux/amd64")


def test_this_python_says_the_same_as_its_system() -> None:
    with Path(sys.executable).resolve().open("rb") as file:
        assert read_program(file.read(HEAD)).interpreter is not None


@given(st.binary(max_size=400))
def test_anything_else_is_refused_with_a_reason(rest: bytes) -> None:
    for head in (rest, b"\x7fELF" + rest):
        try:
            read_program(head)
        except ValueError as error:
            assert str(error)
