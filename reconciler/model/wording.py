"""Numbers, as sentences say them."""

from __future__ import annotations


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 artifact`, `2,000 artifacts`; with a plural that is not the noun and an s, `2 repositories`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def built_from(revision: str) -> str:
    """What was built, in few words; a folder that lies in no repository has no revision."""
    return f"revision {revision[:12]}" if revision else "a folder"
