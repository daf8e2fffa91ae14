"""Whom lian trusts and as whom it connects, against a real registry behind TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.fleet import Author, RegistryProvider, RegistrySettings
from reconciler.model.observed import ABSENT, Unknown
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference, Repository
from reconciler.model.secret import Secret
from reconciler.ports.access import Identity, Route
from reconciler.providers.registry.http.trust import Trust, of_docker
from reconciler.providers.registry.router import Connections, RoutedRegistry
from reconciler.providers.secrets.sources import Sources
from tests.ports.registry_suite import Image
from tests.providers.registry.places import config, opened
from tests.servers import faulty_registry as faults
from tests.servers.certificates import Authority
from tests.servers.faulty_registry import FaultyRegistry
from tests.servers.secured_registry import run_secured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from tests.servers.certificates import Certified
    from tests.servers.running import RegistryServer

AUTHORITY, CLIENTS, STRANGERS = Authority("servers"), Authority("clients"), Authority("strangers")
KEY = SourceRef(SourceKind.ENV, "CLIENT_KEY")


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that speaks only to clients with a certificate."""
    folder = tmp_path_factory.mktemp("mutual")
    with run_secured(folder, tls=AUTHORITY.issue(), clients=CLIENTS) as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Certified:
    """A certificate that it accepts."""
    return CLIENTS.issue("lian")


def seen(
    host: str,
    files: Mapping[str, str],
    *,
    environ: Mapping[str, str] | None = None,
    certificates: tuple[Path, ...] = (),
    **said: Any,
) -> Sighting:
    """What a reference on the host looks like, with a commit of these files and these settings."""

    async def blob(path: str) -> bytes:
        if path not in files:
            raise LianError(Problem("path-missing", f"the commit holds no file {path}", file=path))
        return files[path].encode()

    async def use() -> Sighting:
        known = RegistrySettings(RegistryProvider.DISTRIBUTION, url=f"https://{host}", **said)
        read = Sources(environ or {}).read
        async with Connections(config=config, read=read, certificates=certificates) as connections:
            await connections.learn([known], fleet=known, blob=blob)
            wanted = Reference(Repository(host, "a"), "latest")
            return (await RoutedRegistry(connections).heads([wanted]))[wanted]

    return asyncio.run(use())


def told(sighting: Sighting) -> str:
    assert isinstance(sighting, Unknown), sighting
    assert "PRIVATE KEY" not in repr(sighting)
    return sighting.problem.code


def test_settings_name_certificates_in_the_commit_and_a_key_outside(mutual: RegistryServer, client: Certified) -> None:
    files = {"certs/ca.pem": AUTHORITY.pem, "certs/lian.pem": client.pem, "other.pem": STRANGERS.pem}
    said: dict[str, Any] = {"ca": "./certs/ca.pem", "client_cert": "certs//lian.pem", "client_key": KEY}
    environ = {"CLIENT_KEY": client.key_pem}
    assert seen(mutual.host, files, environ=environ, **said) == ABSENT
    for change, advice in (({"client_cert": None, "client_key": None}, "`client_key`"), ({"ca": "other.pem"}, "`ca`")):
        sighting = seen(mutual.host, files, environ=environ, **said | change)
        assert told(sighting) == "registry-unreachable"
        assert isinstance(sighting, Unknown)
        assert advice in (sighting.problem.hint or "")


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        ({}, None, "credential-missing"),
        ({}, STRANGERS.own.key_pem, "client-cert-unusable"),
        ({}, "no key", "client-cert-unusable"),
        ({}, STRANGERS.own.locked_key_pem("canary"), "client-cert-unusable"),
        ({"client_cert": "none.pem"}, STRANGERS.own.key_pem, "path-missing"),
        ({"ca": "none.pem"}, STRANGERS.own.key_pem, "path-missing"),
        ({"ca": "text"}, STRANGERS.own.key_pem, "ca-unreadable"),
        ({"ca": "wide"}, STRANGERS.own.key_pem, "ca-unreadable"),
        ({"by": Author.DIRECTIVE}, STRANGERS.own.key_pem, "credential-forbidden"),
    ],
)
def test_certificates_that_cannot_be_used_make_the_host_unknown(
    mutual: RegistryServer, client: Certified, change: dict[str, Any], key: str | None, expected: str
) -> None:
    files = {"ca.pem": AUTHORITY.pem, "lian.pem": client.pem, "text": "no certificate", "wide": "é"}
    said: dict[str, Any] = {"ca": "ca.pem", "client_cert": "lian.pem", "client_key": KEY}
    environ = {"CLIENT_KEY": key} if key else {}
    assert told(seen(mutual.host, files, environ=environ, **said | change)) == expected


def test_dockers_folder_of_certificates_does_as_well(mutual: RegistryServer, client: Certified, tmp_path: Path) -> None:
    mine = tmp_path / "certs.d" / mutual.host
    client.write(mine, "client")
    (mine / "ca.crt").write_text(AUTHORITY.pem)
    folders = (tmp_path / "nothing", tmp_path / "certs.d")
    assert seen(mutual.host, {}, certificates=folders) == ABSENT
    assert seen(mutual.host, {"ca.pem": AUTHORITY.pem}, certificates=folders, ca="ca.pem") == ABSENT
    other = {"ca.pem": STRANGERS.pem}
    assert told(seen(mutual.host, other, certificates=folders, ca="ca.pem")) == "registry-unreachable"
    (mine / "client.key").unlink()
    assert told(seen(mutual.host, {}, certificates=folders)) == "ca-unreadable"
    (mine / "client.key").write_text(client.key_pem)
    (mine / "ca.crt").write_bytes(b"\xff")
    assert told(seen(mutual.host, {}, certificates=folders)) == "ca-unreadable"


def test_no_folder_of_certificates_trusts_nobody_more(tmp_path: Path) -> None:
    (tmp_path / "a.example").mkdir()
    (tmp_path / "file").write_text("")
    for host in ("a.example", "b.example", "file", ".", ".."):
        assert of_docker(host, (tmp_path, tmp_path / "none")) == Trust()


def test_where_the_registry_sends_us_no_client_certificate_is_shown(tmp_path: Path, client: Certified) -> None:
    """Storage that is redirected to could take a certificate for a login; and a registry that is believed unseen does
    not make others so."""
    image = Image()
    layer, data = list(image.blobs.items())[1]
    asking = AUTHORITY.issue().server_context(tmp_path / "storage", CLIENTS)
    own = AUTHORITY.issue().server_context(tmp_path / "own", CLIENTS)
    with FaultyRegistry(tls=own).running() as server, FaultyRegistry(tls=asking).running() as storage:
        storage.blobs["r/0", str(layer)] = data
        elsewhere = storage.url.replace("127.0.0.1", "localhost")
        server.fault("GET", "/blobs/", faults.status(307, Location=f"{elsewhere}/v2/r/0/blobs/{layer}"))
        trusting = Trust((AUTHORITY.pem,), Identity(client.pem, Secret(client.key_pem)))

        async def use() -> None:
            async with opened(server.host, server.url, docker=config(), trust=trusting) as (registry, _):
                with pytest.raises(LianError) as error:
                    await registry.blob(Repository(server.host, "r/0"), layer, 1000)
                assert error.value.problems[0].code == "registry-unreachable"

        asyncio.run(use())
        assert server.asked("GET", "/blobs/")
        assert not storage.requests


def test_a_registry_that_is_believed_unseen_does_not_vouch_for_others(tmp_path: Path) -> None:
    image = Image()
    layer, data = list(image.blobs.items())[1]
    own, other = (STRANGERS.issue().server_context(tmp_path / name) for name in ("own", "other"))
    with FaultyRegistry(tls=own).running() as server, FaultyRegistry(tls=other).running() as storage:
        storage.blobs["r/0", str(layer)] = data
        elsewhere = storage.url.replace("127.0.0.1", "localhost")
        server.fault("GET", "/blobs/", faults.status(307, Location=f"{elsewhere}/v2/r/0/blobs/{layer}"))

        async def use() -> None:
            async with opened(server.host, server.url, docker=config(), trust=Trust(insecure=True)) as (registry, _):
                with pytest.raises(LianError) as error:
                    await registry.blob(Repository(server.host, "r/0"), layer, 1000)
                assert "certificate" in (error.value.problems[0].cause or "").lower()

        asyncio.run(use())
        assert not storage.requests


def test_a_builder_is_told_the_same(client: Certified) -> None:
    files = {"ca.pem": AUTHORITY.pem.encode(), "lian.pem": client.pem.encode()}

    async def blob(path: str) -> bytes:
        return files[path]

    async def use() -> tuple[Route, ...]:
        known = [
            RegistrySettings(
                RegistryProvider.ZOT, url="https://a.example", ca="ca.pem", client_cert="lian.pem", client_key=KEY
            ),
            RegistrySettings(RegistryProvider.ZOT, url="http://b.example:5000"),
            RegistrySettings(RegistryProvider.ZOT, url="https://127.0.0.1:5000", insecure=True),
        ]
        fleet = RegistrySettings(
            RegistryProvider.OCI_LAYOUT,
            path="/x",
            mirrors=(("docker.io", ("http://m.example:5000/hub", "https://n.example")),),
        )
        read = Sources({"CLIENT_KEY": client.key_pem}).read
        async with Connections(config=config, read=read, certificates=()) as connections:
            await connections.learn([*known, fleet], fleet=fleet, blob=blob)
            hosts = ["docker.io", "oci-layout:/x", "a.example", "b.example:5000", "127.0.0.1:5000", "localhost:1"]
            return await connections.routes(hosts)

    identity = Identity(client.pem, Secret(client.key_pem.removesuffix("\n")))
    assert asyncio.run(use()) == (
        Route("127.0.0.1:5000", insecure=True),
        Route("a.example", authorities=(AUTHORITY.pem,), identity=identity),
        Route("b.example:5000", plain=True),
        Route("docker.io", mirrors=("m.example:5000/hub", "n.example")),
        Route("m.example:5000", plain=True),
        Route("n.example"),
        Route("localhost:1", plain=True),
    )
    assert "PRIVATE" not in repr(identity)


def test_a_key_that_came_meanwhile_is_taken_at_the_next_pass(mutual: RegistryServer, client: Certified) -> None:
    """A watch goes on with a host that it could not set up before."""
    environ: dict[str, str] = {}
    files = {"ca.pem": AUTHORITY.pem.encode(), "lian.pem": client.pem.encode()}

    async def blob(path: str) -> bytes:
        return files[path]

    async def use() -> list[type]:
        known = RegistrySettings(
            RegistryProvider.ZOT, url=f"https://{mutual.host}", ca="ca.pem", client_cert="lian.pem", client_key=KEY
        )
        found = []
        async with Connections(config=config, read=Sources(environ).read, certificates=()) as connections:
            for key in ("", client.key_pem):
                environ.update({"CLIENT_KEY": key} if key else {})
                await connections.learn([known], fleet=known, blob=blob)
                wanted = Reference(Repository(mutual.host, "a"), "latest")
                found.append(type((await RoutedRegistry(connections).heads([wanted]))[wanted]))
        return found

    assert asyncio.run(use()) == [Unknown, type(ABSENT)]
