"""Compute `docker-local` in a Docker of the test's own."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.providers.compute.docker.docker_local import DockerLocalCompute, DockerSettings
from reconciler.providers.compute.docker.engine import Engine
from reconciler.providers.compute.docker.image import Programs, RunnerImage, this_machine
from reconciler.wiring import runner_program
from tests.ports.leasing import leasing_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.leasing import Leasing
    from tests.servers.dockerd import DockerServer

NAME = "docker-local"


def docker_provider(
    socket: Path,
    state: Path,
    find: Callable[[str], Path | None] = runner_program,
    image: str | None = None,
) -> DockerLocalCompute:
    """The folder of leases is the test's own, and so are short ways to sockets."""
    settings = DockerSettings({}, url=f"unix://{socket}", image=image)
    return DockerLocalCompute(Programs(find, state.parent / "laid"), state, settings, links=state.parent / "links")


def runner_image() -> RunnerImage:
    """The image of this machine's programs, which are read once in a process and in those that are forked from it."""
    here = this_machine()
    assert here is not None
    return RunnerImage.of(here, Programs(runner_program, Path(os.devnull)).gather(here))


def loaded_image(socket: Path) -> str:
    """Its name, when Docker has it: another process that is told the name need not read the programs."""
    image, engine = runner_image(), Engine(socket)

    async def load() -> None:
        if await engine.image(image.name) is None:
            await engine.load(image.archive())

    asyncio.run(load())
    return image.name


def docker_compute(socket: Path, state: Path, image: str | None = None) -> Leasing:
    """The ledger is beside the folder of leases."""
    return leasing_of(docker_provider(socket, state, image=image), state.with_name("rented"), name=NAME)


@dataclass(frozen=True)
class Traces:
    """What stands of any lease in this Docker and below this folder."""

    server: DockerServer
    state: Path

    def left(self) -> list[str]:
        """In Docker, and here."""
        folders = [self.state, self.state.parent / "links"]
        entries = [entry for folder in folders if folder.is_dir() for entry in folder.iterdir()]
        return [*self.server.left(), *(f"file {entry}" for entry in entries)]
