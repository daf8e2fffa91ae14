"""A made-up machine: its PATH, its cache folder, and a record of what was run on it."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from parts.host import Host
from parts.program import main, run_step

from tests import programs

if TYPE_CHECKING:
    from parts.program import Step

CHECKOUT = Path(__file__).parents[2]
STATIC_BUSYBOX = shutil.which("busybox")
"""The real one: whether it is static is read from the file."""

_TELLS_VERSION = '#!/bin/sh\necho "{name} v{version}"\n'

_GO = """#!/bin/sh
echo "go $1" >> {calls}
case "$1" in
version) echo "go version go{version} linux/amd64" ;;
env) echo {toolchain} ;;
build)
    while [ "$1" != -o ]; do shift; done
    folder=$2; shift 2
    {before}
    for package; do
        name=${{package##*/}}
        case $name in registry) version=v3.1.1 ;; buildx) version=v0.37.2 ;; *) version=v0.33.1 ;; esac
        printf '#!/bin/sh\\necho "%s %s"\\nexit {status}\\n' $name $version > $folder$name
        /bin/chmod 755 $folder$name
    done
    ;;
esac
"""

_APT = """#!/bin/sh
for word; do
    case "$word" in install|update|download) verb=$word ;; esac
done
echo "apt-get $verb" >> {calls}
[ -e {folder}/locked ] && {{ /bin/rm {folder}/locked; echo "E: Could not get lock /var/lib/dpkg/lock"; exit 100; }}
[ $verb = update ] && {{ : > {folder}/lists; exit 0; }}
[ -e {folder}/lists ] || {{ echo "E: Unable to locate package"; exit 100; }}
case $verb in
install)
    for word; do
        case $word in
        busybox-static) /bin/cp {busybox} {path}/busybox ;;
        libwrap0) : > {folder}/libraries ;;
        git|runc|jq|rsync) printf '#!/bin/sh\\necho 1.0\\n' > {path}/$word; /bin/chmod 755 {path}/$word ;;
        esac
    done ;;
download) for package; do :; done; : > ${{package}}_1.0_all.deb ;;
esac
"""

_DPKG = """#!/bin/sh
[ $1 = --field ] && {{ echo "adduser (>= 3), libwrap0 (>= 7.6), debconf | debconf-2.0, zlib1g"; exit 0; }}
echo "dpkg-deb" >> {calls}
case $2 in
*openssh-server*)
    /bin/mkdir -p $3/usr/sbin $3/etc/ssh $3/usr/lib/openssh
    : > $3/etc/ssh/sshd_config
    printf '#!/bin/sh\\n[ -e {folder}/libraries ]\\n' > $3/usr/sbin/sshd
    : > $3/usr/lib/openssh/sshd-session
    /bin/chmod 755 $3/usr/sbin/sshd
    exit 0 ;;
esac
/bin/mkdir -p $3/usr/bin $3/lib/systemd/system
: > $3/lib/systemd/system/docker-registry.service
/bin/mkdir -p $3/usr/sbin
for program in bin/docker-registry sbin/dockerd bin/docker bin/containerd bin/containerd-shim-runc-v2; do
    printf '#!/bin/sh\\necho 20.10.24\\n' > $3/usr/$program
    /bin/chmod 755 $3/usr/$program
done
"""


@dataclass
class Machine:
    """`path` is all of PATH, `parts` the parts cache; `host` is what set-up believes of the machine."""

    folder: Path
    is_root: bool = True
    is_debian: bool = True
    is_linux: bool = True
    said: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.path.mkdir()

    @property
    def path(self) -> Path:
        return self.folder / "path"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def parts(self) -> Path:
        return self.cache / "lian" / "parts"

    @property
    def buildkit(self) -> Path:
        return self.parts / "buildkit-v0.33.1"

    @property
    def test_programs(self) -> Path:
        return self.parts / programs.folder()

    @property
    def calls(self) -> list[str]:
        """What was run, except for questions about versions."""
        record = self.folder / "calls"
        lines = record.read_text().splitlines() if record.exists() else []
        return [line for line in lines if line not in {"go version", "go env"}]

    @property
    def output(self) -> str:
        return self.said.getvalue()

    def put(self, folder: Path, name: str, text: str) -> None:
        """An executable script."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def put_program(self, name: str, version: str, folder: Path | None = None) -> None:
        """A program that tells its version."""
        self.put(folder or self.path, name, _TELLS_VERSION.format(name=name, version=version))

    def put_buildkit(self, version: str, folder: Path | None = None) -> None:
        for name in ("buildctl", "buildkitd"):
            self.put_program(name, version, folder)

    def put_go(self, version: str = "1.26.8", toolchain: str = "local", before: str = ":", status: int = 0) -> None:
        """A `go` that builds in no time; `before` runs first, `status` is how the built programs end."""
        calls = self.folder / "calls"
        script = _GO.format(calls=calls, version=version, toolchain=toolchain, before=before, status=status)
        self.put(self.path, "go", script)

    def put_apt(self, *, lists: bool = True) -> None:
        """An `apt-get` that installs in no time; without `lists` it first wants an update."""
        busybox = STATIC_BUSYBOX or "/bin/false"
        names = {"calls": self.folder / "calls", "folder": self.folder, "path": self.path, "busybox": busybox}
        self.put(self.path, "apt-get", _APT.format(**names))
        self.put(self.path, "dpkg-deb", _DPKG.format(**names))
        if lists:
            (self.folder / "lists").touch()

    def run(self, step: Step) -> tuple[str, ...]:
        """Run one step; the reasons why something could not be had."""
        return tuple(f"{part.what}: {part.why} -> {part.remedy}" for part in run_step(step, self.host, self.said))

    def set_up(self, *arguments: str) -> int:
        """Run set-up as a whole; its exit status."""
        return main(arguments, self.host.checkout, self.host, self.said)

    @property
    def host(self) -> Host:
        return Host(self.folder / "checkout", self.is_root, self.is_debian, self.is_linux)
