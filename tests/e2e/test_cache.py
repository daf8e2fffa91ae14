"""The build cache in whole passes: fast, told, and never the reason why a build fails or comes out otherwise."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import threading
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import wiring
from reconciler.model.outcome import Status
from reconciler.providers.builder import buildctl
from reconciler.reconcile import Options, reconcile_once
from tests.e2e.bench import BASE, Bench, directive, layout_files
from tests.e2e.test_drift import Hand
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.faulty_registry import Answer
from tests.servers.registry import run_registry
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import WRITE, TokenServer, User

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.outcome import Outcome
    from tests.servers.faulty_registry import Seen
    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", context.path = "images/api", contexts = { base = { artifact = "base" } }',
}
API = """FROM base AS made
RUN sleep 1; date +%s%N > /made
FROM base
COPY --from=made /made /made
COPY app /app
"""
CACHE = "cache/ci/shop/api"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with run_registry(tmp_path / "server") as running:
        yield running


def shop(folder: Path, registry: str | None, artifacts: dict[str, str] = SHOP, dockerfile: str = API) -> Bench:
    """A base with a shell, and a child whose middle stage comes out otherwise each time it is really run."""
    bench = Bench.new(folder, registry)
    bench.busybox("images/base")
    files = {"directives/shop.ncl": directive("shop", artifacts), "images/base/Dockerfile": BASE}
    bench.commit({**files, "images/api/Dockerfile": dockerfile, "images/api/app": "one\n"})
    return bench


def cache_of(result: dict[str, Any]) -> dict[str, Any]:
    """What the cache did for the one platform of a result."""
    (use,) = result["caches"].values()
    assert isinstance(use, dict)
    return use


def ran(use: dict[str, Any]) -> list[str]:
    """The steps that no cache had, without their numbers."""
    return [step["name"].partition("] ")[2] for step in use["steps"] if not step["hit"]]


def built(bench: Bench, content: str, **files: str) -> dict[str, Any]:
    """The child's result after its file was changed."""
    bench.commit({"images/api/app": content, **files})
    result = bench.reconcile()["shop/api"]
    assert (result["action"], result["status"]) == ("build", "done")
    return result


@pytest.mark.parametrize("kind", ["registry", "layout"])
def test_a_changed_file_costs_its_own_step_on_a_fresh_builder(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    registry = request.getfixturevalue("server").url if kind == "registry" else f"oci-layout:{tmp_path / 'layout'}"
    bench = shop(tmp_path / "bench", registry)
    first = cache_of(bench.reconcile()["shop/api"])
    assert (first["hits"], first["misses"], first["saved"], first["problem"]) == (0, 3, 0, None)
    assert first["pushed"] > 0
    assert [look["status"] for look in first["looked"]] == ["absent", "absent"]
    result = built(bench, "two\n")
    use = cache_of(result)
    assert ran(use) == ["COPY app /app"]
    assert use["saved"] >= 1  # the sleep
    assert use["pulled"] > 0
    assert [look["status"] for look in use["looked"]] == ["read", "absent"]
    told = bench.lian("why", "shop/api").out
    assert "cache  linux/amd64: 2 of 3 steps cached" in told
    assert "COPY app /app (" in told
    third = cache_of(built(bench, "three\n"))
    assert [look["status"] for look in third["looked"]] == ["read", "read"]
    assert third["saved"] >= 1  # known although it did not run the last time either


def test_the_human_outcome_tells_of_it_in_words(tmp_path: Path) -> None:
    bench = shop(tmp_path, f"oci-layout:{tmp_path / 'layout'}")
    bench.lian("reconcile", "--once")
    bench.commit({"images/api/app": "two\n"})
    out = bench.lian("reconcile", "--once").out
    assert "2 of 3 steps cached, 1." in out
    assert "\ncache: 2 of 3 steps cached, 1." in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_image_is_the_same_without_any_cache(tmp_path: Path) -> None:
    dockerfile = API.replace("date +%s%N", "echo made")
    with_cache = shop(tmp_path / "with", f"oci-layout:{tmp_path / 'with-layout'}", dockerfile=dockerfile)
    with_cache.reconcile()
    off = {name: f"{text}, cache.mode = 'Off" for name, text in SHOP.items()}
    without = shop(tmp_path / "without", f"oci-layout:{tmp_path / 'without-layout'}", off, dockerfile)
    without.commit({"images/api/app": "two\n"})
    cold = without.reconcile()["shop/api"]
    warm = built(with_cache, "two\n")
    assert cache_of(warm)["hits"] == 2
    assert warm["digest"] == cold["digest"]
    assert cache_of(cold)["looked"] == []
    assert not (tmp_path / "without-layout" / "cache").exists()


def test_two_branches_that_are_built_in_turns_find_their_own(tmp_path: Path, server: RegistryServer) -> None:
    bench = shop(tmp_path / "bench", server.url)
    bench.reconcile()
    bench.git("checkout", "-qb", "other")
    other = built(bench, "two\n", **{"images/api/Dockerfile": API.replace("FROM base\nCOPY", "FROM base\nRUN :\nCOPY")})
    bench.git("checkout", "-q", "main")
    # A middle stage that only this branch has would be lost, were only the last cache kept.
    mine = cache_of(built(bench, "three\n", **{"images/api/Dockerfile": API.replace("sleep 1", "sleep 1.1")}))
    assert mine["misses"] > 1
    bench.git("checkout", "-q", "other")
    again = cache_of(built(bench, "four\n"))
    assert cache_of(other)["misses"] > 1
    assert ran(again) == ["COPY app /app"]


def test_what_is_no_cache_is_told_and_written_over(tmp_path: Path, server: RegistryServer) -> None:
    bench = shop(tmp_path / "bench", server.url)
    bench.reconcile()
    hand = Hand(server, CACHE)
    hand.push("linux-amd64", "an image of someone's")
    bench.commit({"images/api/app": "two\n"})
    out = bench.lian("reconcile", "--once").out
    assert f"cache: {server.host}/{CACHE}:linux-amd64 was not used: it is no cache" in " ".join(out.split())
    use = cache_of(built(bench, "three\n"))
    assert use["looked"][0]["status"] == "read"


def test_a_crafted_cache_that_points_elsewhere_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "layout"
    bench = shop(tmp_path / "bench", f"oci-layout:{root}")
    bench.reconcile()
    index = json.loads((root / CACHE / "index.json").read_bytes())
    entry = next(entry for entry in index["manifests"] if "annotations" in entry)
    blobs = root / CACHE / "blobs" / "sha256"
    document = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_bytes())
    document["layers"][0]["urls"] = ["http://127.0.0.1:1/elsewhere"]
    crafted = json.dumps(document).encode()
    name = hashlib.sha256(crafted).hexdigest()
    (blobs / name).write_bytes(crafted)
    entry |= {"digest": f"sha256:{name}", "size": len(crafted)}
    (root / CACHE / "index.json").write_text(json.dumps(index))
    use = cache_of(built(bench, "two\n"))
    assert use["looked"][0] == {
        "reference": f"oci-layout:{root}/{CACHE}:linux-amd64",
        "status": "foreign",
        "digest": f"sha256:{name}",
        "cause": "a part of it points elsewhere than into the registry",
    }
    assert use["hits"] == 0


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_cache_that_has_lost_a_layer_costs_a_second_try_and_is_healed(
    tmp_path: Path, server: RegistryServer, harm: str
) -> None:
    # The child's stages stand on nothing but its own cache: its base is in no other repository.
    alone = {"api": 'image = "shop/api", context.path = "images/base"'}
    dockerfile = BASE + "RUN dd if=/dev/urandom of=/made bs=1k count=900\nCOPY app /app\nRUN cat /made /app > /both\n"
    bench = Bench.new(tmp_path / "bench", server.url)
    bench.busybox("images/base")
    files = {"directives/shop.ncl": directive("shop", alone), "images/base/Dockerfile": dockerfile}
    bench.commit({**files, "images/base/app": "one\n"})
    bench.reconcile()
    layers = [layer["digest"] for layer in Hand(server, CACHE).manifest("linux-amd64")["layers"]]
    blobs = server.storage / "docker/registry/v2/blobs/sha256"
    for digest in layers:
        name = digest.removeprefix("sha256:")
        data = blobs / name[:2] / name / "data"
        if harm == "lost":
            shutil.rmtree(data.parent)
        else:
            data.write_bytes(b"\0" * data.stat().st_size)
    bench.commit({"images/base/app": "two\n"})
    result = bench.reconcile()["shop/api"]
    assert (result["status"], result["problem"]) == ("done", None)
    use = cache_of(result)
    assert use["looked"][0]["status"] == "broken"
    assert use["looked"][0]["cause"]
    assert use["hits"] == 0


@pytest.mark.parametrize(("kind", "tag"), [("registry", "linux-amd64"), ("layout", "linux-amd64.previous")])
def test_a_layer_that_is_lost_costs_one_build_its_time_and_is_written_again(
    tmp_path: Path, kind: str, tag: str, request: pytest.FixtureRequest
) -> None:
    """Of either cache: what lacks it is read by no build, and is kept nowhere."""
    layout = tmp_path / "layout"
    server = request.getfixturevalue("server") if kind == "registry" else None
    bench = shop(tmp_path / "bench", server.url if server else f"oci-layout:{layout}")
    bench.reconcile()
    built(bench, "two\n")
    built(bench, "three\n", **{"images/api/Dockerfile": API.replace("sleep 1", "sleep 1; true")})
    blobs = (server.storage / "docker/registry/v2/blobs") if server else layout / CACHE / "blobs"
    manifest = Hand(server, CACHE).manifest(tag) if server else of_layout(layout / CACHE, tag)
    other = {"linux-amd64": "linux-amd64.previous", "linux-amd64.previous": "linux-amd64"}[tag]
    kept = Hand(server, CACHE).manifest(other) if server else of_layout(layout / CACHE, other)
    only = [one["digest"] for one in manifest["layers"] if one["digest"] not in {e["digest"] for e in kept["layers"]}]
    name = only[0].removeprefix("sha256:")
    shutil.rmtree(blobs / "sha256" / name[:2] / name) if server else (blobs / "sha256" / name).unlink()
    use = cache_of(built(bench, "four\n"))
    assert sorted(look["status"] for look in use["looked"]) == ["broken", "read"]
    assert use["problem"] is None
    assert name in next(look["cause"] for look in use["looked"] if look["status"] == "broken")
    use = cache_of(built(bench, "five\n"))
    assert {look["status"] for look in use["looked"]} == {"read"}
    assert ran(use) == ["COPY app /app"]


def of_layout(folder: Path, tag: str) -> dict[str, Any]:
    """The manifest of this tag in a layout."""
    index = json.loads((folder / "index.json").read_text())
    names = {d["annotations"]["org.opencontainers.image.ref.name"]: d["digest"] for d in index["manifests"]}
    found: dict[str, Any] = json.loads((folder / "blobs" / names[tag].replace(":", "/")).read_text())
    return found


def test_a_registry_that_lets_nobody_write_caches_gets_its_images_all_the_same(tmp_path: Path) -> None:
    service = TokenServer({"ci": User("secret", [("shop/*", WRITE)])})
    with service.running() as tokens, run_secured(tmp_path / "server", tokens=tokens) as server:
        bench = shop(tmp_path / "bench", server.url)
        bench.env |= {"LIAN_REGISTRY_USER": "ci", "LIAN_REGISTRY_PASSWORD": "secret"}
        use = cache_of(bench.reconcile()["shop/api"])
        assert use["problem"]["code"] == "cache-not-written"
        assert {look["status"] for look in use["looked"]} == {"unreadable"}
        assert {change["action"] for change in bench.plan(0).values()} == {"none"}
        out = built(bench, "two\n")
        assert cache_of(out)["hits"] == 0


def test_a_build_that_is_to_be_fresh_takes_nothing_from_before(tmp_path: Path, server: RegistryServer) -> None:
    bench = shop(tmp_path / "bench", server.url)
    old = bench.reconcile()["shop/api"]
    fresh = {**SHOP, "api": SHOP["api"] + ', os_epoch = "2026-11"'}
    bench.commit({"directives/shop.ncl": directive("shop", fresh)})
    new = bench.reconcile()["shop/api"]
    assert cache_of(new)["looked"][0]["status"] == "stale"
    assert cache_of(new)["hits"] == 0
    assert new["digest"] != old["digest"]  # the middle stage really ran
    later = cache_of(built(bench, "two\n"))
    assert ran(later) == ["COPY app /app"]


def test_nobody_writes_where_caches_lie_by_a_directive(tmp_path: Path) -> None:
    bench = shop(
        tmp_path,
        f"oci-layout:{tmp_path / 'layout'}",
        {"api": 'image = "cache/ci/other/api", context.path = "images/base"'},
    )
    problems = bench.lian("validate", "--json", code=1).json["problems"]
    assert [(problem["code"], problem["line"]) for problem in problems] == [("image-reserved", 5)]
    text = directive("shop", SHOP)
    for line, code in (
        ('cache = { build_mode = \'Session, actor = "ada" }', "cache-session"),
        ('registry = { provider = \'OciLayout, path = "x", cache_prefix = "dev/ada-shop" }', "cache-prefix-misplaced"),
    ):
        bench.commit({"directives/shop.ncl": text.replace("  artifacts", f"  {line},\n  artifacts", 1)})
        held = bench.plan(4)["shop/base"]["holds"]
        assert [hold["code"] for hold in held] == [code]


@pytest.mark.parametrize("kind", ["registry", "layout"])
def test_cache_mounts_come_back_on_a_fresh_builder(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """A step that runs finds what its last run left; one that is cached leaves what is saved alone."""
    registry = request.getfixturevalue("server").url if kind == "registry" else f"oci-layout:{tmp_path / 'layout'}"
    run = "RUN --mount=type=cache,target=/var/seen cat /app >> /var/seen/all; cp /var/seen/all /all\n"
    dockerfile = f"FROM base\nCOPY app /app\n{run}"
    kept = {**SHOP, "api": SHOP["api"] + ", cache.mounts = true"}
    bench = shop(tmp_path / "bench", registry, kept, dockerfile)
    first = cache_of(bench.reconcile()["shop/api"])["mounts"]
    assert (first["restored"]["end"], first["saved"]["end"], first["saved"]["mounts"]) == ("absent", "saved", 1)
    second = built(bench, "two\n")
    mounts = cache_of(second)["mounts"]
    assert (mounts["restored"]["end"], mounts["restored"]["mounts"], mounts["saved"]["end"]) == ("restored", 1, "saved")
    if kind == "layout":
        assert layout_files(tmp_path / "layout", "shop/api", second["digest"])["all"] == b"one\ntwo\n"
    told = bench.lian("why", "shop/api").out
    assert "cache mounts before restored: 1 folder" in told
    # Another label makes another image of the same steps: none runs, so nothing is saved.
    bench.commit({"directives/shop.ncl": directive("shop", {**kept, "api": kept["api"] + ', labels = { a = "b" }'})})
    third = cache_of(bench.reconcile()["shop/api"])
    assert (third["misses"], third["mounts"]["saved"]["end"]) == (0, "none")


class DeafProxy(FaultyProxy):
    """While it is `deaf`, it answers nothing to a BuildKit that reads a cache, and everything else as ever."""

    def __init__(self, upstream: RegistryServer) -> None:
        super().__init__(upstream)
        self.deaf = False
        self.over = threading.Event()

    def answer(self, seen: Seen, data: bytes) -> Answer:
        reads = seen.method == "GET" and seen.path.startswith(f"/v2/{CACHE}/")
        if self.deaf and reads and seen.headers["user-agent"].startswith("buildkit"):
            self.over.wait(60)
            return Answer(reset=True)
        return super().answer(seen, data)


def test_a_registry_that_goes_deaf_in_the_middle_of_a_cache_costs_a_runner_and_no_build(
    tmp_path: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BuildKit waits for it without end, and its daemon builds nothing more."""
    monkeypatch.setattr(buildctl, "BuildctlBuilder", partial(buildctl.BuildctlBuilder, read_seconds=2.0))
    with DeafProxy(server).running() as proxy:
        bench = shop(tmp_path / "bench", proxy.url)
        bench.reconcile()
        bench.commit({"images/api/app": "two\n"})
        proxy.deaf = True

        async def whole_pass() -> Outcome:
            choice = wiring.Choice(str(bench.repo), "HEAD", proxy.url, bench.cache)
            async with wiring.working(choice) as made:
                _, outcome = await reconcile_once(made.ports(SimpleNamespace(record=lambda event: None)), Options())
                return outcome

        try:
            (result,) = [r for r in asyncio.run(whole_pass()).results if str(r.artifact) == "shop/api"]
        finally:
            proxy.over.set()
    (use,) = result.caches.values()
    assert (result.status, use.problem and use.problem.code) == (Status.DONE, "cache-silent")
