"""The image that runners start from, made by lian: the programs of a builder and nothing else.

It is the same for the same programs, byte for byte, and named by its content: loaded once, and found again.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reconciler.model.elf import HEAD, read_program
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

REPOSITORY = "lian/runner"
PROGRAMS = {"buildkitd": ("buildkitd",), "buildctl": ("buildctl",), "runc": ("runc", "buildkit-runc"), "busybox": ()}
"""Each, and the names that it may have where programs are laid down by hand; BuildKit's own releases call runc so."""
CHUNK = 1 << 20
LIST_SECONDS = 10.0

_APPLETS = ("cat", "dmesg", "grep", "mount", "sh", "sleep")
"""What the container's first process and what lian asks there need of busybox."""
_FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "var/lib", "var/lib/buildkit")
_PATH = "/bin"


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs of a builder are: `find` tells those of this machine, None for one that is not usable; `laid`
    is where those for other machines are laid down by hand, at `linux-<architecture>/<name>`."""

    find: Callable[[str], Path | None]
    laid: Path

    def gather(self, wanted: Platform) -> Mapping[str, Path]:
        """Path in the image -> file here, for a builder on this platform. Raises LianError `compute-unavailable` naming
        all that is missing."""
        files: dict[str, Path] = {}
        missing: list[str] = []
        for name in PROGRAMS:
            try:
                files |= self._with_libraries(name, wanted)
            except ValueError as error:
                missing.append(str(error))
        if missing:
            raise LianError(_unavailable(wanted, missing, self._folder(wanted)))
        return files

    def _with_libraries(self, name: str, wanted: Platform) -> Mapping[str, Path]:
        """Raises ValueError saying what is missing."""
        path = self._path(name, wanted)
        with path.open("rb") as file:
            program = read_program(file.read(HEAD))
        if program.platform != wanted:
            raise ValueError(f"{name} (the one at {path} is for {program.platform})")
        files = {f"bin/{name}": path}
        if program.interpreter is not None:
            if wanted != this_machine():
                raise ValueError(f"{name} (the one at {path} needs libraries)")
            files |= _libraries(program.interpreter, path)
        return files

    def _path(self, name: str, wanted: Platform) -> Path:
        """One that was laid down for this platform first. Raises ValueError if there is none."""
        for other in PROGRAMS[name] or (name,):
            if (laid := self._folder(wanted) / other).is_file():
                return laid
        found = self.find(name) if wanted == this_machine() else None
        if found is None:
            raise ValueError(name)
        return found

    def _folder(self, wanted: Platform) -> Path:
        return self.laid / str(wanted).replace("/", "-")


@dataclass(frozen=True, slots=True)
class RunnerImage:
    """An image of one layer."""

    platform: Platform
    files: Mapping[str, Path]
    layer: str
    """The layer's digest in hex."""
    size: int
    """The layer's, in bytes."""

    @classmethod
    def of(cls, wanted: Platform, files: Mapping[str, Path]) -> RunnerImage:
        """Reads all files, unless this process has done so and they have not changed since. Raises OSError."""
        layer, size = _weighed(tuple((path, source, _state(source)) for path, source in sorted(files.items())))
        return cls(wanted, files, layer, size)

    @property
    def config(self) -> bytes:
        """The image's configuration (image-spec, config.md)."""
        named = {"architecture": self.platform.architecture, "os": self.platform.os}
        if self.platform.variant:
            named["variant"] = self.platform.variant
        document = {
            **named,
            "config": {"Env": [f"PATH={_PATH}", "HOME=/root"]},
            "created": "1970-01-01T00:00:00Z",
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "lian"}],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{self.layer}"]},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @property
    def name(self) -> str:
        """By its content. `docker ps` would show no name that begins as the image's id does."""
        return f"{REPOSITORY}:{self.platform.architecture}-{hashlib.sha256(self.config).hexdigest()[:12]}"

    def write(self, file: IO[bytes]) -> None:
        """As `docker load` reads it. Raises OSError."""
        config, layer = f"{hashlib.sha256(self.config).hexdigest()}.json", f"{self.layer}.tar"
        manifest = [{"Config": config, "RepoTags": [self.name], "Layers": [layer]}]
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, document in ((config, self.config), ("manifest.json", json.dumps(manifest).encode())):
                tar.addfile(_entry(name, 0o644, len(document)), io.BytesIO(document))
            tar.addfile(_entry(layer, 0o644, self.size))  # its content follows: a tar is whole blocks, as an entry is
            _write_layer(self.files, file)

    async def archive(self) -> AsyncIterator[bytes]:
        """The same, in pieces. Raises OSError."""
        with tempfile.TemporaryFile() as file:
            await asyncio.to_thread(self.write, file)
            file.seek(0)
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk


class _Digest(io.RawIOBase):
    """A file that is only weighed."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        self.sha256.update(content)
        self.size += len(content)
        return len(content)


@lru_cache(maxsize=8)
def _weighed(files: tuple[tuple[str, Path, tuple[int, ...]], ...]) -> tuple[str, int]:
    """The digest in hex and the size in bytes of the layer of these files, each with its state."""
    digest = _Digest()
    _write_layer({path: source for path, source, _ in files}, digest)
    return digest.sha256.hexdigest(), digest.size


def _state(source: Path) -> tuple[int, ...]:
    """Another one after a change of its content."""
    found = source.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _write_layer(files: Mapping[str, Path], file: IO[bytes] | _Digest) -> None:
    """In order of paths, with nothing in it of when and by whom."""
    folders = {*_FOLDERS, *(str(parent) for path in files for parent in Path(path).parents)} - {"."}
    with tarfile.open(fileobj=file, mode="w|", bufsize=CHUNK, format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted(folders):
            entry = _entry(folder, 0o1777 if folder == "tmp" else 0o755, 0)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
        for applet in _APPLETS:
            entry = _entry(f"bin/{applet}", 0o777, 0)
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        for path, source in sorted(files.items()):
            with source.open("rb") as content:
                tar.addfile(_entry(path, 0o755, source.stat().st_size), content)


def _entry(name: str, mode: int, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = mode, size
    return entry


def this_machine() -> Platform | None:
    """What programs of this machine run on, if that is Linux."""
    if sys.platform != "linux":
        return None
    try:
        return Platform.parse(f"linux/{platform.machine()}")
    except ValueError:
        return None


def _libraries(interpreter: str, program: Path) -> Mapping[str, Path]:
    """What a program of this machine needs besides itself, as its own loader tells. Raises ValueError if that does not
    work, or something is not there."""
    try:
        told = subprocess.run(
            [interpreter, "--list", str(program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIST_SECONDS,
            env={},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{program.name} ({interpreter} does not tell its libraries: {error})") from error
    words = [word for line in told.stdout.splitlines() for word in line.split() if word.startswith("/")]
    paths = {interpreter, *words}
    if told.returncode or "not found" in told.stdout or not all(Path(path).is_file() for path in paths):
        raise ValueError(f"libraries of {program}")
    return {path.removeprefix("/"): Path(path) for path in paths}


def _unavailable(wanted: Platform, missing: list[str], folder: Path) -> Problem:
    own = "install the programs with `make setup`, or " if wanted == this_machine() else ""
    return Problem(
        "compute-unavailable",
        f"no runner can be made for Docker on {wanted}: {', '.join(missing)} missing",
        hint=f"{own}put statically linked ones into {folder}/ (a release of BuildKit has buildkitd, buildctl and "
        "buildkit-runc), or name an image in `compute.image`",
    )
