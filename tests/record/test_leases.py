"""Whose a lease is, in files: either sign of life protects it, and what is noted is there before anything is rented."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.record.leases import LeaseFiles
from reconciler.record.owner import Owner
from tests.ports.provider_suite import MOMENT, request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    Make: TypeAlias = "Callable[[], Process]"

LEASE = request().at(MOMENT)


class Process(LeaseFiles):
    """The ledger as one process has it; its locks go when it dies."""

    def die(self) -> None:
        for file in self._held.values():
            file.close()
        self._held.clear()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Makes one; all die with the test."""
    made: list[Process] = []

    def make() -> Process:
        made.append(Process(tmp_path / "rented"))
        return made[-1]

    yield make
    for one in made:
        one.die()


def here() -> Owner:
    owner = Owner.current()
    assert owner is not None
    return owner


def intend(files: LeaseFiles) -> None:
    asyncio.run(files.intend(LEASE, "local"))


def rewrite(folder: Path, owner: Owner | None) -> None:
    """Give the lease another owner; the lock stays on the file."""
    path = folder / "lease-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"owner": owner.to_json() if owner else None}))


def gone() -> Owner:
    """A process that has ended."""
    return replace(here(), started=here().started - 1)


def claimed(files: LeaseFiles) -> bool:
    async def run() -> bool:
        async with files.claim("lease-1") as ours:
            return ours

    return asyncio.run(run())


def test_what_is_noted_is_read_by_others(process: Make) -> None:
    intend(process())
    (intent,) = asyncio.run(process().intents())
    assert (intent.name, intent.provider, intent.lease, intent.alive) == ("lease-1", "local", LEASE, True)


def test_without_a_folder_nothing_is_noted(process: Make) -> None:
    files = process()
    assert list(asyncio.run(files.intents())) == []
    asyncio.run(files.forget("lease-1"))
    asyncio.run(files.abandon("lease-1"))
    assert not claimed(files)


def test_the_lock_alone_protects(tmp_path: Path, process: Make) -> None:
    """As when the owner runs in another container: its pid is not to be seen from here."""
    owner, other = process(), process()
    intend(owner)
    rewrite(tmp_path / "rented", gone())
    assert not claimed(other)
    assert asyncio.run(other.intents())[0].alive
    owner.die()
    assert claimed(other)


def test_a_living_owner_alone_protects(tmp_path: Path, process: Make) -> None:
    owner, other = process(), process()
    intend(owner)
    owner.die()
    assert not claimed(other)
    rewrite(tmp_path / "rented", gone())
    assert claimed(other)


def test_who_claims_one_has_it_alone_and_can_forget_it(process: Make) -> None:
    files = process()
    intend(files)
    asyncio.run(files.abandon("lease-1"))

    async def run() -> None:
        async with files.claim("lease-1") as first, process().claim("lease-1") as second:
            assert (first, second) == (True, False)
            await files.forget("lease-1")
        async with files.claim("lease-1") as again:
            assert not again

    asyncio.run(run())
    assert list(asyncio.run(files.intents())) == []


def test_what_is_abandoned_is_for_everyone(process: Make) -> None:
    """For the process that has abandoned it, too."""
    files = process()
    intend(files)
    assert not claimed(files)
    asyncio.run(files.abandon("lease-1"))
    (intent,) = asyncio.run(process().intents())
    assert (intent.alive, intent.lease, intent.provider) == (False, LEASE, "local")
    assert claimed(files)


def test_what_is_abandoned_is_so_for_this_process_though_it_cannot_be_written(tmp_path: Path, process: Make) -> None:
    """A full disk, say."""
    files = process()
    intend(files)
    (tmp_path / "rented" / ".new").unlink()
    (tmp_path / "rented" / ".new").mkdir()
    with pytest.raises(LianError, match="leases-unusable"):
        asyncio.run(files.abandon("lease-1"))
    assert not asyncio.run(files.intents())[0].alive
    assert claimed(files)
    assert not claimed(process()), "for others its owner still lives"


def test_a_lease_is_noted_once(process: Make) -> None:
    one, two = process(), process()
    intend(one)
    with pytest.raises(LianError, match="lease-taken"):
        intend(two)
    assert asyncio.run(two.intents())[0].alive
    asyncio.run(one.forget("lease-1"))
    intend(two)


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a" * 41, "-a", ".lock", "a\n"])
def test_no_other_name_becomes_a_path(name: str, process: Make) -> None:
    with pytest.raises(ValueError, match="not a lease's name"):
        asyncio.run(process().forget(name))


def test_what_was_being_written_is_no_lease(tmp_path: Path, process: Make) -> None:
    """It died with the file half written; the next one writes over it."""
    (tmp_path / "rented").mkdir()
    (tmp_path / "rented" / ".new").write_text('{"lea')
    files = process()
    assert list(asyncio.run(files.intents())) == []
    intend(files)
    assert len(asyncio.run(files.intents())) == 1


def test_what_was_named_twice_stays_whole(tmp_path: Path, process: Make) -> None:
    """It died between giving the file its name and the next one."""
    files = process()
    intend(files)
    assert (tmp_path / "rented" / ".new").samefile(tmp_path / "rented" / "lease-1.json")
    asyncio.run(files.intend(request("lease-2").at(MOMENT), "local"))
    assert [intent.lease and intent.lease.name for intent in asyncio.run(files.intents())] == ["lease-1", "lease-2"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"provider": 7}',
        '{"owner": 7}',
        '{"owner": {"pid": "x"}}',
        '{"owner": {"pid": 1e999, "started": 1, "boot": "", "namespace": ""}}',
        '{"owner": {"pid": 1e999, "started": 1, "boot": "", "namespace": ""}}',
        "\udcff",
    ],
)
def test_a_damaged_note_names_nobody_and_is_there(tmp_path: Path, content: str, process: Make) -> None:
    (tmp_path / "rented").mkdir()
    (tmp_path / "rented" / "lease-1.json").write_text(content, errors="surrogateescape")
    files = process()
    (intent,) = asyncio.run(files.intents())
    assert (intent.name, intent.provider, intent.lease, intent.alive) == ("lease-1", "", None, False)
    assert claimed(files)
    asyncio.run(files.abandon("lease-1"))
    asyncio.run(files.forget("lease-1"))
    assert list(asyncio.run(files.intents())) == []


def test_a_note_that_cannot_be_opened_is_told_and_costs_no_other(tmp_path: Path, process: Make) -> None:
    files = process()
    intend(files)
    (tmp_path / "rented" / "broken.json").mkdir()
    intents = {intent.name: intent for intent in asyncio.run(files.intents())}
    assert (intents["broken"].lease, intents["broken"].alive) == (None, True)
    assert intents["lease-1"].lease == LEASE


def test_a_cancelled_note_is_none(process: Make) -> None:
    files = process()

    async def attempt(steps: int) -> None:
        task = asyncio.create_task(files.intend(LEASE, "local"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(await files.intents()) == []

    for steps in range(4):
        asyncio.run(attempt(steps))


@pytest.mark.parametrize("call", ["intend", "intents", "abandon"])
def test_a_folder_that_is_none_is_told(tmp_path: Path, call: str, process: Make) -> None:
    (tmp_path / "rented").write_text("a file")
    files = process()
    works: dict[str, Awaitable[object]] = {
        "intend": files.intend(LEASE, "local"),
        "intents": files.intents(),
        "abandon": files.abandon("lease-1"),
    }

    async def run() -> None:
        with pytest.raises(LianError, match="leases-unusable"):
            await works.pop(call)

    asyncio.run(run())
    for other in works.values():
        other.close()  # type: ignore[attr-defined]


def test_a_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = Owner.of(process.pid)
        assert owner is not None
        assert owner.alive
        assert Owner.from_json(owner.to_json()) == owner
        process.kill()
    assert not owner.alive


def test_a_zombie_owns_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner.of(process.pid)
    assert owner is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert not owner.alive
    finally:
        process.communicate()


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}, {"namespace": "pid:[1]"}])
def test_the_same_pid_elsewhere_or_at_another_time_is_someone_else(change: dict[str, object]) -> None:
    assert here().alive
    assert not replace(here(), **change).alive  # type: ignore[arg-type]
