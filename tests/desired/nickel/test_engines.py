"""The command and the wheel give the same JSON for every shipped file."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from reconciler.desired.nickel import driver
from reconciler.desired.nickel.pool import Reply, Status, Worker
from reconciler.desired.nickel.settings import Limits
from tests.desired.nickel.commits import REPOSITORY
from tests.needs import not_run

FOLDERS = ("schemas", "defaults", "desired", "adrs", ".ontology", "examples")
SHIPPED = sorted(
    path.relative_to(REPOSITORY).as_posix() for name in FOLDERS for path in (REPOSITORY / name).rglob("*.ncl")
)


async def exported(root: Path, command: str | None) -> dict[str, Reply]:
    """Every shipped file, each alone."""
    worker = Worker(root, command, Limits(seconds=30))
    try:
        return {
            path: await worker.ask(driver.unchecked([path]), [f"../{driver.PACKAGED}"], [driver.key(path)], 30)
            for path in SHIPPED
        }
    finally:
        await worker.close()


def test_both_evaluators_agree_on_every_shipped_file(tmp_path: Path) -> None:
    command = shutil.which("nickel")
    if command is None:
        not_run("no nickel on PATH", optional=True)
    for path in SHIPPED:
        for folder in (driver.TREE, driver.PACKAGED):
            (tmp_path / folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / path, tmp_path / folder / path)
    by_wheel = asyncio.run(exported(tmp_path, None))
    by_command = asyncio.run(exported(tmp_path, str(Path(command).resolve())))
    assert len(SHIPPED) > 10
    assert [path for path, reply in by_wheel.items() if reply.status is not Status.OK] == []
    assert {path: json.loads(reply.texts[0] or b"") for path, reply in by_wheel.items()} == {
        path: json.loads(reply.texts[0] or b"") for path, reply in by_command.items()
    }
    assert {path: reply.texts for path, reply in by_wheel.items()} == {p: r.texts for p, r in by_command.items()}
