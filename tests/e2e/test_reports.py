"""`lian images`, `lian verify` and `lian registry status` on images that are really built, on disk and on a server."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml

from reconciler.model.reference import Reference
from tests.attest.keys import Pair
from tests.e2e.bench import Bench, directive, layout_tags
from tests.schemas.evaluation import validator
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.running import RegistryServer

pytestmark = pytest.mark.buildkit

SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", tags = ["1e3", "stable"], context.path = "images/api", '
    'contexts = { base = { artifact = "base" } }',
    "site": 'image = "www/site", context.path = "images/site", platforms = ["linux/amd64", "linux/arm64"]',
}
FILES: dict[str, str | bytes] = {
    "directives/shop.ncl": directive("shop", SHOP),
    "images/base/Dockerfile": "FROM scratch\nCOPY base.txt /\n",
    "images/base/base.txt": "base\n",
    "images/api/Dockerfile": "FROM base\nCOPY api.txt /\n",
    "images/api/api.txt": "api\n",
    "images/site/Dockerfile": "FROM scratch\nCOPY index.html /\n",
    "images/site/index.html": "<h1>hello</h1>\n",
}


@dataclass
class Shop:
    """A bench whose registry's files can be laid hands on; `server` is None for one on disk."""

    bench: Bench
    root: Path
    server: RegistryServer | None
    pair: Pair

    @property
    def host(self) -> str:
        """What stands in front of a repository."""
        return self.server.host if self.server else f"oci-layout:{self.root}"

    def blob(self, repository: str, digest: str) -> Path:
        """Where the registry keeps content."""
        hexes = digest.removeprefix("sha256:")
        if self.server:
            return self.server.storage / f"docker/registry/v2/blobs/sha256/{hexes[:2]}/{hexes}/data"
        return self.root / repository / "blobs/sha256" / hexes

    def layer(self, repository: str, digest: str) -> Path:
        """The one layer of a single-platform image of which nothing else has a part."""
        manifest = json.loads(self.blob(repository, digest).read_bytes())
        return self.blob(repository, manifest["layers"][-1]["digest"])


@pytest.fixture(params=["oci-layout", "docker-registry"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    pair = Pair()
    (tmp_path / "sign.key").write_bytes(pair.pem())
    sign = f'sign = {{ key = {{ source = \'File, name = "{tmp_path / "sign.key"}" }} }}'
    settings = f'{{ fleet = "acme", policy = {{ {sign}, verify = {{ keys = ["keys/release.pub"] }} }} }}\n'
    with run_registry(tmp_path / "server") as server:
        on_disk = request.param == "oci-layout"
        bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}" if on_disk else server.url)
        bench.commit({**FILES, "lian.ncl": settings, "keys/release.pub": pair.public_pem})
        yield Shop(bench, tmp_path / "registry", None if on_disk else server, pair)


def states(shop: Shop, *words: str, code: int = 0) -> dict[str, str]:
    """`lian verify --json`: artifact -> state."""
    document = shop.bench.lian("verify", "--json", *words, code=code).json
    validator("verify").validate(document)
    return {result["artifact"]: result["state"] for result in document["results"]}


def test_what_is_deployed_is_what_was_built(shop: Shop) -> None:
    before = shop.bench.lian("images", code=2)
    assert before.out == ""
    assert before.err.count("left out: shop/") == 3
    assert states(shop, code=2) == dict.fromkeys(["shop/api", "shop/base", "shop/site"], "drift")
    built = shop.bench.reconcile()
    digests = {name: result["digest"] for name, result in built.items()}
    lines = shop.bench.lian("images").out.splitlines()
    assert lines == [
        f"shop/api {shop.host}/shop/api:1e3@{digests['shop/api']}",
        f"shop/base {shop.host}/shop/base:latest@{digests['shop/base']}",
        f"shop/site {shop.host}/www/site:latest@{digests['shop/site']}",
    ]
    document = shop.bench.lian("images", "--json").json
    validator("images").validate(document)
    assert {image["artifact"]: image["digest"] for image in document["images"]} == digests
    component = yaml.safe_load(shop.bench.lian("images", "--format", "kustomize", "--only", "shop/api").out)
    assert component["images"] == [
        {"name": "shop/api", "newName": f"{shop.host}/shop/api", "digest": digests["shop/api"]}
    ]
    values = yaml.safe_load(shop.bench.lian("images", "--format", "helm").out)
    assert values["images"]["shop/api"]["tag"] == "1e3"
    variables = shop.bench.lian("images", "--format", "env").out
    script = f'{variables}printf %s "$SHOP_SITE_IMAGE"'
    ran = subprocess.run(["/bin/sh", "-euc", script], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{shop.host}/www/site:latest@{digests['shop/site']}"
    if shop.server:
        assert str(Reference.parse(ran.stdout)) == ran.stdout
    assert ("no cluster can pull it" in shop.bench.lian("images").err) == (shop.server is None)

    shop.bench.commit({"images/site/index.html": "<h1>changed</h1>\n"})
    changed = shop.bench.lian("images", "--format", "env", code=2)
    assert "SITE" not in changed.out
    assert "left out: shop/site  to build: context changed: images/site/index.html" in changed.err
    assert "did you mean shop/api?" in shop.bench.lian("images", "--only", "shop/apy", code=1).err


def test_what_is_wrong_with_an_image_is_told_and_healed(shop: Shop, tmp_path: Path) -> None:
    built = shop.bench.reconcile()
    good = dict.fromkeys(["shop/api", "shop/base", "shop/site"], "ok")
    assert states(shop) == good
    assert states(shop, "--deep") == good
    text = shop.bench.lian("verify", "shop/api").out
    assert "signed with keys/release.pub" in text
    assert text.endswith(": 1 ok\n")

    layer = shop.layer("shop/api", built["shop/api"]["digest"])
    data = layer.read_bytes()
    layer.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert states(shop) == good, "a look at what is there reads no layer"
    damaged = shop.bench.lian("verify", "--deep", code=3)
    assert "damaged[image-damaged]" not in damaged.out
    assert "broken[image-damaged]: 1 part of " in damaged.out
    assert "delete the damaged parts in the registry's storage, and it rebuilds the image" in damaged.out
    assert damaged.out.splitlines()[-1].startswith("revision ")

    layer.unlink()  # what it says has to be done
    result = shop.bench.lian("verify", "shop/api", "--json", code=3).json["results"][0]
    assert (result["state"], result["missing"]) == ("broken", [f"sha256:{hex_of(layer)}"])
    assert result["remedy"] == "the next `lian reconcile` rebuilds it"
    assert "left out: shop/api  to build: a part of the image is missing" in shop.bench.lian("images", code=2).err
    assert shop.bench.reconcile()["shop/api"]["status"] == "done"
    assert states(shop, "--deep") == good

    manifest = json.loads(shop.blob("shop/base", built["shop/base"]["digest"]).read_bytes())
    shop.blob("shop/base", manifest["config"]["digest"]).unlink()
    child = shop.bench.lian("verify", "shop/api", "--json").json["results"][0]
    assert (child["state"], child["parents"]) == ("ok", ["shop/base"])
    assert "its parent shop/base is broken" in shop.bench.lian("verify", "shop/api").out

    own = tmp_path / "own.pub"
    own.write_bytes(Pair().public_pem)
    assert states(shop, "shop/api", "--key", str(own), code=3) == {"shop/api": "unsigned"}
    own.write_text("no key")
    assert "verify-key-unreadable" in shop.bench.lian("verify", "--key", str(own), code=1).err
    assert "verify-key-unreadable" in shop.bench.lian("verify", "--key", str(tmp_path / "none"), code=1).err


def hex_of(path: Path) -> str:
    """The digits that a file of content is named after."""
    return path.parent.name if path.name == "data" else path.name


def test_the_registry_is_told_as_it_is(shop: Shop) -> None:
    empty = shop.bench.lian("registry", "status").out
    assert empty.endswith(": 3 drift\n")
    shop.bench.reconcile()
    document = shop.bench.lian("registry", "status", "--json").json
    validator("status").validate(document)
    (registry,) = document["registries"]
    assert (registry["host"], registry["catalog"]) == (shop.host, True)
    assert (registry["referrers_api"], registry["bulk_search"]) == (shop.server is None, False)
    assert registry["deletes"] is (None if shop.server else True)
    by_name = {r["repository"].removeprefix(f"{shop.host}/"): r for r in registry["repositories"]}
    assert list(by_name) == ["shop/api", "shop/base", "www/site"]
    api, site = by_name["shop/api"], by_name["www/site"]
    assert {k: v for k, v in api["tags"].items() if k != "document"} == {
        "wanted": 2,
        "superseded": 0,
        "orphaned": 0,
        "content": 1,
        "other": 0,
    }
    assert site["tags"]["content"] == 3
    assert [r["images"] for r in by_name.values()] == [{"ours": 1, "foreign": 0, "unknown": 0}] * 3
    assert registry["bytes"] < sum(r["bytes"] for r in by_name.values()), "the base's layer is in two repositories"
    assert document["summary"] == {"in-sync": 3, "drift": 0, "held": 0}
    text = shop.bench.lian("registry", "status").out
    assert "shop/site in sync" in text
    assert max(map(len, text.replace(shop.host, "").splitlines())) <= 80
    if shop.server is None:
        assert site["bytes"] == sum_of_layout(shop.root, "www/site")
        return
    shop.server.stop()
    for words in (("images",), ("verify", "--deep"), ("registry", "status")):
        ran = shop.bench.lian(*words, code=4)
        assert (ran.out + ran.err).count("[registry-unreachable]") == 1, ran


def sum_of_layout(root: Path, repository: str) -> int:
    """The bytes of all that the image's tags reach, worked out from its files alone."""
    folder, seen = root / repository / "blobs/sha256", set[str]()
    waiting = [d for tag, d in layout_tags(root, repository).items() if not tag.startswith(("sha256-", "lian-applied"))]
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        data = (folder / digest.removeprefix("sha256:")).read_bytes()
        if data.startswith(b"{") and b'"mediaType"' in data and b"manifest" in data:
            document = json.loads(data)
            named = [*document.get("manifests", []), *document.get("layers", []), document.get("config")]
            waiting += [d["digest"] for d in named if d]
    return sum((folder / digest.removeprefix("sha256:")).stat().st_size for digest in seen)
