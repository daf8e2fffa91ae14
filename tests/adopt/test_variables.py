"""Variables of compose files, and the `.env` beside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.adopt.variables import Unusable, Use, expand, read_dotenv

VALUES = {"A": "a", "EMPTY": "", "B": "b c"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("plain", "plain"),
        ("$A-${A}", "a-a"),
        ("$$A $${A}", "$A ${A}"),
        ("${NO:-d}", "d"),
        ("${NO-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:+x}${NO:+x}${EMPTY:+x}${EMPTY+y}", "xy"),
        ("${NO:-${A:-z}-${NO:-y}}", "a-y"),
        ("${A:?must be set}", "a"),
        ("${NO}", ""),
        ("$NO.", "."),
        ("${NO:-a}b}", "ab}"),
        ("${NO:-}", ""),
    ],
)
def test_a_text_means(text: str, meant: str) -> None:
    assert expand(text, VALUES).text == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$", "begins no variable"),
        ("a $ b", "begins no variable"),
        ("${", "without a variable's name"),
        ("${A", "closes it"),
        ("${NO:?say so}", "say so"),
        ("${EMPTY:?}", "EMPTY"),
        ("${A:=x}", "closes it"),
        ("${" + "NO:-${" * 40, "20 deep"),
        ("$A" * 40_000, "more than"),
    ],
)
def test_what_compose_refuses_is_refused(text: str, told: str) -> None:
    with pytest.raises(Unusable, match=told):
        expand(text, VALUES)


def test_uses_tell_where_a_value_comes_from() -> None:
    assert expand("${A:-x}${NO:-${B}}${EMPTY:-y}${LOST}", VALUES).uses == (
        Use("A", "a", given=True, has_default=False),
        Use("NO", "b c", given=False, has_default=True),
        Use("B", "b c", given=True, has_default=False),
        Use("EMPTY", "y", given=False, has_default=True),
        Use("LOST", "", given=False, has_default=False),
    )


@given(st.text(max_size=30))
def test_a_dollar_written_twice_is_one(text: str) -> None:
    assert expand(text.replace("$", "$$"), {}).text == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("A=1\nB = two \n", {"A": "1", "B": "two"}),
        ("export A=1 # one\n#B=2\n\nnonsense\n", {"A": "1"}),
        ('A=\'$x # y\'\nB="a\\nb\\"c"\n', {"A": "$x # y", "B": 'a\nb"c'}),
        ("A=1\nB=${A}2\nC=$A$$\n", {"A": "1", "B": "12", "C": "1$"}),
        ('A="one\ntwo"\nB=3\n', {"A": "one\ntwo", "B": "3"}),
        ("A=\nB=a#b\n", {"A": "", "B": "a#b"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A='never closed\nB=1", {"A": "never closed\nB=1"}),
        ("A=pa$$word$\n", {"A": "pa$$word$"}),
    ],
)
def test_a_dotenv_means(text: str, meant: dict[str, str]) -> None:
    assert read_dotenv(text) == meant


@given(st.text(max_size=60))
def test_no_dotenv_is_too_odd(text: str) -> None:
    assert all(isinstance(value, str) for value in read_dotenv(text).values())
