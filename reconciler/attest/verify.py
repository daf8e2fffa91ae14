"""What of the bundles attached to an image holds under the keys that are trusted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.attestation import (
    SIGNATURE_PREDICATE,
    STATEMENT_PAYLOAD,
    Bundle,
    Envelope,
    Statement,
    UnknownVersionError,
)
from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.digest import Digest
    from reconciler.ports.signer import Verifier


NO_BUNDLE = "bundle-unreadable"
TOLD = 3
"""So many failures are told in a cause."""


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A referrer of an image that claims to be a bundle: its manifest's digest, and its bytes or why there are none."""

    referrer: Digest
    content: bytes | Problem

    @property
    def unread(self) -> bool:
        """True if what it holds is unknown; what is certainly no bundle is a failure like any other."""
        return isinstance(self.content, Problem) and self.content.code != NO_BUNDLE


@dataclass(frozen=True, slots=True)
class Vouched:
    """A statement about the image that the owner of this trusted key has signed. In a verdict its predicate is left
    out: an SBOM has up to 40 MiB, and there it matters only that there is one."""

    statement: Statement
    key: str
    """The key's name."""
    referrer: Digest


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that could be said of one image. It is signed if one signature holds: `failures` may be other people's
    signatures, which are no fault of the image. `unread` are bundles that could not be looked at."""

    subject: Digest
    vouched: tuple[Vouched, ...] = ()
    failures: tuple[Problem, ...] = ()
    unread: tuple[Problem, ...] = ()

    def after(self, found: FoundBundle, keys: Sequence[Verifier]) -> Verdict:
        """The same, with one more bundle judged under these keys."""
        content = found.content
        if isinstance(content, Problem) and found.unread:
            return replace(self, unread=(*self.unread, content))
        judged = content if isinstance(content, Problem) else judge(self.subject, found.referrer, content, keys)
        if isinstance(judged, Problem):
            return replace(self, failures=(*self.failures, judged))
        brief = replace(judged, statement=replace(judged.statement, predicate={}))
        return replace(self, vouched=(*self.vouched, brief))

    def of(self, predicate_type: str) -> tuple[Vouched, ...]:
        """The statements of this type that hold."""
        return tuple(v for v in self.vouched if v.statement.predicate_type == predicate_type)

    @property
    def problem(self) -> Problem | None:
        """Why the image does not count as signed; None if it does."""
        return self.lacks(SIGNATURE_PREDICATE, "signature")

    def lacks(self, predicate_type: str, what: str) -> Problem | None:
        """Why no statement of this type holds: `signatures-unknown` or `signature-missing`; None if one does. `what`
        says what is looked for."""
        if self.of(predicate_type):
            return None
        if self.unread:
            return Problem(
                "signatures-unknown",
                f"whether the image {self.subject.short} has a {what} that holds is not known",
                cause=_told(self.unread),
                hint="make what could not be read readable, then run again",
                next=Next.RETRY if any(problem.next is Next.RETRY for problem in self.unread) else Next.PERSON,
            )
        return Problem(
            "signature-missing",
            f"the image {self.subject.short} has no {what} by a trusted key",
            cause=_told(self.failures) if self.failures else "nothing that is attached to it is one",
            hint="sign it, or name its signer's public key among the keys of policy.verify",
        )


def judge(subject: Digest, referrer: Digest, data: bytes, keys: Sequence[Verifier]) -> Vouched | Problem:
    """One bundle: the statement that holds, or a Problem: `bundle-version-unknown`, `bundle-unreadable`,
    `signature-by-certificate`, `signature-wrong`, `signature-wrong-key`, `statement-unreadable`,
    `signature-wrong-subject`. What is signed is not read before its signature holds."""
    what = f"the signature {referrer.short} of {subject.short}"
    try:
        bundle = Bundle.parse(data)
    except UnknownVersionError as error:
        hint = "use a newer lian, or sign with bundles of version 0.3"
        return Problem(
            "bundle-version-unknown", f"{what} has a form that is not known here", cause=str(error), hint=hint
        )
    except ValueError as error:
        return Problem(NO_BUNDLE, f"{what} cannot be read", cause=str(error))
    signer = _signer(bundle, keys)
    if signer is None:
        return _unsigned(bundle, keys, what)
    stated = _stated(subject, bundle.envelope, what)
    return stated if isinstance(stated, Problem) else Vouched(stated, signer.name, referrer)


def _signer(bundle: Bundle, keys: Sequence[Verifier]) -> Verifier | None:
    """The hint is not signed, so it decides nothing: every key is tried."""
    envelope = bundle.envelope
    if bundle.key_hint is None:
        return None
    return next((key for key in keys if key.holds(envelope.signed_bytes, envelope.signature)), None)


def _unsigned(bundle: Bundle, keys: Sequence[Verifier], what: str) -> Problem:
    names = ", ".join(key.name for key in keys)
    if bundle.key_hint is None:
        message = f"{what} is by a certificate, and lian verifies signatures by key"
        return Problem("signature-by-certificate", message, hint="use cosign verify with the signer's identity")
    hinted = next((key.name for key in keys if key.key_hint == bundle.key_hint), None)
    if hinted is not None:
        return Problem(
            "signature-wrong",
            f"{what} names the key {hinted}, which did not sign what it holds",
            cause="it was changed, or made in another manner, as cosign does with an Ed25519 key (Ed25519ph)",
            hint="find out which, and sign the image again",
        )
    return Problem("signature-wrong-key", f"{what} is by none of the trusted keys", cause=f"tried {names}")


def _stated(subject: Digest, envelope: Envelope, what: str) -> Statement | Problem:
    """What is signed, if it is a statement about the subject."""
    if envelope.payload_type != STATEMENT_PAYLOAD:
        cause = f"its payload is of type {envelope.payload_type[:100]!r}"
        return Problem("statement-unreadable", f"{what} is over something else than a statement", cause=cause)
    try:
        statement = Statement.parse(envelope.payload)
    except ValueError as error:
        return Problem("statement-unreadable", f"{what} is over a statement that cannot be read", cause=str(error))
    if subject in statement.subjects:
        return statement
    return Problem(
        "signature-wrong-subject",
        f"{what} was made for other content",
        cause=f"it speaks of {_listed([str(s) for s in statement.subjects], ', ')}",
        hint="sign the image itself; a signature cannot be taken over from another",
    )


def _told(problems: Sequence[Problem]) -> str:
    return _listed([problem.message for problem in problems], "; ")


def _listed(texts: Sequence[str], sign: str) -> str:
    """The first few; anyone who may push can attach a hundred."""
    more = len(texts) - TOLD
    return sign.join(texts[:TOLD]) + (f"{sign}and {more} more" if more > 0 else "")
