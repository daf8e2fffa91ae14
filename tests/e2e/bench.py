"""A desired repo, a registry and the `lian` command, for journeys."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.e2e import preloaded

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence

BUSYBOX = Path("/bin/busybox")
BASE = 'FROM scratch\nCOPY rootfs /\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
SECONDS = 120.0


@dataclass
class Bench:
    """`repo` is the desired repo's working tree; every command runs in it, with a cache folder of its own."""

    repo: Path
    cache: Path
    registry: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    """Words that run the command: in namespaces of its own, say."""

    @classmethod
    def new(cls, folder: Path, registry: str | None = None) -> Bench:
        """An empty git repo in `folder`/repo."""
        bench = cls(folder / "repo", folder / "cache", registry)
        bench.repo.mkdir(parents=True)
        bench.git("init", "-q", "-b", "main")
        return bench

    def clone(self, folder: Path) -> Bench:
        """The same commits on another path, with an empty cache."""
        subprocess.run(["git", "clone", "-q", self.repo, folder / "repo"], check=True)
        return Bench(folder / "repo", folder / "cache", self.registry)

    def git(self, *words: str) -> str:
        """Run git; its output."""
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        done = subprocess.run(["git", *identity, *words], cwd=self.repo, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files into the working tree."""
        for name, content in files.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes] | None = None, message: str = "change") -> str:
        """Write, add everything, commit; the commit's id."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-qm", message, "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def busybox(self, context: str) -> None:
        """A root file system with a shell, as the context of a base image."""
        target = self.repo / context / "rootfs" / "bin" / "busybox"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUSYBOX, target)

    @property
    def environment(self) -> dict[str, str]:
        """The command's environment: nothing of the caller's LIAN_*, and caches of its own."""
        kept = {
            k: v
            for k, v in os.environ.items()
            if k.startswith("LIAN_TEST_") or not k.startswith(("LIAN_", "BUILDKIT_"))
        }
        root = str(Path(__file__).resolve().parents[2])
        own = {"LIAN_CACHE": str(self.cache), "PYTHONPATH": root, "NO_COLOR": "1"}
        return {**kept, **own, **({"LIAN_REGISTRY": self.registry} if self.registry else {}), **self.env}

    def start(self, *words: str, out: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start `lian` and leave it running; its stdout goes to a pipe, or to an open file."""
        return subprocess.Popen(
            [*self.within, sys.executable, "-W", "error::ResourceWarning", "-m", "reconciler", *words],
            cwd=self.repo,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lian(self, *words: str, code: int | None = 0) -> Ran:
        """Run `lian` to its end; fails with what it printed unless it exits with `code` (None: any)."""
        ended, out, err = self._run(words)
        assert ended is not None, f"lian {' '.join(words)} did not end\n{out}\n{err}"
        ran = Ran(ended, out, err)
        assert code is None or ran.code == code, f"lian {' '.join(words)} exited with {ran.code}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return ran

    def _run(self, words: Sequence[str]) -> tuple[int | None, str, str]:
        """Exit code, stdout, stderr; None if it has to be killed."""
        if not self.within and preloaded.serves(self.environment):
            return preloaded.run(words, self.repo, self.environment, SECONDS)
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return None, *process.communicate()
        return process.returncode, out, err

    def asked(self, *words: str, answer: str, meanwhile: Callable[[], object] = lambda: None) -> Ran:
        """Run `lian` as a person at a terminal does, who answers its question; `meanwhile` is what happens while they
        think. Fails if it does not ask. Its stderr is what the terminal shows."""
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.repo,
            env=self.environment,
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=follower,
        )
        os.close(follower)
        shown = _read(leader, b"taken for yes")
        assert b"taken for yes" in shown, shown
        meanwhile()
        os.write(leader, answer.encode() + b"\n")
        shown += _read(leader)
        out = process.communicate()[0]
        os.close(leader)
        return Ran(process.returncode, out.decode(), shown.decode())

    def document(self, *words: str, code: int = 0) -> dict[str, Any]:
        """What the command prints with --json."""
        document: dict[str, Any] = self.lian(*words, "--json", code=code).json
        return document

    def plan(self, code: int) -> dict[str, dict[str, Any]]:
        """`lian diff --json`: artifact -> change."""
        document = self.lian("diff", "--json", code=code).json
        return {change["artifact"]: change for change in document["changes"]}

    def reconcile(self, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
        """`lian reconcile --once --json`: artifact -> result."""
        document = self.lian("reconcile", "--once", "--json", *words, code=code).json
        return {result["artifact"]: result for result in document["results"]}


@dataclass(frozen=True)
class Ran:
    """A command's end."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its stdout as one JSON document."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def _read(terminal: int, until: bytes | None = None) -> bytes:
    """What a terminal shows until then, or until nobody has it open."""
    shown = b""
    with contextlib.suppress(OSError):  # it ends with its last writer
        while until is None or until not in shown:
            shown += os.read(terminal, 4096)
    return shown


def directive(workspace: str, artifacts: Mapping[str, str]) -> str:
    """A directive from Nickel texts of its artifacts."""
    body = "\n".join(f"    {name} = lian.make_artifact {{ {text} }}," for name, text in artifacts.items())
    return (
        'let lian = import "defaults/build_directives.ncl" in\n'
        f'lian.make_build_directives {{\n  workspace = "{workspace}",\n  artifacts = {{\n{body}\n  }},\n}}\n'
    )


def layout_tags(root: Path, repository: str) -> dict[str, str]:
    """Tag -> digest of one repository of an on-disk registry."""
    index = json.loads((root / repository / "index.json").read_bytes())
    name = "org.opencontainers.image.ref.name"
    return {m["annotations"][name]: m["digest"] for m in index["manifests"] if name in m.get("annotations", {})}


def layout_files(root: Path, repository: str, digest: str) -> dict[str, bytes]:
    """The regular files of an image in an on-disk registry."""
    blobs = root / repository / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    files: dict[str, bytes] = {}
    for layer in manifest["layers"]:
        data = (blobs / layer["digest"].removeprefix("sha256:")).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
            for member in archive:
                if member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    files[member.name] = content.read()
    return files


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def leftovers(cache: Path) -> dict[str, list[str]]:
    """What a bench's passes have left on the machine: processes, mounts, cgroups, leases."""
    leases = cache / "leases"
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(leases) in line]
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(leases) in command:
            processes.append(command)
    names = [p.name for p in leases.iterdir() if p.is_dir()] if leases.is_dir() else []
    names += [f"{p.stem} (noted)" for p in (cache / "rented").glob("*.json")]
    passes = {folder.name.rpartition("-")[2] for folder in (cache / "logs").glob("*")}
    # unlike a glob, a walk goes on where another pass's cgroup goes away in the meantime
    walked = ((path, below) for path, below, _ in os.walk("/sys/fs/cgroup") if path.endswith("/lian"))
    cgroups = [f"{path}/{name}" for path, below in walked for name in below if name.partition("-")[0] in passes]
    return {"processes": processes, "mounts": mounts, "cgroups": cgroups, "leases": names}


def interrupt(process: subprocess.Popen[str], sign: signal.Signals) -> Ran:
    """Send a signal and wait for the end."""
    process.send_signal(sign)
    out, err = process.communicate(timeout=SECONDS)
    return Ran(process.returncode, out, err)
