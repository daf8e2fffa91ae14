"""Lines on terminals of any width, in any script."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.views.tables import Table, show
from reconciler.cli.views.text import WIDTH, Writer, cells, columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


@pytest.fixture
def terminal() -> Iterator[IO[str]]:
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream:
        yield stream
    os.close(leader)


def resize(terminal: IO[str], wide: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, wide, 0, 0))


@pytest.mark.parametrize(("wide", "used"), [(64, 64), (100, 100), (250, 120), (12, 40), (0, 80)])
def test_lines_are_as_long_as_a_terminal_lets_them_be_read(terminal: IO[str], wide: int, used: int) -> None:
    resize(terminal, wide)
    assert columns(terminal) == Writer(terminal).width == used


def test_what_is_no_terminal_has_lines_of_one_length() -> None:
    assert columns(io.StringIO()) == WIDTH


WORDS = st.lists(st.text(st.sampled_from("abgåßλжالعه日本한e\u0301"), min_size=1, max_size=12), max_size=40)


@given(WORDS, st.integers(min_value=20, max_value=90))
def test_no_line_is_wider_than_it_may_be_and_no_word_is_lost(words: list[str], wide: int) -> None:
    stream = io.StringIO()
    writer = Writer(stream)
    writer.width = wide
    writer.wrapped(["  - "], " ".join(words), indent=6)
    written = stream.getvalue()
    assert not any(line.endswith(" ") for line in written.splitlines()[:-1])
    assert written.split() == ["-", *words]
    assert all(cells(line) <= wide or len(line.split()) == 1 for line in written.splitlines())


def test_signs_of_lian_and_latin_letters_take_one_column_and_nothing_is_loaded_for_them() -> None:
    script = """
import sys
from reconciler.cli.views.text import cells
codes = (*range(0x20, 0x7f), *range(0xa0, 0x300), *range(0x2010, 0x2028), *range(0x2190, 0x2194))
signs = [chr(code) for code in codes]
assert all(cells(sign) == 1 for sign in signs)
assert "rich" not in sys.modules
from rich.cells import cell_len
print([sign for sign in signs if cell_len(sign) != 1])
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout in {"[]\n", "['\\xad']\n"}, "but for a soft hyphen, which terminals show or not"


def test_columns_stay_aligned_where_characters_are_twice_as_wide() -> None:
    stream = io.StringIO()
    show([Table("files", ("name", "size"), (("日本語.txt", "1 KiB"), ("plain.txt", "2 KiB")))], stream)
    *_, one, other = stream.getvalue().splitlines()
    assert cells(one.partition("1 KiB")[0]) == cells(other.partition("2 KiB")[0])


def test_a_word_too_long_for_the_indent_has_less_before_it() -> None:
    for width, lines in (
        (30, ["    " + "x" * 20 + ",", "      " + "y" * 20]),
        (25, ["    " + "x" * 20 + ",", "     " + "y" * 20]),
        (22, [" " + "x" * 20 + ",", "  " + "y" * 20]),
        (10, ["    " + "x" * 20 + ",", "      " + "y" * 20]),  # nothing helps
    ):
        stream = io.StringIO()
        writer = Writer(stream)
        writer.terminal, writer.width = True, width
        writer.wrapped(["    "], "x" * 20 + ", " + "y" * 20, indent=6)
        assert stream.getvalue().splitlines() == lines
