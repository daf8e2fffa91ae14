"""A build record is found and read with tools that know nothing of lian: oras and crane."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.record import Facts, attach
from reconciler.identity.resolve import Keyed, Resolution
from reconciler.model.canonical import canonical
from reconciler.model.manifest import EMPTY_CONFIG
from reconciler.model.observed import Observed
from reconciler.model.record import ARTIFACT_TYPE, KEY_ANNOTATION, LISTING_LAYER, LOG_LAYER, RECORD_LAYER
from reconciler.model.tier import Tier
from reconciler.observe.ask import read_records
from reconciler.providers.registry.layout.folder import folder_of
from tests import programs
from tests.commits import AMD64, Commit, chain
from tests.fakes import World
from tests.plan.evidence import MOMENT, Evidence
from tests.ports.registry_suite import Image
from tests.providers.registry.places import disk_place, http_place
from tests.servers.running import usable

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.record import BuildRecord
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from tests.ports.registry_suite import Place
    from tests.servers.running import RegistryServer

OVER_HTTP = ["registry_server", "distribution_v3_server", "ggcr_server", "zot_server"]
"""docker-registry 2.8 and distribution v3 have the list of referrers under a tag only, the others have the API."""
LOG = "#1 RUN make\n#1 DONE\n"


@dataclass(frozen=True)
class Shop:
    """`shop/api:latest` with a build record, as a build leaves them; `home` is that of a user without credentials."""

    place: Place
    home: Path
    image: Image
    record: BuildRecord
    listed_as: str = ARTIFACT_TYPE
    """The record's type as the registry's list has it."""

    @property
    def name(self) -> str:
        """The repository, as tools want it."""
        return str(self.place.repository())

    def run(self, tool: str, *words: str) -> bytes:
        """What a tool prints."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home)}
        command = [str(usable(programs.find(tool))), *words]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def document(self, tool: str, *words: str) -> dict[str, Any]:
        """The same as JSON."""
        document: dict[str, Any] = json.loads(self.run(tool, *words))
        return document

    def referrer(self, *words: str) -> dict[str, Any]:
        """The one that oras discovers."""
        (found,) = self.document("oras", "discover", "--format", "json", *words)["referrers"]
        assert isinstance(found, dict)
        return found


def shop_on(place: Place, folder: Path) -> Shop:
    """Publishes the image and attaches a record to it."""
    api, image = chain("shop/api"), Image()
    commit = replace(api, artifacts=(replace(api.artifacts[0], image=place.repository()),))
    records: list[BuildRecord] = []

    async def use(registry: Registry, publisher: Publisher) -> None:
        await publisher.publish(place.repository(), image.manifest, tags=["latest"], blobs=image.blobs)
        ports = replace(World(commit, folder).ports(), registry=registry, publisher=publisher)
        (wanted,) = commit.desired.wanted.values()
        facts = Facts("acme", commit.revision, MOMENT, 1.5, "buildkit v0.33.1", Tier(2, 4, 30), (), None, (log,), {})
        digests = {AMD64: image.manifest.digest}
        records.append(await attach(ports, wanted, identity_of(commit), image.descriptor, digests, facts))
        assert await read_records(registry, place.repository(), image.manifest.digest) == tuple(records)

    log = folder / "api.log"
    log.write_text(LOG)
    place.run(use)
    return Shop(place, folder, image, records[0])


def identity_of(commit: Commit) -> Keyed:
    """Of the one artifact."""
    resolution, observed, evidence = Resolution(commit.desired, MOMENT), Observed(), Evidence()
    while questions := resolution.still_needed(observed):
        observed.take(evidence.answer(questions))
    (identity,) = resolution.identities.values()
    assert isinstance(identity, Keyed)
    return identity


@pytest.fixture(params=OVER_HTTP)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """go-containerregistry's registry lists the type of the config instead of the artifact's."""
    server: RegistryServer = request.getfixturevalue(request.param)
    listed_as = EMPTY_CONFIG if request.param == "ggcr_server" else ARTIFACT_TYPE
    return replace(shop_on(http_place(server.host), tmp_path), listed_as=listed_as)


def test_oras_finds_the_record_and_reads_it(shop: Shop) -> None:
    found = shop.referrer("--plain-http", f"{shop.name}:latest")
    assert found["artifactType"] == shop.listed_as
    manifest = shop.document("oras", "manifest", "fetch", "--plain-http", f"{shop.name}@{found['digest']}")
    assert manifest["artifactType"] == ARTIFACT_TYPE
    assert manifest["annotations"][KEY_ANNOTATION] == shop.record.key
    layers = {layer["mediaType"]: layer["digest"] for layer in manifest["layers"]}
    assert set(layers) == {RECORD_LAYER, LISTING_LAYER, LOG_LAYER}
    fetched = {
        kind: shop.run("oras", "blob", "fetch", "--plain-http", "--output", "-", f"{shop.name}@{digest}")
        for kind, digest in layers.items()
    }
    assert fetched[RECORD_LAYER] == canonical(shop.record.to_json())
    assert json.loads(fetched[RECORD_LAYER])["digest"] == str(shop.image.manifest.digest)
    assert fetched[LOG_LAYER].decode().endswith(LOG)
    assert [line[0] for line in json.loads(fetched[LISTING_LAYER])] == ["Dockerfile", "app"]


def test_crane_reads_the_record(shop: Shop) -> None:
    assert shop.run("crane", "digest", f"{shop.name}:latest").decode().strip() == str(shop.image.manifest.digest)
    found = shop.referrer("--plain-http", f"{shop.name}@{shop.image.manifest.digest}")
    manifest = shop.document("crane", "manifest", f"{shop.name}@{found['digest']}")
    assert manifest["subject"]["digest"] == str(shop.image.manifest.digest)
    (layer,) = (layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == RECORD_LAYER)
    assert shop.run("crane", "blob", f"{shop.name}@{layer}") == canonical(shop.record.to_json())


@pytest.mark.parametrize("server", ["registry_server", "distribution_v3_server"])
def test_without_the_api_the_list_lies_under_a_tag(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """distribution-spec 1.1, "Referrers Tag Schema": what crane and others see who do not know the API."""
    shop = shop_on(http_place(request.getfixturevalue(server).host), tmp_path)
    tag = f"sha256-{shop.image.manifest.digest.hex}"
    assert tag in shop.run("crane", "ls", shop.name).decode().split()
    (entry,) = shop.document("crane", "manifest", f"{shop.name}:{tag}")["manifests"]
    assert (entry["artifactType"], entry["annotations"][KEY_ANNOTATION]) == (ARTIFACT_TYPE, shop.record.key)
    found = shop.referrer(
        "--plain-http", "--distribution-spec", "v1.1-referrers-tag", f"{shop.name}@{shop.image.manifest.digest}"
    )
    assert found["digest"] == entry["digest"]


def test_oras_finds_the_record_on_disk(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    shop = shop_on(disk_place(root), tmp_path)
    folder = folder_of(root, shop.place.repository())
    found = shop.referrer("--oci-layout", f"{folder}:latest")
    assert found["artifactType"] == ARTIFACT_TYPE
    manifest = shop.document("oras", "manifest", "fetch", "--oci-layout", f"{folder}@{found['digest']}")
    (layer,) = (layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == RECORD_LAYER)
    read = shop.run("oras", "blob", "fetch", "--oci-layout", "--output", "-", f"{folder}@{layer}")
    assert read == canonical(shop.record.to_json())
