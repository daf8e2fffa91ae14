"""The container of a lease: what it may do, what it is given, and how it ends by itself."""

from __future__ import annotations

import io
import shlex
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from reconciler.model.secret import Secret
from reconciler.programs import PROXIES
from reconciler.providers.compute.configuration import Certificates, configuration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.lease import Lease
    from reconciler.ports.access import Route
    from reconciler.ports.compute import LeaseRequest

SOCKET = "/run/buildkit/buildkitd.sock"
DIAL = ("buildctl", "--addr", f"unix://{SOCKET}", "dial-stdio")
"""What makes its input and output a connection to the daemon."""
FIRST_DIAL = (
    "/bin/sh",
    "-c",
    f'until [ -S {SOCKET} ]; do sleep 0.02; done; exec "$@"',
    "sh",
    *DIAL,
)
"""The same, as soon as there is a socket."""
CGROUP = "/lian"
"""The control group of all steps, below the container's own."""

_PREFIX = "lian-"
_STATE = "/var/lib/buildkit"
_CONFIG = "/etc/buildkit/buildkitd.toml"
_OWN = "/etc/lian"
_ENVIRONMENT = f"{_OWN}/environment"
_CERTIFICATES = f"{_OWN}/certificates"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where programs in Go look first."""

_ENTRY = f"""\
mount -o remount,rw /sys
for folder in /sys/fs/cgroup /sys/fs/cgroup/*; do
  mount -o remount,bind,rw "$folder" 2>/dev/null
done
[ -f {_ENVIRONMENT} ] && . {_ENVIRONMENT}
buildkitd --config {_CONFIG} --root={_STATE} --addr=unix://{SOCKET} --oci-worker-net=host &
daemon=$!
trap 'kill -9 $daemon' TERM INT
(sleep "$1"; echo "the lease is over"; kill -9 $daemon) &
wait $daemon
"""
"""The first process: when it ends the kernel ends all others, and Docker removes the container. What it does is what a
privileged container would not need, without all that a privileged container may do."""


def container_name(lease: str) -> str:
    """Of a lease's container."""
    return _PREFIX + lease


def is_container_of(lease: Lease, names: object) -> bool:
    """Whether the container of these names is the lease's own, and not one that was made from a copy of it, with all
    its labels. `names` is as Docker lists them, with a slash in front."""
    return isinstance(names, list) and f"/{container_name(lease.name)}" in names


def body(image: str, lease: Lease, seconds: float) -> Mapping[str, Any]:
    """What is asked for. It ends after so many seconds, whatever has become of lian. Its memory has no limit of its
    own: builds of several sizes share it, and each of their steps has its limit."""
    return {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c", _ENTRY, "lian-runner"],
        "Cmd": [str(max(1, int(seconds)))],
        "User": "0:0",
        "Labels": lease.to_labels(),
        "Env": ["BUILDKIT_SETUP_CGROUPV2_ROOT=1"],  # with v2 it makes room for the steps beside its own processes
        "HostConfig": {
            # layers cannot be laid over the container's own layers; what goes with it all the same may outlive it, when
            # Docker itself dies
            "Mounts": [{"Type": "volume", "Target": _STATE, "VolumeOptions": {"Labels": lease.to_labels()}}],
            "AutoRemove": True,
            "NetworkMode": "host",  # registries on the machine's loopback
            "CapAdd": ["ALL"],
            "CapDrop": ["SYS_RESOURCE"],  # where Docker itself lacks it, it can give it to nobody
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "DeviceCgroupRules": ["a *:* rwm"],
            "CgroupnsMode": "private",
            "UsernsMode": "host",
        },
    }


def furnishing(request: LeaseRequest, environ: Mapping[str, str], authorities: bytes | None) -> bytes:
    """A tar of all that the daemon reads: its configuration, registries' certificates and keys, the way to the outside,
    and whom to trust there. None of it stands in what Docker tells of a container."""
    files: dict[str, bytes] = {}
    certificates = {
        route.host: _certificates(route, PurePosixPath(_CERTIFICATES, str(n)), files)
        for n, route in enumerate(request.routes)
    }
    files[_CONFIG] = configuration(request, CGROUP, certificates).encode()
    files[_ENVIRONMENT] = "".join(_exports(environ)).encode("utf-8", "surrogateescape")
    if authorities is not None:
        files[_AUTHORITIES] = authorities
    return _tar(files)


def _exports(environ: Mapping[str, str]) -> Iterator[str]:
    for name in PROXIES:
        if name in environ:
            yield f"export {name}={shlex.quote(environ[name])}\n"


def _certificates(route: Route, folder: PurePosixPath, files: dict[str, bytes]) -> Certificates:
    """A host's, added to the files."""

    def file(name: str, content: str | Secret) -> PurePosixPath:
        files[str(folder / name)] = (content.reveal() if isinstance(content, Secret) else content).encode()
        return folder / name

    authorities = tuple(file(f"{n}.crt", pem) for n, pem in enumerate(route.authorities))
    if route.identity is None:
        return Certificates(authorities)
    pair = file("client.cert", route.identity.certificate), file("client.key", route.identity.key)
    return Certificates(authorities, pair)


def _tar(files: Mapping[str, bytes]) -> bytes:
    """What is the lease's own is closed to others."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in sorted({str(parent) for path in files for parent in PurePosixPath(path).parents} - {"/"}):
            entry = tarfile.TarInfo(folder.removeprefix("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700 if folder.startswith(_OWN) else 0o755
            tar.addfile(entry)
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path.removeprefix("/"))
            entry.mode, entry.size = 0o644 if path == _AUTHORITIES else 0o600, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
