"""The registry on disk: damage is told, crashes leave it whole, writers do not lose one another's work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.record import TIME_ANNOTATION
from reconciler.model.reference import Reference
from reconciler.ports.publisher import WriteLayout
from reconciler.providers.registry import referrers
from reconciler.providers.registry.layout import durable
from reconciler.providers.registry.layout.folder import LOCK, WRITERS
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from tests.ports.registry_suite import KIND, Image, codes, record, write_layout
from tests.providers.registry.disk import FORK, TAG_KEY, Disk, check_whole, counted, cut_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.digest import Digest


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "registry")


def test_the_root_is_kept_out_of_git_and_the_layout_is_a_plain_one(disk: Disk) -> None:
    image = Image()
    disk.publish(image, "latest", "1.4")
    assert (disk.root / ".gitignore").read_text() == "*\n"
    assert json.loads((disk.folder() / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = disk.index()
    assert index["schemaVersion"] == 2
    plain = image.descriptor.to_json()
    assert index["manifests"] == [{**plain, "annotations": {TAG_KEY: tag}} for tag in ("latest", "1.4")]
    names = {p.name for p in disk.folder().iterdir()}
    assert names == {"blobs", "index.json", "oci-layout", LOCK, WRITERS}
    assert stat.S_IMODE((disk.folder() / "index.json").stat().st_mode) & 0o444 == 0o444


def test_reading_writes_nothing(disk: Disk) -> None:
    assert disk.head() == ABSENT
    assert not disk.root.exists()


def test_publishing_the_same_leaves_the_index_file_alone(disk: Disk) -> None:
    image = Image()
    disk.publish(image, "a", "b")
    before = (disk.folder() / "index.json").stat()
    disk.publish(image, "a", "b")
    disk.publish(image, "b")
    assert (disk.folder() / "index.json").stat() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder, image: (folder / "index.json").write_bytes(b""),
        lambda folder, image: (folder / "index.json").write_bytes(b"[" * 100_000),
        lambda folder, image: (folder / "index.json").write_bytes(b'{"manifests": [1]}'),
        lambda folder, image: (folder / "index.json").write_bytes(b"[]"),
        lambda folder, image: (folder / "index.json").write_bytes(b"\xff\xfe"),
        lambda folder, image: (folder / "index.json").unlink(),
        lambda folder, image: (folder / "index.json").write_text(
            json.dumps({"manifests": [{"digest": "sha256:no", "annotations": {TAG_KEY: "latest"}}]})
        ),
        lambda folder, image: (folder / "blobs/sha256" / image.manifest.digest.hex).unlink(),
        lambda folder, image: (folder / "blobs/sha256" / image.manifest.digest.hex).write_bytes(b"{}"),
        lambda folder, image: (folder / "blobs/sha256" / image.manifest.digest.hex).write_bytes(b""),
    ],
)
def test_damage_is_unknown_never_absent(disk: Disk, damage: Callable[[Path, Image], object]) -> None:
    image, other = Image(), Reference(disk.repository("other"), "latest")
    disk.publish(image, "latest")
    disk.publish(image, "latest", path="other")
    damage(disk.folder(), image)
    seen = disk.head()
    assert isinstance(seen, Unknown)
    assert seen.problem.code == "registry-damaged"
    assert str(disk.folder()) in seen.problem.message
    assert isinstance(asyncio.run(LayoutRegistry(disk.root).heads([other]))[other], Found)


def test_a_damaged_blob_is_not_returned_and_is_healed_by_publishing(disk: Disk) -> None:
    image = Image()
    disk.publish(image, "latest")
    layer, data = list(image.blobs.items())[1]
    for path in (
        disk.folder() / "blobs/sha256" / layer.hex,
        disk.folder() / "blobs/sha256" / image.manifest.digest.hex,
    ):
        path.write_bytes(b"x" * path.stat().st_size)
    registry = LayoutRegistry(disk.root)
    for asked in (
        registry.blob(disk.repository(), layer, 1000),
        registry.manifest(disk.repository(), image.manifest.digest),
    ):
        with pytest.raises(LianError) as error:
            asyncio.run(asked)
        assert codes(error) == {"registry-damaged"}
    disk.publish(image, "latest")
    assert check_whole(disk) == {"latest": image.manifest.digest}
    assert asyncio.run(registry.blob(disk.repository(), layer, 1000)) == data


def test_a_folder_that_cannot_be_read_is_unknown(disk: Disk) -> None:
    disk.root.parent.mkdir(exist_ok=True)
    disk.root.write_text("not a folder")
    assert isinstance(disk.head(), Unknown)
    with pytest.raises(LianError):
        disk.publish(Image(), "latest")


@pytest.mark.parametrize("spoil", ["missing", "changed", "shorter"])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_an_image_the_builder_did_not_finish_is_refused(disk: Disk, tmp_path: Path, part: int, spoil: str) -> None:
    image = Image()
    destination = WriteLayout(tmp_path / "image")
    write_layout(destination.folder, [image.manifest], image.blobs)
    digest = [*image.blobs, image.manifest.digest][part]
    path = destination.folder / "blobs/sha256" / digest.hex
    if spoil == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(b"x" + data[1:] if spoil == "changed" else data[:-1])
    with pytest.raises(LianError) as error:
        asyncio.run(LayoutPublisher(disk.root).take_in(disk.repository(), destination, image.manifest.digest))
    assert codes(error) == {"image-damaged"}
    assert disk.head(digest=image.manifest.digest) == ABSENT


def test_taken_in_blobs_outlive_the_scratch_folder(disk: Disk, tmp_path: Path) -> None:
    image = Image()
    destination = WriteLayout(tmp_path / "image")
    write_layout(destination.folder, [image.manifest], image.blobs)
    asyncio.run(LayoutPublisher(disk.root).take_in(disk.repository(), destination, image.manifest.digest))
    for path in (destination.folder / "blobs/sha256").iterdir():
        path.unlink()
    assert disk.head(digest=image.manifest.digest) == Found(
        image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size
    )
    asyncio.run(LayoutPublisher(disk.root).publish(disk.repository(), image.manifest, tags=["latest"]))
    assert check_whole(disk) == {"latest": image.manifest.digest}
    assert [e["annotations"] for e in disk.index()["manifests"]] == [{TAG_KEY: "latest"}]
    disk.publish(Image(), "latest")
    assert image.descriptor.to_json() in disk.index()["manifests"]


def test_what_other_tools_wrote_into_the_index_is_kept(disk: Disk) -> None:
    disk.publish(Image(), "latest")
    path = disk.folder() / "index.json"
    document = json.loads(path.read_bytes())
    document["annotations"] = {"by": "hand"}
    document["manifests"].append(
        {**document["manifests"][0], "annotations": {TAG_KEY: "theirs", "x": "y"}, "extra": [1]}
    )
    path.write_text(json.dumps(document))
    disk.publish(Image(), "latest", "new")
    after = disk.index()
    assert after["annotations"] == {"by": "hand"}
    assert document["manifests"][1] in after["manifests"]


def test_the_fallback_list_keeps_the_newest_own_and_all_foreign_entries(disk: Disk) -> None:
    image, repository, publisher = Image(), disk.repository(), LayoutPublisher(disk.root)
    disk.publish(image, "latest")
    foreign, blobs = record(image.descriptor, "theirs", "application/vnd.example.signature")

    async def use() -> None:
        await publisher.publish(repository, foreign, blobs=blobs)
        for n in range(referrers.KEPT + 5):
            manifest, more = record(image.descriptor, str(n), created=f"2026-01-01T00:{n:02}:00Z")
            await publisher.publish(repository, manifest, blobs=more)
        found = await LayoutRegistry(disk.root).referrers(repository, image.manifest.digest, KIND)
        assert [d.annotations["dev.lian.text"] for d in found] == [str(n) for n in range(5, referrers.KEPT + 5)]
        assert {TIME_ANNOTATION, "dev.lian.text"} == set(found[0].annotations)
        kept = await LayoutRegistry(disk.root).referrers(
            repository, image.manifest.digest, "application/vnd.example.signature"
        )
        assert [d.digest for d in kept] == [foreign.digest]

    asyncio.run(use())
    assert len(disk.index()["manifests"]) == referrers.KEPT + 3
    tag = next(e for e in disk.index()["manifests"] if e.get("annotations", {}).get(TAG_KEY, "").startswith("sha256-"))
    assert tag["annotations"] == {TAG_KEY: f"sha256-{image.manifest.digest.hex}"}


def test_a_referrer_that_only_the_index_names_is_found(disk: Disk) -> None:
    image, publisher = Image(), LayoutPublisher(disk.root)
    disk.publish(image, "latest")
    manifest, blobs = record(image.descriptor, "one")
    asyncio.run(publisher.publish(disk.repository(), manifest, blobs=blobs))
    document = disk.index()
    document["manifests"] = [
        e for e in document["manifests"] if not e.get("annotations", {}).get(TAG_KEY, "").startswith("sha256-")
    ]
    (disk.folder() / "index.json").write_text(json.dumps(document))
    found = asyncio.run(LayoutRegistry(disk.root).referrers(disk.repository(), image.manifest.digest, KIND))
    assert [d.digest for d in found] == [manifest.digest]


_tags = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3)
_steps = st.lists(st.tuples(st.sampled_from(["publish", "refer"]), st.integers(0, 3), _tags), min_size=1, max_size=12)


@settings(max_examples=25)
@given(_steps)
def test_any_order_of_writes_leaves_every_tag_where_it_was_last_put(steps: list[tuple[str, int, list[str]]]) -> None:
    images = [Image(str(n)) for n in range(4)]
    wanted: dict[str, Digest] = {}
    written: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder) / "registry")
        for action, n, tags in steps:
            if action == "publish":
                disk.publish(images[n], *tags)
                wanted |= dict.fromkeys(tags, images[n].manifest.digest)
                written.add(n)
            else:
                manifest, blobs = record(images[n].descriptor, str(n))
                asyncio.run(LayoutPublisher(disk.root).publish(disk.repository(), manifest, blobs=blobs))
        named = {tag: digest for tag, digest in check_whole(disk).items() if not tag.startswith("sha256-")}
        assert named == wanted
        entries = {e["digest"] for e in disk.index()["manifests"]}
        assert {str(images[n].manifest.digest) for n in written} <= entries


def _write_many(disk: Disk, worker: int, count: int) -> None:
    for n in range(count):
        disk.publish(Image(f"{worker} {n}"), f"w{worker}-{n}", "shared")


def test_processes_that_write_at_the_same_time_lose_nothing(disk: Disk) -> None:
    workers = [FORK.Process(target=_write_many, args=(disk, worker, 8)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    named = check_whole(disk)
    assert set(named) == {"shared", *(f"w{worker}-{n}" for worker in range(4) for n in range(8))}


def _write_without_end(disk: Disk, start: int) -> None:
    for n in range(start, 1_000_000):
        disk.publish(Image(str(n)), "latest", f"t{n % 5}")


def test_a_writer_killed_at_any_time_leaves_a_whole_layout(disk: Disk) -> None:
    for n in range(25):
        writer = FORK.Process(target=_write_without_end, args=(disk, n * 1000))
        writer.start()
        time.sleep(0.004 * (n % 8) + 0.003)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        writer.close()
        check_whole(disk)
    last = Image()
    disk.publish(last, "latest")
    assert check_whole(disk)["latest"] == last.manifest.digest
    assert not list(disk.folder().glob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device"), OSError(5, "Input/output error")])
def test_cut_off_at_every_disk_call_the_layout_stays_whole(tmp_path: Path, error: OSError | None) -> None:
    """Old content or new at every step, and the next writer gets through."""
    first, second, built = Image(), Image(), Image()
    manifest, blobs = record(second.descriptor, "one")
    left = WriteLayout(tmp_path / "image")
    write_layout(left.folder, [built.manifest], built.blobs)

    def action(disk: Disk) -> None:
        disk.publish(second, "latest", "new")
        publisher = LayoutPublisher(disk.root)
        asyncio.run(publisher.publish(disk.repository(), manifest, blobs=blobs))
        asyncio.run(publisher.take_in(disk.repository(), left, built.manifest.digest))

    for limit in range(1, 500, 1 if error is None else 4):
        disk = Disk(tmp_path / str(limit))
        if limit % 8 < 4:
            disk.publish(first, "latest")
        code = cut_off(partial(action, disk), limit, error)
        named = check_whole(disk)
        assert named.get("latest", first.manifest.digest) in {first.manifest.digest, second.manifest.digest}
        assert ("new" in named) == (named.get("latest") == second.manifest.digest)
        action(disk)
        named = check_whole(disk)
        assert named["latest"] == named["new"] == second.manifest.digest
        assert disk.head(digest=built.manifest.digest) != ABSENT
        assert not list(disk.folder().glob(".tmp-*"))
        if code == 0:
            break
    assert code == 0
    assert limit > 60


def test_a_full_disk_is_told_as_such(disk: Disk) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(LianError) as error:
        counted(lambda: disk.publish(Image(), "latest"), 12, full)
    assert codes(error) == {"disk-full"}


def test_a_lock_that_is_held_too_long_is_told(tmp_path: Path) -> None:
    with (
        durable.locked(tmp_path / "lock", 1.0),
        pytest.raises(LianError) as error,
        durable.locked(tmp_path / "lock", 0.05),
    ):
        pytest.fail("the lock was taken twice")
    assert codes(error) == {"registry-locked"}


def test_the_sweep_leaves_living_writers_alone(tmp_path: Path) -> None:
    (tmp_path / ".tmp-dead").write_bytes(b"x")
    with durable._temporary(tmp_path) as (handle, path):
        durable.sweep(tmp_path)
        os.write(handle, b"kept")
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert list(tmp_path.iterdir()) == []
