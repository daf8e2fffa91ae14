"""The documentation of contracts: a list of them, one with its fields, one field."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views.text import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.contract import Contract, ContractField

_LONGEST_DEFAULT = 50
"""Characters of a default that is shown where each of its fields tells its own."""


def show_list(contracts: Iterable[Contract], stream: IO[str]) -> None:
    """Every contract in a line or two."""
    out = Writer(stream)
    listed = list(contracts)
    width = max(len(each.name) for each in listed)
    for each in listed:
        out.wrapped([(f"{each.name:<{width}}", "bold"), "  "], _first_sentence(each.doc), indent=width + 2)
    show_hint("lian schema NAME tells of its fields, lian schema NAME FIELD of one of them", stream)


def show_hint(text: str, stream: IO[str]) -> None:
    """How to go on, behind everything else."""
    out = Writer(stream)
    out.line()
    out.wrapped([], text, "dim", indent=2)


def show_contract(contract: Contract, stream: IO[str]) -> None:
    """One with all its fields."""
    out = Writer(stream)
    out.line((contract.name, "bold"), (f"  {contract.file}", "dim"))
    _paragraphs(contract.doc, out, 2)
    if contract.example:
        out.line()
        for line in contract.example.splitlines():
            out.line("    ", (line, "cyan"))
    for field in contract.fields:
        out.line()
        _field(field, out, 0)


def show_field(contract: Contract, field: ContractField, below: Contract | None, stream: IO[str]) -> None:
    """One field, and behind it the contract that it is under."""
    out = Writer(stream)
    out.line((contract.name, "dim"))
    _field(field, out, 0)
    if below is not None:
        out.line()
        show_contract(below, stream)


def _field(field: ContractField, out: Writer, indent: int) -> None:
    margin = " " * indent
    out.line(margin, (field.name, "bold"), *_standing(field))
    if field.doc:
        _paragraphs(field.doc, out, indent + 2)
    out.wrapped([f"{margin}  ", ("takes ", "dim")], field.takes, "dim", indent=indent + 4)
    for inner in field.fields:
        _field(inner, out, indent + 4)


def _standing(field: ContractField) -> tuple[str | tuple[str, str | None], ...]:
    if field.required:
        return "  ", ("required", "yellow")
    if field.default is None:
        return ()
    if field.contract and len(field.default.nickel) > _LONGEST_DEFAULT:
        return "  ", ("default: what each of its fields has", "green")
    return "  ", (f"default {field.default.nickel}", "green")


def _paragraphs(text: str, out: Writer, indent: int) -> None:
    for paragraph in text.split("\n\n"):
        out.wrapped([" " * indent], paragraph, indent=indent)


def _first_sentence(text: str) -> str:
    first = text.split("\n\n", maxsplit=1)[0]
    end = first.find(". ")
    return first if end < 0 else first[: end + 1]
