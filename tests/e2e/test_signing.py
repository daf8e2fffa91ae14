"""Images that the real BuildKit builds are signed, described and listed; lian's verifier and cosign check it."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.attestation import SBOM_PREDICATE, SIGNATURE_PREDICATE
from reconciler.model.digest import Digest
from reconciler.model.provenance import PROVENANCE_PREDICATE, Provenance, provenance_of
from reconciler.model.reference import Repository
from reconciler.observe.ask import read_records
from tests.attest.attached import verdict_on
from tests.attest.cosign import done, find_cosign
from tests.attest.keys import Pair
from tests.attest.test_sbom import SCANNER, SPDX
from tests.e2e.bench import BUSYBOX, Bench, directive, leftovers
from tests.providers.registry.places import disk_place, http_place
from tests.servers.registry import run_registry
from tests.servers.zot import run_zot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.attest.verify import Verdict
    from reconciler.model.record import BuildRecord
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from tests.ports.registry_suite import Place
    from tests.servers.running import RegistryServer

pytestmark = pytest.mark.buildkit

ORIGIN = "https://ci:secret@git.example.org/acme/desired.git"
TOOL = {"images/tool/Dockerfile": "FROM scratch\nCOPY tool.txt /\n", "images/tool/tool.txt": "tool\n"}
PASSWORD = b"open sesame"


def wanted(*names: str) -> dict[str, str]:
    """A directive for images that are all made of the same."""
    artifacts = {name: f'image = "shop/{name}", context.path = "images/tool"' for name in names}
    return {"directives/shop.ncl": directive("shop", artifacts)}


LISTED = {"spdxVersion": SPDX["spdxVersion"], "name": SPDX["name"]}


def listed(sbom: Mapping[str, Any]) -> dict[str, Any]:
    """What the scanner of the tests said; BuildKit adds that it has been through its hands."""
    return {name: sbom[name] for name in LISTED}


def found_on(place: Place, repository: str, digest: str, pair: Pair) -> Verdict:
    """What hangs on an image and holds under the public key."""
    answer: list[Verdict] = []

    async def use(registry: Registry, _: Publisher) -> None:
        where, subject = Repository(place.repository().host, repository), Digest.parse(digest)
        answer.append(await verdict_on(registry, where, subject, [pair.verifier]))

    place.run(use)
    return answer[0]


@dataclass
class Shop:
    """A fleet of one image, a key, and a registry (beside it, where the fleet's own is a folder) with a scanner."""

    bench: Bench
    place: Place
    beside: RegistryServer
    pair: Pair
    key: Path

    def settings(self, **sign: str) -> dict[str, str]:
        """A lian.ncl that asks for signatures."""
        fields = {"key": f'{{ source = \'File, name = "{self.key}" }}', **sign}
        text = ", ".join(f"{name} = {value}" for name, value in fields.items())
        policy = f'{{ sign = {{ {text} }}, verify.keys = ["keys/fleet.pub"] }}'
        public = self.pair.public_pem.decode()
        return {"lian.ncl": f'{{ fleet = "acme", policy = {policy} }}\n', "keys/fleet.pub": public}

    def scanner(self) -> str:
        """Built by lian, like any image; by digest."""
        with_shell = self.bench.repo.parent / "scanner"
        maker = Bench.new(with_shell, self.beside.url)
        (maker.repo / "images/scan").mkdir(parents=True)
        shutil.copy(BUSYBOX, maker.repo / "images/scan/busybox")
        scan = directive("tools", {"scan": 'image = "tools/scan", context.path = "images/scan"'})
        maker.commit({"directives/tools.ncl": scan, "images/scan/Dockerfile": SCANNER})
        return f"{self.beside.host}/tools/scan@{maker.reconcile()['tools/scan']['digest']}"

    def found_on(self, repository: str, digest: str) -> Verdict:
        """What hangs there and holds under the public key."""
        return found_on(self.place, repository, digest, self.pair)

    def record(self, repository: str, digest: str) -> BuildRecord:
        """Its one record."""
        answer: list[BuildRecord] = []

        async def use(registry: Registry, _: Publisher) -> None:
            answer.extend(await read_records(registry, self.at(repository), Digest.parse(digest)))

        self.place.run(use)
        (record,) = answer
        return record

    def at(self, repository: str) -> Repository:
        """On the fleet's registry."""
        return Repository(self.place.repository().host, repository)


@pytest.fixture(params=["docker-registry", "on disk"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    pair, key = Pair(), tmp_path / "sign.key"
    key.write_bytes(pair.pem(PASSWORD))
    running = run_zot if request.param == "zot" else run_registry
    with running(tmp_path / "server") as server:
        on_disk = request.param == "on disk"
        url = f"oci-layout:{tmp_path / 'registry'}" if on_disk else server.url
        place = disk_place(tmp_path / "registry") if on_disk else http_place(server.host)
        bench = Bench.new(tmp_path, url)
        bench.env["COSIGN_PASSWORD"] = PASSWORD.decode()
        bench.git("remote", "add", "origin", ORIGIN)
        unsigned = {"lian.ncl": '{ fleet = "acme" }\n'}
        bench.commit({**wanted("tool"), **TOOL, **unsigned})
        yield Shop(bench, place, server, pair, key)


@pytest.mark.parametrize("shop", ["docker-registry", "on disk", "zot"], indirect=True)
def test_what_is_built_is_signed_described_and_listed(shop: Shop, tmp_path: Path) -> None:
    """An image from before that is not signed is left as it is, and built rather than copied; a signed one is copied,
    with all that is said of it."""
    plain = shop.bench.reconcile()["shop/tool"]["digest"]
    assert shop.found_on("shop/tool", plain).vouched == ()
    scanner = shop.scanner()
    shop.bench.commit({**shop.settings(sbom="true", scanner=f'"{scanner}"'), **wanted("tool", "again")})
    assert shop.bench.plan(2)["shop/again"]["action"] == "retag"
    results = shop.bench.reconcile()
    assert [results[name]["action"] for name in ("shop/again", "shop/tool")] == ["build", "none"]
    assert results["shop/again"]["digest"] == plain  # with a scanner and without, it is the same image
    found = shop.found_on("shop/again", plain)
    assert (found.problem, found.failures, found.unread) == (None, (), ())
    kinds = sorted(v.statement.predicate_type for v in found.vouched)
    assert kinds == sorted([SIGNATURE_PREDICATE, PROVENANCE_PREDICATE, SBOM_PREDICATE])
    (said,) = found.of(PROVENANCE_PREDICATE)
    record = shop.record("shop/again", plain)
    assert Provenance.from_json(said.statement.predicate) == provenance_of(record, "acme", ORIGIN)
    text = json.dumps(said.statement.predicate)
    assert f"git+https://git.example.org/acme/desired.git@{record.revision}" in text
    assert "secret" not in text
    (sbom,) = found.of(SBOM_PREDICATE)
    assert listed(sbom.statement.predicate) == LISTED

    shop.bench.commit(wanted("tool", "again", "third"))
    assert shop.bench.reconcile()["shop/third"]["action"] == "retag"
    assert shop.found_on("shop/third", plain).vouched == found.vouched
    assert shop.found_on("shop/tool", plain).vouched == ()
    assert {change["action"] for change in shop.bench.plan(0).values()} == {"none"}
    verified = {r["artifact"]: r["state"] for r in shop.bench.lian("verify", "--json", code=3).json["results"]}
    assert verified == {"shop/again": "ok", "shop/third": "ok", "shop/tool": "unsigned"}
    assert leftovers(shop.bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}
    if shop.place.repository().layout is not None:  # the index that BuildKit wrapped around the image is not kept
        blobs = tmp_path / "registry" / "shop" / "again" / "blobs" / "sha256"
        assert not [blob for blob in blobs.iterdir() if b"attestation-manifest" in blob.read_bytes()]


def test_what_was_built_before_the_fleet_signed_is_signed_on_request(shop: Shop) -> None:
    digest = shop.bench.reconcile()["shop/tool"]["digest"]
    shop.bench.commit(shop.settings())
    assert shop.bench.lian("verify", "--json", code=3).json["results"][0]["state"] == "unsigned"
    ran = shop.bench.lian("sign")
    assert ran.out.splitlines()[0].startswith(f"signed   shop/tool  sha256:{digest[7:19]}")
    assert "1 signed" in ran.out
    found = shop.found_on("shop/tool", digest)
    assert sorted(v.statement.predicate_type for v in found.vouched) == sorted(
        [SIGNATURE_PREDICATE, PROVENANCE_PREDICATE]
    )
    assert shop.bench.lian("sign", "--json").json["results"][0]["status"] == "none"
    assert shop.found_on("shop/tool", digest) == found
    verified = shop.bench.lian("verify", "--json").json["results"][0]
    assert (verified["state"], verified["signed_by"]) == ("ok", ["keys/fleet.pub"])
    shop.bench.commit({"images/tool/tool.txt": "another\n"})
    assert "is not in sync" in shop.bench.lian("sign", code=4).out


@pytest.mark.parametrize("fault", ["wrong password", "no file"])
def test_without_the_key_nothing_is_built(shop: Shop, fault: str) -> None:
    if fault == "wrong password":
        shop.bench.env["COSIGN_PASSWORD"] = "close sesame"
    else:
        shop.key.unlink()
    shop.bench.commit(shop.settings())
    ran = shop.bench.lian("reconcile", "--once", code=3)
    told = ran.out + ran.err
    assert ("cannot be opened" if fault == "wrong password" else "is not there") in told
    assert str(shop.key) in told
    assert "sesame" not in told
    assert "[1/1]" not in told  # no step of a build


@pytest.mark.parametrize("source", ['\'Env, name = "THE_KEY"', '\'Command, name = "printenv A_KEY"'])
def test_a_key_may_come_from_a_variable_or_a_command(tmp_path: Path, source: str) -> None:
    pair, place = Pair(), disk_place(tmp_path / "registry")
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.env |= {"THE_KEY": pair.pem().decode(), "A_KEY": pair.pem().decode()}
    settings = {"lian.ncl": f"{{ policy.sign.key = {{ source = {source} }} }}\n"}
    bench.commit({**wanted("tool"), **TOOL, **settings})
    digest = bench.reconcile()["shop/tool"]["digest"]
    assert found_on(place, "shop/tool", digest, pair).problem is None


def test_a_key_in_a_vault_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    settings = {"lian.ncl": '{ policy.sign.key = { source = \'Vault, name = "keys/sign" } }\n'}
    bench.commit({**wanted("tool"), **TOOL, **settings})
    told = bench.reconcile(code=3)["shop/tool"]["problem"]
    assert told["code"] == "credentials-unsupported"
    assert "the signing key is to come from the vault path keys/sign" in told["message"]


def test_who_signs_nothing_loads_nothing_of_it(shop: Shop) -> None:
    """Nor does a pass without drift of a fleet that signs."""
    shop.bench.env["PYTHONPROFILEIMPORTTIME"] = "1"
    imported = shop.bench.lian("reconcile", "--once").err
    assert "reconciler.reconcile" in imported
    assert "cryptography" not in imported
    shop.bench.commit(shop.settings())
    assert "cryptography" not in shop.bench.lian("reconcile", "--once").err
    shop.bench.commit({"images/tool/tool.txt": "another\n"})
    assert "cryptography" in shop.bench.lian("reconcile", "--once").err


def predicate(output: str) -> dict[str, Any]:
    """Of the one statement that `cosign verify-attestation` prints."""
    statement = json.loads(base64.b64decode(json.loads(output)["payload"]))
    return dict(statement["predicate"])


def test_cosign_takes_what_a_pass_signs(tmp_path: Path) -> None:
    """With a key pair that cosign made, as it made it."""
    cosign = find_cosign(tmp_path / "cosign")
    _, public = cosign.key_pair()
    with run_registry(tmp_path / "server") as server:
        bench = Bench.new(tmp_path, server.url)
        bench.env["COSIGN_PASSWORD"] = ""
        shop = Shop(bench, http_place(server.host), server, Pair(), tmp_path / "cosign" / "cosign.key")
        settings = shop.settings(sbom="true", scanner=f'"{shop.scanner()}"')
        bench.commit({**wanted("tool"), **TOOL, **settings})
        digest = bench.reconcile()["shop/tool"]["digest"]
        image = f"{server.host}/shop/tool"
        for name in (f"{image}:latest", f"{image}@{digest}"):
            done(cosign.verify(name, public))
            provenance = predicate(done(cosign.verify(name, public, "slsaprovenance1")))
            assert provenance == provenance_of(shop.record("shop/tool", digest), "acme").to_json()
            assert listed(predicate(done(cosign.verify(name, public, "spdxjson")))) == LISTED
        stranger = Pair().public_pem
        assert cosign.verify(f"{image}:latest", stranger).returncode != 0
