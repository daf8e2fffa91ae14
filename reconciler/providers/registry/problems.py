"""What can be wrong with a registry, in words."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from reconciler.model.problem import Next, Problem
from reconciler.ports.registry import BLOB_UNKNOWN, MANIFEST_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.providers.registry.refusal import Account, Refusal

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_TLS = re.compile(r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST")
"""OpenSSL's reasons when what answers does not speak TLS; which one depends on its version."""
_UNKNOWN_ISSUER = re.compile(r"CERTIFICATE_VERIFY_FAILED")
_WANTS_CERTIFICATE = re.compile(r"ALERT_(?:BAD_CERTIFICATE|CERTIFICATE_REQUIRED|UNKNOWN_CA|HANDSHAKE_FAILURE)")
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def unreachable(host: str, cause: str) -> Problem:
    """No connection, or one that broke."""
    if _NOT_TLS.search(cause):
        return _plain_http(host)
    hint = "check that the registry runs, the network between, and its address (lian.ncl, the directive, --registry)"
    if _UNKNOWN_ISSUER.search(cause):
        hint = "let `ca` in its settings name the certificate of its authority, or put that where the machine trusts it"
    elif _WANTS_CERTIFICATE.search(cause):
        hint = "it asks for a client certificate that it knows: set `client_cert` and `client_key` in its settings"
    return Problem(
        "registry-unreachable", f"the registry {host} cannot be reached", cause=cause, hint=hint, next=Next.RETRY
    )


def _plain_http(host: str) -> Problem:
    return Problem(
        "registry-unreachable",
        f"the registry {host} cannot be reached by https://",
        cause="it does not speak TLS; most likely it speaks plain HTTP",
        hint="write its address with http://, in lian.ncl, the directive or --registry",
    )


def busy(host: str, cause: str) -> Problem:
    """429 to the end."""
    return Problem(
        "registry-busy",
        f"the registry {host} limits the rate of requests and did not relent in time",
        cause=cause,
        hint="wait for the limit to pass, or log in with `docker login` for a higher one",
        next=Next.RETRY,
    )


def failing(host: str, cause: str) -> Problem:
    """5xx to the end."""
    return Problem(
        "registry-failing",
        f"the registry {host} answers with errors of its own",
        cause=cause,
        hint="look at the registry's log; lian tries again at the next pass",
        next=Next.RETRY,
    )


def denied(refusal: Refusal) -> Problem:
    """401 or 403. What is so for all repositories of a host is told in the same words, and so is told once."""
    host, account = refusal.host, refusal.account
    if refusal.what is not None:
        message = f"the registry {host} refuses access to {refusal.what}"
        return Problem("registry-denied", message, cause=_asked_as(refusal.cause, account), hint=_way_in(host, account))
    if account is None:
        message = f"the registry {host} asks for a login, and there is none for it"
        hint = f"{_log_in(host)}; LIAN_REGISTRY_USER and LIAN_REGISTRY_PASSWORD are heeded for the fleet's own registry"
        return Problem("registry-denied", message, cause=refusal.cause, hint=hint)
    whose = f"of {account.user}" if account.user else f"by {account.kind}"
    message = f"the registry {host} refuses the login {whose}"
    cause = f"{refusal.cause}; the login came from {account.origin.place}"
    return Problem("registry-denied", message, cause=cause, hint=account.origin.remedy)


def not_granted(host: str, repository: str, cause: str, account: Account | None) -> Problem:
    """A 404 to one who was not granted pull."""
    return Problem(
        "registry-denied",
        f"whether {repository} is on the registry {host} cannot be told: reading it was not granted",
        cause=_asked_as(cause, account),
        hint=f"{_way_in(host, account, ' to pull')}: absent and hidden look alike without",
    )


def realm_untrusted(host: str, realm: str, cause: str) -> Problem:
    """A registry sends whoever has a login to where no login may go."""
    return Problem(
        "registry-denied",
        f"the registry {host} refuses access without a token from {realm!r}",
        cause=cause,
        hint="let the registry name a token service that is reached over HTTPS",
    )


def _asked_as(cause: str, account: Account | None) -> str:
    if account is None:
        return f"{cause}; asked without a login"
    return f"{cause}; asked as {account.name}, a login from {account.origin.place}"


def _way_in(host: str, account: Account | None, right: str = "") -> str:
    if account is None:
        return f"{_log_in(host)}, as someone who has the right{right}"
    return f"give {account.name} the right{right}, or take another login: {account.origin.remedy}"


def _log_in(host: str) -> str:
    return f"run `docker login {host}`, whose config.json lian reads"


def login_incomplete(host: str, message: str, hint: str) -> Problem:
    """Half of a login."""
    return Problem("credential-incomplete", f"the login of the registry {host} is incomplete: {message}", hint=hint)


def login_forbidden(host: str, variable: str, cause: str) -> Problem:
    """A commit names a credential for a host that nobody trusted with it."""
    return Problem(
        "credential-forbidden",
        f"the commit names a credential for the registry {host}, and {host} may have none",
        cause=cause,
        hint=f"if it may see one, set {variable} to {host} where lian runs, or run `docker login {host}` there",
    )


def login_withheld(host: str) -> Problem:
    """A directive alone says that a host is reached without anyone vouching for it."""
    return Problem(
        "credential-withheld",
        f"the registry {host} asks for a login, and none is sent there",
        cause="a directive alone says that it is reached in plain, or by a certificate of its own choice",
        hint=f"describe it in lian.ncl, or set LIAN_CREDENTIAL_HOSTS to {host} where lian runs",
    )


def not_oci(host: str, what: str, cause: str) -> Problem:
    """An answer that no OCI registry gives."""
    return Problem(
        "registry-not-oci",
        f"{host} does not answer as an OCI registry when asked for {what}",
        cause=cause,
        hint="check the registry's address; a proxy or a login page may stand in between",
    )


def catalog_unsupported(host: str, cause: str | None) -> Problem:
    """No list of repositories, or not for this account."""
    return Problem(
        "catalog-unsupported",
        f"the registry {host} does not list its repositories",
        cause=cause,
        hint="use an account that may read its catalogue, if it has one; without it only repositories that the"
        " directives name can be looked at",
    )


def wrong_digest(host: str, what: str, cause: str) -> Problem:
    """Content and digest contradict one another."""
    return Problem(
        "registry-wrong-digest",
        f"the registry {host} returned something else than {what}",
        cause=cause,
        hint="look at the registry and at proxies before it: one is damaged; nothing was taken from it",
    )


def missing(code: str, host: str, what: str) -> Problem:
    """A 404 that is certain; `code` is MANIFEST_UNKNOWN or BLOB_UNKNOWN, after the specification's codes."""
    return Problem(code, f"the registry {host} does not hold {what}", next=Next.RETRY)


def lacking(host: str, path: str, manifests: Iterable[Digest], blobs: Iterable[Digest]) -> tuple[Problem, ...]:
    """One for each part of an image that is certainly absent."""
    kinds = ((MANIFEST_UNKNOWN, manifests), (BLOB_UNKNOWN, blobs))
    return tuple(missing(code, host, f"{path}@{digest}") for code, digests in kinds for digest in digests)


def too_large(host: str, what: str, limit: int) -> Problem:
    """More bytes than may be read."""
    return Problem("content-too-large", f"{what} on {host} is larger than the {limit:,} bytes lian reads of it")


def refused(host: str, what: str, cause: str) -> Problem:
    """A write that the registry does not accept."""
    return Problem(
        "registry-refused",
        f"the registry {host} does not accept {what}",
        cause=cause,
        hint="look at the cause; quotas, immutable tags and missing blobs are the usual ones",
    )


def keeps_all(host: str, cause: str) -> Problem:
    """Deletion is switched off."""
    return Problem(
        "registry-refused",
        f"the registry {host} does not let anything be deleted",
        cause=cause,
        hint="allow it: `storage.delete.enabled` of docker-registry and distribution, `accessControl` of zot, the"
        " account's permissions on Harbor; nothing was changed",
    )


def foreign(refused: str) -> Problem:
    """A host that is not the fleet's to change; `refused` says what is not done."""
    return Problem(
        "registry-foreign",
        f"{refused}: it is not one of the fleet's registries",
        hint="name it as the `registry` of lian.ncl or of the directive",
    )


def damaged(folder: Path, cause: str) -> Problem:
    """A layout on disk that contradicts itself."""
    return Problem(
        "registry-damaged",
        f"the image layout {folder} is damaged",
        cause=cause,
        hint="restore it from a copy, or remove this folder and run again: its images are then built anew",
    )


def incomplete(folder: Path, cause: str) -> Problem:
    """A builder left something that is not the image it announced."""
    return Problem(
        "image-damaged",
        f"what the builder left in {folder} is not the image it announced",
        cause=cause,
        hint="run again; if it stays, the builder or the disk is at fault",
        next=Next.RETRY,
    )


def disk(folder: Path, error: OSError) -> Problem:
    """The file system said no."""
    cause = f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)
    if error.errno in _FULL:
        message = f"no space is left for the image layout {folder}"
        return Problem("disk-full", message, cause=cause, hint="free some space, then run again")
    if error.errno in _FORBIDDEN:
        return Problem(
            "registry-denied",
            f"the image layout {folder} may not be used by this account",
            cause=cause,
            hint="check the owner and the mode of the folder",
        )
    return Problem("registry-unreachable", f"the image layout {folder} cannot be used", cause=cause, next=Next.RETRY)


def unwritten(file: Path, error: OSError) -> Problem:
    """What a registry holds cannot be brought to disk."""
    if error.errno in _FULL:
        message = f"no space is left for what is fetched to {file.parent}"
        return Problem("disk-full", message, hint="free some space, then run again", next=Next.RETRY)
    cause = error.strerror or str(error)
    return Problem("cache-unusable", f"{file} cannot be written", cause=cause, next=Next.RETRY)


def unread(file: Path, error: OSError) -> Problem:
    """What is to go into a registry cannot be read."""
    return Problem("cache-unusable", f"{file} cannot be read", cause=error.strerror or str(error), next=Next.RETRY)


def ca_unreadable(host: str, cause: str) -> Problem:
    """A certificate authority for a registry is none."""
    return Problem(
        "ca-unreadable",
        f"the certificates to trust for the registry {host} cannot be used",
        cause=cause,
        hint="let `ca` in the registry's settings name a file of PEM certificates in the desired repo; Docker's lie in"
        " certs.d",
    )


def client_cert_unusable(host: str, cause: str) -> Problem:
    """A client certificate or its key is none, or they do not belong together."""
    return Problem(
        "client-cert-unusable",
        f"the client certificate for the registry {host} cannot be used",
        cause=cause,
        hint="let `client_cert` name a PEM certificate in the desired repo, and `client_key` its key, not encrypted",
    )


def not_moved(tag: str, wanted: str, now: str) -> Problem:
    """A tag that reads back as something else."""
    return Problem(
        "tag-not-moved",
        f"{tag} was pointed at {wanted}, but does not read back so",
        cause=f"it names {now}",
        hint="look for someone else who moves it at the same time; the next pass looks again",
        next=Next.RETRY,
    )
