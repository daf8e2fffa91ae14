"""The values of flags: from their texts, or argparse.ArgumentTypeError saying how they are written."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.secret import Secret

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_VOLUME = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)(?P<unit>(?:[kmgt]i?)?b)", re.IGNORECASE)
_VOLUMES = {"B": 1} | {f"{sign}B": 1000**power for power, sign in enumerate("KMGT", 1)}
_VOLUMES |= {f"{sign}IB": 1024**power for power, sign in enumerate("KMGT", 1)}


def seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `1.5h`, `500ms` in seconds. Raises argparse.ArgumentTypeError."""
    match = _DURATION.fullmatch(text)
    if not match or float(match["number"]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 90s, 15m or 1.5h")
    return float(match["number"]) * _UNITS[match["unit"] or "s"]


def age(text: str) -> float:
    """`45m`, `12h`, `30d`, `8w` in seconds. Raises argparse.ArgumentTypeError."""
    from reconciler.model import duration

    try:
        return float(duration.seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age: write 12h, 30d or 8w") from error


def volume(text: str) -> int:
    """`20GB`, `1.5TiB`, `500MB` in bytes. Raises argparse.ArgumentTypeError."""
    match = _VOLUME.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write 20GB, 500MiB or 0B")
    return int(float(match["number"]) * _VOLUMES[match["unit"].upper()])


def jobs(text: str) -> int:
    """A count from 1 to 256. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 256")
    return int(text)


def builds(text: str) -> int:
    """A count from 0 on. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of builds")
    return int(text)


def registry(text: str) -> str:
    """`oci-layout:PATH` or `http(s)://HOST[:PORT]`. Raises argparse.ArgumentTypeError."""
    if re.fullmatch(r"oci-layout:.+", text) or re.fullmatch(r"https?://[^/@?#\s]+/?", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not a registry: write oci-layout:PATH or http(s)://HOST[:PORT]")


def secret(text: str) -> Secret:
    """A value that is shown nowhere."""
    from reconciler.model.secret import Secret

    return Secret(text)
