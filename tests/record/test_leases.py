"""Whose a lease is: either sign of life protects it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.providers.compute.lease_files import MAX_SOCKET_PATH, LeaseFiles
from reconciler.providers.compute.processes import Owner
from tests.ports.compute_suite import lease

if TYPE_CHECKING:
    from reconciler.providers.compute.lease_files import Held


@pytest.fixture
def files(tmp_path: Path) -> LeaseFiles:
    return LeaseFiles(tmp_path / "state", tmp_path / "links")


def rewrite(held: Held, owner: Owner) -> None:
    """Give the lease another owner."""
    record = json.loads(held.folder.record.read_text())
    held.folder.record.write_text(json.dumps(record | {"owner": owner.to_json()}))


def is_dead(files: LeaseFiles, held: Held) -> bool:
    """Whether a sweep would get hold of it."""
    again = files.hold_dead(held.folder)
    if again is not None:
        again.release()
    return again is not None


def gone() -> Owner:
    """A process that has ended."""
    return replace(Owner.current(), started=Owner.current().started - 1)


def test_the_lock_alone_protects(files: LeaseFiles) -> None:
    """As when the owner runs in another container: its pid is not to be seen from here."""
    held = files.create(lease())
    rewrite(held, gone())
    assert not is_dead(files, held)
    held.release()
    assert is_dead(files, held)


def test_a_living_owner_alone_protects(files: LeaseFiles) -> None:
    held = files.create(lease())
    held.release()
    assert not is_dead(files, held)
    rewrite(held, gone())
    assert is_dead(files, held)


def test_who_holds_a_dead_lease_holds_it_alone(files: LeaseFiles) -> None:
    held = files.create(lease())
    rewrite(held, gone())
    held.release()
    first = files.hold_dead(held.folder)
    assert first is not None
    assert files.hold_dead(held.folder) is None
    first.forget()
    assert files.hold_dead(held.folder) is None
    assert list(files) == []


def test_a_lease_is_made_once(files: LeaseFiles) -> None:
    held = files.create(lease())
    with pytest.raises(LianError, match="lease-taken"):
        files.create(lease())
    held.forget()
    files.create(lease()).forget()


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a" * 41, "-a", ".lock", "a\n"])
def test_no_other_name_becomes_a_path(files: LeaseFiles, name: str) -> None:
    with pytest.raises(ValueError, match="not a lease's name"):
        files.folder(name)


def test_two_state_folders_share_nothing_but_the_name(tmp_path: Path) -> None:
    one, two = (LeaseFiles(tmp_path / name, tmp_path).folder("same") for name in ("one", "two"))
    assert one.cgroup != two.cgroup
    assert one.link != two.link


def test_only_a_long_path_needs_a_link(tmp_path: Path) -> None:
    short = LeaseFiles(Path("/s"), tmp_path).folder("x")
    assert (short.needs_link, str(short.socket)) == (False, "/s/x/socket")
    deep = LeaseFiles(Path("/" + "d" * MAX_SOCKET_PATH), Path("/run/lian")).folder("x")
    assert deep.needs_link
    assert deep.socket.parent.parent == Path("/run/lian")


def test_a_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = Owner.of(process.pid)
        assert owner is not None
        assert owner.alive
        assert Owner.from_json(owner.to_json()) == owner
        process.kill()
    assert not owner.alive


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}, {"namespace": "pid:[1]"}])
def test_the_same_pid_elsewhere_or_at_another_time_is_someone_else(change: dict[str, object]) -> None:
    assert Owner.current().alive
    assert not replace(Owner.current(), **change).alive  # type: ignore[arg-type]
