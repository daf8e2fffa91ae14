"""From a Dockerfile's bytes to its instructions: directives, comments, continuations, heredocs (parser/parser.go)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.directives import BOM, Directives
from reconciler.desired.dockerfile.expand import Quoting, expand
from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.dockerfile.words import (
    json_list,
    names_and_values,
    shell_words,
    split_command,
    whitespace_list,
)
from reconciler.desired.go_text import GO_SPACE, MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
_WITH_HEREDOCS = frozenset({"add", "copy", "run"})
_AS_WRITTEN = Quoting(keep_quotes=True, keep_escapes=True, keep_unset=True)
_WORD_OF_HEREDOC = Quoting(keep_unset=True)
_QUOTED_WORD_OF_HEREDOC = Quoting(keep_quotes=True, keep_unset=True)

_JSON_OR_TEXT = frozenset({"run", "cmd", "entrypoint", "shell"})
_JSON_OR_LIST = frozenset({"add", "copy", "volume"})
_LISTS = frozenset({"from", "expose"})
_TEXT = frozenset({"maintainer", "stopsignal", "user", "workdir"})
_PAIRS = frozenset({"env", "label"})


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A heredoc's word, whether leading tabs are taken off its end line, its text, and whether a COPY or ADD puts
    variables into it: a word with quotes says no."""

    name: str
    chomp: bool
    text: str = ""
    expands: bool = True


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name as written, flags, arguments (as far as its own syntax splits them), first line."""

    name: str
    flags: tuple[str, ...]
    arguments: tuple[str, ...]
    line: int
    original: str
    json: bool = False
    pairs: tuple[tuple[str, str], ...] = ()
    inner: Instruction | None = None
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def keyword(self) -> str:
        """The name in lower case."""
        return self.name.lower()


def read_instructions(content: bytes) -> tuple[list[Instruction], str]:
    """All instructions, and the escape character. Raises Fault."""
    reader = _Reader(content)
    found = list(reader.instructions())
    if not found:
        raise Fault("syntax", "the file has no instructions")
    return found, reader.escape


class _Reader:
    def __init__(self, content: bytes) -> None:
        lines = content.removeprefix(BOM).split(b"\n")
        last = lines.pop()
        self.lines = [*(line + b"\n" for line in lines), *([last] if last else [])]
        self.at = 0
        self.directives = Directives()
        self.escape = "\\"

    def take(self) -> bytes | None:
        """The next line with its line feed, or None at the end."""
        if self.at >= len(self.lines):
            return None
        self.at += 1
        line = self.lines[self.at - 1]
        if len(line.removesuffix(b"\n")) > MAX_LINE:
            raise Fault("syntax", f"a line has at most {MAX_LINE} bytes", self.at)
        return line

    def instructions(self) -> Iterator[Instruction]:
        while (raw := self.take()) is not None:
            begin = self.at
            try:
                line = self.logical(self.visible(_text(raw).lstrip(GO_SPACE)))
                if line is not None:
                    yield self.with_heredocs(parse_line(line, self.escape, begin))
            except Fault as fault:
                raise fault.at(begin) from fault

    def visible(self, line: str) -> str:
        """The line, unless it is a comment; directives take effect here."""
        if self.directives.read(line) == "escape":
            self.escape = self.directives.found["escape"]
            if self.escape not in ("`", "\\"):
                raise Fault("syntax", f"the escape character is ` or \\, not {self.escape!r}", self.at)
        return "" if _is_comment(line) else line

    def logical(self, line: str) -> str | None:
        """The line with its continuations, or None if nothing is on it."""
        line, goes_on = self.continued(line)
        if not goes_on and not line:
            return None
        parts = [line]
        while goes_on and (raw := self.take()) is not None:
            text = _text(raw)
            visible = self.visible(text)
            if _is_comment(text) or not visible.lstrip(GO_SPACE):
                continue
            part, goes_on = self.continued(visible)
            parts.append(part)
        return "".join(parts)

    def continued(self, line: str) -> tuple[str, bool]:
        """The line without an escape character at its end, and whether there was one."""
        end = line.rstrip(" \t")
        if not end.endswith(self.escape) or end.endswith(self.escape * 2):
            return line, False
        return end[:-1], True

    def with_heredocs(self, instruction: Instruction) -> Instruction:
        inner = instruction.inner if instruction.keyword == "onbuild" else None
        holder = inner or instruction
        if holder.keyword not in _WITH_HEREDOCS or holder.json or "<<" not in instruction.original:
            return instruction
        bodies = tuple(self.body(heredoc) for heredoc in heredocs_of(instruction.original))
        return replace(instruction, heredocs=bodies)

    def body(self, heredoc: Heredoc) -> Heredoc:
        lines: list[str] = []
        while (raw := self.take()) is not None:
            end = _text(raw)
            if (end.lstrip("\t") if heredoc.chomp else end) == heredoc.name:
                return replace(heredoc, text="".join(lines))
            lines.append(raw.decode("utf-8", "surrogateescape"))
        raise Fault("syntax", f"the heredoc {heredoc.name} has no end", hint=f"end it with a line {heredoc.name}")


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _is_comment(line: str) -> bool:
    return line.lstrip(GO_SPACE).startswith("#")


def heredocs_of(line: str) -> list[Heredoc]:
    """The heredocs that a line announces, still without their text. Raises Fault."""
    try:
        words = expand(line, {}, _AS_WRITTEN).words
    except Fault:
        return []
    return [found for word in words if (found := heredoc_in(word)) is not None]


def heredoc_in(word: str) -> Heredoc | None:
    """The heredoc that a word announces, or None. Raises Fault for a word that cannot be read."""
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    words = expand(match[3], {}, _WORD_OF_HEREDOC).words
    if len(words) != 1:
        return None
    quoted = _quotes(words[0]) != sum(map(_quotes, expand(match[3], {}, _QUOTED_WORD_OF_HEREDOC).words))
    return Heredoc(words[0], match[2] == "-", expands=not quoted)


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


def parse_line(line: str, escape: str, number: int) -> Instruction:
    """The instruction on a logical line. Raises Fault; an unknown one is kept, without arguments."""
    name, flags, rest = split_command(line, escape)
    plain = Instruction(name, flags, (), number, line)
    keyword = plain.keyword
    if keyword in _JSON_OR_TEXT or keyword in _JSON_OR_LIST:
        values = json_list(rest)
        if values is not None:
            return replace(plain, arguments=values, json=True)
        return replace(plain, arguments=whitespace_list(rest) if keyword in _JSON_OR_LIST else _one(rest))
    if keyword in _LISTS:
        return replace(plain, arguments=whitespace_list(rest))
    if keyword in _TEXT:
        return replace(plain, arguments=_one(rest))
    if keyword in _PAIRS:
        return replace(plain, pairs=names_and_values(rest, escape, name.upper()))
    if keyword == "arg":
        return replace(plain, arguments=tuple(shell_words(rest, escape)))
    if keyword == "healthcheck":
        return _healthcheck(plain, rest)
    if keyword == "onbuild" and rest:
        inner = parse_line(rest, escape, number)
        return replace(plain, inner=inner, arguments=(inner.name, *inner.arguments))
    return plain


def _one(rest: str) -> tuple[str, ...]:
    return (rest,) if rest else ()


def _healthcheck(plain: Instruction, rest: str) -> Instruction:
    kind, _, command = _split_at_space(rest)
    if not kind:
        return plain
    values = json_list(command)
    return replace(plain, arguments=(kind, *(_one(command) if values is None else values)), json=values is not None)


def _split_at_space(rest: str) -> tuple[str, str, str]:
    at = next((i for i, sign in enumerate(rest) if sign in GO_SPACE), len(rest))
    return rest[:at], rest[at : at + 1], rest[at:].lstrip(GO_SPACE)
