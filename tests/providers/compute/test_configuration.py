"""buildkitd.toml: what it says of registries, whatever stands in their names and paths."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.secret import Secret
from reconciler.model.tier import Tier
from reconciler.ports.access import Identity, Route
from reconciler.ports.compute import LeaseRequest
from reconciler.providers.compute.configuration import Certificates, configuration

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
_path = st.builds(lambda name: Path("/", name), _text)


def parsed(routes: tuple[Route, ...], certificates: dict[str, Certificates]) -> Any:
    request = LeaseRequest("fleet", "pass", "lease", Tier(2, 1.0, 30), 60.0, routes=routes)
    return tomllib.loads(configuration(request, "/lian/x", certificates))["registry"]


def test_a_registry_of_each_kind() -> None:
    routes = (
        Route("127.0.0.1:5000", authorities=("PEM",), identity=Identity("CERT", Secret("KEY"))),
        Route("plain.example", plain=True, insecure=True),
        Route("loose.example", insecure=True),
        Route("docker.io", mirrors=("m.example/hub", "n.example:5000")),
    )
    files = {"127.0.0.1:5000": Certificates((Path("/l/0.crt"),), (Path("/l/c.cert"), Path("/l/c.key")))}
    assert parsed(routes, files) == {
        "127.0.0.1:5000": {
            "http": False,
            "ca": ["/l/0.crt"],
            "keypair": [{"cert": "/l/c.cert", "key": "/l/c.key"}],
        },
        "plain.example": {"http": True},
        "loose.example": {"http": False, "insecure": True},
        "docker.io": {"http": False, "mirrors": ["m.example/hub", "n.example:5000"]},
    }


@given(st.lists(_text, unique=True, min_size=1, max_size=4), _text, st.lists(_path, max_size=3))
def test_any_name_and_any_path_arrive_as_they_are(hosts: list[str], mirror: str, paths: list[Path]) -> None:
    found = parsed(
        tuple(Route(host, mirrors=(mirror,)) for host in hosts), {hosts[0]: Certificates(tuple(paths))} if paths else {}
    )
    assert list(found) == hosts
    assert all(table["mirrors"] == [mirror] for table in found.values())
    assert found[hosts[0]].get("ca", []) == [str(path) for path in paths]
