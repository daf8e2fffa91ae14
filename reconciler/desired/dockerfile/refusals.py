"""What BuildKit refuses of a step only when its stage is built, with the variables put in (dockerfile2llb: dispatch).

Only what is certain is refused. Where a variable may be set by the base image, and where releases of BuildKit differ,
it is left to the build: a Dockerfile that builds must never be refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconciler.desired.dockerfile.expand import cannot_fail, cannot_fail_in_heredoc, in_quotes
from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.dockerfile.remotes import RemoteKind, remote_kind
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Sequence

AS_IT_IS = re.compile(r"[ !#%&()*+,\-./0-9:;<=>?@A-Z\[\]^_a-z{|}~]*")
"""A text in which nothing is put in, unquoted or escaped: it means what is written."""


class Seen(Protocol):
    """What a step sees where it stands. Raises Fault for what BuildKit certainly refuses; None where nobody can tell
    before the base image is there."""

    def word(self, text: str) -> str | None:
        """The text with its variables put in."""

    def words(self, text: str) -> tuple[str, ...] | None:
        """The words that the text becomes."""

    def heredoc(self, text: str) -> None:
        """Look at the text of a heredoc."""


class Check(Protocol):
    """What of one step may be refused."""

    def refuse(self, seen: Seen) -> None:
        """Raises Fault where BuildKit refuses it."""


def settled(check: Check, *texts: str) -> Check | None:
    """The check if it has to be made in its stage, None if it is passed already: nothing in its texts is put in."""
    if not all(map(AS_IT_IS.fullmatch, texts)):
        return check
    try:
        check.refuse(_AsWritten())
    except Fault:
        return check
    return None


class _AsWritten:
    def word(self, text: str) -> str | None:
        return text

    def words(self, text: str) -> tuple[str, ...] | None:
        return (text,)

    def heredoc(self, text: str) -> None:
        pass


# -- words


@dataclass(frozen=True, slots=True)
class Words:
    """Words of which any value will do."""

    texts: tuple[str, ...]

    def refuse(self, seen: Seen) -> None:
        for text in self.texts:
            seen.word(text)


def words(texts: tuple[str, ...]) -> Words | None:
    """The check of these words, None if nothing can be wrong with them."""
    return None if all(map(cannot_fail, texts)) else Words(texts)


@dataclass(frozen=True, slots=True)
class Volumes:
    """The folders of a VOLUME."""

    texts: tuple[str, ...]

    def refuse(self, seen: Seen) -> None:
        if "" in [seen.word(text) for text in self.texts]:
            raise Fault("syntax", "VOLUME specified can not be an empty string", hint="give the variable in it a value")


# -- EXPOSE

_PORT = re.compile(r"[+-]?[0-9]+")
_LAST_PORT = 65535
_PROTOCOLS = ("tcp", "udp", "sctp")
_PORTS_HINT = f"a port is a number up to {_LAST_PORT} or a range of them, and may say how: 8080, 8000-8010/udp"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of an EXPOSE."""

    texts: tuple[str, ...]

    def refuse(self, seen: Seen) -> None:
        for found in [seen.words(text) for text in self.texts]:
            for port in found or ():
                _refuse_port(port)


def _refuse_port(written: str) -> None:
    """A port as for `docker run`, [[IP:]HOST:]PORTS[/PROTOCOL], of which BuildKit takes the last."""
    before, _, last = written.rpartition(":")
    address, _, host = before.rpartition(":")
    ports, _, protocol = last.partition("/")
    if not ports:
        raise _no_port(f"invalid port: {in_quotes(written)}: no port specified")
    if protocol and protocol.lower() not in _PROTOCOLS:
        hint = meant(protocol.lower(), _PROTOCOLS, "") or f"the protocol is one of {', '.join(_PROTOCOLS)}"
        raise Fault("syntax", f"invalid port: {in_quotes(written)}: invalid proto: {protocol}", hint=hint)
    if address and not _is_address(address):
        raise _no_port(f"invalid IP address: {address}")
    inside, outside = _span(ports), _span(host) if host else None
    if inside is None:
        raise _no_port(f"invalid containerPort: {ports}")
    if host and outside is None:
        raise _no_port(f"invalid hostPort: {host}")
    if outside is not None and inside not in (0, outside):
        raise _no_port(f"invalid ranges specified for container and host Ports: {ports} and {host}")


def _no_port(message: str) -> Fault:
    return Fault("syntax", message, hint=_PORTS_HINT)


def _span(ports: str) -> int | None:
    """How far the last port of a range is from the first; None if it is no range."""
    first, dash, last = ports.partition("-")
    begin, end = _port(first), _port(last if dash else first)
    return None if begin is None or end is None or end < begin else end - begin


def _port(text: str) -> int | None:
    digits = text.lstrip("+-0") or "0"
    if not _PORT.fullmatch(text) or len(digits) > len(str(_LAST_PORT)):
        return None
    number = -int(digits) if text.startswith("-") else int(digits)
    return number if 0 <= number <= _LAST_PORT else None


def _is_address(text: str) -> bool:
    if text.startswith("["):
        inside = re.fullmatch(r"\[([^\[\]]*)\]", text)
        text = inside[1] if inside else text
        if inside and not text:
            return True
    try:
        return ipaddress.ip_address(text) is not None and "%" not in text
    except ValueError:
        return False


# -- STOPSIGNAL

_NAMED = (
    *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL"),
    *("PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1"),
    *("USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
)
_SIGNALS = frozenset((*_NAMED, *(f"RTMIN+{n}" for n in range(1, 16)), *(f"RTMAX-{n}" for n in range(1, 15))))
_NUMBER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Signal:
    """The signal of a STOPSIGNAL, on Linux."""

    text: str

    def refuse(self, seen: Seen) -> None:
        signal = seen.word(self.text)
        if signal is None or _is_signal(signal):
            return
        name = signal.upper().removeprefix("SIG")
        hint = meant(name, _NAMED, "") or "a signal is a name or a number: SIGTERM, 15"
        raise Fault("syntax", f"invalid signal: {signal}", hint=hint)


def _is_signal(text: str) -> bool:
    if _NUMBER.fullmatch(text):
        digits = text.lstrip("+-0")
        return 0 < len(digits) < 20 and int(digits) < 2**63 + text.startswith("-")
    return text.upper().removeprefix("SIG") in _SIGNALS


# -- ADD and COPY

_OCTAL = re.compile(r"[0-7]+")
_CLAUSE = r"[augo]*(?:[-+=][rstwXxugo]*)+"
_SYMBOLIC = re.compile(rf"{_CLAUSE}(?:,{_CLAUSE})*")
_MODE_HINT = "a mode is octal, from 0 to 07777, or of the form u=rwx,go=rx"
_HERE = re.compile(r"[A-Za-z0-9_\-]*[./]|[A-Za-z0-9_\-]*\Z")
_SURELY_GIT = re.compile(
    r"(?i:ssh|git|https?)://(?:[A-Za-z0-9_.\-]+@)?[A-Za-z0-9.\-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9_./~\-]*)?"
    r"(?:#[A-Za-z0-9_./:\-]*)?|[A-Za-z0-9_\-]+@[A-Za-z0-9\-.]+:[^?\n]*"
)
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_CHECKSUM_HINT = "write it as sha256: and 64 hex digits"


@dataclass(frozen=True, slots=True)
class Copying:
    """An ADD or COPY; the texts of its heredocs are those that variables are put into."""

    adds: bool
    owner: str
    mode: str
    checksum: str
    sources: tuple[str, ...]
    target: str
    heredocs: tuple[str, ...]

    def refuse(self, seen: Seen) -> None:
        seen.word(self.owner)
        mode, checksum = seen.word(self.mode), seen.word(self.checksum)
        sources = [seen.word(source) for source in self.sources]
        seen.word(self.target)
        for text in self.heredocs:
            seen.heredoc(text)
        if mode:
            _refuse_mode(mode)
        if checksum:
            _refuse_checksum(checksum, sources)
        for source in () if self.adds else sources:
            _refuse_remote(source or "")


def copying(check: Copying) -> Check | None:
    """The check, None if it is passed already."""
    texts = (*check.sources, check.target, check.owner)
    if not (check.mode or check.checksum) and all(map(cannot_fail, texts)):
        here = check.adds or all(map(_HERE.match, check.sources))
        if here and all(map(cannot_fail_in_heredoc, check.heredocs)):
            return None
    return settled(check, *texts, check.mode, check.checksum, *check.heredocs)


def _refuse_mode(mode: str) -> None:
    if _OCTAL.fullmatch(mode):
        if len(mode.lstrip("0")) <= 4:
            return
    elif not "0" <= mode[0] <= "9":
        if _SYMBOLIC.fullmatch(mode):
            return
        raise Fault("syntax", f"invalid chmod parameter: '{mode}': invalid syntax", hint=_MODE_HINT)
    raise Fault("syntax", f"invalid chmod parameter: '{mode}'", hint=_MODE_HINT)


def _refuse_checksum(checksum: str, sources: Sequence[str | None]) -> None:
    if len(sources) != 1:
        message = "checksum can't be specified for multiple sources"
        raise Fault("syntax", message, hint="give each source an ADD of its own")
    source = sources[0]
    if source is None or source.startswith("github.com/"):
        return
    kind = remote_kind(source)
    if kind is None:
        message = "checksum requires HTTP(S) or Git sources"
        raise Fault("syntax", message, hint="leave --checksum out: what the context holds is keyed by its content")
    if kind is RemoteKind.HTTP and ".git" not in source and "%" not in source:
        _refuse_digest(checksum)  # of what is a file for sure: a commit's checksum looks different


def _refuse_digest(digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    if not algorithm or not encoded:
        raise Fault("syntax", f"invalid checksum digest format: {digest}", hint=_CHECKSUM_HINT)
    digits = _HEX_DIGITS.get(algorithm)
    if digits is None:
        raise Fault("syntax", f"unsupported digest algorithm: {digest}", hint=_CHECKSUM_HINT)
    if len(encoded.encode("utf-8", "surrogateescape")) != digits:
        raise Fault("syntax", f"invalid checksum digest length: {digest}", hint=_CHECKSUM_HINT)
    if not re.fullmatch("[a-f0-9]*", encoded):
        raise Fault("syntax", f"invalid checksum digest format: {digest}", hint=_CHECKSUM_HINT)


def _refuse_remote(source: str) -> None:
    """A COPY takes nothing from elsewhere."""
    if _HERE.match(source):
        return
    hint = "use ADD, which fetches"
    if remote_kind(source) is RemoteKind.GIT and _SURELY_GIT.fullmatch(source):
        raise Fault("syntax", "source can't be a git ref for COPY", hint=hint)
    if source.startswith(("http://", "https://")):
        raise Fault("syntax", "source can't be a URL for COPY", hint=hint)
