"""Secrets in what a build prints: found as they are and as steps are likely to write them, and hidden. Pure.

A form is cut into pieces of at most PIECE bytes, and each piece is looked for by itself. So a value of any length is
hidden although little of the output is ever held back, and a part of one that holds a whole piece is hidden too. Line
ends are passed over wherever they stand: base64 wraps its lines. Each byte is looked at a bounded number of times,
whatever is printed and however it is cut into chunks.
"""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from reconciler.model.secret import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.secret import SecretBytes

LEAST = 8
"""Bytes of the shortest form that is looked for. Less is met by chance in any log, and hiding it would tell where: a
log without every `1234` or `test` is of no use, and shows the secret by what is missing."""
LEAST_LINE = 16
"""Bytes of the shortest line of a value that is looked for by itself: `{` and `root:` stand in many files."""
PIECE = 64
"""Bytes of a form that are looked for at a time."""
LONG = 1 << 16
"""Bytes of a value beyond which only LONG_FORMS of it are looked for: all of half a megabyte would take 300 MB."""
LONG_FORMS = ("as it is", "base64", "hex")
LOOK_BACK = 1024
"""Bytes held back at most while what may be a secret goes on, line ends counted."""

_MARK = HIDDEN.encode()
_LINE_ENDS = b"\r\n"
_RUN = re.compile(rb"[\r\n]+|[^\r\n]+")
_BASE32_BITS, _BASE64_BITS = 5, 6
_SHELL_SIGNS = re.compile(rb"([ \t!\"$&'()*,;<>?\[\\\]^`{|}])")
_QUOTED_SIGNS = re.compile(rb"([\"$`\\])")
_ARMOUR = re.compile(rb"-----[^-]+-----")
"""The first and the last line of every key and certificate (RFC 7468)."""
_PERCENT = re.compile(r"%[0-9A-F]{2}")


def _in_any_place(encode: Callable[[bytes], bytes], bits: int) -> Callable[[bytes], Iterator[bytes]]:
    """The digits of a value that stands anywhere in what is encoded, as the last of it or with more behind it: a digit
    holds `bits` bits, and one that holds others' bits too is left out."""

    def forms(value: bytes) -> Iterator[bytes]:
        for before in range(bits if bits % 2 else bits // 2):
            digits = encode(b"\0" * before + value).rstrip(b"=")[-(-before * 8 // bits) :]
            yield digits
            yield digits[:-1] if (before + len(value)) * 8 % bits else digits

    return forms


def _reversed(value: bytes) -> Iterator[bytes]:
    yield value[::-1]
    yield from (text[::-1].encode() for text in _text(value))


def _percent(value: bytes) -> Iterator[bytes]:
    for text in (quote(value, safe=""), quote(value)):
        yield text.encode()
        yield _PERCENT.sub(lambda sign: sign[0].lower(), text).encode()


def _json(value: bytes) -> Iterator[bytes]:
    for text in _text(value):
        for only_ascii in (True, False):
            escaped = json.dumps(text, ensure_ascii=only_ascii)[1:-1]
            yield escaped.encode()
            yield escaped.replace("/", "\\/").encode()


def _shell(value: bytes) -> Iterator[bytes]:
    """Between single quotes (as sh, and as Python writes it), between double ones, by backslashes."""
    yield value.replace(b"'", b"'\\''")
    yield value.replace(b"'", b"'\"'\"'")
    yield _QUOTED_SIGNS.sub(rb"\\\1", value)
    yield _SHELL_SIGNS.sub(rb"\\\1", value)


def _xml(value: bytes) -> Iterator[bytes]:
    escaped = html.escape(value.decode("latin-1"), quote=False)
    yield escaped.encode("latin-1")
    yield escaped.replace('"', "&quot;").encode("latin-1")
    for apostrophe in ("&#39;", "&#x27;", "&apos;"):
        yield escaped.replace('"', "&quot;").replace("'", apostrophe).encode("latin-1")


def _utf_16(value: bytes) -> Iterator[bytes]:
    for text in _text(value):
        yield from (text.encode("utf-16-le", "surrogatepass"), text.encode("utf-16-be", "surrogatepass"))


def _text(value: bytes) -> Iterator[str]:
    """The value as text, if it is any."""
    try:
        yield value.decode("utf-8")
    except UnicodeDecodeError:
        return


FORMS: Mapping[str, Callable[[bytes], Iterable[bytes]]] = {
    "as it is": lambda value: (value,),
    "reversed": _reversed,
    "base64": _in_any_place(base64.b64encode, _BASE64_BITS),
    "base64url": _in_any_place(base64.urlsafe_b64encode, _BASE64_BITS),
    "base32": _in_any_place(base64.b32encode, _BASE32_BITS),
    "hex": lambda value: (value.hex().encode(),),
    "HEX": lambda value: (value.hex().upper().encode(),),
    "percent-encoded": _percent,
    "form-encoded": lambda value: (quote_plus(value).encode(),),
    "JSON": _json,
    "shell": _shell,
    "XML": _xml,
    "UTF-16": _utf_16,
}
"""What a value may look like in a build's output, by name. Base64 and base32 count wherever the value stands in what is
encoded, padded or not; percent-encoding with the digits of either case."""


class Mask:
    """The forms of some secrets, ready to be looked for; with `lines`, those of each of their lines too."""

    def __init__(self, secrets: Iterable[SecretBytes], *, lines: bool = True) -> None:
        self._pieces = {piece for secret in secrets for piece in _pieces_of(secret.reveal(), lines)}
        self._ordered = sorted(self._pieces)
        self._lengths: dict[bytes, list[int]] = {}
        """First bytes of a piece -> how long those are that begin so, the longest first."""
        for start, length in sorted({(piece[:LEAST], len(piece)) for piece in self._pieces}, reverse=True):
            self._lengths.setdefault(start, []).append(length)

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._pieces)

    def text(self, text: str) -> str:
        """The same without secrets."""
        if not self:
            return text
        data = text.encode("utf-8", "surrogatepass")
        hidden = self.data(data)
        return text if hidden == data else hidden.decode("utf-8", "replace")

    def data(self, data: bytes) -> bytes:
        """The same for bytes."""
        stream = Masked(self)
        return stream.feed(data) + stream.end()

    def found_in(self, text: str) -> bool:
        """Whether one of them stands there, or a piece of a long one."""
        return bool(self.spans(text.encode("utf-8", "surrogatepass").translate(None, _LINE_ENDS)))

    def spans(self, letters: bytes) -> list[tuple[int, int]]:
        """Where secrets stand, begin and end, in order; what touches is one."""
        lengths, pieces = self._lengths, self._pieces
        found: list[tuple[int, int]] = []
        for start in range(len(letters) - LEAST + 1):
            for length in lengths.get(letters[start : start + LEAST], ()):
                piece = letters[start : start + length]
                if piece in pieces:  # at the very end it may be a shorter one than was asked for
                    _join(found, start, start + len(piece))
                    break
        return found

    def settled(self, letters: bytes) -> int:
        """How many of them are decided: with the next one a piece may have begun, whose end is yet to come."""
        for start in range(max(0, len(letters) - PIECE + 1), len(letters)):
            begun = letters[start:]
            at = bisect_right(self._ordered, begun)  # a piece may be the begin of a longer one
            if at < len(self._ordered) and self._ordered[at].startswith(begun):
                return start
        return len(letters)


NOTHING = Mask(())
"""Hides nothing."""


class Masked:
    """One stream of output, chunk by chunk. What comes out depends on what comes in, not on where it was cut (unless
    more than LOOK_BACK line ends stand within a secret)."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""
        self._covered = 0
        """Bytes of `held` at its begin that belong to a secret, line ends not counted."""
        self._hiding = False
        """The last byte that was given out was hidden."""

    def feed(self, data: bytes) -> bytes:
        """What can be given out now."""
        return self._given(self._held + data, ended=False) if self._mask else data

    def end(self) -> bytes:
        """The rest. What may be the begin of a secret is hidden with it, if it is long enough to tell."""
        return self._given(self._held, ended=True) if self._held else b""

    def _given(self, raw: bytes, *, ended: bool) -> bytes:
        letters = raw.translate(None, _LINE_ENDS)
        spans = [(0, self._covered)] if self._covered else []
        for span in self._mask.spans(letters):
            _join(spans, *span)
        settled = self._mask.settled(letters)
        if ended and len(letters) - settled >= LEAST:
            _join(spans, settled, len(letters))
        cut = len(raw) if ended else _place_of(settled, raw, letters)
        if len(raw) - cut > LOOK_BACK:
            settled, cut = len(letters), len(raw)
        self._covered = next((end - settled for start, end in spans if start <= settled < end and cut < len(raw)), 0)
        self._held = raw[cut:]
        return self._hidden(raw[:cut], spans)

    def _hidden(self, raw: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
        """Each line keeps its end, and one mark for all of a secret that stands in it."""
        if not spans and not self._hiding:
            return raw
        out: list[bytes] = []
        at, turn = 0, 0
        for run in _RUN.findall(raw):
            if run[0] in _LINE_ENDS:
                out.append(run)
                self._hiding = False
                continue
            end = at + len(run)
            begin = at
            while begin < end:
                while turn < len(spans) and spans[turn][1] <= begin:
                    turn += 1
                start, stop = spans[turn] if turn < len(spans) else (end, end)
                until = min(end, stop if start <= begin else start)
                out.append(self._shown(run[begin - at : until - at], hidden=start <= begin))
                begin = until
            at = end
        return b"".join(out)

    def _shown(self, part: bytes, *, hidden: bool) -> bytes:
        again, self._hiding = self._hiding, hidden
        if not hidden:
            return part
        return b"" if again else _MARK


def _pieces_of(value: bytes, by_line: bool) -> Iterator[bytes]:
    """Of every form of a value, and of each of its lines that is long enough and may be one of no other value."""
    lines = [line.strip() for line in value.splitlines()] if by_line else []
    parts = {value.strip(), *(line for line in lines if len(line) >= LEAST_LINE and not _ARMOUR.fullmatch(line))}
    writers = FORMS.values() if len(value) <= LONG else [FORMS[name] for name in LONG_FORMS]
    for form in {form.translate(None, _LINE_ENDS) for part in parts for write in writers for form in write(part)}:
        if len(form) >= LEAST:
            yield from (form[at : at + PIECE] for at in range(0, len(form) - PIECE + 1, PIECE))
            yield form[-PIECE:]


def _join(spans: list[tuple[int, int]], start: int, end: int) -> None:
    """Add one that starts no earlier than those before it."""
    if spans and start <= spans[-1][1]:
        spans[-1] = (spans[-1][0], max(spans[-1][1], end))
    else:
        spans.append((start, end))


def _place_of(settled: int, raw: bytes, letters: bytes) -> int:
    """Where in `raw` the letter of this number stands: line ends before it are given out with what they end."""
    left, at = len(letters) - settled, len(raw)
    while left:
        at -= 1
        left -= raw[at] not in _LINE_ENDS
    return at
