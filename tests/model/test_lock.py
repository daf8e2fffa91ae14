"""lian.lock as a value: printing and parsing are inverse, and what is wrong in one is named with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.json_places import JsonFault
from reconciler.model.lock import Lock
from reconciler.model.moving import Part, PartKind
from reconciler.model.reference import Reference
from tests import strategies as some
from tests.schemas.evaluation import validator

SHA = "sha256:" + "a" * 64
SCHEMA = validator("lock")
LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
URLS = LINES.map("https://files.example/{}".format)
TAGGED = some.references.filter(lambda r: r.tag and not r.digest and r.repository.layout is None)
COMMITS = st.sampled_from([40, 64]).flatmap(lambda n: st.text("0123456789abcdef", min_size=n, max_size=n))
LOCKS = st.builds(
    Lock,
    st.dictionaries(TAGGED.map(lambda r: Reference.parse(str(r))), some.sha256s, max_size=4),
    st.dictionaries(
        st.tuples(URLS, LINES),
        COMMITS,
        max_size=4,
    ),
    st.dictionaries(URLS, some.sha256s, max_size=4),
)


@given(LOCKS)
def test_parsing_undoes_printing(lock: Lock) -> None:
    text = str(lock)
    assert Lock.parse(text) == lock
    assert str(Lock.parse(text)) == text
    SCHEMA.validate(json.loads(text))
    assert Lock.of(lock.pins) == lock
    assert all(lock.pin(part) == pin for part, pin in lock.pins.items())


@given(LOCKS, st.randoms())
def test_order_and_white_space_mean_nothing(lock: Lock, random: Any) -> None:
    document = json.loads(str(lock))
    for name in ("images", "urls"):
        items = list(document[name].items())
        random.shuffle(items)
        document[name] = dict(items)
    random.shuffle(document["git"])
    assert str(Lock.parse(json.dumps(document))) == str(lock)


@given(LOCKS)
def test_each_entry_has_a_line_of_its_own(lock: Lock) -> None:
    lines = str(lock).splitlines()
    assert str(lock).endswith("}\n")
    assert sum(line.startswith("    ") for line in lines) == len(lock.pins)


def test_what_it_looks_like() -> None:
    lock = Lock.of(
        {
            Part(PartKind.IMAGE, "docker.io/library/python:3.12"): SHA,
            Part(PartKind.GIT, "https://git.example/r.git", "main"): "c" * 40,
        }
    )
    assert (
        str(lock)
        == f"""{{
  "kind": "lock",
  "version": 1,
  "images": {{
    "docker.io/library/python:3.12": "{SHA}"
  }},
  "git": [
    {{"url": "https://git.example/r.git", "rev": "main", "commit": "{"c" * 40}"}}
  ],
  "urls": {{}}
}}
"""
    )
    assert lock.commit_of("https://git.example/r.git", "main") == "c" * 40
    assert lock.commit_of("https://git.example/r.git", "other") is None


HEAD = '{"kind": "lock", "version": 1'
WRONG = [
    ("", 1, 1, "no JSON"),
    ('{\n  "kind": "lock",\n}', 3, 1, "no JSON"),
    ("[]", 1, 1, "no JSON object"),
    ('{"version": 1}', 1, 1, "kind"),
    ('{"kind": "plan", "version": 1}', 1, 2, "kind"),
    ('{"kind": "lock"}', 1, 1, "version null"),
    ('{"kind": "lock",\n "version": 2}', 2, 2, "version 2"),
    ('{"kind": "lock", "version": "1"}', 1, 18, "version"),
    ('{"kind": "lock", "version": true}', 1, 18, "version"),
    (f'{HEAD}, "image": {{}}}}', 1, 32, "'image'"),
    (f'{HEAD}, "images": []}}', 1, 32, "object"),
    (f'{HEAD},\n"images": {{\n"docker.io/library/a:1": "sha256:12"}}}}', 3, 1, "not a digest"),
    (f'{HEAD},\n"images": {{\n"docker.io/library/a:1": 12}}}}', 3, 1, "digest"),
    (f'{HEAD},\n"images": {{"a:1": "{SHA}"}}}}', 2, 12, "it is docker.io/library/a:1"),
    (f'{HEAD},\n"images": {{"docker.io/library/a:1@{SHA}": "{SHA}"}}}}', 2, 12, "nothing to pin"),
    (f'{HEAD},\n"images": {{"docker.io/library/A:1": "{SHA}"}}}}', 2, 12, "repository path"),
    (f'{HEAD},\n"images": {{"r.io/a:1": "{SHA}",\n "r.io/a:1": "{SHA}"}}}}', 3, 2, "second time"),
    (f'{HEAD},\n"urls": {{"ftp://x": "{SHA}"}}}}', 2, 10, "no URL"),
    (f'{HEAD},\n"urls": {{"https://x": "sha512:{"a" * 128}"}}}}', 2, 10, "sha256"),
    (f'{HEAD},\n"git": {{}}}}', 2, 1, "array"),
    (f'{HEAD},\n"git": [\n{{"url": "u", "rev": "v"}}]}}', 3, 1, "`url`, `rev` and `commit`"),
    (f'{HEAD},\n"git": [{{"url": "u", "rev": "", "commit": "{"a" * 40}"}}]}}', 2, 9, "texts"),
    (f'{HEAD},\n"git": [{{"url": "u", "rev": "v",\n"commit": "main"}}]}}', 3, 1, "40 or 64 hex"),
    (f'{HEAD},\n"git": [{{"url": "u", "rev": "v",\n"commit": "{"A" * 40}"}}]}}', 3, 1, "lower case"),
    (f'{HEAD},\n<<<<<<< HEAD\n"git": []}}', 2, 1, "conflict"),
    ("[" * 100 + "]" * 100, 1, 1, "no JSON object"),
    (f'{HEAD}, "x": {"[" * 100}{"]" * 100}}}', 1, 101, "too deep"),
    ("[" * 100_000, 1, 1, "too deep"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named_with_its_place(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(JsonFault) as raised:
        Lock.parse(text)
    assert (raised.value.line, raised.value.column) == (line, column)
    assert said in str(raised.value)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    if said in {"second time", "repository path", "it is docker.io/library/a:1"}:
        return  # no schema can say that
    assert not SCHEMA.is_valid(document)


def test_a_newer_lock_says_what_to_use() -> None:
    with pytest.raises(JsonFault) as raised:
        Lock.parse('{"kind": "lock", "version": 7, "what": "else"}')
    assert raised.value.hint == "use the lian that wrote it, or a newer one"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


SECTIONS = VALUES.map(lambda value: json.dumps({"kind": "lock", "version": 1, "git": value, "images": value}))


@given(st.text() | VALUES.map(json.dumps) | SECTIONS)
def test_any_text_is_a_lock_or_has_a_fault(text: str) -> None:
    try:
        Lock.parse(text)
    except JsonFault as fault:
        assert fault.line >= 1
        assert fault.column >= 1


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            Part(PartKind.IMAGE, "docker.io/library/alpine:3"),
            ("docker.io/library/alpine:3", "alpine:3", "docker.io/library/alpine", "alpine"),
        ),
        (Part(PartKind.IMAGE, "r.io:5000/a/b:1"), ("r.io:5000/a/b:1", "r.io:5000/a/b")),
        (
            Part(PartKind.GIT, "https://g.example/r.git", "main"),
            ("https://g.example/r.git#main", "https://g.example/r.git"),
        ),
        (Part(PartKind.URL, "https://f.example/x:1"), ("https://f.example/x:1",)),
    ],
)
def test_people_may_write_short_names(part: Part, names: tuple[str, ...]) -> None:
    assert part.names == names
