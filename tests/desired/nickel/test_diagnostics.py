"""Nickel's error text is read from its colours, which a program cannot print."""

from __future__ import annotations

from reconciler.desired.nickel.diagnostics import blamed, read

RED, CYAN, BOLD, OFF = "\x1b[31m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


def error(headline: str, *places: tuple[str, bool], note: str = "") -> str:
    text = f"{OFF}{BOLD}\x1b[38;5;9merror{OFF}{BOLD}: {headline}{OFF}\n"
    for place, primary in places:
        text += f"  {OFF}{CYAN}┌─{OFF} {place}\n  {OFF}{CYAN}│{OFF}\n"
        text += f"{OFF}{CYAN}1{OFF} {OFF}{CYAN}│{OFF} x\n"
        text += f"  {OFF}{CYAN}│{OFF} {OFF}{RED if primary else CYAN}{'^^^' if primary else '---'}{OFF}\n"
    return text + (f"  {OFF}{CYAN}={OFF} {note}\n" if note else "")


def test_headline_detail_places_and_notes() -> None:
    (found,) = read(error("broken\n  because", ("/t/a.ncl:3:4", False), ("/t/b.ncl:5:6", True), note="hint: try"))
    assert (found.headline, found.detail, found.notes) == ("broken", "because", ("hint: try",))
    assert [(s.file, s.line, s.column, s.primary) for s in found.spots] == [
        ("/t/a.ncl", 3, 4, False), ("/t/b.ncl", 5, 6, True),
    ]  # fmt: skip


def test_every_error_is_read() -> None:
    assert [d.headline for d in read(error("one", ("/t/a:1:1", True)) + "\n" + error("two", ("/t/b:1:1", True)))] == [
        "one", "two",
    ]  # fmt: skip


def test_blame_prefers_where_nickel_points() -> None:
    text = error("x", ("/t/a.ncl:1:1", False), ("/t/b.ncl:1:1", True), ("<stdlib/std.ncl>:1:1", True))
    ours = {"/t/a.ncl": "a.ncl", "/t/b.ncl": "b.ncl"}.get
    assert blamed(text, ours, ["a.ncl", "b.ncl"]) == "b.ncl"
    assert blamed(text, ours, ["a.ncl"]) == "a.ncl"
    assert blamed(text, ours, ["c.ncl"]) is None


def test_planted_places_are_not_read() -> None:
    text = error("x\n  ┌─ /t/a.ncl:1:1", ("/t/b.ncl:1:1", True), note="┌─ /t/a.ncl:1:1")
    assert [spot.file for spot in read(text)[0].spots] == ["/t/b.ncl"]


def test_text_that_is_no_diagnostic() -> None:
    assert read("Segmentation fault") == ()
