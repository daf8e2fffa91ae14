"""Ignore rules by table and by property; BuildKit as the oracle is in test_ignore_oracle and test_ignore_buildkit."""

from __future__ import annotations

import time

import pytest
from hypothesis import given

from reconciler.desired.go_text import MAX_BYTES, MAX_LINE
from reconciler.desired.ignore import IgnoreRules, find_ignore
from reconciler.model.problem import LianError
from tests.desired.ignore_trees import Folder, filter_tree, ignore_files, sent, tree, trees


def rules(text: str) -> IgnoreRules:
    return IgnoreRules.parse(text.encode("utf-8", "surrogateescape"), "images/api/.dockerignore")


def rules_or_empty(text: str) -> IgnoreRules:
    try:
        return rules(text)
    except LianError:
        return IgnoreRules.EMPTY


TABLE = [
    # (ignore file, tree, what is sent)
    ("", "a b/ c/d", "a b/ c/ c/d"),
    ("# a\n\n  \n", "a", "a"),
    ("a", "a ab b/a", "ab b/ b/a"),
    ("foo/*", "foo/a foo/b x", "foo/ x"),
    ("foo", "foo/a x", "x"),
    ("foo/", "foo/a x", "x"),
    ("/foo", "foo/a b/foo", "b/ b/foo"),
    ("./foo/../bar", "bar foo", "foo"),
    ("foo\n!foo/bar", "foo/bar foo/baz", "foo/ foo/bar"),
    ("foo\n!foo/bar/x", "foo/bar/x foo/bar/y foo/z/x", "foo/ foo/bar/ foo/bar/x"),
    ("!foo/bar\nfoo", "foo/bar", ""),
    ("foo\n!foo/bar", "foo/baz/x x", "x"),
    ("*\n!*.md", "a.md b.txt c/d.md", "a.md"),
    ("*\n!**/*.md", "a.md b.txt c/d.md c/e", "a.md c/ c/d.md"),
    ("**", "a b/c", ""),
    ("**/foo", "foo a/foo a/b/foo afoo", "a/ a/b/ afoo"),
    ("**foo", "foo a/foo afoo", "a/"),
    ("a/**", "a/b a/c/d b", "a/ b"),
    ("a/**/d", "a/d a/b/d a/b/c/d d", "a/ a/b/ a/b/c/ d"),
    ("?.txt", "a.txt ab.txt é.txt a/b.txt", "a/ a/b.txt ab.txt"),
    ("[a-c]x", "ax cx dx", "dx"),
    ("[^a]x", "ax bx", "ax"),
    (r"\*", "* a", "a"),
    (r"a\[b", "a[b ab", "ab"),
    ("\ufefffoo", "foo a", "a"),
    ("foo\r\nbar\r\n", "foo bar a", "a"),
    (" foo \n!  bar", "foo bar", "bar"),
    ("! foo", "foo", "foo"),
    ("a.b", "a.b axb", "axb"),
    # Odd, but what BuildKit does: these signs reach its regular expressions.
    ("a|b*", "ab bc cb ca d", "ca d"),
    ("a{2}?", "aab ab", "ab"),
    (r"\pL*", "été 1", "1"),
    (r"\Q\C\E?", r"\Cx Cx", "Cx"),
    ("*/b\n!*/b/c/**", "a/b/c/d a/b/d", "a/ a/b/ a/b/c/ a/b/c/d"),
]


@pytest.mark.parametrize(("ignore", "paths", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_table(ignore: str, paths: str, expected: str) -> None:
    assert " ".join(sent(tree(paths.split()), rules(ignore))) == expected


@pytest.mark.parametrize(
    "line", ["[", "!", "!/", "a[", "[]a]", "x\\", "a*[", "[z-a]*", "\\1*", "!! \n!", "[-a]", "a{3,2}*", "\\C*"]
)
def test_refused_with_its_line(line: str) -> None:
    with pytest.raises(LianError) as caught:
        rules(f"good\n\n{line}\n")
    problem = caught.value.problems[0]
    assert (problem.code, problem.file) == ("ignore-syntax", "images/api/.dockerignore")
    assert problem.line == 2 + len(line.splitlines())


def test_all_bad_lines_together() -> None:
    with pytest.raises(LianError) as caught:
        rules("[\nfine\n!\n")
    assert [problem.line for problem in caught.value.problems] == [1, 3]


@pytest.mark.parametrize(
    ("line", "hint"),
    [("!", "after the !"), ("[", "close ["), (r"\8*", "only before"), ("a" * (MAX_LINE + 1), "split")],
    ids=["!", "[", "escape", "long"],
)
def test_the_hint_fits_the_fault(line: str, hint: str) -> None:
    with pytest.raises(LianError) as caught:
        rules(line)
    assert hint in str(caught.value.problems[0].hint)


def test_bounds() -> None:
    assert len(rules("a" * MAX_LINE).patterns) == 1
    with pytest.raises(LianError, match="ignore-syntax"):
        rules("a" * (MAX_LINE + 1))
    many = "".join(f"{i}x{{1000}}*\n" for i in range(3000))
    for text in ("a\n" * (MAX_BYTES // 2 + 1), "a\n" * 200_000, "x{1000}" * 3000 + "*", many):
        with pytest.raises(LianError, match="ignore-too-large"):
            rules(text)


def test_a_pattern_cannot_take_for_ever() -> None:
    bad = rules("*a*a*a*a*a*a*a*a*a*a*b\n**/a/**/a/**/a/**/a/**/a/**/b\n(a*)*b\n")
    deep: Folder = {"b": None}
    for _ in range(200):
        deep = {"a": deep, "a" * 255: None}
    begin = time.process_time()
    assert len(sent(deep, bad)) > 300
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("ignore", "folder", "settled"),
    [
        ("docs/*.md", "src", True),
        ("docs/*.md", "docs", False),
        ("*.md", "docs", True),
        ("!docs", "src", True),
        ("*/a", "src", False),
        ("**/a", "src", False),
        ("src/**/a", "docs", True),
        ("docs|x*", "src", False),
        ("\udcff/?", "\udcff", False),
    ],
)
def test_a_folder_is_settled_if_no_pattern_leads_into_it(ignore: str, folder: str, settled: bool) -> None:
    given_rules = rules(ignore)
    below = given_rules.decide(given_rules.top, folder, True)[1]
    assert below is not None
    assert below.settled == settled


def test_pruned_folders_are_not_read() -> None:
    asked: list[str] = []

    def children(node: str) -> list[tuple[str, bool, str]]:
        asked.append(node)
        below = {"": ["a", "b"], "a": ["x"], "b": ["y"]}.get(node, [])
        return [(name, name in "ab", name) for name in below]

    assert [path for path, _, _ in filter_tree("", children, rules("a"))] == ["b", "b/y"]
    assert asked == ["", "b"]


def test_bytes_that_are_not_utf8() -> None:
    root = tree(["caf\udce9", "café", "caf\ufffd"])
    assert sent(root, rules("caf?")) == []
    assert sent(root, rules("caf\ufffd")) == ["café", "caf\udce9"]
    assert sent(root, rules("caf\udce9")) == ["café", "caf\udce9"]  # the pattern travels as U+FFFD


@given(ignore=ignore_files, root=trees)
def test_what_is_sent_is_a_tree_in_order(ignore: str, root: Folder) -> None:
    paths = sent(root, rules_or_empty(ignore))
    known = set(paths)
    assert len(known) == len(paths)
    assert known <= set(sent(root, IgnoreRules.EMPTY))
    for path in paths:
        parent = path.rstrip("/").rpartition("/")[0]
        assert not parent or f"{parent}/" in known
    order = [path.rstrip("/").encode("utf-8", "surrogateescape").split(b"/") for path in paths]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("dockerfile", "context", "there", "found"),
    [
        ("Dockerfile", "", {".dockerignore"}, ".dockerignore"),
        ("Dockerfile", ".", {".dockerignore"}, ".dockerignore"),
        ("api/Dockerfile", "api", {"api/.dockerignore", ".dockerignore"}, "api/.dockerignore"),
        ("api/Dockerfile", "", {"api/.dockerignore", ".dockerignore"}, ".dockerignore"),
        ("api/Prod", "", {"api/Prod.dockerignore", ".dockerignore"}, "api/Prod.dockerignore"),
        ("api/Dockerfile", "libs", {".dockerignore", "api/.dockerignore"}, None),
        ("", "libs", {"libs/.dockerignore", ".dockerignore"}, "libs/.dockerignore"),
    ],
)
def test_find_ignore(dockerfile: str, context: str, there: set[str], found: str | None) -> None:
    assert find_ignore(dockerfile, context, there.__contains__) == found
