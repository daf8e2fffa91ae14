"""YAML with places: what is read, where it stands, and what is refused before it costs anything."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.adopt.yaml_scalar import read_scalar
from reconciler.adopt.yaml_tree import MAX_DEPTH, Node, read_yaml
from reconciler.model.problem import LianError


def plain(node: Node | None) -> Any:
    if node is None or node.is_null:
        return None
    if node.fields is not None:
        return {key: plain(value) for key, value in node.fields.items()}
    if node.items is not None:
        return [plain(value) for value in node.items]
    return node.text


def read(text: str) -> Any:
    return plain(read_yaml(text.encode(), "compose.yaml"))


def test_a_value_stands_where_its_key_stands() -> None:
    root = read_yaml(b"services:\n  api:\n    build:\n      context: .\n  web: {build: x}\n", "compose.yaml")
    assert root is not None
    services = root.get("services")
    assert services is not None
    assert services.fields is not None
    api, web = services.fields["api"], services.fields["web"]
    build = api.get("build")
    assert build is not None
    assert (api.place.line, api.place.column) == (2, 3)
    assert (build.place.line, build.place.column) == (3, 5)
    assert (web.place.line, web.place.column) == (5, 3)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": "1"}, "c": {"b": "1"}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", {"a": {"b": "1", "c": "2"}, "d": {"b": "1", "c": "3"}}),
        ("a: &x {b: 1}\ny: &y {b: 2, c: 2}\nd: {<<: [*x, *y]}\n",
         {"a": {"b": "1"}, "y": {"b": "2", "c": "2"}, "d": {"b": "1", "c": "2"}}),
        ("a: 'yes'\nb: yes\nc: !!str 1.10\nd: 1.10\ne:\nf: ''\n",
         {"a": "yes", "b": "yes", "c": "1.10", "d": "1.1", "e": None, "f": ""}),
        ("'<<': a\n", {"<<": "a"}),
        ("- a\n- [b, {c: d}]\n", ["a", ["b", {"c": "d"}]]),
        ("", None),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
    ],
)  # fmt: skip
def test_a_document_means(text: str, meant: Any) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "told"),
    [
        ("a: 1\na: 2\n", "yaml-syntax", 2, 1, "comes twice"),
        ("a: [1\nb: 2\n", "yaml-syntax", 2, 2, "not YAML"),
        ("a: 1\n\tb: 2\n", "yaml-syntax", 2, 1, "not YAML"),
        ("a: !!python/object:os.system x\n", "yaml-syntax", 1, 4, "tag"),
        ("a: !reset null\n", "yaml-syntax", 1, 4, "tag"),
        ("a: *x\n", "yaml-syntax", 1, 4, "before it"),
        ("a: &x [*x]\n", "yaml-syntax", 1, 8, "within"),
        ("a: 1\n---\nb: 2\n", "yaml-syntax", 2, 1, "more than one"),
        ("? [a]\n: b\n", "yaml-syntax", 1, 3, "a key"),
        ("<<: 1\n", "yaml-syntax", 1, 1, "merges mappings"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: str, code: str, line: int, column: int, told: str) -> None:
    with pytest.raises(LianError) as error:
        read(text)
    (problem,) = error.value.problems
    assert (problem.code, problem.file, problem.line, problem.column) == (code, "compose.yaml", line, column)
    assert told in problem.message


def test_what_is_not_utf_8_is_told() -> None:
    with pytest.raises(LianError) as error:
        read_yaml(b"a: \xff\n", "compose.yaml")
    assert error.value.problems[0].code == "yaml-syntax"


def test_aliases_of_aliases_are_counted_and_not_made() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))
    began = time.process_time()
    with pytest.raises(LianError) as error:
        read(bomb)
    assert error.value.problems[0].code == "yaml-too-large"
    assert time.process_time() - began < 2


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ("{a: ", "}")])
def test_depth_is_a_number_and_not_the_end_of_the_stack(opened: str, closed: str) -> None:
    assert read(opened * MAX_DEPTH + closed * MAX_DEPTH) is not None
    with pytest.raises(LianError) as error:
        read(opened * 500 + closed * 500)
    assert error.value.problems[0].code == "yaml-too-large"


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=12
)


@given(values)
def test_what_others_write_is_read_as_it_was_meant(value: Any) -> None:
    assert read(yaml.safe_dump(value, allow_unicode=True, default_style='"')) == value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1.10", "1.1"), ("1.0", "1"), (".5", "0.5"), ("1e3", "1000"), ("1e-7", "1e-07"), ("017", "15"),
        ("0x1F", "31"), ("0o17", "15"), ("0b11", "3"), ("1_000", "1000"), ("-0", "-0"), ("+5", "5"),
        ("100000000000000000000000", "1e+23"), ("TRUE", "true"), ("False", "false"), ("yes", "yes"), ("on", "on"),
        ("1.2.3", "1.2.3"), ("2024-01-01", "2024-01-01 00:00:00 +0000 UTC"), ("2024-13-01", "2024-13-01"),
        ("1.5GB", "1.5GB"), ("1000000.0", "1e+06"), ("123456.5", "123456.5"), ("0.00001", "1e-05"),
        ("~", None), ("Null", None), ("08", "8"), ("123456789.125", "1.23456789125e+08"),
    ],
)  # fmt: skip
def test_a_scalar_without_quotes_means(written: str, meant: str | None) -> None:
    assert read_scalar(written).text == meant
