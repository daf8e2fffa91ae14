"""Cache mounts of real builds are there again on the next builder, and nobody else's are."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from reconciler.cache import mounts as forms
from reconciler.model.cache import CacheMount, Session
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor
from reconciler.model.mount_use import MountsEnd
from reconciler.model.reference import Repository
from tests.providers.kept_mounts import Kept
from tests.providers.registry.places import transport
from tests.providers.workshop import SHELL, open_bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.registry import RegistryServer

pytestmark = pytest.mark.buildkit

COUNT = "ls -A >> /seen; stat -c '%A - %u' . >> /seen; echo x >> count; cat count > /count"
"""Tells what the mount held and whose it is, and adds to it."""
OUT = "\nFROM scratch\nCOPY --from=0 /seen /count /\n"


def counting(mount: str, where: str = "/cache") -> str:
    """A Dockerfile with one mount."""
    return f"{SHELL}ARG RUN\nRUN --mount=type=cache,{mount} cd {where} && {COUNT}{OUT}"


PLAIN = counting("target=/cache")


def run(kept: Kept, dockerfile: str, number: int = 1) -> tuple[dict[str, bytes], MountsEnd, MountsEnd]:
    made = asyncio.run(kept.fresh(dockerfile, {"RUN": str(number)}))
    return dict(made.files), made.restored.end, made.saved.end


def test_a_fresh_builder_finds_what_the_one_before_it_left(tmp_path: Path) -> None:
    kept = Kept.on_disk(tmp_path)
    files, restored, saved = run(kept, PLAIN, 1)
    assert (files["count"], restored, saved) == (b"x\n", MountsEnd.ABSENT, MountsEnd.SAVED)
    files, restored, saved = run(kept, PLAIN, 2)
    assert (files["count"], restored, saved) == (b"x\nx\n", MountsEnd.RESTORED, MountsEnd.SAVED)


def test_over_http_too(tmp_path: Path, registry_server: RegistryServer) -> None:
    async def use() -> None:
        async with transport(registry_server.host) as made:
            kept = Kept.over_http(tmp_path, made)
            for number in (1, 2):
                found = await kept.fresh(PLAIN, {"RUN": str(number)})
                assert found.files["count"] == b"x\n" * number, found
                assert not found.restored.problems and not found.saved.problems

    asyncio.run(use())


@pytest.mark.parametrize(
    "mount",
    [
        "target=/cache,uid=1000,gid=1001,mode=0700",
        "target=/cache,uid=0",
        "target=/cache,mode=1777",
        "target=/cache,sharing=private",
    ],
)
def test_mounts_of_every_form(tmp_path: Path, mount: str) -> None:
    kept = Kept.on_disk(tmp_path)
    first, _, _ = run(kept, counting(mount), 1)
    second, restored, _ = run(kept, counting(mount), 2)
    assert (second["count"], restored) == (b"x\nx\n", MountsEnd.RESTORED)
    assert first["seen"].split()[:4:2] == second["seen"].split()[1:5:2]  # mode and uid, behind the name `count`


def test_an_id_is_whatever_it_is(tmp_path: Path) -> None:
    mount = """--mount='type=cache,target=/cache,"id=a, b/é;$(ls)`{$ID}"'"""
    text = f"{SHELL}ARG RUN\nARG ID='x y'\nRUN {mount} cd /cache && {COUNT}{OUT}"
    kept = Kept.on_disk(tmp_path)
    (found,) = kept.mounts(text)
    assert found.id == "a, b/Ã©;$(ls)`{x y}"  # BuildKit reads flags as Latin-1
    run(kept, text, 1)
    assert run(kept, text, 2)[0]["count"] == b"x\nx\n"


def test_owners_modes_times_and_links_come_back(tmp_path: Path) -> None:
    made = (
        "mkdir -p d/e && echo a > d/e/f && chmod 4751 d/e/f && chown 7:8 d/e/f && touch -d @1000000000 d/e/f"
        " && ln -s ../e/f d/e/link && ln d/e/f hard && touch -d @1100000000 d/e && touch -d @1200000000 d"
    )
    look = "find . | sort | while read f; do stat -c '%n %f %u %g %h' $f; done"
    look += "; stat -c %Y d d/e d/e/f hard; readlink d/e/link"
    text = f"{SHELL}ARG RUN\nRUN --mount=type=cache,target=/cache cd /cache && if [ -e d ]; then :; else {made}; fi"
    text += f" && ({look}) > /seen && touch /count{OUT}"
    kept = Kept.on_disk(tmp_path)
    first, _, _ = run(kept, text, 1)
    second, restored, saved = run(kept, text, 2)
    assert first["seen"] == second["seen"] and b"1100000000" in second["seen"]
    assert (restored, saved) == (MountsEnd.RESTORED, MountsEnd.UNCHANGED)


def test_two_artifacts_on_one_builder_do_not_see_one_another(tmp_path: Path) -> None:
    async def use() -> None:
        one = Kept.on_disk(tmp_path)
        other = Kept.on_disk(tmp_path, name="shop/web")
        async with open_bench(tmp_path / "bench") as bench:
            for kept in (one, other):
                assert (await kept.built(bench, PLAIN)).files["count"] == b"x\n"

    asyncio.run(use())


def test_what_did_not_run_is_not_saved_and_what_is_empty_is_kept(tmp_path: Path) -> None:
    async def use() -> None:
        kept = Kept.on_disk(tmp_path)
        async with open_bench(tmp_path / "bench") as bench:
            assert (await kept.built(bench, PLAIN)).saved.end is MountsEnd.SAVED
            assert (await kept.built(bench, PLAIN)).saved.end is MountsEnd.NONE
        two = PLAIN.replace(OUT, "\nRUN --mount=type=cache,target=/other echo y > /other/y" + OUT)
        made = await kept.fresh(two, {"RUN": "2"})
        assert (made.restored.mounts, made.saved.mounts) == (1, 2)

    asyncio.run(use())


def test_sessions_read_ci_and_write_their_own(tmp_path: Path) -> None:
    async def use() -> None:
        ci, anna = Kept.on_disk(tmp_path / "ci"), Kept.on_disk(tmp_path / "ci", mode=Session("anna"))
        await ci.fresh(PLAIN, {"RUN": "1"})
        anna.runs = ["run-0"]
        made = await anna.fresh(PLAIN, {"RUN": "2"})
        assert made.files["count"] == b"x\nx\n"
        assert "/ci/shop/" in str(made.restored.reference) and "/dev/anna-shop/" in str(made.saved.reference)
        ci.runs = ["run-0", "run-1"]
        assert (await ci.fresh(PLAIN, {"RUN": "3"})).files["count"] == b"x\nx\n"

    asyncio.run(use())


def hostile(kind: str) -> bytes:
    """An archive as an enemy would make it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        good = tarfile.TarInfo("count")
        good.size = 2
        archive.addfile(good, io.BytesIO(b"x\n"))
        bad = tarfile.TarInfo("../../etc/passwd" if kind == "dots" else "bad")
        if kind == "bomb":
            bad.size = 300 << 20
            archive.addfile(bad, io.BytesIO(bytes(bad.size)))
            bad = tarfile.TarInfo("worse")
        if kind == "device":
            bad.type, bad.devmajor, bad.devminor = tarfile.BLKTYPE, 8, 0
        elif kind == "link":
            bad.type, bad.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(bad)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["dots", "device", "link", "bomb", "garbage", "lost", "foreign"])
def test_a_hostile_archive_leaves_the_build_cold_and_harmless(tmp_path: Path, kind: str) -> None:
    async def use() -> None:
        kept = Kept.on_disk(tmp_path)
        tar = hostile(kind)
        data = b"no zstd" if kind == "garbage" else zstandard.compress(tar)
        blob = Descriptor.of(forms.LAYER, data)
        size = 4096 if kind == "bomb" else len(tar)
        saved = forms.SavedMount(CacheMount("/cache"), blob, size, 2)
        manifest = forms.formed([saved], {})
        if kind == "foreign":
            text = manifest.data.replace(forms.KIND.encode(), b"application/vnd.oci.image.config.v1")
            manifest = type(manifest)(manifest.media_type, text)
        repository = Repository(kept.host, "cache/ci/shop/api")
        blobs = {Digest.of(EMPTY_BLOB): EMPTY_BLOB, blob.digest: data}
        await kept.ports.publisher.publish(repository, manifest, tags=["linux-amd64.mounts"], blobs=blobs)
        if kind == "lost":
            (tmp_path / "registry/cache/ci/shop/api/blobs/sha256" / blob.digest.hex).unlink()
        clean = await Kept.on_disk(tmp_path / "clean").fresh(PLAIN)
        made = await kept.fresh(PLAIN)
        assert made.files["count"] == b"x\n"
        assert made.digest == clean.digest
        assert made.restored.end is MountsEnd.FAILED
        (problem,) = made.restored.problems
        assert problem.code == {
            "bomb": "cache-mount-too-large",
            "garbage": "cache-mount-broken",
            "lost": "blob-unknown",
            "foreign": "cache-mount-broken",
        }.get(kind, "cache-mount-unsafe")
        assert made.saved.end is MountsEnd.SAVED
        assert (await kept.fresh(PLAIN, {"RUN": "2"})).files["count"] == b"x\nx\n"

    asyncio.run(use())
