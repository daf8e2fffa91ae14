"""The parts of the machine that lian stands on: what needs each, what is lost without it, how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.checks.probes import (
    Found,
    Surroundings,
    probe_cgroups,
    probe_credential_helpers,
    probe_landlock,
    probe_namespaces,
    probe_nickel,
    probe_program,
    probe_space,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CACHES = tuple(f"cache {verb}" for verb in ("policy", "refs", "ls", "du", "prune"))
SIZES = tuple(f"sizing {verb}" for verb in ("explain", "suggest"))
RUNNERS = tuple(f"runners {verb}" for verb in ("list", "sweep"))
READING = (
    *("validate", "diff", "why", "images", "verify", "sign", "registry status", "prune", "lock", "stats"),
    *CACHES,
    *SIZES,
    *RUNNERS,
)
"""Commands that evaluate directives and build nothing."""
BUILDING = ("reconcile", "watch", "build")
"""Commands that build."""
COMMANDS = ("init", *READING, *BUILDING, "schema", "doctor", "version", "completion")


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `needed_by` names the commands that fail without it; it is empty for an optional part.

    `without` says what is different when it is missing; `hint` how to get it.
    """

    name: str
    needed_by: tuple[str, ...]
    without: str
    hint: str
    look: Callable[[Surroundings], Found]


@dataclass(frozen=True, slots=True)
class PartStatus:
    """A part as it was found. `why` is set exactly when it is not usable."""

    name: str
    version: str | None
    path: str | None
    usable: bool
    why: str | None
    needed_by: tuple[str, ...]
    without: str
    hint: str

    def to_json(self) -> dict[str, Any]:
        """One entry of a doctor document's `parts`."""
        return {
            "name": self.name,
            "version": self.version,
            "path": self.path,
            "usable": self.usable,
            "why": self.why,
            "needed_by": list(self.needed_by),
            "without": self.without,
            "hint": None if self.usable else self.hint,
        }


_NO_BUILDS = "nothing can be built; validate, diff and why work"
_BUILDKIT_HINT = "run `make setup` in a checkout, or put a BuildKit release v0.31 or newer on PATH"

PARTS = (
    Part(
        "nickel",
        (*READING, *BUILDING),
        "no directive can be evaluated",
        "install the package py-nickel into lian's environment, or `cargo install nickel-lang-cli`",
        probe_nickel,
    ),
    Part("buildkitd", BUILDING, _NO_BUILDS, _BUILDKIT_HINT, probe_program("buildkitd")),
    Part("buildctl", BUILDING, _NO_BUILDS, _BUILDKIT_HINT, probe_program("buildctl")),
    Part("runc", BUILDING, _NO_BUILDS, "apt-get install runc", probe_program("runc")),
    Part(
        "namespaces",
        BUILDING,
        _NO_BUILDS,
        "run as root on Linux, in a container with CAP_SYS_ADMIN",
        probe_namespaces,
    ),
    Part(
        "cgroups",
        BUILDING,
        "the limits of a tier cannot be enforced",
        "mount the memory and cpu controllers writable at /sys/fs/cgroup",
        probe_cgroups,
    ),
    Part("cache-space", BUILDING, "builds end with a full disk", "free some space, or set XDG_CACHE_HOME", probe_space),
    Part(
        "busybox",
        (),
        "cache mounts are not kept between builds, also where `cache.mounts` says so",
        "apt-get install busybox-static, or apk add busybox-static",
        probe_program("busybox"),
    ),
    Part(
        "landlock",
        (),
        "the evaluator keeps its limits on time, memory and output, but the kernel does not confine what it reads",
        "use Linux 5.13 or newer with landlock in its list of security modules",
        probe_landlock,
    ),
    Part(
        "docker",
        (),
        "with compute 'DockerLocal nothing can be built, and with another one it is not needed; who has this needs "
        "neither root nor namespaces here",
        "start Docker, and become a member of the group of its socket (usually docker)",
        probe_program("docker"),
    ),
    Part(
        "credential-helpers",
        (),
        "registries whose login such a helper keeps cannot be read",
        "install the helper, or remove it from Docker's config.json and log in again",
        probe_credential_helpers,
    ),
    Part(
        "git",
        (),
        "lian reads git by itself; only the demo types git commands",
        "apt-get install git",
        probe_program("git"),
    ),
)


def probe(part: Part, around: Surroundings) -> PartStatus:
    """Look at the part; nothing on the machine is changed, and nothing is raised for what is missing."""
    found = part.look(around)
    return PartStatus(
        name=part.name,
        version=found.version,
        path=str(found.path) if found.path else None,
        usable=found.why is None,
        why=found.why,
        needed_by=part.needed_by,
        without=part.without,
        hint=part.hint,
    )
