"""Debian packages: only what is missing, never a service, and a precise word where set-up may not install."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from parts.debian import (
    BUSYBOX,
    GIT,
    JQ,
    RUNC,
    ensure_docker,
    ensure_packages,
    ensure_registry,
    ensure_sshd,
    is_static,
)
from parts.program import Step

from tests import programs

if TYPE_CHECKING:
    from tests.setup.machine import Machine

PACKAGES = (GIT, RUNC, JQ)
INSTALL = Step("debian packages", lambda host, say: ensure_packages(host, PACKAGES, say))
REGISTRY = Step("docker-registry", ensure_registry)
SSHD = Step("sshd", ensure_sshd)
DOCKER = Step("docker", ensure_docker)


def test_nothing_is_installed_when_all_commands_run(machine: Machine) -> None:
    machine.put_apt()
    for name in ("git", "runc", "jq"):
        machine.put_program(name, "1.0")
    assert machine.run(INSTALL) == ()
    assert machine.calls == []


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.put_apt()
    machine.put_program("git", "2.39.5")
    machine.put(machine.path, "jq", "#!/bin/sh\nexit 127\n")  # there, but it does not run
    assert machine.run(INSTALL) == ()
    assert "installing runc jq" in machine.output
    assert machine.calls == ["apt-get install"]


def test_lists_are_updated_once_and_only_when_needed(machine: Machine) -> None:
    machine.put_apt(lists=False)
    assert machine.run(INSTALL) == ()
    assert machine.calls == ["apt-get install", "apt-get update", "apt-get install"]


def test_another_apt_is_waited_for(machine: Machine) -> None:
    machine.put_apt()
    (machine.folder / "locked").touch()
    assert machine.run(INSTALL) == ()
    assert machine.calls == ["apt-get install", "apt-get install"]


def test_without_root_the_command_to_type_is_told(machine: Machine) -> None:
    machine.is_root = False
    machine.put_apt()
    machine.put_program("git", "2.39.5")
    (lack,) = machine.run(INSTALL)
    assert "sudo apt-get install --no-install-recommends runc jq" in lack
    assert machine.calls == []


def test_elsewhere_than_on_debian_the_commands_are_named(machine: Machine) -> None:
    machine.is_debian = False
    (lack,) = machine.run(INSTALL)
    assert "this is not Debian" in lack
    assert "git, runc, jq" in lack


def test_a_failing_apt_shows_its_last_words(machine: Machine) -> None:
    machine.put(machine.path, "apt-get", "#!/bin/sh\necho 'E: no space left on device'\nexit 100\n")
    (lack,) = machine.run(INSTALL)
    assert "| E: no space left on device" in lack
    assert "apt-get install --no-install-recommends git runc jq" in lack


def test_an_install_that_brings_no_usable_command_is_told(machine: Machine) -> None:
    machine.put(machine.path, "apt-get", "#!/bin/sh\nexit 0\n")
    (lack,) = machine.run(INSTALL)
    assert "installed, yet git is not on PATH; runc is not on PATH; jq is not on PATH" in lack


def test_the_registry_is_unpacked_without_its_service(machine: Machine) -> None:
    machine.put_apt()
    assert machine.run(REGISTRY) == ()
    assert machine.calls == ["apt-get download", "dpkg-deb"]
    laid = machine.parts / "docker-registry"
    assert [path.relative_to(laid).as_posix() for path in laid.rglob("*") if path.is_file()] == ["bin/docker-registry"]
    assert machine.run(REGISTRY) == ()
    assert machine.calls == ["apt-get download", "dpkg-deb"]


def test_the_registry_needs_no_root(machine: Machine) -> None:
    machine.is_root = False
    machine.put_apt()
    assert machine.run(REGISTRY) == ()


def test_the_registry_elsewhere_than_on_debian(machine: Machine) -> None:
    machine.is_debian = False
    (lack,) = machine.run(REGISTRY)
    assert f"on PATH or at {machine.parts / 'docker-registry/bin/docker-registry'}" in lack


def test_sshd_is_unpacked_without_its_service_and_keys(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it needs of the system comes with it: libraries, and the user that it is."""
    users = machine.folder / "users"
    monkeypatch.setattr("parts.debian._has_sshd_user", users.exists)
    machine.put_apt()
    machine.put(machine.path, "useradd", f"#!/bin/sh\n: > {users}\necho useradd >> {machine.folder}/calls\n")
    assert machine.run(SSHD) == ()
    laid = machine.parts / "openssh-server"
    files = sorted(path.relative_to(laid).as_posix() for path in laid.rglob("*") if path.is_file())
    assert files == ["bin/sshd", "bin/sshd-session"]
    calls = ["apt-get download", "dpkg-deb", "apt-get install", "useradd"]
    assert machine.calls == calls
    assert machine.run(SSHD) == ()
    assert machine.calls == calls
    assert "already there" in machine.output.splitlines()[-1]


def test_an_sshd_that_is_there_is_left_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parts.debian._has_sshd_user", lambda: True)
    machine.put_program("sshd", "9.2")
    machine.is_root = machine.is_debian = False
    assert machine.run(SSHD) == ()


@pytest.mark.parametrize(
    ("root", "debian", "told"),
    [(False, True, "sudo apt-get install --no-install-recommends openssh-server"), (True, False, "not Debian")],
)
def test_where_sshd_cannot_be_had_it_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, root: bool, debian: bool, told: str
) -> None:
    monkeypatch.setattr("parts.debian._has_sshd_user", lambda: True)
    machine.is_root, machine.is_debian = root, debian
    (lack,) = machine.run(SSHD)
    assert told in lack
    assert machine.calls == []


def test_docker_is_unpacked_without_its_services(machine: Machine) -> None:
    machine.put_apt()
    assert machine.run(DOCKER) == ()
    laid = machine.parts / "docker"
    assert {path.relative_to(laid).as_posix() for path in laid.rglob("*") if path.is_file()} == {
        f"bin/{name}" for name in programs.DOCKER
    }
    assert machine.calls == ["apt-get download", "dpkg-deb"] * 2
    assert machine.run(DOCKER) == ()
    assert machine.calls == ["apt-get download", "dpkg-deb"] * 2


def test_docker_elsewhere_than_on_debian(machine: Machine) -> None:
    machine.is_debian = False
    (lack,) = machine.run(DOCKER)
    assert "dockerd is not on PATH" in lack
    assert str(machine.parts / "docker" / "bin") in lack


def test_a_busybox_that_is_not_static_does_not_do(machine: Machine) -> None:
    """The demo's images start from nothing: a program with an interpreter would not run in them."""
    dynamic = Path("/bin/ls").resolve()
    shutil.copy(dynamic, machine.path / "busybox")
    assert not is_static(dynamic)
    machine.is_root = False
    (lack,) = machine.run(Step("debian packages", lambda host, say: ensure_packages(host, (BUSYBOX,), say)))
    assert "busybox-static" in lack


def test_static_is_told_from_the_program_headers(tmp_path: Path, static_busybox: Path) -> None:
    assert is_static(static_busybox)
    assert not is_static(Path(sys.executable).resolve())
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert not is_static(tmp_path / "script")
