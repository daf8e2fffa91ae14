"""What is written as Nickel means what was to be written, and looks as a person would have it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.nickel_text import WIDTH, Call, Tag, text_of
from tests.schemas.evaluation import evaluate

texts = st.text(st.characters(codec="utf-8"), max_size=15) | st.sampled_from(
    ["%{x}", "%%{", '"', "\\", "\\%{", "let", "include", "null", "or", "'Tag", "\u2028", "a%", "%"]
)
values = st.recursive(
    texts | st.booleans() | st.integers(-1000, 1000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=15,
)


@settings(max_examples=60)
@given(st.lists(values, min_size=1, max_size=6), st.dictionaries(texts, values, max_size=5))
def test_a_value_is_read_back(batch: list[Any], given_to_call: dict[str, Any]) -> None:
    source = ", ".join(f"({text_of(value)})" for value in batch)
    called = text_of(Call("id", given_to_call))
    assert evaluate(f"let id = fun x => x in [{source}, {called}]") == [*batch, given_to_call]


@given(values)
def test_what_is_short_stays_on_its_line_and_no_line_is_long_for_nothing(value: Any) -> None:
    text = text_of({"field": value})
    assert not any(line != line.rstrip() for line in text.split("\n"))
    if "\n" not in text:
        assert len(text) <= WIDTH or not isinstance(value, dict | list)


def test_the_layout() -> None:
    small = Call("lian.make_artifact", {"image": "shop/base", "context": {"path": "base"}})
    large = Call(
        "lian.make_artifact",
        {
            "image": "shop/api",
            "tags": ["1.4"],
            "context": {"path": "api"},
            "args": {"A": "1", "let": "2", "a b": "3", "D": "4"},
            "contexts": {"base": {"artifact": "base"}},
            "labels": {"x": "y" * 90, "z": ""},
        },
    )
    made = Call("make", {"workspace": "shop", "mode": Tag("Max"), "artifacts": {"base": small, "api": large}})
    assert (
        text_of(made)
        == '''make {
  workspace = "shop",
  mode = 'Max,
  artifacts = {
    base = lian.make_artifact { image = "shop/base", context.path = "base" },
    api =
      lian.make_artifact {
        image = "shop/api",
        tags = ["1.4"],
        context.path = "api",
        args = {
          A = "1",
          "let" = "2",
          "a b" = "3",
          D = "4",
        },
        contexts.base = { artifact = "base" },
        labels = {
          x = "'''
        + "y" * 90
        + """",
          z = "",
        },
      },
  },
}"""
    )
