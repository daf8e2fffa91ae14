"""What went wrong, in the parts a person needs: code, sentence, place, cause, what to try."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.artifact import Place

_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WORD = re.compile(r"[^ \n]+")
_USERINFO = re.compile(r"(?P<ssh>\b(?:git\+)?ssh)?://(?P<user>[^/\"'<>]*)@")
_SSH_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,15}")
"""Of an ssh URL the user is no secret, as `git` is none; what is longer may be a token in the wrong place."""
_QUERY = re.compile(r"\?[^\"'<>]+")
_CREDENTIAL = re.compile(r"\b(?P<scheme>Bearer|Basic)[ \n\ufffd]+(?P<value>[A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE)
_NKEY_SEED = re.compile(r"(?<![A-Za-z0-9])S[ACNOUX][A-Z2-7]{56}(?![A-Za-z0-9])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

MAX_TEXT = 4096
"""Characters kept of any text that came from outside."""
_LOOKED_AT = 4 * MAX_TEXT


class Next(StrEnum):
    """What has to happen before it can go well (source-controller sorts its errors the same way)."""

    RETRY = "retry"
    """The world may be different at the next pass."""
    PERSON = "person"
    """Someone has to change what is asked for."""
    HOLD = "hold"
    """What is asked for is right, and someone has to see to it that it can be done: a login, a quota, a certificate."""
    BUG = "bug"
    """lian itself is wrong."""


def redact(text: str) -> str:
    """The text without credentials in URLs (of ssh, the user alone stays) or headers, without seeds of NKEYs, and
    without control characters; at most MAX_TEXT long."""
    text = _shortened(text).replace("\r\n", "\n").replace("\t", "    ")
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    if "://" in text:  # a fleet may have tens of thousands of problems, and few have a URL
        text = _WORD.sub(lambda word: _without_secrets(word[0]), text)
    text = _NKEY_SEED.sub("***", _CREDENTIAL.sub(_without_credential, text))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _shortened(text: str) -> str:
    """No more than is worth looking at; a word is not cut in two, for half a URL does not show what in it is secret."""
    if len(text) <= _LOOKED_AT:
        return text
    head = text[:_LOOKED_AT]
    end = max(head.rfind(" "), head.rfind("\n"))
    word, sign, _ = head[end + 1 :].partition("://")
    return head[: end + 1] + (word + sign) + "…"


def _without_secrets(word: str) -> str:
    """Userinfo and query of every URL in a word; the same for what merely looks like one."""
    scheme, sign, rest = _USERINFO.sub(_without_user, word).partition("://")
    return scheme + sign + _QUERY.sub("?***", rest)


def _without_user(found: re.Match[str]) -> str:
    is_plain = found["ssh"] and _SSH_USER.fullmatch(found["user"])
    return found[0] if is_plain else f"{found['ssh'] or ''}://***@"


def _without_credential(found: re.Match[str]) -> str:
    """`basic authentication` is a way of speaking, not a credential."""
    spoken = found["scheme"].lower() == "basic" and found["value"].isalpha() and found["value"].islower()
    return found[0] if spoken else f"{found['scheme']} ***"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `code` is stable kebab-case, `message` one sentence, line and column start at 1."""

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    artifact: str | None = None
    cause: str | None = None
    hint: str | None = None
    next: Next = Next.PERSON
    shared: str | None = None
    """The message without what is one artifact's alone, for one fault that many may have, each at its own place: people
    are told of all of them together."""

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise ValueError(f"a problem's code is kebab-case, not {self.code!r}")
        for field in ("message", "cause", "hint", "shared"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, redact(value))

    @property
    def place(self) -> str:
        """`file:line:column` as far as known, else an empty string."""
        parts = [self.file, self.line, self.column]
        known = parts[: parts.index(None)] if None in parts else parts
        return ":".join(str(part) for part in known)

    def of(self, artifact: str) -> Problem:
        """The same problem, said of this artifact."""
        return replace(self, artifact=artifact)

    def at(self, place: Place) -> Problem:
        """The same problem, said of this place."""
        return replace(self, file=place.file, line=place.line or None, column=place.column or None)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Problem:
        """The inverse of to_json, as far as a person is told; where it was and what comes next are not in it. Raises
        KeyError, TypeError or ValueError for anything else."""
        cause, hint = (None if document.get(part) is None else str(document[part]) for part in ("cause", "hint"))
        return cls(str(document["code"]), str(document["message"]), cause=cause, hint=hint)

    def to_json(self) -> dict[str, Any]:
        """The form of schemas/json/problems.json; absent parts are null. What is told together stands apart there."""
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "artifact": self.artifact,
            "cause": self.cause,
            "hint": self.hint,
        }


class LianError(Exception):
    """Raised where nothing further can be done; carries every problem found so far."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("; ".join(f"{p.code}: {p.message}" for p in self.problems))
