"""Compute over one provider, with a ledger of the test's own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.apply.leasing import Leasing, Patience
from reconciler.record.leases import LeaseFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.ports.compute import Provider, Swept


def leasing_of(
    provider: Provider,
    ledger: Path,
    *,
    name: str = "scripted",
    patience: Patience | None = None,
    clock: Callable[[], float] = time.time,
) -> Leasing:
    """It chooses that provider; short pauses between tries."""
    patience = patience or Patience(pauses=(0.0, 0.0))
    return Leasing({name: lambda: provider}, LeaseFiles(ledger), clock, lambda: name, patience)


def without_trouble(swept: Swept) -> list[str]:
    """The leases that were returned."""
    assert swept.problems == ()
    return list(swept.leases)
