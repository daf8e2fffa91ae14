"""Who asks: passwords, tokens, and where credentials never go."""

from __future__ import annotations

import asyncio
import base64
import pickle
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.http.auth import is_loopback
from reconciler.providers.registry.http.docker_config import Credential
from reconciler.providers.registry.http.scopes import Challenge, challenges
from reconciler.providers.registry.http.trust import Trust
from tests.ports.registry_suite import Image, codes
from tests.providers.registry.places import Clock, config, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry
from tests.servers.registry import PASSWORD as REGISTRY_PASSWORD
from tests.servers.registry import USER as REGISTRY_USER

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from reconciler.providers.registry.http.docker_config import DockerConfig
    from tests.servers.registry import RegistryServer

SECRETS = (PASSWORD, "canary-token", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "canary-identity")


def heads(host: str, docker: DockerConfig, count: int = 3, **how: Any) -> list[Sighting]:
    async def use() -> list[Sighting]:
        async with opened(host, docker=docker, **how) as (registry, _):
            wanted = [Reference(Repository(host, f"r/{n}"), "latest") for n in range(count)]
            return list((await registry.heads(wanted)).values())

    return asyncio.run(use())


def publish(host: str, docker: DockerConfig, image: Image, path: str = "r/0", **how: Any) -> None:
    async def use() -> None:
        async with opened(host, docker=docker, **how) as (_, publisher):
            await publisher.publish(Repository(host, path), image.manifest, tags=["latest"], blobs=image.blobs)

    asyncio.run(use())


def test_a_password_registry(password_registry_server: RegistryServer) -> None:
    host, image = password_registry_server.host, Image()
    docker = config(host, username=REGISTRY_USER, password=REGISTRY_PASSWORD)
    publish(host, docker, image)
    assert heads(host, docker)[0] == Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)
    for wrong in (config(), config(host, username=REGISTRY_USER, password=PASSWORD)):
        for seen in heads(host, wrong):
            assert isinstance(seen, Unknown)
            assert seen.problem.code == "registry-denied"
            assert PASSWORD not in repr(seen)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_reading_and_publishing_with_a_credential(auth: str) -> None:
    image = Image()
    with FaultyRegistry(auth=auth).running() as server:
        docker = config(server.host, auth=base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        publish(server.host, docker, image)
        assert isinstance(heads(server.host, docker)[0], Found)
        assert {type(seen) for seen in heads(server.host, config())} == {Unknown}
        with pytest.raises(LianError) as error:
            publish(server.host, config(), Image())
        assert codes(error) == {"registry-denied"}


def test_reading_asks_for_pull_only_and_publishing_for_its_own_repository() -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        docker = config(server.host, username=USER, password=PASSWORD)
        heads(server.host, docker, 2)
        scopes = {scope for granted in server.tokens.values() for scope in granted}
        assert scopes == {"repository:r/0:pull", "repository:r/1:pull"}
        publish(server.host, docker, Image(), "shop/api")
        assert {s for granted in server.tokens.values() for s in granted if s.endswith("push")} == {
            "repository:shop/api:push"
        }


def test_a_token_is_kept_and_renewed_before_it_ends() -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        server.token_life = 100.0
        docker, clock = config(server.host, username=USER, password=PASSWORD), Clock()

        async def use() -> None:
            async with opened(server.host, docker=docker, clock=clock) as (registry, _):
                wanted = [Reference(Repository(server.host, "r/0"), f"t{n}") for n in range(20)]
                for expected, passed in ((1, 0), (1, 74), (2, 2)):
                    clock.now += passed
                    await registry.heads(wanted)
                    assert len(server.tokens) == expected

        asyncio.run(use())


def test_a_token_that_is_revoked_is_asked_for_again() -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        docker, image = config(server.host, username=USER, password=PASSWORD), Image()
        publish(server.host, docker, image)

        async def use() -> None:
            async with opened(server.host, docker=docker) as (registry, _):
                for _ in range(3):
                    assert (
                        await registry.manifest(Repository(server.host, "r/0"), image.manifest.digest) == image.manifest
                    )
                    server.tokens.clear()

        asyncio.run(use())


def test_an_identity_token_is_exchanged_by_post() -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        server.refresh_tokens.add("canary-identity")
        docker = config(server.host, identitytoken="canary-identity")
        publish(server.host, docker, Image())
        assert isinstance(heads(server.host, docker)[0], Found)
        assert {seen.path for seen in server.asked("POST", "token")} == {"/token"}
        assert not any("canary-identity" in seen.path for seen in server.requests)


def test_a_registry_token_is_used_as_it_is() -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        server.tokens["canary-token-own"] = ("repository:r/0:pull", "repository:r/0:push")
        docker = config(server.host, registrytoken="canary-token-own")
        publish(server.host, docker, Image())
        assert isinstance(heads(server.host, docker, 1)[0], Found)
        assert not server.asked("GET", "/token")


@pytest.mark.parametrize(
    "realm", ["http://elsewhere.example/token", "ftp://127.0.0.1/token", "https://u:p@h/token", "/token"]
)
def test_a_token_service_that_is_not_trusted_gets_nothing(realm: str) -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        server.realm = realm
        seen = heads(server.host, config(server.host, username=USER, password=PASSWORD), 1)[0]
        assert isinstance(seen, Unknown)
        assert seen.problem.code == "registry-denied"
        assert "token service" in (seen.problem.cause or "")


@pytest.mark.parametrize(
    "answer",
    [
        faults.html(200),
        faults.status(403),
        faults.status(200, b"{}"),
        faults.status(200, b'{"token": "a\\nb"}'),
        faults.status(500),
    ],
)
def test_a_token_service_that_fails_is_unknown(answer: Any) -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        server.fault("GET", "/token", answer)
        for seen in heads(server.host, config(server.host, username=USER, password=PASSWORD)):
            assert isinstance(seen, Unknown)
            assert seen.problem.code in {"registry-denied", "registry-failing"}


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_redirect_to_another_host_carries_no_credential(auth: str) -> None:
    image = Image()
    with FaultyRegistry(auth=auth).running() as server, FaultyRegistry().running() as storage:
        docker = config(server.host, username=USER, password=PASSWORD)
        publish(server.host, docker, image)
        layer, data = list(image.blobs.items())[1]
        storage.blobs["r/0", str(layer)] = data
        moved = faults.status(307, Location=f"{storage.url}/v2/r/0/blobs/{layer}?signature=x")
        server.fault("GET", "/blobs/", lambda right: moved(right) if right.status == 200 else right)
        server.requests.clear()

        async def use() -> None:
            async with opened(server.host, docker=docker) as (registry, _):
                assert await registry.blob(Repository(server.host, "r/0"), layer, 1000) == data

        asyncio.run(use())
        assert len(storage.requests) == 1
        assert "authorization" not in storage.requests[0].headers
        assert any("authorization" in seen.headers for seen in server.asked("GET", "/blobs/"))


def test_an_upload_location_on_another_host_gets_no_credential() -> None:
    with FaultyRegistry(auth="basic").running() as server, FaultyRegistry().running() as storage:
        server.fault(
            "POST", "/uploads/", lambda right: faults.Answer(202, {"Location": storage.url + right.headers["Location"]})
        )
        with pytest.raises(LianError):  # the blob went elsewhere, so the manifest is refused
            publish(server.host, config(server.host, username=USER, password=PASSWORD), Image())
        assert storage.asked("PUT")
        assert all("authorization" not in seen.headers for seen in storage.requests)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.status(500),
        faults.status(403, f'{{"errors":[{{"code":"DENIED","message":"Basic {SECRETS[2]}"}}]}}'.encode()),
        faults.status(401, WWW_Authenticate="Basic"),
        faults.status(404, f"Bearer {SECRETS[1]}".encode()),
        faults.status(302, Location=f"http://x:{PASSWORD}@127.0.0.1:1/?token={PASSWORD}"),
        faults.reset,
    ],
)
def test_no_error_holds_a_credential(auth: str, fault: Any) -> None:
    with FaultyRegistry(auth=auth).running() as server:
        docker = config(server.host, username=USER, password=PASSWORD)
        publish(server.host, docker, Image())
        for method in ("HEAD", "GET", "PUT", "POST"):
            server.fault(method, "/v2/", fault)
        texts = [repr(seen) for seen in heads(server.host, docker)]
        with pytest.raises(LianError) as error:
            publish(server.host, docker, Image())
        texts += [str(error.value), repr(error.value.problems)]
        for text in texts:
            assert not any(secret in text for secret in SECRETS)


def test_a_credential_is_not_shown_or_pickled() -> None:
    secret = Credential(USER, PASSWORD, "canary-identity", "canary-token")
    assert not any(s in f"{secret} {secret!r}" for s in SECRETS)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert PASSWORD not in repr(config("h", password=PASSWORD))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ("Basic", (Challenge("basic"),)),
        ('Basic realm="a, b=\\"c\\""', (Challenge("basic", {"realm": 'a, b="c"'}),)),
        (
            'Bearer realm="https://h/t?x=1,2",service=s , scope="repository:a:pull,push"',
            (Challenge("bearer", {"realm": "https://h/t?x=1,2", "service": "s", "scope": "repository:a:pull,push"}),),
        ),
        ('Negotiate, Bearer realm="r"', (Challenge("negotiate"), Challenge("bearer", {"realm": "r"}))),
    ],
)
def test_challenges(header: str, expected: tuple[Challenge, ...]) -> None:
    assert challenges(header) == expected


@given(st.text(max_size=200))
def test_any_header_is_read_without_error(header: str) -> None:
    assert isinstance(challenges(header), tuple)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "a.localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example", "registry", "docker.io"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_https_with_an_own_authority(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *made, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    image = Image()
    with FaultyRegistry(tls=context, auth="bearer").running() as server:
        docker = config(server.host, username=USER, password=PASSWORD)
        trusting = Trust((certificate.read_text(),))
        publish(server.host, docker, image, url=server.url, trust=trusting)
        found = Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)
        assert heads(server.host, docker, url=server.url, trust=trusting)[0] == found
        assert heads(server.host, docker, url=server.url, trust=Trust(insecure=True))[0] == found
        for seen in heads(server.host, docker, url=server.url):
            assert isinstance(seen, Unknown)
            assert seen.problem.code == "registry-unreachable"
            assert "certificate" in (seen.problem.cause or "").lower()
        server.fault("GET", "/blobs/", faults.status(307, Location="http://127.0.0.2:1/x"))

        async def use() -> None:
            async with opened(server.host, server.url, docker=docker, trust=trusting) as (registry, _):
                with pytest.raises(LianError) as error:
                    await registry.blob(Repository(server.host, "r/0"), next(iter(image.blobs)), 1000)
                assert codes(error) == {"registry-not-oci"}

        asyncio.run(use())
    with pytest.raises(LianError) as error:
        heads("h:1", config(), url="https://h:1", trust=Trust(("no certificate",)))
    assert codes(error) == {"ca-unreadable"}
