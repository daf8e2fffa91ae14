"""The guard lets nothing through that nests too deep, and finds every import, whatever strings and comments say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.nickel import guard
from reconciler.desired.nickel.guard import MAX_DEPTH, Import, examine
from reconciler.desired.nickel.lexer import LexError, tokens
from tests.desired.nickel.commits import REPOSITORY

LAYERS = {
    "array": ("[", "]"),
    "record": ("{ a = ", " }"),
    "quoted": ('{ "a}" = ', " }"),
    "parens": ("(", ")"),
    "tag": ("([| 'a, 'b |] == ", ")"),
    "string": ('"x%{', '}y"'),
    "block": ('m%%"a "% b %%{', '} c"%%'),
    "symbolic": ('nix-s%"%{', '}"%'),
}
DECOYS = ['# {{{ [[[ "\n', '"}}}]]]" ++ ', '"\\"{[(" ++ ', 'm%"{[("\n "%  ++ ', '\'"]]}" |> fun _ => ']
TRUE_DEPTH = {"tag": 2}


def nested(layers: list[str], decoys: list[str]) -> tuple[str, int]:
    """A text and how deep its innermost place really is."""
    text = "1"
    for index, layer in enumerate(reversed(layers)):
        opening, closing = LAYERS[layer]
        decoy = decoys[index % len(decoys)] if decoys else ""
        text = f"{opening}{decoy}{text}{closing}"
    return text, max((depth + TRUE_DEPTH.get(layer, 1) for depth, layer in enumerate(layers)), default=0)


@given(st.lists(st.sampled_from(sorted(LAYERS)), max_size=90), st.lists(st.sampled_from(DECOYS), max_size=5))
def test_depth_is_counted_exactly(layers: list[str], decoys: list[str]) -> None:
    text, depth = nested(layers, decoys)
    refused = [fault for fault in examine(text.encode(), "Nickel").faults if "nested" in fault.message]
    assert bool(refused) == (depth > MAX_DEPTH)


@given(st.lists(st.sampled_from(["{", "}", "[", "]", "(", ")", '"', "\\", "#", "\n", "%", "m", "import", ' "a.ncl"',
                                 " as 'Text", "'", "a", "1e9", "-", ",", "=", " ", "123"]), max_size=60))  # fmt: skip
def test_the_glance_never_differs_from_reading(parts: list[str]) -> None:
    text = "".join(parts)
    glanced, read = guard._glance(text), guard._read(text)
    no_nickel = [fault.code for fault in read.faults] == ["nickel-syntax"]  # which Nickel itself will say
    assert glanced in {None, read} or no_nickel


@given(st.text(alphabet="{}[]()\"'%\\#m \nax1.,=-s", max_size=80))
def test_reading_any_text_ends_in_a_verdict(text: str) -> None:
    verdict = guard._read(text)
    try:
        list(tokens(text))
    except LexError:
        assert [fault.code for fault in verdict.faults] == ["nickel-syntax"]


def test_a_hundred_thousand_brackets_are_refused_quickly_at_the_place() -> None:
    (fault,) = examine(b"[" * 100_000 + b"]" * 100_000, "Nickel").faults
    assert (fault.code, fault.line, fault.column) == ("nickel-limit", 1, MAX_DEPTH + 1)


@pytest.mark.parametrize("link", [" + 1", " & {}", ".a", " |> f", " in let a = 1", " a", " -> Number", "!!"])
def test_chains_without_brackets_are_bounded(link: str) -> None:
    (fault,) = examine(f"let a = 1{link * 9000}".encode(), "Nickel").faults
    assert (fault.code, "tokens" in fault.message) == ("nickel-limit", True)


def test_a_long_list_is_no_chain() -> None:
    assert examine(("[" + "1 + 1, " * 20_000 + "]").encode(), "Nickel").faults == ()


@pytest.mark.parametrize("number", ["1e999999999", "1e-999999999", "1E+0001000", "9" * 41, "1." + "0" * 60])
def test_numbers_that_take_long_to_read_are_refused(number: str) -> None:
    (fault,) = examine(f"{{ a = {number} }}".encode(), "Nickel").faults
    assert (fault.code, fault.line, fault.column) == ("nickel-limit", 1, 7)
    (fault,) = examine(f'{{"a": {number.replace("E+", "e")}}}'.encode(), "Json").faults
    assert fault.code == "nickel-limit"


@pytest.mark.parametrize("number", ["0", "1.5e300", "0xdeadbeef1e999999", "-1e-300", "9" * 40])
def test_ordinary_numbers_pass(number: str) -> None:
    assert examine(f"{{ a = {number} }}".encode(), "Nickel").faults == ()


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ('import "a.ncl"', [Import("a.ncl")]),
        ('import"a.ncl"', [Import("a.ncl")]),
        ("import \"a\" as 'Text", [Import("a", "Text")]),
        ("import \"a\" # why\n as 'Text", [Import("a", "Text")]),
        ('import # why\n "a.ncl"', [Import("a.ncl")]),
        ('"import \\"b.ncl\\"" # import "c.ncl"\n', []),
        ('m%"import "b.ncl""%', []),
        ('"%{import "a.ncl"}"', [Import("a.ncl")]),
        ('m%"%{import "a.ncl"}"%', [Import("a.ncl")]),
        ('m%%"%{import "a.ncl"}"%%', []),
        ("{ a-import = 1, b = a-import \"x\" }", []),
        ('[import "a.ncl", import "b.json"]', [Import("a.ncl"), Import("b.json")]),
        ('import "\\x61.ncl"', [Import("\\x61.ncl")]),
    ],
)  # fmt: skip
def test_imports_are_found_where_nickel_sees_them(text: str, imports: list[Import]) -> None:
    verdict = examine(text.encode(), "Nickel")
    assert (list(verdict.imports), verdict.faults) == (imports, ())


@pytest.mark.parametrize(
    "text", ["import name", 'import m%"a.ncl"%', 'import "%{x}.ncl"', "import", 'import "a" as Text', "import (\"a\")",
             "import \"a\" as '\"Text\"", "{ import = 1 }"]
)  # fmt: skip
def test_imports_that_do_not_say_plainly_what_are_refused(text: str) -> None:
    assert [fault.code for fault in examine(text.encode(), "Nickel").faults] == ["nickel-import"]


@pytest.mark.parametrize(
    ("data", "format", "code"),
    [
        (b"\xef\xbb\xbf{}", "Nickel", "nickel-syntax"),
        (b'{ a = "\xff" }', "Nickel", "nickel-syntax"),
        (b"1" + b" " * guard.MAX_BYTES, "Nickel", "nickel-limit"),
        (b'{ a = "x }', "Nickel", "nickel-syntax"),
        (b'{ a = ^, b = "%{c}" }', "Nickel", "nickel-syntax"),
        (b"[" * 65 + b"]" * 65, "Json", "nickel-limit"),
        (b"[1, NaN]", "Json", "nickel-limit"),
        (b'{"a": }', "Json", "nickel-syntax"),
        (b"[" * 500_000, "Json", "nickel-limit"),
        (b"a = " + b"[" * 70 + b"]" * 70, "Toml", "nickel-limit"),
        (b".".join([b"a"] * 70) + b" = 1", "Toml", "nickel-limit"),
        (b"a = ", "Toml", "nickel-syntax"),
        (b"a = 1e99999", "Toml", "nickel-limit"),
        (b"\xff", "Text", "nickel-syntax"),
    ],
)
def test_other_faults(data: bytes, format: str, code: str) -> None:
    assert [fault.code for fault in examine(data, format).faults] == [code]


def test_unclosed_strings_full_of_escapes_take_linear_time() -> None:
    assert examine(b'"' + b'\\"' * 400_000, "Nickel").faults[0].code == "nickel-syntax"
    assert examine(b'["' + b'\\"' * 400_000, "Json").faults[0].code == "nickel-syntax"


def test_every_shipped_file_passes() -> None:
    shipped = [path for name in ("schemas", "defaults", "adrs") for path in Path(REPOSITORY / name).glob("*.ncl")]
    assert shipped
    assert [path.name for path in shipped if examine(path.read_bytes(), "Nickel").faults] == []
