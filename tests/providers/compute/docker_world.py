"""Compute `docker-local` in a Docker of the test's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.providers.compute.docker.docker_local import DockerLocalCompute, DockerSettings
from reconciler.providers.compute.docker.image import Programs
from reconciler.wiring import runner_program
from tests.ports.leasing import leasing_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


def docker_compute(socket: Path, state: Path) -> Leasing:
    """The ledger is beside the folder of leases."""
    return leasing_of(docker_provider(socket, state), state.with_name("rented"), name=NAME)


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
