"""The doc strings of the shipped contracts, found in their source: Nickel itself does not give them away."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.desired.nickel.lexer import Token, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLE = re.compile(r"```nickel\n(.*?)```", re.DOTALL)
_FRAMES = frozenset({"fields", "of", "what", "rule"})
"""Fields of the contract makers' own arguments: no part of a path."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(slots=True)
class _Level:
    """Within one pair of brackets: the field or the `let` that is being defined."""

    name: str = ""
    expects_name: bool = True
    is_record: bool = True
    within_let: list[str] = field(default_factory=list)


def read_docs(source: str) -> dict[str, str]:
    """Dotted path -> doc string of each field of the file's records: `BuildArtifact`, `BuildArtifact.tags`,
    `BuildArtifact.secrets.name`; of a record in a `let`, from the name of that."""
    docs: dict[str, str] = {}
    levels = [_Level(is_record=False)]
    found = list(tokens(source))
    for number, token in enumerate(found):
        here = levels[-1]
        if token.kind in {"open", "interpolation"}:
            levels.append(_Level(is_record=token.text == "{"))
        elif token.kind == "close":
            levels.pop()
        elif token.kind == "word":
            _word(
                token,
                found[number + 1] if number + 1 < len(found) else None,
                here,
                levels,
                docs,
                found[number - 1] if number else None,
            )
        elif token.kind in {"string", "block"}:
            if here.expects_name and here.is_record and token.kind == "string":
                here.name, here.expects_name = token.text, False
        elif token.text == "," and here.is_record:
            here.expects_name = True
    return docs


def _word(
    token: Token,
    following: Token | None,
    here: _Level,
    levels: list[_Level],
    docs: dict[str, str],
    before: Token | None,
) -> None:
    if before is not None and before.text == "let" and before.kind == "word":
        here.within_let.append(here.name)
        here.name, here.expects_name = token.text, False
    elif token.text == "in" and here.within_let:
        here.name = here.within_let.pop()
    elif token.text == "doc" and following is not None and following.kind in {"string", "block"}:
        path = ".".join(level.name for level in levels if level.name and level.name not in _FRAMES)
        docs.setdefault(path, _plain(following))
    elif here.expects_name and here.is_record and token.text not in {"let", "include"}:
        here.name, here.expects_name = token.text, False


def _plain(token: Token) -> str:
    if token.kind == "block":
        return textwrap.dedent(token.text.strip("\n")).strip()
    return _ESCAPED.sub(lambda found: found[1], token.text)


def without_example(doc: str) -> tuple[str, str | None]:
    """A doc string, and the example in it."""
    found = _EXAMPLE.search(doc)
    if found is None:
        return doc, None
    return (doc[: found.start()] + doc[found.end() :]).strip(), textwrap.dedent(found[1]).strip()


def one_line(doc: str) -> str:
    """Without the line breaks of its source, but those between paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in doc.split("\n\n"))


def joined(docs: Mapping[str, Mapping[str, str]], own: str, path: str) -> str | None:
    """The doc string at a path: of the file named, else of whichever has it."""
    order = (own, *(name for name in docs if name != own))
    return next((docs[name][path] for name in order if path in docs.get(name, {})), None)
