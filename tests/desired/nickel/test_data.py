"""Plain data is told from everything else, and each of its fields is found where it is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.nickel.data import NotDataError, places_of
from tests.desired.nickel.test_locate import TREES
from tests.strategies_documents import Tag, nickel

if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE = ["", " ", "\n  ", " # a comment: let fun { \n"]


def _written(
    value: Any, path: tuple[str, ...] | None, here: list[str], found: dict[Any, int], gap: Callable[[], str]
) -> None:
    """Write a value piece by piece, and note where its fields begin."""
    if isinstance(value, dict):
        here.append("{")
        for name, inner in value.items():
            here.append(gap())
            below = None if path is None else (*path, name)
            if below is not None:
                found[below] = sum(map(len, here))
            here += [nickel(name), gap(), "=", gap()]
            _written(inner, below, here, found, gap)
            here.append(f"{gap()},")
        here.append("}")
    elif isinstance(value, list):
        here.append("[")
        for inner in value:
            _written(inner, None, here, found, gap)
            here.append(f"{gap()},")
        here.append("]")
    else:
        text = nickel(value)
        here.append(text.strip("()") if isinstance(value, int | float) and not isinstance(value, bool) else text)


@given(TREES, st.data())
def test_every_field_has_its_place(tree: Any, data: st.DataObject) -> None:
    pieces: list[str] = []
    offsets: dict[tuple[str, ...], int] = {}
    _written(tree, (), pieces, offsets, lambda: data.draw(st.sampled_from(_SPACE)))
    text = "".join(pieces)
    wanted = {}
    for path, offset in offsets.items():
        before = text[:offset]
        wanted[path] = (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert places_of(text) == wanted


def test_dotted_names_have_the_places_of_their_parts() -> None:
    text = '{\n  rules.a.bases.allow = ["x"],\n  rules.a = { "b c".d = -1, e = m%"\n}"% },\n  f = \'Deny,\n}\n'
    places = places_of(text)
    assert places is not None
    assert places["rules",] == (2, 3)
    assert places["rules", "a"] == (2, 9)
    assert places["rules", "a", "bases", "allow"] == (2, 17)
    assert (places["rules", "a", "b c", "d"], places["rules", "a", "e"]) == ((3, 21), (3, 29))
    assert places["f",] == (5, 3)


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("fun x => x", "a function", (1, 1)),
        ("(fun x => x) 1", "a function", (1, 2)),
        ("let f = fun x => x in { a = f 1 }", "a `let`", (1, 1)),
        ("{ a = let b = 1 in b }", "a `let`", (1, 7)),
        ("{ a = fun x => x }", "a function", (1, 7)),
        ("{ a = x => x }", "the name `x`, which stands for something else,", (1, 7)),
        ('{ a = import "a.json" }', "an import", (1, 7)),
        ('{\n a = [\n(import "a.json")] }', "an import", (3, 2)),
        ('{ a = std.string.join "" [] }', "the name `std`, which stands for something else,", (1, 7)),
        ("{ a = 1, b = a }", "the name `a`, which stands for something else,", (1, 14)),
        ("{ a = { b = 1 } & { c = 1 } }", "a merge", (1, 17)),
        ("{ a = 1 } & {}", "a merge", (1, 11)),
        ("{ a | Number = 1 }", "a contract or annotation", (1, 5)),
        ("{ a | default = 1 }", "a contract or annotation", (1, 5)),
        ("{ a : Number = 1 }", "a type", (1, 5)),
        ("{ a = 1 | Number }", "a contract or annotation", (1, 9)),
        ('{ a = "x%{y}" }', "a string that holds code", (1, 9)),
        ('{ a = m%"x%{y}"% }', "a string that holds code", (1, 11)),
        ('{ "%{x}" = 1 }', "a string that holds code", (1, 4)),
        ("{ a = 1 + 1 }", "the operator `+`", (1, 9)),
        ("{ a = -x }", "the operator `-`", (1, 7)),
        ("{ a = [1] @ [2] }", "the operator `@`", (1, 11)),
        ("{ a = 1 |> f }", "a function call", (1, 9)),
        ("{ a = { b = 1 }.b }", "the operator `.`", (1, 16)),
        ("{ a = if true then 1 else 2 }", "an `if`", (1, 7)),
        ("{ a = 1 |> match { _ => 1 } }", "a function call", (1, 9)),
        ("{ a = match { _ => 1 } }", "a `match`", (1, 7)),
        ("{ a = (1) }", "an expression in brackets", (1, 7)),
        ("{ a = [| 'A |] }", "a type", (1, 7)),
        ("{ a = 'Deny 1 }", "a tag with a value", (1, 13)),
        ("{ a = 'Deny { b = 1 } }", "a tag with a value", (1, 13)),
        ("{ include a }", "an `include`", (1, 11)),
        ("{ a = %typeof% 1 }", "the operator `%typeof%`", (1, 7)),
        ("{ a = 1, .. }", "the operator `..`", (1, 10)),
        ('{ a = "x" "y" }', "a function call", (1, 11)),
        ("{ a = {} {} }", "a function call", (1, 10)),
        ("{ fun = 1 }", "a function", (1, 3)),
    ],
)
def test_what_is_no_data_is_named_at_its_place(text: str, what: str, place: tuple[int, int]) -> None:
    with pytest.raises(NotDataError) as caught:
        places_of(text)
    assert (caught.value.what, (caught.value.line, caught.value.column)) == (what, place)


@pytest.mark.parametrize(
    "text", ["", "{", "{ a = }", "{ a = 1", "{ a }", "]", '{ a = "x }', "{ a = 1 = 2 }", "[" * 100]
)
def test_what_is_no_nickel_is_left_to_nickel(text: str) -> None:
    assert places_of(text) is None


_CODE = re.compile(r"\b(fun|let|import|if|match|std)\b|[&|+@]|=>|%\{")


@given(st.lists(st.sampled_from(["{", "}", "a", "=", "1", ",", "fun x => x", "let b = 1 in", "[", "]", '"s"', '"%{a}"',
                                 "'T", "(", ")", "|", "&", ".", "import", "true", "-", "+"]), max_size=14))  # fmt: skip
def test_nothing_that_holds_code_passes(parts: list[str]) -> None:
    text = " ".join(parts)
    try:
        places = places_of(text)
    except NotDataError:
        return
    assert places is None or not _CODE.search(re.sub(r'"[^%"]*"', "", text))


def test_a_tag_is_data() -> None:
    assert places_of(nickel({"a": Tag("Deny")})) == {("a",): (1, 3)}
