"""Plain YAML scalars, as compose reads and prints them (YAML 1.2's core schema, with go-yaml's additions)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGERS = (
    (re.compile(r"[-+]?0b[01_]+"), 2),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+"), 16),
    (re.compile(r"[-+]?0o[0-7_]+"), 8),
    (re.compile(r"[-+]?0[0-7_]+"), 8),
    (re.compile(r"[-+]?(?:0|[1-9][0-9_]*)"), 10),
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")
_LARGEST = 1 << 64


@dataclass(frozen=True, slots=True)
class Scalar:
    """`text` is what a tool makes of it, None for null; `written` is set where that differs from what stands there."""

    text: str | None
    written: str | None = None
    is_quoted: bool = True


def read_scalar(plain: str) -> Scalar:
    """A scalar without quotes: `1.10` is the number 1.1, `yes` is a text, `TRUE` is true."""
    if plain in _NULL:
        return Scalar(None, is_quoted=False)
    if plain in _TRUE or plain in _FALSE:
        return _made("true" if plain in _TRUE else "false", plain)
    for form, base in _INTEGERS:
        if form.fullmatch(plain):
            return _integer(plain, base)
    if _FLOAT.fullmatch(plain):
        return _made(_go_float(float(plain)), plain)
    if _DATE.fullmatch(plain) and (day := _day(plain)) is not None:
        return _made(f"{day} 00:00:00 +0000 UTC", plain)
    return Scalar(plain, is_quoted=False)


def _day(plain: str) -> date | None:
    """A date, which go-yaml makes a time of."""
    try:
        return date(*map(int, plain.split("-")))
    except ValueError:
        return None


def _made(text: str, written: str) -> Scalar:
    return Scalar(text, written if written != text else None, is_quoted=False)


def _integer(plain: str, base: int) -> Scalar:
    digits = re.sub(r"^([-+]?)0[box]", r"\1", plain).replace("_", "")
    if digits in {"", "-", "+"}:
        return Scalar(plain, is_quoted=False)
    number = int(digits, base)
    if plain == "-0":  # as go-yaml has it: no whole number is written so
        return _made("-0", plain)
    text = str(number) if -_LARGEST // 2 <= number < _LARGEST else _go_float(float(number))
    return _made(text, plain)


def _go_float(number: float) -> str:
    """As Go prints a float64 by %v: the shortest digits, with an exponent below 1e-4 and from 1e6 on."""
    if number in {float("inf"), float("-inf")}:
        return "+Inf" if number > 0 else "-Inf"
    sign, digits, exponent = _decimal(number)
    if exponent < -4 or exponent >= 6:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole, rest = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"


def _decimal(number: float) -> tuple[str, str, int]:
    """Sign, digits and the exponent of the first digit."""
    negative, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)  # no infinity
    power = exponent + len(digits) - 1 if any(digits) else 0
    return "-" if negative else "", "".join(map(str, digits)).rstrip("0") or "0", power
