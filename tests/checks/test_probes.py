"""Each probe, where the machine is not as it should be."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.checks import probes
from reconciler.checks.probes import (
    Found,
    Surroundings,
    cgroup_folders,
    probe_cgroups,
    probe_credential_helpers,
    probe_landlock,
    probe_namespaces,
    probe_nickel,
    probe_space,
)

V1 = """\
proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
"""


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(
        locate=lambda name: Found(why=f"{name} is not on PATH"),
        cache=tmp_path,
        mounts=tmp_path / "mounts",
        is_root=True,
    )


def test_v1_controllers_are_where_they_are_mounted() -> None:
    version, folders = cgroup_folders(V1)
    assert version == "v1"
    assert folders == {"cpu": Path("/sys/fs/cgroup/cpu,cpuacct"), "memory": Path("/sys/fs/cgroup/memory")}


def test_v2_controllers_are_asked_of_the_mount(around: Surroundings) -> None:
    root = around.cache / "a cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    around.mounts.write_text(f"cgroup2 {str(root).replace(' ', chr(92) + '040')} cgroup2 rw 0 0\n")
    assert probe_cgroups(around) == Found("v2", root)


def test_a_hybrid_machine_has_its_controllers_in_v1(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("\n")
    version, folders = cgroup_folders(V1 + f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")
    assert version == "v1"
    assert tmp_path not in folders.values()


def test_a_missing_controller_is_named(around: Surroundings) -> None:
    around.mounts.write_text("".join(line for line in V1.splitlines(keepends=True) if "/memory" not in line))
    assert probe_cgroups(around).why == "no cgroup controller for memory"


def test_without_cgroups_both_are_named(around: Surroundings) -> None:
    around.mounts.write_text("proc /proc proc rw 0 0\n")
    assert probe_cgroups(around).why == "no cgroup controller for memory and cpu"


def test_a_mount_table_that_cannot_be_read_is_told(around: Surroundings) -> None:
    assert probe_cgroups(around).why == f"{around.mounts} cannot be read: No such file or directory"


def test_namespaces_need_root(around: Surroundings) -> None:
    assert probe_namespaces(replace(around, is_root=False)).why == "not root"


def test_a_refused_namespace_tells_the_refusal(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    program = around.cache / "unshare"
    program.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(around.cache))
    assert str(probe_namespaces(around).why).endswith("was refused: unshare failed: Operation not permitted")


@pytest.mark.parametrize("probe", [probe_namespaces, probe_cgroups, probe_landlock])
def test_features_of_linux_are_not_looked_for_elsewhere(around: Surroundings, probe: object) -> None:
    assert callable(probe)
    assert "of Linux" in str(probe(replace(around, is_linux=False)).why)


def test_the_nickel_command_goes_first(around: Surroundings) -> None:
    command = Found("1.18.0", Path("/somewhere/nickel"))
    assert probe_nickel(replace(around, locate=lambda name: command)) == command
    other = probe_nickel(around)
    assert other.why is None
    assert str(other.version).endswith("(py-nickel)")


def test_without_any_evaluator_both_are_named(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert probe_nickel(around).why == "nickel is not on PATH, and the Python package py-nickel is not installed"


def test_a_cache_that_is_a_file_is_told(around: Surroundings) -> None:
    file = around.cache / "file"
    file.write_text("")
    for cache in (file, file / "deeper"):
        assert probe_space(replace(around, cache=cache)).why == f"{file} is not a folder"


def test_little_space_is_told(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = replace(around, cache=around.cache / "not" / "made" / "yet")
    assert probe_space(deep).why is None
    monkeypatch.setattr(probes, "LOWEST_FREE_BYTES", 1 << 60)
    assert str(probe_space(deep).why).startswith("only ")


def test_landlock_tells_its_abi_or_why_not(around: Surroundings) -> None:
    """The kernel's list of security modules says the same, where it can be read."""
    found = probe_landlock(around)
    assert (found.version is None) == (found.why is not None)
    modules = Path("/sys/kernel/security/lsm")
    if modules.exists() and os.access(modules, os.R_OK):
        assert ("landlock" in modules.read_text().split(",")) == (found.why is None)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, None),
        ("{}", None),
        ('{"credsStore": "", "credHelpers": {}}', None),
        ('{"credsStore": "here", "credHelpers": {"a.example": "here"}}', None),
        (
            '{"credsStore": "gone", "credHelpers": {"a.example": "here", "b.example": "lost"}}',
            "not on PATH: docker-credential-gone, docker-credential-lost",
        ),
        ("[]", "is not Docker's configuration"),
        ("{", "is not Docker's configuration"),
        ('{"credHelpers": [1]}', "is not Docker's configuration"),
    ],
)
def test_credential_helpers(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, why: str | None
) -> None:
    helper = tmp_path / "docker-credential-here"
    helper.write_text("#!/bin/sh\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    found = probe_credential_helpers(around)
    assert (found.why or "").endswith(why or "")
    assert (found.why is None) == (why is None)
