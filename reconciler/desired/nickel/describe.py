"""Says which evaluator is in use and how it is confined on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.desired import packaged as shipped
from reconciler.desired.nickel import engine
from reconciler.desired.nickel.pool import Worker
from reconciler.desired.nickel.scratch import Scratch
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from reconciler.desired.nickel.engine import Engine
    from reconciler.desired.nickel.settings import EvaluatorSettings


async def describe(settings: EvaluatorSettings) -> str:
    """One line about the evaluator that `evaluate` would use, tried by starting it, such as `py-nickel 1.18.0; reads
    only the commit (Landlock 7), no network, no sockets`. Raises LianError `nickel-missing` if none works."""
    chosen = await engine.choose(settings)
    with Scratch(settings.packaged or shipped.find(), lambda _: b"") as scratch:
        worker = Worker(scratch.root, chosen.command, settings.limits)
        try:
            await worker.ask("1", [], None, settings.limits.seconds)
        except engine.WorkerStartError as error:
            message = f"the Nickel evaluator ({chosen.identity}) does not start"
            raise LianError(Problem("nickel-missing", message, cause=str(error))) from error
        finally:
            await worker.close()
    return f"{_name(chosen)}; {', '.join(_confinement(worker.ready))}"


def _name(chosen: Engine) -> str:
    return f"{chosen.version} at {chosen.command}" if chosen.command else f"py-nickel {chosen.version}"


def _confinement(ready: dict[str, Any]) -> list[str]:
    """What holds the worker, and what this system lacks for it."""
    landlock = ready["landlock"]
    files = f"reads only the commit (Landlock {landlock})" if landlock else "files are guarded by lian's checks alone"
    network = "no network" if ready["network"] else "no network namespace"
    sockets = "no sockets" if ready["calls"] else "sockets are not refused"
    lacking = [f"no limit on {name}" for name in ready["refused"]]
    return [files, network, sockets, *lacking]
