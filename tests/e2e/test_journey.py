"""The main job: commit a directive, the registry converges, and only what changed is built."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import BASE, Bench, directive, layout_files, layout_tags, leftovers
from tests.servers.registry import PASSWORD, USER, run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.buildkit

SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", tags = ["1.4", "stable"], context.path = "images/api", '
    'args = { VERSION = "1.4" }, contexts = { base = { artifact = "base" } }, checks = ["test"], target = "run"',
    "tool": 'image = "shop/tool", context.path = "images/tool"',
}
API = (
    'FROM base AS run\nARG VERSION\nCOPY app.sh /app.sh\nRUN echo "$VERSION" > /version\n'
    "FROM run AS test\nRUN grep -q hello /app.sh\n"
)


def three_images(bench: Bench) -> None:
    """Base, api on base, and a tool from scratch."""
    bench.busybox("images/base")
    bench.commit(
        {
            "directives/shop.ncl": directive("shop", SHOP),
            "images/base/Dockerfile": BASE,
            "images/api/Dockerfile": API,
            "images/api/app.sh": "echo hello\n",
            "images/tool/Dockerfile": "FROM scratch\nCOPY tool.txt /\n",
            "images/tool/tool.txt": "tool\n",
        }
    )


@pytest.fixture(params=["oci-layout", "docker-registry"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Three images, nothing built yet, on either registry."""
    if request.param == "oci-layout":
        made = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
        three_images(made)
        yield made
        return
    with run_registry(tmp_path / "server") as server:
        made = Bench.new(tmp_path, server.url)
        three_images(made)
        yield made


def actions(changes: dict[str, dict[str, object]]) -> dict[str, object]:
    """Artifact -> action."""
    return {name: change["action"] for name, change in changes.items()}


def test_the_journey(bench: Bench, tmp_path: Path) -> None:
    """Build, edit, comment in the base, revert, second clone, lost caches: only what must be built is built."""
    assert "3 artifacts valid" in bench.lian("validate").out
    plan = bench.plan(2)
    assert actions(plan) == {"shop/base": "build", "shop/api": "build", "shop/tool": "build"}
    assert plan["shop/api"]["waits_for"] == ["shop/base"]
    built = bench.reconcile()
    assert {name: result["status"] for name, result in built.items()} == dict.fromkeys(plan, "done")
    assert actions(bench.plan(0)) == dict.fromkeys(plan, "none")
    assert "in sync, nothing to do" in bench.lian("diff").out

    bench.commit({"images/api/app.sh": "echo hello again\n"})
    plan = bench.plan(2)
    assert actions(plan) == {"shop/base": "none", "shop/api": "build", "shop/tool": "none"}
    (reason,) = plan["shop/api"]["reasons"]
    assert (reason["code"], [file["path"] for file in reason["files"]]) == ("context-changed", ["images/api/app.sh"])
    edited = bench.reconcile()
    assert [name for name, r in edited.items() if r["action"] == "build"] == ["shop/api"]
    assert edited["shop/api"]["digest"] != built["shop/api"]["digest"]

    bench.commit({"images/base/Dockerfile": BASE + "# nothing else\n"})
    plan = bench.plan(2)
    assert [r["code"] for r in plan["shop/base"]["reasons"]] == ["dockerfile-changed"]
    assert plan["shop/api"]["conditional"]
    assert "rebuild unless shop/base comes out identical" in bench.lian("diff", code=2).out
    commented = bench.reconcile()
    assert commented["shop/base"]["digest"] == built["shop/base"]["digest"]
    assert (commented["shop/api"]["action"], commented["shop/api"]["status"]) == ("none", "none")

    bench.commit({"images/api/app.sh": "echo hello\n"})
    assert actions(bench.plan(2))["shop/api"] == "retag"
    reverted = bench.reconcile()
    assert {r["action"] for r in reverted.values()} == {"none", "retag"}
    assert reverted["shop/api"]["digest"] == built["shop/api"]["digest"]

    assert actions(bench.clone(tmp_path / "elsewhere").plan(0)) == dict.fromkeys(plan, "none")
    shutil.rmtree(bench.cache)
    assert {r["status"] for r in bench.reconcile().values()} == {"none"}
    assert leftovers(bench.cache) == {"processes": [], "mounts": [], "cgroups": [], "leases": []}


def test_the_image_holds_what_the_commit_says(tmp_path: Path) -> None:
    """Arguments and files arrive; every wanted tag and the content tag name the same image."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    three_images(bench)
    digest = bench.reconcile()["shop/api"]["digest"]
    key = bench.plan(0)["shop/api"]["key"]
    tags = layout_tags(tmp_path / "registry", "shop/api")
    assert tags.pop("lian-applied-default")
    named = {tag: named for tag, named in tags.items() if not tag.startswith("sha256-")}
    assert named == dict.fromkeys(["1.4", "stable", f"lian-{key[:40]}"], digest)
    files = layout_files(tmp_path / "registry", "shop/api", digest)
    assert (files["app.sh"], files["version"]) == (b"echo hello\n", b"1.4\n")


@pytest.mark.parametrize("served", [False, True], ids=["layout", "registry"])
def test_images_without_a_layer_are_images(tmp_path: Path, served: bool) -> None:
    """Of a Dockerfile that says what an image is for and puts nothing into it, BuildKit writes `layers` as null."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(run_registry(tmp_path / "server")) if served else None
        bench = Bench.new(tmp_path, server.url if server else f"oci-layout:{tmp_path / 'registry'}")
        child = 'image = "shop/child", context.path = "child", contexts.about = { artifact = "about" }'
        bench.commit(
            {
                "directives/shop.ncl": directive(
                    "shop", {"about": 'image = "shop/about", context.path = "about"', "child": child}
                ),
                "about/Dockerfile": 'FROM scratch\nLABEL a=b\nCMD ["/x"]\n',
                "child/Dockerfile": "FROM about\nCOPY f /f\n",
                "child/f": "f",
            }
        )
        assert {r["status"] for r in bench.reconcile().values()} == {"done"}
        assert {r["status"] for r in bench.reconcile().values()} == {"none"}
        bench.lian("verify")


def test_a_registry_that_wants_credentials(tmp_path: Path) -> None:
    """Docker's configuration is enough, for lian and for the builder that pushes and pulls."""
    with run_registry(tmp_path / "server", password=True) as server:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        bench = Bench.new(tmp_path, server.url)
        bench.env["DOCKER_CONFIG"] = str(tmp_path / "docker")
        three_images(bench)
        ran = bench.lian("reconcile", "--once")
        assert "3 built" in ran.out
        assert actions(bench.plan(0)) == dict.fromkeys(["shop/base", "shop/api", "shop/tool"], "none")
        assert PASSWORD not in ran.out + ran.err
        assert auth not in ran.out + ran.err


def test_a_failing_check_blocks_every_tag(tmp_path: Path) -> None:
    """The image may be built; no tag moves, and the next good commit converges."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    three_images(bench)
    before = bench.reconcile()["shop/api"]["digest"]
    bench.commit({"images/api/app.sh": "echo nothing\n"})
    result = bench.reconcile(code=3)["shop/api"]
    assert result["status"] == "failed"
    assert result["problem"]["code"] == "build-failed"
    assert layout_tags(tmp_path / "registry", "shop/api")["stable"] == before


def test_ten_artifacts_one_of_them_broken(tmp_path: Path) -> None:
    """Nine are built; the tenth's failure shows the step, its last lines, the log, and the command for it alone."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.busybox("images/base")
    artifacts = {"base": 'image = "t/base", context.path = "images/base"'}
    files: dict[str, str | bytes] = {"images/base/Dockerfile": BASE}
    for number in range(9):
        artifacts[f"a{number}"] = (
            f'image = "t/a{number}", context.path = "images/a{number}", contexts = {{ base = {{ artifact = "base" }} }}'
        )
        command = "echo about to fail; exit 7" if number == 4 else f"echo {number} > /number"
        files[f"images/a{number}/Dockerfile"] = f"FROM base\nRUN {command}\n"
    bench.commit({**files, "directives/t.ncl": directive("t", artifacts)})
    ran = bench.lian("reconcile", "--once", code=3)
    assert ran.out.count("built") == 10  # nine lines and the summary
    assert "about to fail" in ran.out
    assert re.search(r"exit code:? 7", ran.out)
    assert re.search(r"lian reconcile --once .*--only t/a4", ran.out)
    assert "at images/a4/Dockerfile:2 (t/a4)" in ran.out
    log = next(line.split()[-1] for line in ran.out.splitlines() if ".log" in line)
    assert "about to fail" in Path(log).read_text()
    plan = bench.plan(2)
    assert [name for name, change in plan.items() if change["action"] != "none"] == ["t/a4"]
    bench.commit({"images/a4/Dockerfile": "FROM base\nRUN echo 4 > /number\n"})
    assert [name for name, r in bench.reconcile().items() if r["status"] != "none"] == ["t/a4"]


def test_two_platforms_are_one_index_and_a_new_platform_builds_only_itself(tmp_path: Path) -> None:
    """Platform manifests have content tags of their own, so the index is made of what is there."""
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")

    def platforms(*names: str) -> dict[str, str | bytes]:
        listed = ", ".join(f'"{name}"' for name in names)
        text = {"files": f'image = "m/files", context.path = "files", platforms = [{listed}]'}
        return {"directives/m.ncl": directive("m", text)}

    bench.commit({**platforms("linux/amd64"), "files/Dockerfile": "FROM scratch\nCOPY a /\n", "files/a": "a"})
    one = bench.reconcile()["m/files"]
    bench.commit(platforms("linux/amd64", "linux/arm64"))
    assert [r["code"] for r in bench.plan(2)["m/files"]["reasons"]] == ["platform-missing"]
    two = bench.reconcile()["m/files"]
    assert set(two["platforms"]) == {"linux/amd64", "linux/arm64"}
    assert two["platforms"]["linux/amd64"] == one["digest"]
    logs = [log.name for log in (bench.cache / "logs").glob("*/*.log")]
    assert sorted(logs) == ["m_files_linux-amd64.log", "m_files_linux-arm64.log"]
    assert bench.plan(0)["m/files"]["action"] == "none"
    bench.commit(platforms("linux/amd64"))
    assert bench.plan(2)["m/files"]["action"] == "retag"
