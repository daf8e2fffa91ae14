"""A lease: what stands on everything that is rented, so that whoever finds it knows whose it is and until when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TIME = 1e12
"""Seconds; no clock is that far off."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LABEL = "dev.lian."
"""In front of the names of all labels."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`fleet` and `pass_id` are the owner. `created` and `deadline` in Unix seconds: after the deadline nobody needs it
    any more, whoever rented it. `purpose` says what it builds, for people, and `tier` how large it is: that tier of its
    provider's ladder, empty where it has none."""

    name: str
    fleet: str
    pass_id: str
    created: float
    deadline: float
    purpose: str = ""
    tier: str = ""

    def __post_init__(self) -> None:
        if not is_lease_name(self.name):
            raise ValueError(f"{self.name!r} is not a lease's name")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Lease:
        """Raises ValueError for anything that `to_json` did not write."""
        try:
            return cls(
                str(document["lease"]),
                str(document["fleet"]),
                str(document["pass"]),
                _time(document["created"]),
                _time(document["deadline"]),
                str(document["purpose"]),
                str(document.get("tier", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a lease: {error!r}") from error

    def to_json(self) -> dict[str, Any]:
        """As it stands in files."""
        return {
            "lease": self.name,
            "fleet": self.fleet,
            "pass": self.pass_id,
            "created": self.created,
            "deadline": self.deadline,
            "purpose": self.purpose,
            "tier": self.tier,
        }

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Lease:
        """Raises ValueError for what `to_labels` did not write, another one's machine say."""
        found = {name.removeprefix(LABEL): text for name, text in labels.items() if name.startswith(LABEL)}
        times: dict[str, Any] = {name: float(found[name]) for name in ("created", "deadline") if name in found}
        return cls.from_json({"purpose": "", **found, **times})

    def to_labels(self) -> dict[str, str]:
        """As it stands on machines and containers: names and texts. Times are whole seconds, the
        deadline rounded up."""
        times = {"created": int(self.created), "deadline": int(-(-self.deadline // 1))}
        return {f"{LABEL}{name}": str(value) for name, value in (self.to_json() | times).items()}


def is_lease_name(text: str) -> bool:
    """True for 1 to 40 of a-z, 0-9 and dashes, none in front: it becomes a folder, a container, a machine's name."""
    return _NAME.fullmatch(text) is not None


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        raise ValueError("not a lease: a time is out of bounds")
    return float(value)
