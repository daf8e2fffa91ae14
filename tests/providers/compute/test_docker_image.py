"""The runner's image, where Docker is looked for, and what goes into a container."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from reconciler.model.lease import Lease
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError
from reconciler.model.secret import Secret
from reconciler.model.tier import Tier
from reconciler.ports.access import Identity, Route
from reconciler.ports.compute import LeaseRequest
from reconciler.providers.compute.docker import container
from reconciler.providers.compute.docker.authorities import read_authorities
from reconciler.providers.compute.docker.image import Programs, RunnerImage, this_machine
from reconciler.providers.compute.docker.socket import USUAL, find_socket
from tests.model.test_elf import program

ARM = Platform("linux", "arm64")
HERE = this_machine()


def laid(folder: Path, wanted: Platform = ARM, machine: int = 183, names: tuple[str, ...] = ()) -> Path:
    """Made-up programs for another machine."""
    place = folder / str(wanted).replace("/", "-")
    place.mkdir(parents=True)
    for name in names or ("buildkitd", "buildctl", "buildkit-runc", "busybox"):
        (place / name).write_bytes(program(None, machine=machine) + name.encode())
    return folder


def nothing(name: str) -> Path | None:
    return None


async def whole(image: RunnerImage) -> bytes:
    return b"".join([chunk async for chunk in image.archive()])


def test_the_same_programs_make_the_same_image(tmp_path: Path) -> None:
    """Wherever they lie, and whenever they were written."""
    images: list[RunnerImage] = []
    for name in ("one", "two"):
        folder = laid(tmp_path / name)
        for path in folder.rglob("*"):
            os.utime(path, (len(images), len(images)))
        images.append(RunnerImage.of(ARM, Programs(nothing, folder).gather(ARM)))
    assert images[0].name == images[1].name
    assert images[0].name.startswith("lian/runner:arm64-")
    archives = [asyncio.run(whole(image)) for image in images]
    assert archives[0] == archives[1]
    (tmp_path / "two" / "linux-arm64" / "buildkitd").write_bytes(program(None, machine=183) + b"newer")
    assert RunnerImage.of(ARM, Programs(nothing, tmp_path / "two").gather(ARM)).name != images[0].name


def test_the_archive_is_what_its_names_say(tmp_path: Path) -> None:
    image = RunnerImage.of(ARM, Programs(nothing, laid(tmp_path)).gather(ARM))
    with tarfile.open(fileobj=io.BytesIO(asyncio.run(whole(image)))) as archive:
        members = {member.name: archive.extractfile(member) for member in archive}
        content = {name: file.read() for name, file in members.items() if file}
    (manifest,) = json.loads(content["manifest.json"])
    assert manifest["RepoTags"] == [image.name]
    config = json.loads(content[manifest["Config"]])
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    layer = content[manifest["Layers"][0]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{image.layer}"]
    assert manifest["Layers"][0] == f"{image.layer}.tar"
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        modes = {member.name: member.mode for member in files if member.isreg()}
        links = {member.name: member.linkname for member in files if member.issym()}
    assert modes == dict.fromkeys(("bin/buildkitd", "bin/buildctl", "bin/runc", "bin/busybox"), 0o755)
    assert links["bin/sh"] == "busybox"


def missing(programs: Programs, wanted: Platform) -> str:
    with pytest.raises(LianError) as raised:
        programs.gather(wanted)
    (problem,) = raised.value.problems
    assert problem.code == "compute-unavailable"
    return f"{problem.message}\n{problem.hint}"


def test_all_that_is_missing_for_another_machine_is_named(tmp_path: Path) -> None:
    said = missing(Programs(nothing, laid(tmp_path, names=("buildkitd",))), ARM)
    assert "linux/arm64: buildctl, runc, busybox missing" in said
    assert str(tmp_path / "linux-arm64") in said
    assert "compute.image" in said


def test_a_program_for_another_machine_does_not_do(tmp_path: Path) -> None:
    assert "is for linux/amd64" in missing(Programs(nothing, laid(tmp_path, machine=62)), ARM)
    assert HERE is not None
    dynamic = Programs(nothing, laid(tmp_path / "b"))
    (tmp_path / "b" / "linux-arm64" / "busybox").write_bytes(program("/lib/ld.so", machine=183))
    assert "needs libraries" in missing(dynamic, ARM)
    (tmp_path / "b" / "linux-arm64" / "busybox").write_text("#!/bin/sh\n")
    assert "ELF" in missing(dynamic, ARM)


def test_a_program_of_this_machine_brings_its_libraries(tmp_path: Path) -> None:
    """As its own loader tells them, and nothing is taken for granted of where they lie."""
    assert HERE is not None
    real = Path("/bin/ls").resolve()
    files = Programs(lambda name: real, tmp_path).gather(HERE)
    assert files["bin/runc"] == real
    libraries = {path for path in files if not path.startswith("bin/")}
    assert any("libc.so" in path for path in libraries)
    assert all(files[path] == Path("/", path) for path in libraries)


def test_programs_laid_down_are_taken_before_those_of_this_machine(tmp_path: Path) -> None:
    assert HERE is not None
    busybox = shutil.which("busybox")
    assert busybox is not None
    folder = tmp_path / str(HERE).replace("/", "-")
    folder.mkdir()
    shutil.copy(busybox, folder / "buildkitd")
    files = Programs(lambda name: Path(busybox), tmp_path).gather(HERE)
    assert files["bin/buildkitd"] == folder / "buildkitd"
    assert files["bin/buildctl"] == Path(busybox)


def test_where_docker_is_looked_for(tmp_path: Path) -> None:
    """What the fleet says, what the environment says, and what is there."""
    environ = {"DOCKER_HOST": "unix:///run/mine.sock"}
    assert find_socket("unix:///run/fleet.sock", environ, tmp_path) == Path("/run/fleet.sock")
    assert find_socket(None, environ, tmp_path) == Path("/run/mine.sock")
    nowhere = tmp_path / "nowhere"
    assert find_socket(None, {}, tmp_path, usual=nowhere) == nowhere
    own = tmp_path / ".docker/run/docker.sock"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_socket(None, {"DOCKER_HOST": ""}, tmp_path, usual=nowhere) == own
    assert find_socket(None, {}, Path("/nowhere")) == USUAL


@pytest.mark.parametrize(
    "host", ["tcp://10.0.0.1:2375", "ssh://me@there", "unix://relative", "npipe:////./pipe/docker"]
)
def test_a_docker_elsewhere_is_refused(tmp_path: Path, host: str) -> None:
    for url, environ in ((host, {}), (None, {"DOCKER_HOST": host})):
        with pytest.raises(LianError) as raised:
            find_socket(url, environ, tmp_path)
        assert raised.value.problems[0].code == "docker-unsuitable"


def wanted(*routes: Route) -> LeaseRequest:
    return LeaseRequest("fleet", "pass", "lease", Tier(2, 1.0, 30), 60.0, routes=routes)


def test_what_goes_into_a_container_is_for_root_alone() -> None:
    route = Route("r.example", authorities=("PEM",), identity=Identity("CERT", Secret("KEY")))
    environ = {"HTTPS_PROXY": "http://u:p@proxy:1", "no_proxy": "a b'c", "AWS_SECRET": "no"}
    archive = container.furnishing(wanted(route), environ, b"AUTHORITIES")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        entries = {member.name: member for member in tar}
        content = {name: file.read() for name, member in entries.items() if (file := tar.extractfile(member))}
    assert content["etc/lian/certificates/0/client.key"] == b"KEY"
    assert content["etc/ssl/certs/ca-certificates.crt"] == b"AUTHORITIES"
    assert content["etc/lian/environment"].decode() == (
        "export HTTPS_PROXY=http://u:p@proxy:1\nexport no_proxy='a b'\"'\"'c'\n"
    )
    assert 'key = "/etc/lian/certificates/0/client.key"' in content["etc/buildkit/buildkitd.toml"].decode()
    own = {name: member.mode for name, member in entries.items() if name.startswith("etc/lian")}
    assert all(mode & 0o077 == 0 for mode in own.values())
    assert entries["etc"].mode == 0o755


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1"), (59.9, "59"), (3600.0, "3600")])
def test_a_container_is_told_when_to_end(seconds: float, told: str) -> None:
    lease = Lease("x", "fleet", "pass", 0.0, seconds)
    body = container.body("image", lease, seconds)
    assert body["Cmd"] == [told]
    host = body["HostConfig"]
    assert host["AutoRemove"]
    assert body["Labels"] == host["Mounts"][0]["VolumeOptions"]["Labels"] == lease.to_labels()


def test_whom_to_trust_is_what_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.pem").write_bytes(b"A")
    (tmp_path / "file").write_bytes(b"F")
    assert read_authorities({"SSL_CERT_FILE": str(tmp_path / "file")}) == b"F"
    both = {"SSL_CERT_FILE": str(tmp_path / "file"), "SSL_CERT_DIR": str(tmp_path / "folder")}
    assert read_authorities(both) == b"F\nA"
    with pytest.raises(FileNotFoundError):
        read_authorities({"SSL_CERT_FILE": str(tmp_path / "none")})
