"""Dockerfiles of lian's own, that look into the cache mounts of another build. Pure.

A builder has no other way to them. Both steps run without a network, on nothing but a static busybox; ids come as build
arguments, so that nothing in them is read as part of a Dockerfile. A build with cache mounts that asks for no cache
(`no-cache`) would empty them (seen: BuildKit prunes the mounts of such a build), so a number used once makes each one
run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.cache import MAX_MOUNT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.cache import CacheMount

ARCHIVES = "archives"
"""The named context that what is restored lies in."""
OUT = "out"
"""The folder of the last stage that what is saved lies in."""
_TOOL = "/busybox"
_PARTS = MAX_MOUNT_BYTES // (1 << 20) + 1
"""Of a mebibyte each: enough to tell that a mount is too large, and no more."""


@dataclass(frozen=True, slots=True)
class MountStep:
    """A Dockerfile and its build arguments."""

    text: str
    args: Mapping[str, str]


def restoring(mounts: Sequence[CacheMount], tool: str, nonce: str) -> MountStep:
    """Unpacks `name_of(nonce, number)` and `name_of(nonce, number, late=True)` into each mount that is empty. `tool` is
    the name of the busybox in the context."""
    parts = ["failed=0"]
    for number in range(len(mounts)):
        first, last = (f"/in/{name_of(nonce, number, late=late)}" for late in (False, True))
        unpacked = f"{_TOOL} tar -xpf {first} && {_TOOL} tar -xpf {last}"
        parts.append(
            f'cd /m/{number} && if [ -z "$({_TOOL} ls -A)" ]; then {unpacked} || {{ failed=1; {_EMPTIED}; }}; fi'
        )
    archives = f"--mount=type=bind,from={ARCHIVES},target=/in"
    return _step(mounts, tool, nonce, "; ".join([*parts, "exit $failed"]), archives)


def saving(mounts: Sequence[CacheMount], tool: str, nonce: str) -> MountStep:
    """Packs each mount into `name_of(nonce, number)` in the folder OUT. What is too large is cut off."""
    parts = [f"{_TOOL} mkdir /{OUT}"]
    for number in range(len(mounts)):
        bounded = f"{_TOOL} dd bs=1M count={_PARTS} iflag=fullblock of=/{OUT}/{name_of(nonce, number)}"
        parts.append(f"cd /m/{number} && {_TOOL} tar -cf - . | {bounded}")
    return _step(mounts, tool, nonce, " && ".join(parts))


def emptying(mounts: Sequence[CacheMount], tool: str, nonce: str) -> MountStep:
    """Empties each mount: nobody knows what a restore that was broken off has left."""
    parts = [f"cd /m/{number} && {_EMPTIED}" for number in range(len(mounts))]
    return _step(mounts, tool, nonce, " && ".join(parts))


def name_of(nonce: str, number: int, *, late: bool = False) -> str:
    """The file of a mount. Never the same twice: a builder that has one of that size and time takes it for the same."""
    return f"{nonce}-{number}{'-late' if late else ''}.tar"


_EMPTIED = f"{_TOOL} find . -mindepth 1 -maxdepth 1 -exec {_TOOL} rm -rf {{}} +"


def _step(mounts: Sequence[CacheMount], tool: str, nonce: str, script: str, *flags: str) -> MountStep:
    args = {f"LIAN_ID_{number}": mount.id for number, mount in enumerate(mounts)}
    run = ["RUN --network=none", *flags, *(_mount(number, mount) for number, mount in enumerate(mounts))]
    lines = ["FROM scratch AS tool", f"COPY {tool} {_TOOL}", "FROM tool", "ARG LIAN_NONCE"]
    lines += [f"ARG {name}" for name in args]
    lines.append(" ".join([*run, json.dumps([_TOOL, "sh", "-c", script])]))
    return MountStep("\n".join(lines) + "\n", {"LIAN_NONCE": nonce, **args})


def _mount(number: int, mount: CacheMount) -> str:
    """With the owner as the user's own step has it: it is part of what BuildKit knows the mount by."""
    fields = f"--mount=type=cache,id=$LIAN_ID_{number},target=/m/{number},sharing=locked"
    if mount.owner is None:
        return fields
    return f"{fields},uid={mount.owner.uid},gid={mount.owner.gid},mode={mount.owner.mode:04o}"
