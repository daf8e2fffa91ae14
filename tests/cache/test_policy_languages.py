"""Patterns are read as the registries' own libraries match them, and no kind of text is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.cache.policy.compare import NAMES
from reconciler.cache.policy.globs import doublestar, escaped, path_match
from reconciler.cache.policy.language import (
    ANYTHING,
    PRINTABLE,
    Language,
    TooManyError,
    UnmodelledError,
    below,
    kinds,
    literal,
)
from reconciler.cache.policy.regexes import quoted, regex

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: dict[str, Callable[[str], tuple[Language, ...]]] = {
    "doublestar": doublestar,
    "path.Match": lambda text: (path_match(text),),
    "regexp": lambda text: (regex(text),),
}

# What doublestar 4.10.0, and path.Match and regexp of Go 1.25, say to each name.
ANSWERS = [
    ("doublestar", "cache/ci/shop/**", ["cache/ci/shop", "cache/ci/shop/a/b"], ["cache/ci/shopping/api"]),
    ("doublestar", "cache/ci/sh*/**", ["cache/ci/shx", "cache/ci/sh/a"], ["cache/dev/shop/a"]),
    ("doublestar", "**", ["a", "a/b"], []),
    ("doublestar", "**/api", ["api", "shop/api", "a/b/api"], ["shop/api2"]),
    ("doublestar", "shop**", ["shop", "shopping"], ["shop/api"]),
    ("doublestar", "*/**", ["a", "a/b"], []),
    ("doublestar", "a*/**", ["ab", "a/b"], ["a"]),
    ("doublestar", "a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab"]),
    ("doublestar", "{shop,tools}/*", ["shop/api", "tools/api"], ["x/api", "shop/a/b"]),
    ("doublestar", "{sh{op,ip},\\{}/*", ["shop/api", "ship/api", "{/api"], ["sh/api"]),
    ("doublestar", "sh[a-o]p/?", ["shop/a"], ["shqp/a", "shop/ab"]),
    ("doublestar", "sh[^a-n]p", ["shop", "sh/p"], ["shap"]),
    ("doublestar", "a\\*b", ["a*b"], ["axb"]),
    ("path.Match", "cache/ci/*", ["cache/ci/shop"], ["cache/ci/shop/api"]),
    ("path.Match", "*", ["a"], ["a/b"]),
    ("path.Match", "**", ["a"], ["a/b"]),
    ("path.Match", "a?b", ["axb"], ["a/b"]),
    ("path.Match", "a[^x]b", ["a/b", "ayb"], ["axb"]),
    ("path.Match", "sh[a", [], ["sha", "shx"]),
    ("path.Match", "\\a\\*", ["a*"], ["ab"]),
    ("path.Match", "", [""], ["a"]),
    ("regexp", "ci/", ["cache/ci/shop"], ["circus"]),
    ("regexp", "^cache/ci/shop/.+$", ["cache/ci/shop/api"], ["cache/ci/shop/", "xcache/ci/shop/api"]),
    ("regexp", "^a|b$", ["ax", "xb"], ["xax"]),
    ("regexp", "^(?:a|b){2,3}$", ["ab", "aba"], ["a", "abab"]),
    ("regexp", "^(?:a?){256}$", ["", "aa"], ["b"]),
    ("regexp", "^(?P<x>a{2,}|(b))c{0,1}$", ["aa", "aaaa", "bc"], ["a", "bcc"]),
    ("regexp", "^[^/]+$", ["a"], ["a/b"]),
    ("regexp", "^[]a-]+$", ["a-]"], ["b"]),
    ("regexp", "^\\w+\\.[[:digit:]]*$", ["ab_1.", "ab.12"], ["a-b.1"]),
    ("regexp", "^a+?b??$", ["a", "aab"], ["b"]),
    ("regexp", "", ["a", ""], []),
]
NOT_READ = [
    ("doublestar", "a***"), ("doublestar", "a/**/"), ("doublestar", "{a"), ("doublestar", "a}"),
    ("doublestar", "[a"), ("doublestar", "[]a]"), ("doublestar", "a\\"), ("doublestar", "**{a,b}"),
    ("doublestar", "[{]{a,b}"), ("doublestar", "*[^a]"), ("doublestar", "{a,b}" * 9),
    ("path.Match", "*[^a]"),
    ("regexp", "(?i)a"), ("regexp", "(a"), ("regexp", "a)"), ("regexp", "a**"), ("regexp", "[a"), ("regexp", "\\bx"),
    ("regexp", "x(^a)"), ("regexp", "a$b"), ("regexp", "\\pL"), ("regexp", "a{9999}"), ("regexp", "[[:nope:]]"),
    ("regexp", "((a{99}){99}){99}"), ("regexp", "^((a?){10}){100}$"), ("regexp", "*a"), ("regexp", "é\\é"),
]  # fmt: skip


@pytest.mark.parametrize(("library", "pattern", "yes", "no"), ANSWERS)
def test_patterns_match_as_the_library_says(library: str, pattern: str, yes: list[str], no: list[str]) -> None:
    languages = READERS[library](pattern)
    assert [name for name in yes if not any(name in one for one in languages)] == []
    assert [name for name in no if any(name in one for one in languages)] == []


@pytest.mark.parametrize(("library", "pattern"), NOT_READ)
def test_what_is_not_modelled_is_said(library: str, pattern: str) -> None:
    with pytest.raises(UnmodelledError):
        READERS[library](pattern)


texts = st.text("ab*?[]{}\\^$/.+()|-", max_size=8)


@given(texts, texts)
def test_an_escaped_text_matches_itself_alone(text: str, other: str) -> None:
    for language in (*doublestar(escaped(text)), path_match(escaped(text)), regex(f"^{quoted(text)}$"), literal(text)):
        assert text in language
        assert (other in language) == (other == text)


globs = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "/**", "**/", "?", "[ab]"]), max_size=5).map("".join)
expressions = st.lists(st.sampled_from(["a", "b/", ".*", "[^a]", "(?:a|b)", "b?", "/"]), max_size=4).map("".join)
parts = st.text("ab", min_size=1, max_size=2)
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


@given(st.lists(globs, max_size=3), st.lists(expressions, max_size=2), names, parts)
def test_no_kind_of_name_is_passed_over(some: list[str], more: list[str], name: str, folder: str) -> None:
    """Whatever a name is matched by, there is an example of the same; and each example is what it is said to be."""
    languages = [below(folder), *map(path_match, some), *map(regex, more)]
    for pattern in some:
        try:
            languages += doublestar(pattern)
        except UnmodelledError:
            assume(False)
    found = {kind.matched: kind.example for kind in kinds(languages, NAMES, [0])}
    for matched, example in found.items():
        assert matched == {index for index, one in enumerate(languages) if example in one}
        assert example in NAMES
    matched = frozenset(index for index, one in enumerate(languages) if name in one)
    assert 0 not in matched or matched in found


def test_without_an_area_every_text_counts() -> None:
    grammar = Language((((PRINTABLE, 1),), ((PRINTABLE, 1),)), frozenset({1}))
    found = {kind.matched: kind.example for kind in kinds([literal("ab"), ANYTHING], grammar)}
    assert found == {frozenset({1}): "x", frozenset({0, 1}): "ab"}


def test_patterns_that_cannot_be_looked_through_are_told() -> None:
    with pytest.raises(TooManyError):
        list(kinds([regex("^.*a.{16}$")], NAMES, most=2_000))
