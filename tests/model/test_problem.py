"""Problems: in parts, and without secrets or control characters whatever was put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.problem import MAX_TEXT, LianError, Problem, redact
from tests import strategies as some

_SECRET = "s3cr3tT0ken"
_AROUND = st.text(st.characters(codec="utf-8"), max_size=10)
_NOISE = st.text(st.sampled_from("abc:@.%\x00\x1c\x1f\x85\u2028"), max_size=4)
_SCHEME = st.sampled_from(["https", "HTTP", "ssh", "git+ssh", "nats", "1https"])


@given(_AROUND, _SCHEME, _NOISE, _NOISE, _AROUND)
def test_no_userinfo_gets_through(before: str, scheme: str, user: str, password: str, after: str) -> None:
    text = f"{before}{scheme}://{user}{_SECRET}:{password}{_SECRET}@host/path{after}"
    assert _SECRET not in redact(text)
    assert "host/path" in redact(text)


@given(_AROUND, _SCHEME, _NOISE, st.sampled_from(["?", "?a=1&token=", "?a=%20&sig="]))
def test_no_query_gets_through(before: str, scheme: str, path: str, query: str) -> None:
    assert _SECRET not in redact(f"{before} {scheme}://host/{path}{query}{_SECRET} after")


@given(
    _AROUND,
    st.sampled_from(["Bearer", "bearer", "BASIC", "Basic"]),
    st.sampled_from([" ", "  ", "\t", "\x00", "\r\n "]),
)
def test_no_credential_of_a_header_gets_through(before: str, scheme: str, space: str) -> None:
    assert _SECRET not in redact(f"{before} Authorization: {scheme}{space}{_SECRET}== after")


@given(st.text(max_size=40) | st.text("htps:/@?ab \x1c", max_size=40))
def test_a_redacted_text_stays_as_it_is(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(max_size=40))
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    assert not any(c in redact(text) for c in map(chr, [*range(10), *range(11, 32), *range(127, 160), 0x202E, 0x2066]))


@pytest.mark.parametrize(
    "text",
    [
        "see https://host/path and ask a@b.example",
        "the registry offers basic authentication",
        "the registry asks for a bearer token",
        "what? https://host/path",
        "line 1\nline 2",
    ],
)
def test_plain_sentences_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ssh://git@host/path", "ssh://git@host/path"),
        ("git+ssh://deploy@host:22/path", "git+ssh://deploy@host:22/path"),
        ("ssh://git:s3cret@host/path", "ssh://***@host/path"),
        ("ssh://git@s3cret@host/path", "ssh://***@host/path"),
        ("ssh://0123456789abcdef0123456789abcdef@host/path", "ssh://***@host/path"),
        ("https://git@host/path", "https://***@host/path"),
        ("https+ssh2://git@host/path", "https+ssh2://***@host/path"),
    ],
)
def test_the_user_of_ssh_is_no_secret(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("unit", ["a", "://", "://a?", "Bearer ", "https://a:b", "é", " ", "a "])
def test_long_texts_are_cut_without_effort(unit: str) -> None:
    text = unit * (2_000_000 // len(unit))  # quadratic work would take hours here
    cut = redact(text)
    assert len(cut) <= MAX_TEXT
    assert cut.endswith("…")


def test_a_cut_never_reveals_what_it_cut_in_two() -> None:
    for length in range(MAX_TEXT - 50, MAX_TEXT + 50):
        assert "s3cr3t" not in redact("x" * length + f" https://user:{'s3cr3t' * 5000}@host/path")


def test_every_part_of_a_problem_is_redacted() -> None:
    url = f"https://u:{_SECRET}@host/?x={_SECRET}"
    problem = Problem("a-code", url, cause=url, hint=url)
    assert _SECRET not in str(problem) + str(problem.to_json()) + str(LianError(problem))


@pytest.mark.parametrize("code", ["", "Code", "a_b", "a b", "-a", "a-", "a--b", "a\n"])
def test_codes_are_kebab_case(code: str) -> None:
    with pytest.raises(ValueError, match="kebab-case"):
        Problem(code, "message")


@pytest.mark.parametrize(
    ("file", "line", "column", "place"),
    [
        (None, None, None, ""),
        (None, 3, 4, ""),
        ("a.ncl", None, None, "a.ncl"),
        ("a.ncl", None, 4, "a.ncl"),
        ("a.ncl", 3, None, "a.ncl:3"),
        ("a.ncl", 3, 4, "a.ncl:3:4"),
    ],
)
def test_the_place_goes_as_far_as_it_is_known(
    file: str | None, line: int | None, column: int | None, place: str
) -> None:
    assert Problem("a-code", "message", file=file, line=line, column=column).place == place


@given(some.problems, some.artifact_names.map(str))
def test_a_problem_can_be_said_of_an_artifact(problem: Problem, name: str) -> None:
    said = problem.of(name)
    assert said.artifact == name
    assert {**said.to_json(), "artifact": problem.artifact} == problem.to_json()


def test_an_error_carries_all_its_problems() -> None:
    one, two = Problem("one", "first"), Problem("two", "second")
    assert LianError(one).problems == (one,)
    assert LianError([one, two]).problems == (one, two)
    assert str(LianError(iter([one, two]))) == "one: first; two: second"
