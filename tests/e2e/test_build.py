"""`lian build` against a real registry and a real builder: a commit, a folder, a directive file, and how it fails."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.bench import BASE, Bench, directive, layout_tags, leftovers, until
from tests.e2e.test_ssh import settings
from tests.schemas.evaluation import validator
from tests.servers.registry import run_registry
from tests.servers.sshd import machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.bench import Ran
    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

NOTHING: dict[str, list[str]] = {"processes": [], "mounts": [], "cgroups": [], "leases": []}
FILES = {"images/api/Dockerfile": "FROM scratch\nCOPY a.txt /\n", "images/api/a.txt": "one\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with run_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A repo without settings and directives."""
    made = Bench.new(tmp_path)
    made.commit(FILES)
    return made


def lines(ran: Ran) -> list[dict[str, Any]]:
    """What was printed: documents and nothing else."""
    documents = [json.loads(line) for line in ran.out.splitlines()]
    for document in documents:
        validator("build_result").validate(document)
    return documents


def built(
    bench: Bench, image: str, context: str = "images/api", *more: str, code: int = 0
) -> tuple[dict[str, Any], str]:
    """The one result of a build from flags, and what was told beside it."""
    ran = bench.lian("build", "--workspace", "shop", "--context", context, "--image", image, *more, code=code)
    (document,) = lines(ran)
    return document, ran.err


def digest_of(server: RegistryServer, path: str, tag: str) -> str | None:
    accepted = {"accept": "application/vnd.oci.image.manifest.v1+json"}
    found = httpx.head(f"{server.url}/v2/{path}/manifests/{tag}", headers=accepted).headers
    return str(found["docker-content-digest"]) if "docker-content-digest" in found else None


def test_a_commit_then_a_folder_then_the_commit(server: RegistryServer, bench: Bench, tmp_path: Path) -> None:
    """The commit is pushed under its tag and not built twice; the same bytes in a folder are the same image; another
    folder's image is marked as such, and gives way to the commit."""
    host = server.url.removeprefix("http://")
    image = f"{host}/journey/api:1.4"
    bench.write({"images/api/a.txt": "changed\n"})
    first, err = built(bench, image)
    assert "warning: what is not committed is not built: images/api/a.txt (commit it first)" in err
    assert (first["status"], first["artifact"], first["image"]) == ("Done", "shop/api", f"{host}/journey/api")
    assert (first["revision"], first["tags"]) == (bench.git("rev-parse", "HEAD"), ["1.4"])
    assert digest_of(server, "journey/api", "1.4") == first["digest"]

    bench.git("checkout", "-q", ".")
    plain = tmp_path / "plain"
    shutil.copytree(bench.repo / "images/api", plain)
    again, err = built(bench, image, str(plain))
    assert (again["status"], again["digest"], again["origin"]) == ("None", first["digest"], "Folder")
    assert "lies in no git repository" in err
    assert "in sync" in err

    (plain / "a.txt").write_text("two\n")
    (plain / "empty").mkdir()
    own = digest_of(server, "cache/ci/shop/api", "linux-amd64")
    folder, _ = built(bench, image, str(plain))
    assert digest_of(server, "cache/ci/shop/api", "linux-amd64") == own is not None, "it holds what commits made"
    assert (folder["status"], "revision" in folder) == ("Done", False)
    assert digest_of(server, "journey/api", "1.4") == folder["digest"] != first["digest"]
    (record,) = records(server, "journey/api", folder["digest"])
    assert (record["origin"], record["revision"]) == ("folder", None)

    back, _ = built(bench, image)
    assert (back["status"], back["digest"]) == ("Done", first["digest"])
    assert "shop/api  retagged" in _
    assert leftovers(bench.cache) == NOTHING


def records(server: RegistryServer, path: str, digest: str) -> list[dict[str, Any]]:
    """The build records of an image, in a registry that keeps no list of referrers."""
    accepted = {"accept": "application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json"}
    base = f"{server.url}/v2/{path}"
    listed = httpx.get(f"{base}/manifests/{digest.replace(':', '-')}", headers=accepted, follow_redirects=True).json()
    manifests = [
        httpx.get(f"{base}/manifests/{one['digest']}", headers=accepted).json()
        for one in listed["manifests"]
        if "build-record" in one["artifactType"]
    ]
    return [httpx.get(f"{base}/blobs/{m['layers'][0]['digest']}", follow_redirects=True).json() for m in manifests]


def test_a_directive_file_decides_and_gives_a_line_for_each_artifact(bench: Bench, tmp_path: Path) -> None:
    bench.busybox("images/base")
    text = {
        "base": 'image = "shop/base", context.path = "images/base"',
        "api": 'image = "shop/api", context.path = "images/child", contexts.base = { artifact = "base" }',
    }
    bench.commit(
        {
            "odd/shop.ncl": directive("shop", text),
            "images/base/Dockerfile": BASE,
            "images/child/Dockerfile": "FROM base\nRUN echo hello > /hello\n",
        }
    )
    registry = tmp_path / "registry"
    words = ("build", "--directives", "odd/shop.ncl", "--registry", f"oci-layout:{registry}")
    bench.env |= {"NATS_URL": "nonsense", "BUILDKIT_WORKSPACE": "Nonsense", "NATS_NKEY_SEED": "nonsense"}
    ran = bench.lian(*words, "--image", "nonsense", "--cache-from", "nonsense")
    assert "--directives says what is built: --cache-from, --image have no effect" in ran.err
    base, api = lines(ran)
    assert [(one["artifact"], one["status"], one["image"]) for one in (base, api)] == [
        ("shop/base", "Done", "shop/base"),
        ("shop/api", "Done", "shop/api"),
    ]
    assert layout_tags(registry, "shop/api")["latest"] == api["digest"]
    again = bench.lian(*words)
    assert [one["status"] for one in lines(again)] == ["None", "None"]
    assert "warning" not in again.err
    text["bad"] = 'image = "shop/bad", context.path = "images/base", runner.tier = "smal"'
    bench.commit({"odd/shop.ncl": directive("shop", text)})
    ran = bench.lian(*words, code=1)
    assert [(one["artifact"], one["status"]) for one in lines(ran)] == [
        ("shop/base", "None"),
        ("shop/api", "None"),
        ("shop/bad", "Held"),
    ]
    assert ran.err.count("there is no tier smal") == 1
    assert "try: did you mean small?" in ran.err
    del bench.env["NATS_NKEY_SEED"]
    ran = bench.lian("build", "--context", ".", "--image", "h.example/a", code=1)
    assert (ran.out, "workspace-name" in ran.err, "nats-url-invalid" in ran.err) == ("", True, True)


def test_a_build_that_fails_says_so_and_moves_no_tag(server: RegistryServer, bench: Bench) -> None:
    bench.commit({"images/api/Dockerfile": "FROM scratch\nCOPY nowhere.txt /\n"})
    image = f"{server.url.removeprefix('http://')}/failing/api"
    failed, err = built(bench, image, code=3)
    assert (failed["status"], failed["tags"], failed["problem"]["code"]) == ("Failed", [], "source-missing")
    assert "error[source-missing]" in err
    assert "again:" not in err
    assert digest_of(server, "failing/api", "latest") is None
    held, err = built(bench, image, "images/api", "--dockerfile", "Nope", code=1)
    assert (held["status"], held["problem"]["code"]) == ("Held", "dockerfile-missing")
    assert err.count("error[dockerfile-missing]") == 1


def test_caches_that_are_named_are_read_and_written_as_the_rules_admit(server: RegistryServer, bench: Bench) -> None:
    host = server.url.removeprefix("http://")
    bench.busybox("images/tool")
    bench.commit(
        {"images/tool/Dockerfile": BASE + 'RUN ["/bin/touch", "/made"]\nCOPY b.txt /\n', "images/tool/b.txt": "1"}
    )
    built(bench, f"{host}/caches/one", "images/tool", "--cache-to", f"{host}/cache/ci/shop/common")
    bench.commit({"images/tool/b.txt": "2"})
    _, err = built(bench, f"{host}/caches/two", "images/tool", "--cache-from", f"{host}/cache/ci/shop/common")
    assert "2 of 4 steps cached" in err or "3 of 4 steps cached" in err, err
    assert httpx.get(f"{server.url}/v2/cache/ci/shop/one/tags/list").status_code == 404
    words = ("build", "--workspace", "shop", "--context", "images/tool", "--image", f"{host}/caches/two")
    refused = bench.lian(*words, "--cache-from", f"{host}/cache/ci/other/common", "--cache-to", "docker.io/x", code=1)
    assert (refused.out, refused.err.count("error[cache-forbidden]")) == ("", 2)
    refused = bench.lian(*words, "--cache-from", f"{host}/cache/ci/shop/common:linux-arm64", code=1)
    assert "leave the tag out, or write linux-amd64" in refused.err


def test_a_machine_by_ssh_is_built_on_with_the_key_that_is_given(bench: Bench, tmp_path: Path) -> None:
    """And the settings are those of the repository that the context lies in."""
    with machine(tmp_path / "sshd") as host, run_registry(tmp_path / "registry") as registry:
        host.reaches(int(registry.host.rpartition(":")[2]))
        bench.commit({"lian.ncl": settings(host, registry.url)})
        bench.env["SSH_AUTH_SOCK"] = ""
        image = f"{registry.host}/far/api"
        words = ("build", "--workspace", "shop", "--context", "images/api", "--image", image)
        assert "error[ssh-key-missing]" in bench.lian(*words, code=1).err
        result, _ = built(bench, image, "images/api", "--ssh-key", str(host.key))
        assert (result["status"], digest_of(registry, "far/api", "latest")) == ("Done", result["digest"])
        assert list((host.seen / "leases").iterdir()) == []


def test_kill_9_is_swept_by_the_next_build(server: RegistryServer, bench: Bench) -> None:
    bench.busybox("images/api")
    bench.commit({"images/api/Dockerfile": BASE + "RUN echo waiting; sleep 10000\n"})
    image = f"{server.url.removeprefix('http://')}/killed/api"
    process = bench.start("build", "--workspace", "shop", "--context", "images/api", "--image", image)
    until(
        lambda: (
            process.poll() is not None or any("waiting" in p.read_text() for p in bench.cache.glob("logs/*/shop_api*"))
        )
    )
    process.kill()
    assert process.communicate()[0] == ""
    until(lambda: not leftovers(bench.cache)["processes"])
    assert leftovers(bench.cache)["leases"]
    bench.commit({"images/api/Dockerfile": BASE})
    result, err = built(bench, image)
    assert (result["status"], "swept" in err) == ("Done", True)
    assert leftovers(bench.cache) == NOTHING
