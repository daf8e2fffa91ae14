"""What is said to the supervisor of leases on a machine: a shell script of lian's own, told in full each time, so that
nothing has to be installed there, and what it answers."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from reconciler.model.lease import Lease, is_lease_name
from reconciler.ports.compute import Rental, RentalState
from reconciler.programs import OUTWARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LACKING, TAKEN, LEFT, UNKNOWN = 3, 4, 5, 6
"""Statuses: a program or a right is missing; there is a lease of this name; something of it could not be removed; there
is none."""
NOTHING = "-"
"""In the answer to `usage`: the machine does not account that."""
STATE = "/var/lib/lian"
"""Where all leases of a machine are, and what was sent to them last."""
NO_SPACE = "No space left on device"
"""The C library's words for ENOSPC; the script speaks no other language."""


@cache
def text() -> str:
    """The script."""
    outward = f"OUTWARD='{' '.join(OUTWARD)}'\n"
    return outward + files(__package__).joinpath("supervisor.sh").read_text(encoding="utf-8")


def command(state: str, verb: str, *arguments: str) -> list[str]:
    """The words that do it."""
    return ["sh", "-c", text(), "lian", verb, state, *arguments]


def leased(state: str, verb: str, lease: str, *arguments: str) -> list[str]:
    """The same of a lease that is there, by the script that lies in its folder; UNKNOWN if it is gone."""
    ours = f"{state}/leases/{lease}/supervisor"
    return ["sh", "-c", f'[ -r "$0" ] || exit {UNKNOWN}; exec sh "$0" "$@"', ours, verb, state, lease, *arguments]


def handed(contents: Mapping[str, bytes]) -> bytes:
    """Files as `receive` reads them from stdin."""
    lines = [f"{name} ".encode() + base64.b64encode(content) for name, content in contents.items()]
    return b"".join(line + b"\n" for line in [*lines, b". "])


def slot(fleet: str, role: str) -> str:
    """The folder of what is sent in this role: nobody else's names lead there."""
    return hashlib.sha256(json.dumps([fleet, role]).encode()).hexdigest()[:32]


def is_full(errors: str) -> bool:
    """Whether a disk that is full is what it complains of."""
    return NO_SPACE in errors or "Disk quota exceeded" in errors


@dataclass(frozen=True, slots=True)
class Listed:
    """A lease on a machine; `record` is what it says of itself."""

    name: str
    state: RentalState
    record: bytes

    @property
    def rental(self) -> Rental | None:
        """None if nothing says whose it is."""
        try:
            lease = Lease.from_json(json.loads(self.record))
        except ValueError:
            return None
        return Rental(lease, self.state) if lease.name == self.name else None

    @property
    def unowned(self) -> Rental:
        """As one of nobody, and over."""
        return Rental(Lease(self.name, "", "", 0.0, 0.0), self.state)


def listed(output: bytes) -> Iterator[Listed]:
    """The answer to `list`; what a login shell says besides is passed over. Raises ValueError."""
    for line in output.decode(errors="replace").splitlines():
        kind, *told = line.split(" ")
        if kind == "lease":
            name, state, record = told
            if not is_lease_name(name):
                raise ValueError(f"{name!r} is not a lease's name")
            yield Listed(name, RentalState(state), base64.b64decode(record))
