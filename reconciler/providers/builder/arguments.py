"""A build request as the words of `buildctl build` (buildkit v0.33: cmd/buildctl/build, frontend/dockerui). Pure.

Each word is one argument of execve, so nothing is quoted for a shell; `--output` is a CSV record besides (RFC 4180),
and `--opt` and `--local` split at their first `=`.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.cache import CacheMode
from reconciler.model.problem import LianError, Problem
from reconciler.ports.builder import WriteFolder
from reconciler.ports.publisher import PullFrom, PushTo, WriteLayout

if TYPE_CHECKING:
    from reconciler.model.tier import Tier
    from reconciler.ports.builder import BuildRequest, CacheSource, CacheTarget, ContextInput, PinnedImage
    from reconciler.ports.publisher import Destination

CPU_PERIOD = 100_000
"""Microseconds in which a step may use `cpu` times as much processor time."""
IGNORE_SYNTAX_LINE = "cmdline=builtin"
"""Any value of `cmdline` makes the built-in frontend believe that a `# syntax=` line has been followed already
(frontend/dockerfile/builder/build.go), so no frontend image is pulled and run."""
RESERVED_ARGS = {
    "SOURCE_DATE_EPOCH": "the directive's `source_date_epoch` sets it",
    "BUILDKIT_SYNTAX": "lian builds with the builder's own frontend only",
    "BUILDKIT_MULTI_PLATFORM": "lian makes the index of an image itself",
    "BUILDKIT_CACHE_MOUNT_NS": "lian keeps the cache mounts of artifacts apart by it",
}
MAX_WORD = 128 * 1024 - 1
"""Bytes in one argument (execve(2), MAX_ARG_STRLEN less its final NUL)."""

_IMAGE = {
    "oci-mediatypes": "true",
    "rewrite-timestamp": "true",
    "compression": "gzip",
}
"""Said although some are defaults: a default that changes in a new release would change every digest."""
_CACHE = {
    "image-manifest": "true",
    "oci-mediatypes": "true",
    "compression": "gzip",
    "ignore-error": "true",
}


def build_words(address: str, request: BuildRequest, metadata: Path, *, limit_swap: bool = True) -> list[str]:
    """All words after `buildctl`. `metadata` is where BuildKit writes the digest.

    Raises LianError for values that no command line can carry, and for build arguments that lian sets itself.
    """
    frontend = "gateway.v0" if request.frontend else "dockerfile.v0"
    words = ["--addr", address, "build", "--progress=rawjson", f"--frontend={frontend}"]
    words += ["--metadata-file", str(metadata)]
    words += _local("context", request.context) + _local("dockerfile", request.dockerfile.parent)
    words += _options(request, limit_swap)
    for number, (name, value) in enumerate(sorted(request.contexts.items())):
        words += _context(number, name, value)
    if request.destination is not None:
        words += ["--output", csv_record(output_fields(request.destination))]
    for source in request.cache_from:
        words += ["--import-cache", import_record(source)]
    if request.cache_to is not None:
        words += ["--export-cache", export_record(request.cache_to)]
    _check(words)
    return words


def csv_record(fields: dict[str, str]) -> str:
    """`"key=value","key=value"`, each field quoted whatever it holds."""
    return ",".join('"' + f"{key}={value}".replace('"', '""') + '"' for key, value in fields.items())


_CACHE_RECORDS = {mode: csv_record({"mode": mode.value, **_CACHE}) for mode in (CacheMode.MAX, CacheMode.MIN)}


def output_fields(destination: Destination | WriteFolder) -> dict[str, str]:
    """The exporter and its attributes. No provenance by BuildKit: it would differ at each build."""
    if isinstance(destination, WriteFolder):
        return {"type": "local", "dest": str(destination.folder)}
    if not isinstance(destination, PushTo):
        return {"type": "oci", "tar": "false", "dest": str(destination.folder)} | _IMAGE
    fields = {"type": "image", "name": str(destination.repository), "push": "true", "push-by-digest": "true"} | _IMAGE
    return fields | ({"registry.insecure": "true"} if _is_insecure(destination) else {})


def import_record(source: CacheSource) -> str:
    """A cache that is read, by its digest. No part of a repository needs to be quoted."""
    origin = source.origin
    if isinstance(origin, PullFrom):
        return f'"type=registry","ref={origin.repository}@{source.digest}"{_insecure(origin)}'
    return csv_record({"type": "local", "src": str(origin.folder), "digest": str(source.digest)})


def export_record(target: CacheTarget) -> str:
    """Where the cache goes. It is compressed as the image is, or every layer would be made twice; an ordinary image
    manifest, which every registry takes; and a failure of it is told, and fails no build."""
    destination, common = target.destination, _CACHE_RECORDS[target.mode]
    if isinstance(destination, PushTo):
        return f'"type=registry","ref={destination.repository}:{target.tag}",{common}{_insecure(destination)}'
    if isinstance(destination, WriteLayout):
        return f"{csv_record({'type': 'local', 'dest': str(destination.folder), 'tag': target.tag})},{common}"
    raise TypeError(f"{destination} cannot hold a cache")


def familiar(name: str) -> str:
    """The form in which BuildKit looks up a named context: as docker shows the image, without `:latest`.

    github.com/distribution/reference, ParseNormalizedNamed and FamiliarString; frontend/dockerui/config.go. lian's
    own Reference will not do here: it knows more names of Docker Hub than that library does.
    """
    domain, slash, rest = name.partition("/")
    if not slash or not (any(sign in domain for sign in ".:") or domain == "localhost" or domain != domain.lower()):
        domain, rest = "docker.io", name
    if domain in {"docker.io", "index.docker.io"}:
        official = rest.removeprefix("library/")
        full = rest if "/" in official else official
    else:
        full = f"{domain}/{rest}"
    return full.removesuffix(":latest")


def _options(request: BuildRequest, limit_swap: bool) -> list[str]:
    options = {"filename": request.dockerfile.name, "platform": str(request.platform)}
    if request.target is not None:
        options["target"] = request.target
    for name, value in sorted(request.args.items()):
        _refuse_reserved(name)
        options[f"build-arg:{_key(name)}"] = value
    options["build-arg:SOURCE_DATE_EPOCH"] = str(request.source_date_epoch)
    if request.mount_namespace is not None:
        options["build-arg:BUILDKIT_CACHE_MOUNT_NS"] = request.mount_namespace
    options |= {f"label:{_key(name)}": value for name, value in sorted(request.labels.items())}
    options |= _limits(request.tier, limit_swap)
    if request.scanner is not None:
        options["attest:sbom"] = f"generator={request.scanner.repository}@{request.scanner.digest}"
    pairs = [*_read_by(request.frontend), *(f"{key}={value}" for key, value in options.items())]
    return [word for pair in pairs for word in ("--opt", pair)]


def _read_by(frontend: PinnedImage | None) -> list[str]:
    """What reads the Dockerfile. An image is told that its line was followed already, as the built-in frontend is."""
    if frontend is None:
        return [IGNORE_SYNTAX_LINE]
    if not isinstance(frontend.origin, PullFrom):
        raise TypeError(f"{frontend.origin} cannot hold a frontend")
    image = f"{frontend.origin.repository}@{frontend.digest}"
    return [f"source={image}", f"cmdline={image}"]


def _limits(tier: Tier, limit_swap: bool) -> dict[str, str]:
    """For each step; none of them is part of BuildKit's cache keys."""
    memory = str(tier.memory_bytes)
    limits = {"memory": memory, "cpuperiod": str(CPU_PERIOD), "cpuquota": str(CPU_PERIOD * tier.cpu)}
    return limits | ({"memswap": memory} if limit_swap else {})


def _context(number: int, name: str, value: ContextInput) -> list[str]:
    option = f"context:{_key(familiar(name))}="
    if isinstance(value, Path):
        return ["--opt", f"{option}local:context{number}", *_local(f"context{number}", value)]
    if isinstance(value.origin, PullFrom):
        return ["--opt", f"{option}docker-image://{value.origin.repository}@{value.digest}"]
    layout = f"layout{number}"
    return ["--opt", f"{option}oci-layout://{layout}@{value.digest}", "--oci-layout", f"{layout}={value.origin.folder}"]


def _insecure(place: PushTo | PullFrom) -> str:
    """What follows in a record where plain HTTP is not BuildKit's own guess."""
    return ',"registry.insecure=true"' if _is_insecure(place) else ""


def _is_insecure(place: PushTo | PullFrom) -> bool:
    return place.plain and not _is_loopback(place.repository.host)


def _local(identity: str, folder: Path) -> list[str]:
    return ["--local", f"{identity}={folder}"]


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    """True where BuildKit speaks plain HTTP unasked (containerd, docker.MatchLocalhost)."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    try:
        return name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _key(name: str) -> str:
    if not name or "=" in name:
        raise LianError(Problem("argument-invalid", f"{name!r} cannot name an argument, a label or a context"))
    return name


def _refuse_reserved(name: str) -> None:
    if name in RESERVED_ARGS:
        raise LianError(
            Problem(
                "argument-reserved",
                f"the build argument {name} cannot be set by a directive",
                cause=RESERVED_ARGS[name],
                hint="remove it from `args`",
            )
        )


def _check(words: list[str]) -> None:
    """What execve cannot carry is said before anything is started."""
    for word in words:
        name = word.partition("=")[0]
        try:
            size = len(word.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as error:
            raise LianError(
                Problem("argument-invalid", f"the value of {name} is not text", cause=str(error))
            ) from error
        if "\0" in word:
            raise LianError(Problem("argument-invalid", f"the value of {name} holds a NUL character"))
        if size > MAX_WORD:
            raise LianError(
                Problem(
                    "argument-too-long",
                    f"the value of {name} has {size} bytes; a build argument or label takes {MAX_WORD} at most",
                    hint="put it in a file of the context",
                )
            )
