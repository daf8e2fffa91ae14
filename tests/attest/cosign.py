"""The real cosign, where there is one: set-up does not install it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.needs import not_run

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "LIAN_TEST_COSIGN"
_SECONDS = 60


@dataclass(frozen=True)
class Cosign:
    """Runs cosign v3 in a folder of its own, with its keys there, and with no way to any host but the loopback."""

    program: str
    folder: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One run; passwords of keys are empty."""
        dead_end = "http://127.0.0.1:1"  # Go never asks a proxy for loopback addresses
        environment = {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "COSIGN_PASSWORD": "",
            "HTTP_PROXY": dead_end,
            "HTTPS_PROXY": dead_end,
        }
        return subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def key_pair(self) -> tuple[bytes, bytes]:
        """The private and the public key file that `cosign generate-key-pair` writes, made anew."""
        for name in ("cosign.key", "cosign.pub"):
            (self.folder / name).unlink(missing_ok=True)
        done(self("generate-key-pair"))
        return (self.folder / "cosign.key").read_bytes(), (self.folder / "cosign.pub").read_bytes()

    def sign(self, image: str) -> None:
        """With the key pair made last, and without sigstore's public services."""
        done(self("sign", "--key=cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes", image))

    def attest(self, image: str, predicate: str, kind: str) -> None:
        """The same for an attestation; `predicate` is its JSON."""
        (self.folder / "predicate.json").write_text(predicate, encoding="utf-8")
        how = ("--key=cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes")
        done(self("attest", *how, "--predicate=predicate.json", f"--type={kind}", image))

    def verify(self, image: str, public_key: bytes, kind: str | None = None) -> subprocess.CompletedProcess[str]:
        """`cosign verify`, or `verify-attestation --type`."""
        (self.folder / "trusted.pub").write_bytes(public_key)
        verb = ["verify"] if kind is None else ["verify-attestation", f"--type={kind}"]
        return self(*verb, "--key=trusted.pub", "--insecure-ignore-tlog=true", image)


def find_cosign(folder: Path) -> Cosign:
    """The one that LIAN_TEST_COSIGN names, or on PATH; without one the test ends as not run."""
    program = os.environ.get(VARIABLE) or shutil.which("cosign")
    if program is None:
        not_run(f"cosign (v3) is neither on PATH nor named by {VARIABLE}", optional=True)
    folder.mkdir(exist_ok=True)
    return Cosign(program, folder)


def done(run: subprocess.CompletedProcess[str]) -> str:
    """Its output; a run that failed fails the test."""
    assert run.returncode == 0, run.stderr
    return run.stdout
