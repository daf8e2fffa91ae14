"""What goes on in a lease's container, told by one process there for as long as the lease lasts.

It answers a line with what the control group of the steps says. A process for each answer would take Docker more time
than what is measured.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.ports.compute import Usage
from reconciler.providers.compute.cgroups import MemoryReading
from reconciler.providers.compute.docker import problems
from reconciler.providers.compute.docker.container import CGROUP
from reconciler.providers.compute.docker.hijack import OUTPUT
from reconciler.providers.compute.metering import LOOK_SECONDS, MemoryMeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from reconciler.providers.compute.docker.hijack import Connection

WHAT = "tell what the builder uses"
_MEMORY, _CPU, _UNIFIED = (f"/sys/fs/cgroup{below}{CGROUP}" for below in ("/memory", "/cpuacct", ""))
"""Where the control group of all steps is: with v1, and with v2."""
_SCRIPT = f"""\
buildkitd --version
echo .
while read -r what; do
  grep '' {_MEMORY}/memory.usage_in_bytes {_MEMORY}/memory.stat {_MEMORY}/memory.max_usage_in_bytes \
      {_CPU}/cpuacct.usage {_UNIFIED}/memory.current {_UNIFIED}/memory.stat {_UNIFIED}/memory.peak \
      {_UNIFIED}/memory.events {_UNIFIED}/cpu.stat
  if [ -n "$what" ] && [ ! -e {_UNIFIED}/memory.events ] && log=$(dmesg); then
    echo "log:oom_kill $(echo "$log" | grep -c "oom-kill:.*task_memcg=[^,]*$1{CGROUP}/")"
  fi
  echo .
done 2>/dev/null
"""
"""Says first which builder is there, and then for each look `file:number` or `file:name number` a line; each answer
ends with a dot. One program reads all: what is in use and what of it are pages of files have to be of one moment. With
v1 of control groups the kernel's log is looked into where `what` is asked for it (see Hierarchies.oom_kills)."""
_ALL, _MEMORY_ALONE = b"all\n", b"\n"


def command(container: str) -> Sequence[str]:
    """What is run in the container of this id."""
    return ("/bin/sh", "-c", _SCRIPT, "gauge", container)


@dataclass(slots=True)
class Gauge:
    """Asks what `command` runs, over its connection. `seconds` is how long an answer may take; `told` is given what the
    process says of errors."""

    connection: Connection
    seconds: float
    told: Callable[[bytes], None]
    meter: MemoryMeter = field(default_factory=MemoryMeter)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _frames: AsyncIterator[tuple[int, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self._frames = self.connection.frames()

    async def builder(self) -> str:
        """What `buildkitd --version` says: the first answer. Raises LianError `docker-silent` or `docker-lost`."""
        return await self._answer()

    async def usage(self) -> Usage:
        """What steps have used so far. Raises LianError `docker-silent` or `docker-lost`."""
        values = await self._look(_ALL)
        return Usage(self.meter.take(_memory(values)), _cpu_seconds(values), values.get("oom_kill"))

    async def watch(self) -> None:
        """Look again and again, until that is of no use any more."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self.meter.take(_memory(await self._look(_MEMORY_ALONE)))
        except LianError as error:
            self.told(f"{error}\n".encode())

    async def _look(self, what: bytes) -> Mapping[str, int]:
        """Raises LianError `docker-silent` or `docker-lost`."""
        async with self._lock:
            self.connection.writer.write(what)
            return _values(await self._answer())

    async def _answer(self) -> str:
        """Once one has not come none will, for nobody would know any more to what question."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._whole()
        except TimeoutError as error:
            raise LianError(problems.silent(WHAT, self.seconds)) from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LianError(problems.lost(WHAT, str(error))) from error

    async def _whole(self) -> str:
        said = b""
        async for stream, content in self._frames:
            if stream == OUTPUT:
                said += content
            else:
                self.told(content)
            if b"\n" + said == b"\n.\n" or said.endswith(b"\n.\n"):
                return said.removesuffix(b".\n").decode(errors="replace")
        raise LianError(problems.lost(WHAT, "the process there ended"))


def _values(answer: str) -> Mapping[str, int]:
    """Name -> number, a file's name for one that holds nothing else; what is no number is left out."""
    found: dict[str, int] = {}
    for line in answer.splitlines():
        path, _, said = line.partition(":")
        name, _, number = said.rpartition(" ")
        if number.isdecimal():
            found[name or path.rpartition("/")[2]] = int(number)
    return found


def _memory(values: Mapping[str, int]) -> MemoryReading | None:
    """With v1 first; None if it is not accounted."""
    for used, peak, prefix in (
        ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "total_"),
        ("memory.current", "memory.peak", ""),
    ):
        files = [values.get(f"{prefix}{kind}_file") for kind in ("inactive", "active")]
        if used in values and None not in files:
            return MemoryReading(values[used], sum(filter(None, files)), values.get(peak))
    return None


def _cpu_seconds(values: Mapping[str, int]) -> float | None:
    if "cpuacct.usage" in values:
        return values["cpuacct.usage"] / 1e9
    return values["usage_usec"] / 1e6 if "usage_usec" in values else None
