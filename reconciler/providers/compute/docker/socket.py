"""Where Docker answers on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.providers.compute.docker import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL = Path("/var/run/docker.sock")
OF_A_USER = (Path(".docker/run/docker.sock"), Path(".docker/desktop/docker.sock"))
"""Below the home folder: where Docker Desktop has it on macOS, and on Linux."""
_UNIX = "unix://"


def find_socket(url: str | None, environ: Mapping[str, str], home: Path, usual: Path = USUAL) -> Path:
    """Where `url` says (`compute.url`), else where DOCKER_HOST says, else the first of the usual places that exists.
    Raises LianError `docker-unsuitable` for what is no unix socket."""
    for source, said in (("compute.url", url), ("DOCKER_HOST", environ.get("DOCKER_HOST"))):
        if said:
            if not said.startswith(_UNIX + "/"):
                raise LianError(problems.elsewhere(source, said))
            return Path(said.removeprefix(_UNIX))
    places = (usual, *(home / place for place in OF_A_USER))
    return next((place for place in places if place.exists()), usual)
