"""Every way in which a registry can differ, made by hand on a running one: named by `lian diff`, answered by policy."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.bench import Bench, directive
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
NAMES = ("a", "b", "c", "d")


def _ask(method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
    headers = {"accept": f"{MANIFEST}, {INDEX}", **more.pop("headers", {})}
    return httpx.request(method, url, headers=headers, **more)


class Hand:
    """What a person does with `curl` to one repository."""

    def __init__(self, server: RegistryServer, repository: str) -> None:
        self._base = f"{server.url}/v2/{repository}"

    def manifest(self, name: str) -> dict[str, Any]:
        """A manifest by tag or digest."""
        document = _ask("GET", f"{self._base}/manifests/{name}").raise_for_status().json()
        assert isinstance(document, dict)
        return document

    def digest(self, name: str) -> str:
        """What a tag points at."""
        return str(_ask("HEAD", f"{self._base}/manifests/{name}").raise_for_status().headers["docker-content-digest"])

    def move(self, tag: str, source: str) -> None:
        """`crane tag`: put the manifest of one tag under another."""
        found = _ask("GET", f"{self._base}/manifests/{source}").raise_for_status()
        headers = {"content-type": found.headers["content-type"]}
        _ask("PUT", f"{self._base}/manifests/{tag}", content=found.content, headers=headers).raise_for_status()

    def push(self, tag: str, text: str) -> str:
        """`docker push`: an image that nobody's directive names; its digest."""
        return self._image(tag, {"text": text}, LAYER, text.encode())

    def push_file(self, tag: str, text: str) -> str:
        """An image that can be built upon, with this text in the file `text`; its digest."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo("text")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        content = buffer.getvalue()
        root = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]}
        return self._image(tag, {"config": {}, "rootfs": root}, f"{LAYER}+gzip", gzip.compress(content))

    def _image(self, tag: str, config: dict[str, Any], kind: str, layer: bytes) -> str:
        described = self._blob(json.dumps({"architecture": "amd64", "os": "linux", **config}).encode())
        kinds = ("application/vnd.oci.image.config.v1+json", kind)
        parts = zip(kinds, (described, self._blob(layer)), strict=True)
        one, other = ({"mediaType": kind, "digest": digest, "size": size} for kind, (digest, size) in parts)
        return self.put(tag, {"schemaVersion": 2, "mediaType": MANIFEST, "config": one, "layers": [other]})

    def put(self, tag: str, document: dict[str, Any]) -> str:
        """Any manifest under a tag; its digest."""
        where, headers = f"{self._base}/manifests/{tag}", {"content-type": MANIFEST}
        put = _ask("PUT", where, content=json.dumps(document), headers=headers)
        return str(put.raise_for_status().headers["docker-content-digest"])

    def delete_blob(self, digest: str) -> None:
        """Take a layer away under a manifest that stays."""
        _ask("DELETE", f"{self._base}/blobs/{digest}").raise_for_status()

    def delete(self, tag: str) -> None:
        """An image with all its tags."""
        _ask("DELETE", f"{self._base}/manifests/{self.digest(tag)}").raise_for_status()

    def _blob(self, data: bytes) -> tuple[str, int]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        started = _ask("POST", f"{self._base}/blobs/uploads/").raise_for_status()
        where = httpx.URL(self._base).join(started.headers["location"]).copy_merge_params({"digest": digest})
        _ask("PUT", where, content=data).raise_for_status()
        return digest, len(data)


@pytest.fixture
def server(tmp_path: Any) -> Iterator[RegistryServer]:
    with run_registry(tmp_path / "server") as running:
        yield running


@pytest.fixture
def bench(tmp_path: Any, server: RegistryServer) -> Bench:
    """One artifact, applied."""
    made = Bench.new(tmp_path, server.url)
    made.commit(shop({"api": "one"}))
    made.reconcile()
    return made


def shop(texts: dict[str, str], tags: str = '"latest"') -> dict[str, str]:
    """Directives and contexts of small images."""
    artifacts = {n: f'image = "shop/{n}", tags = [{tags}], context.path = "images/{n}"' for n in texts}
    files = {"directives/shop.ncl": directive("shop", artifacts)}
    for name, text in texts.items():
        files |= {f"images/{name}/Dockerfile": "FROM scratch\nCOPY text /\n", f"images/{name}/text": text}
    return files


def codes(change: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in change["reasons"]]


def settings(text: str) -> dict[str, str]:
    return {"lian.ncl": f"{{ {text} }}\n"}


def test_a_tag_moved_to_another_image_of_the_fleet(bench: Bench, server: RegistryServer) -> None:
    hand = Hand(server, "shop/api")
    first = hand.digest("latest")
    bench.commit({"images/api/text": "two"})
    bench.reconcile()
    second = hand.digest("latest")
    hand.move("latest", first)
    change = bench.plan(2)["shop/api"]
    assert (change["action"], codes(change)) == ("retag", ["retagged"])
    assert "was moved to" in bench.lian("diff", code=2).out
    bench.commit(settings("policy.drift.retagged = 'Report"))
    change = bench.plan(0)["shop/api"]
    assert (change["action"], change["left"], codes(change)) == ("none", ["latest"], ["retagged"])
    bench.reconcile()
    assert hand.digest("latest") == first
    bench.commit(settings("policy.drift.retagged = 'Hold"))
    assert bench.plan(4)["shop/api"]["action"] == "hold"
    assert bench.reconcile(code=4)["shop/api"]["status"] == "held"
    bench.commit(settings(""))
    assert bench.reconcile()["shop/api"]["action"] == "retag"
    assert hand.digest("latest") == second
    assert bench.plan(0)["shop/api"]["action"] == "none"


def test_an_image_that_lian_did_not_make(bench: Bench, server: RegistryServer) -> None:
    hand = Hand(server, "shop/api")
    ours, theirs = hand.digest("latest"), hand.push("latest", "pushed by hand")
    change = bench.plan(4)["shop/api"]
    assert (change["action"], codes(change)) == ("hold", ["foreign"])
    assert "'Heal" in change["holds"][0]["hint"]
    assert bench.reconcile(code=4)["shop/api"]["problem"]["code"] == "tag-foreign"
    assert hand.digest("latest") == theirs
    bench.commit({"images/api/text": "two", **settings("policy.drift.foreign = 'Report")})
    assert bench.reconcile()["shop/api"]["status"] == "done"
    assert hand.digest("latest") == theirs
    bench.commit({"images/api/text": "one", **settings("policy.drift.foreign = 'Heal")})
    assert bench.reconcile()["shop/api"]["action"] == "retag"
    assert hand.digest("latest") == ours


def test_a_blob_that_is_gone(bench: Bench, server: RegistryServer) -> None:
    hand = Hand(server, "shop/api")
    whole = hand.manifest("latest")
    for part in (whole["layers"][0]["digest"], whole["config"]["digest"]):
        hand.delete_blob(part)
        change = bench.plan(2)["shop/api"]
        assert (change["action"], codes(change)) == ("build", ["broken"])
        assert change["reasons"][0]["old"] == part
        assert bench.reconcile()["shop/api"]["status"] == "done"
        assert bench.plan(0)["shop/api"]["action"] == "none"
    assert hand.manifest("latest") == whole


def test_a_tag_that_must_not_move(bench: Bench, server: RegistryServer) -> None:
    hand = Hand(server, "shop/api")
    bench.commit({**shop({"api": "one"}, '"1.4.2", "latest"'), **settings('immutable_tags = ["1.*"]')})
    bench.reconcile()
    before = hand.digest("1.4.2")
    bench.commit({"images/api/text": "two"})
    change = bench.plan(4)["shop/api"]
    assert codes(change) == ["immutable", "context-changed"]
    assert "1.4.3" in change["holds"][0]["hint"]
    assert bench.reconcile(code=4)["shop/api"]["status"] == "held"
    bench.commit({**shop({"api": "two"}, '"1.4.3", "latest"')})
    assert bench.reconcile()["shop/api"]["status"] == "done"
    assert (hand.digest("1.4.2"), hand.digest("1.4.3")) == (before, hand.digest("latest"))


def test_an_older_commit_does_not_undo_a_newer_one(bench: Bench, server: RegistryServer, tmp_path: Any) -> None:
    hand = Hand(server, "shop/api")
    old, first = bench.git("rev-parse", "HEAD"), hand.digest("latest")
    late = bench.clone(tmp_path / "late")  # a pipeline that has not heard of the newer commit
    bench.commit({"images/api/text": "two"})
    bench.reconcile()
    second = hand.digest("latest")
    for pipeline, words in ((late, ()), (bench, ("--rev", old))):
        document = pipeline.lian("reconcile", "--once", "--json", *words, code=4).json
        assert document["results"][0]["problem"]["code"] == "superseded"
        assert hand.digest("latest") == second
    assert late.plan(4)["shop/api"]["reasons"][0]["code"] == "superseded"
    late.lian("reconcile", "--once", "--allow-older")
    assert hand.digest("latest") == first
    assert bench.reconcile()["shop/api"]["action"] == "retag"
    assert hand.digest("latest") == second


def test_most_of_it_gone_at_once(tmp_path: Any, server: RegistryServer) -> None:
    bench = Bench.new(tmp_path, server.url)
    bench.commit(shop(dict(zip(NAMES, NAMES, strict=True))))
    bench.reconcile()
    for name in NAMES[:3]:
        hand = Hand(server, f"shop/{name}")
        hand.delete("latest")
    plan = bench.plan(4)
    assert [plan[f"shop/{name}"]["action"] for name in NAMES] == ["hold", "hold", "hold", "none"]
    assert plan["shop/a"]["holds"][0]["code"] == "mostly-vanished"
    bench.reconcile(code=4)
    assert bench.plan(4)["shop/a"]["action"] == "hold"
    fresh = bench.clone(tmp_path / "fresh")  # the applied documents tell it too
    assert fresh.plan(4)["shop/a"]["action"] == "hold"
    assert {r["status"] for r in bench.reconcile("--allow-vanished").values()} == {"done", "none"}
    assert {c["action"] for c in bench.plan(0).values()} == {"none"}


def test_the_same_inputs_in_another_repository_are_copied(bench: Bench, server: RegistryServer) -> None:
    artifacts = {n: f'image = "shop/{n}", context.path = "images/api"' for n in ("api", "web")}
    bench.commit({"directives/shop.ncl": directive("shop", artifacts)})
    change = bench.plan(2)["shop/web"]
    assert (change["action"], change["source"]) == ("retag", f"{server.host}/shop/api")
    result = bench.reconcile()["shop/web"]
    assert (result["action"], result["status"], result["log"]) == ("retag", "done", None)
    assert Hand(server, "shop/web").digest("latest") == Hand(server, "shop/api").digest("latest")
    assert bench.plan(0)["shop/web"]["action"] == "none"
    assert bench.lian("why", "shop/web", "--json").json["record"]["artifact"] == "shop/web"
