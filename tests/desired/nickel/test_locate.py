"""Fields are found where they are written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.nickel.locate import locate, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.one_of(
    st.from_regex(r"\A[a-z][a-z0-9_-]{0,6}\Z").filter(lambda n: n not in {"let", "in", "if", "fun", "as", "import"}),
    st.text(alphabet='ab {}[],=."#é', min_size=1, max_size=6),
)
LEAVES = st.one_of(st.integers(0, 99), st.text(alphabet='ab{}[],="#%é\n', max_size=6), st.booleans())
TREES = st.recursive(LEAVES, lambda t: st.lists(t, max_size=4) | st.dictionaries(NAMES, t, max_size=4), max_leaves=25)


class Writer:
    """Writes a value as Nickel and remembers where each field began."""

    def __init__(self, choose: Callable[[list[str]], str]) -> None:
        self.text = ""
        self.places: dict[tuple[str | int, ...], tuple[int, int]] = {}
        self._choose = choose

    def value(self, value: Any, path: tuple[str | int, ...]) -> None:
        before, after = self._choose(["|", "(|)", "lib.make |", "(f | ) & {}", "{} & |"]).split("|")
        self.text += before
        if isinstance(value, dict):
            self._all("{", "}", [(name, inner, (*path, name)) for name, inner in value.items()])
        elif isinstance(value, list):
            self._all("[", "]", [(None, inner, (*path, index)) for index, inner in enumerate(value)])
        else:
            self.text += _literal(value)
        self.text += after

    def _all(self, opening: str, closing: str, parts: list[tuple[str | None, Any, tuple[str | int, ...]]]) -> None:
        self.text += opening
        for name, inner, path in parts:
            self.text += self._choose([" ", "\n  ", " # { [ \n", ""])
            line = self.text.count("\n") + 1
            self.places[path] = (line, len(self.text) - self.text.rfind("\n"))
            if name is not None:
                self.text += _name(name) + self._choose([" = ", "=", " | String = ", " | { a | Number } = "])
            self.value(inner, path)
            self.text += self._choose([",", " ,\n"])
        self.text += closing


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("%{", "\\%{")
    return json.dumps(value)


def _name(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum() and name[0].isalpha()
    return name if plain else _literal(name)


@given(st.dictionaries(NAMES, TREES, max_size=4), st.data())
def test_every_field_of_a_literal_tree_is_found(tree: dict[str, Any], data: st.DataObject) -> None:
    writer = Writer(lambda options: data.draw(st.sampled_from(options)))
    writer.value(tree, ())
    for path, place in writer.places.items():
        found = locate(writer.text, path)
        inner = isinstance(path[-1], int)
        assert found == place or (inner and found is not None and found[0] >= place[0]), (path, writer.text)
    assert locate(writer.text, ("not-there",)) is None


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("let lian = import \"x\" in\nlian.make {\n  artifacts.api = lian.make_artifact {\n    tags = [1, 2] } }",
         ("artifacts", "api", "tags", 1), (4, 16)),
        ("{ a.b.c = 1 }", ("a", "b"), (1, 5)),
        ("{ a.b = { c = 1 } }", ("a", "b", "c"), (1, 11)),
        ('{ "a b".c = 1 }', ("a b", "c"), (1, 9)),
        ("let base = { tags = [1] } in\n{ x = base & { y = 2 } }", ("x", "tags", 0), (1, 22)),
        ("let a = let b = 1 in { c = b } in { d = a }", ("d", "c"), (1, 24)),
        ("{ a = { x = 1 } & { y = 2 } }", ("a", "y"), (1, 21)),
        ("{ a | doc \"{ b = 1 }\" = { b = 1 } }", ("a", "b"), (1, 27)),
        ("let rec f = f in { a = f }", ("a", "b"), None),
        ("{ a = ", ("a",), None),
    ],
)  # fmt: skip
def test_forms_people_write(text: str, path: tuple[str | int, ...], place: tuple[int, int] | None) -> None:
    assert locate(text, path) == place


def test_what_is_computed_falls_back_to_the_field_around_it() -> None:
    text = "{ a = { b = std.array.generate (fun i => { x = i }) 3 } }"
    assert locate(text, ("a", "b", 1, "x")) is None
    assert nearest(text, ("a", "b", 1, "x")) == (1, 9)
