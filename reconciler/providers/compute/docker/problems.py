"""What goes wrong between lian and Docker, as problems for a person."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.providers.compute.docker.engine import Answer

MISSING = "docker-missing"
FORBIDDEN = "docker-forbidden"
SILENT = "docker-silent"
LOST = "docker-lost"
REFUSED = "docker-refused"
UNSUITABLE = "docker-unsuitable"
UNSETTLED = frozenset({SILENT, LOST})
"""Codes of those after which Docker may do, or have done, what it was asked for."""

_FULL = "no space left on device"
_PASSING = frozenset({408, 409, 429})
"""Statuses, besides 500 and more, that another try may not meet."""


def unreachable(socket: Path, error: OSError | None, told: str) -> Problem:
    """Nobody answers at the socket, or this user may not ask."""
    if error is not None and error.errno in {errno.EACCES, errno.EPERM}:
        return Problem(
            FORBIDDEN,
            f"this user may not use Docker's socket {socket}",
            cause=error.strerror,
            hint="become a member of its group (`sudo usermod -aG docker $USER`, then log in again): whoever is in it "
            "is root on that machine",
            next=Next.HOLD,
        )
    return Problem(
        MISSING,
        f"Docker does not answer at {socket}",
        cause=error.strerror if error is not None and error.strerror else told,
        hint="start Docker, or say where it is: `compute.url` in lian.ncl, or DOCKER_HOST, as unix:///path",
        next=Next.HOLD,
    )


def elsewhere(source: str, url: str) -> Problem:
    """Docker is to be reached by other ways than a socket of this machine."""
    return Problem(
        UNSUITABLE,
        f"{source} is {url}, and docker-local reaches Docker by a unix socket alone",
        hint="write unix:///path; a machine reached over ssh is for compute 'Ssh",
    )


def silent(what: str, seconds: float) -> Problem:
    """It took the request and does not answer."""
    return Problem(
        SILENT,
        f"Docker did not {what} within {seconds:g} s",
        hint="look at its log; `docker info` shows whether it answers at all",
        next=Next.RETRY,
    )


def lost(what: str, told: str) -> Problem:
    """The connection ended in the middle."""
    return Problem(
        LOST,
        f"the connection to Docker ended when it was asked to {what}",
        cause=told,
        hint="look at its log; it may have been restarted",
        next=Next.RETRY,
    )


def refused(what: str, answer: Answer) -> Problem:
    """It says no."""
    told = f"{answer.status}: {answer.message}"
    if _FULL in answer.message.lower():
        return full(f"Docker could not {what}", told)
    forbidden = answer.status in {401, 403}
    passing = answer.status in _PASSING or answer.status >= 500
    return Problem(
        REFUSED,
        f"Docker refused to {what}",
        cause=told,
        hint="an authorization plugin or a proxy in front of it may forbid it" if forbidden else None,
        next=Next.HOLD if forbidden else Next.RETRY if passing else Next.PERSON,
    )


def full(message: str, told: str) -> Problem:
    """No room on the disk of Docker."""
    return Problem(
        "disk-full",
        message,
        cause=told,
        hint="make room where Docker keeps its data (`docker system df`)",
        next=Next.RETRY,
    )


def unsuitable(message: str, hint: str) -> Problem:
    """It is there, and will not do."""
    return Problem(UNSUITABLE, message, hint=hint)


def image_missing(image: str) -> Problem:
    """The image that the settings name is not there."""
    return Problem(
        "runner-image-missing",
        f"Docker does not have the image {image} that `compute.image` names",
        hint=f"lian pulls no runner by itself: `docker pull {image}`, or leave `compute.image` out",
        next=Next.HOLD,
    )


def unmade_image(error: OSError) -> Problem:
    """The runner's image cannot be put together here."""
    return Problem(
        "disk-full" if error.errno == errno.ENOSPC else "compute-unavailable",
        "the runner's image cannot be made",
        cause=f"{error.filename or 'a temporary file'}: {error.strerror or error}",
        hint="make room for temporary files (TMPDIR), and let the programs of the builder be readable",
    )


def failed_start(how: str, log: str, lines: int = 12) -> Problem:
    """The builder in the container did not come up."""
    cause = "\n".join([how, *log.splitlines()[-lines:]])
    if _FULL in cause.lower():
        return full("no space is left for the builder's state", cause)
    return Problem("builder-start-failed", "the builder did not start", cause=cause, next=Next.RETRY)
