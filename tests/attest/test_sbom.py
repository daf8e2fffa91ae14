"""SBOMs of the real BuildKit: the image stays what it is without one, and its SBOM can be taken off."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.attest.sbom import apart, sbom_layers, unwrap
from reconciler.model.attestation import Statement, sbom_statement
from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.ports.publisher import PushTo
from reconciler.providers.builder.arguments import build_words
from reconciler.providers.builder.binaries import find_part
from tests.ports.registry_suite import Image
from tests.providers.registry.places import http_place
from tests.providers.workshop import SHELL, open_bench, write_context
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from tests.servers.registry import RegistryServer

SPDX = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "scan", "packages": []}
FOUND = json.dumps({"predicateType": "https://spdx.dev/Document", "predicate": SPDX}).replace('"', '\\"')
SCANNER = SHELL + (
    'ENTRYPOINT ["/bin/busybox", "sh", "-c", '
    + json.dumps(
        f'echo "{FOUND}" > $BUILDKIT_SCAN_DESTINATION/$(/bin/busybox basename $BUILDKIT_SCAN_SOURCE).spdx.json'
    )
    + "]\n"
)
"""An image that follows BuildKit's SBOM scanning protocol, and finds the same everywhere."""


@pytest.mark.buildkit
def test_the_sbom_of_a_build_is_taken_off_its_image(registry_server: RegistryServer, tmp_path: Path) -> None:
    repository = Repository(registry_server.host, "shop/api")
    buildctl = find_part("buildctl")
    assert buildctl is not None

    async def use(registry: Registry, _publisher: Publisher) -> None:
        async with open_bench(tmp_path / "bench") as bench:
            scanner, scanner_request = await bench.build(
                bench.request(
                    write_context(tmp_path / "scanner", SCANNER),
                    destination=PushTo(Repository(registry_server.host, "scanner"), plain=True),
                )
            )
            assert isinstance(scanner_request.destination, PushTo)
            context = write_context(tmp_path / "api", SHELL + "RUN echo made > /made\n")
            request = bench.request(context, destination=PushTo(repository, plain=True))
            plain, _ = await bench.build(request)
            metadata = tmp_path / "metadata.json"
            words = build_words(bench.runner.address, request, metadata, limit_swap=False)
            generator = f"{scanner_request.destination.repository}@{scanner.digest}"
            words += ["--opt", f"attest:sbom=generator={generator}"]
            await asyncio.to_thread(subprocess.run, [str(buildctl), *words], check=True, capture_output=True)
        pushed = Digest.parse(json.loads(metadata.read_bytes())["containerimage.digest"])
        assert pushed != plain.digest
        scanned = await unwrap(registry, repository, await registry.manifest(repository, pushed))
        assert scanned.image.digest == plain.digest
        (sbom,) = scanned.sboms
        assert sbom.subjects == (plain.digest,)
        assert sbom.predicate_type == "https://spdx.dev/Document"
        assert (sbom.predicate["spdxVersion"], sbom.predicate["name"]) == ("SPDX-2.3", "scan")

    http_place(registry_server.host).run(use)


def test_an_image_without_attestations_is_itself() -> None:
    image = Image()
    assert apart(image.manifest) == (image.descriptor, ())


IMAGE = Image()


def attestation_of(image: Descriptor, statement: Statement) -> tuple[Manifest, dict[Digest, bytes]]:
    """As BuildKit writes it."""
    payload, config = statement.to_bytes(), b"{}"
    layer = replace(
        Descriptor.of("application/vnd.in-toto+json", payload),
        annotations={"in-toto.io/predicate-type": statement.predicate_type},
    )
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
        "config": Descriptor.of("application/vnd.oci.empty.v1+json", config).to_json(),
        "layers": [layer.to_json()],
        "subject": image.to_json(),
    }
    blobs = {Digest.of(payload): payload, Digest.of(config): config}
    return Manifest(IMAGE_MANIFEST, json.dumps(document).encode()), blobs


def index_of(*children: Descriptor) -> Manifest:
    document = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [child.to_json() for child in children]}
    return Manifest(IMAGE_INDEX, json.dumps(document).encode())


def about(image: Digest, attestation: Manifest) -> Descriptor:
    return replace(
        Descriptor.of(attestation.media_type, attestation.data),
        annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(image)},
        platform={"os": "unknown", "architecture": "unknown"},
    )


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as running:
        yield running


def unwrapped(server: FaultyRegistry, statement: Statement, of: Digest = IMAGE.manifest.digest) -> Any:
    attestation, blobs = attestation_of(IMAGE.descriptor, statement)
    answer = []

    async def use(registry: Registry, publisher: Publisher) -> None:
        repository = Repository(server.host, "shop/api")
        await publisher.publish(repository, attestation, blobs=blobs)
        answer.append(await unwrap(registry, repository, index_of(IMAGE.descriptor, about(of, attestation))))

    http_place(server.host).run(use)
    return answer[0]


def test_an_sbom_is_said_anew_of_the_image_alone(server: FaultyRegistry) -> None:
    digest, other = IMAGE.manifest.digest, Digest.of(b"other")
    scanned = unwrapped(server, Statement((digest, other), "https://spdx.dev/Document", SPDX))
    assert scanned.image == IMAGE.descriptor
    assert scanned.sboms == (sbom_statement(digest, SPDX),)


def test_an_sbom_without_a_subject_is_of_the_image_it_lies_beside(server: FaultyRegistry) -> None:
    """As BuildKit writes it for an image that goes into a folder."""
    scanned = unwrapped(server, Statement((), "https://spdx.dev/Document", SPDX))
    assert scanned.sboms == (sbom_statement(IMAGE.manifest.digest, SPDX),)


def test_attestations_of_other_kinds_and_of_other_images_are_left(server: FaultyRegistry) -> None:
    digest = IMAGE.manifest.digest
    assert unwrapped(server, Statement((digest,), "https://slsa.dev/provenance/v1", {})).sboms == ()
    sbom = sbom_statement(digest, SPDX)
    assert unwrapped(server, sbom, of=Digest.of(b"other")).sboms == ()


def test_an_sbom_of_something_else_is_refused(server: FaultyRegistry) -> None:
    with pytest.raises(LianError) as error:
        unwrapped(server, sbom_statement(Digest.of(b"other"), SPDX))
    assert error.value.problems[0].code == "sbom-damaged"


@pytest.mark.parametrize(
    "built",
    [
        index_of(),
        index_of(IMAGE.descriptor, Image().descriptor),
        Manifest(IMAGE_INDEX, b'{"manifests": {}}'),
        Manifest(IMAGE_INDEX, b'{"manifests": [1]}'),
    ],
)
def test_an_index_that_is_not_one_image_is_refused(built: Manifest) -> None:
    with pytest.raises(ValueError):
        apart(built)


def test_an_attestation_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no layers"):
        sbom_layers(Manifest(IMAGE_MANIFEST, b"{}"))
