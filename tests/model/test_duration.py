"""Durations, as they are written in directives and given as flags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.duration import seconds, written


@pytest.mark.parametrize(
    ("text", "found"),
    [("1m", 60), ("90m", 5_400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("999999w", 604_799_395_200)],
)
def test_a_duration_is_so_many_seconds(text: str, found: int) -> None:
    assert seconds(text) == found


@given(st.integers(1, 999_999))
def test_units_are_multiples_of_one_another(number: int) -> None:
    minutes, hours, days, weeks = (seconds(f"{number}{unit}") for unit in "mhdw")
    assert (minutes, hours, days, weeks) == (60 * number, 60 * minutes, 24 * hours, 7 * days)


@given(st.text("0123456789mhdws .-+\n٣") | st.text())
def test_nothing_else_is_one(text: str) -> None:
    """Neither no time at all, nor other scripts' digits, nor more digits than the contract of directives lets pass."""
    number, unit = text[:-1], text[-1:]
    right = unit in set("mhdw") and number.isascii() and number.isdecimal() and len(number) <= 6 and int(number) > 0
    try:
        assert seconds(text) > 0
    except ValueError as error:
        assert not right
        assert str(error).startswith("not a duration: ")
    else:
        assert right


@pytest.mark.parametrize(("amount", "text"), [(60, "1m"), (5_400, "90m"), (7_200, "2h"), (604_800, "7d")])
def test_seconds_as_they_are_written(amount: int, text: str) -> None:
    assert written(amount) == text
    assert seconds(text) == amount


@pytest.mark.parametrize("amount", [0, 59, 61, -60])
def test_what_is_no_whole_number_of_minutes_has_no_form(amount: int) -> None:
    with pytest.raises(ValueError, match="minutes"):
        written(amount)
