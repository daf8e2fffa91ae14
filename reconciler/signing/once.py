"""A pass that only signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.apply.sign import sign_in_sync
from reconciler.model.event import Noted
from reconciler.reconcile import plan_once

if TYPE_CHECKING:
    from reconciler.model.outcome import Outcome
    from reconciler.ports.bundle import Ports
    from reconciler.reconcile import Options


async def sign_once(ports: Ports, options: Options) -> Outcome:
    """Sign what is in sync and is not signed yet; of `options` the selection counts. Raises LianError if no plan could
    be made, or nothing can be signed."""
    work = await plan_once(ports, options)
    for note in work.resolution.desired.notes:
        ports.recorder.record(Noted(note))
    return await sign_in_sync(work, ports)
