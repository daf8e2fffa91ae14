"""Archives of cache mounts: what is packed comes back, and what an enemy packs does not."""

from __future__ import annotations

import asyncio
import copy
import io
import itertools
import os
import subprocess
import tarfile
import time
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.cache import MAX_MOUNT_BYTES, MAX_MOUNT_MEMBERS
from reconciler.model.problem import LianError
from reconciler.ports.archives import BROKEN, TOO_LARGE, UNSAFE, Packed
from reconciler.providers.archive.belonging import Bounds
from reconciler.providers.archive.mount_archives import MountArchives
from reconciler.providers.archive.tar import END, FILE, Member, written
from reconciler.providers.archive.tool import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVES = MountArchives(find_tool)


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member; its type is told by `type`."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of them, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def packed(folder: Path, data: bytes, archives: MountArchives = ARCHIVES) -> tuple[Packed, bytes]:
    """What becomes of a builder's tar."""
    source, into = folder / "in.tar", folder / "out.zst"
    source.write_bytes(data)
    into.unlink(missing_ok=True)
    told = asyncio.run(archives.pack(source, into))
    return told, into.read_bytes()


def unpacked(folder: Path, data: bytes, told: Packed | None = None, members: int = 100) -> dict[str, tarfile.TarInfo]:
    """What becomes of an archive. Raises LianError."""
    archive, into, late = folder / "a.zst", folder / "a.tar", folder / "b.tar"
    archive.write_bytes(data)
    for old in (into, late):
        old.unlink(missing_ok=True)
    size = told or Packed(1 << 20, members)
    try:
        asyncio.run(ARCHIVES.unpack(archive, into, late, size))
    except LianError:
        assert not into.exists() and not late.exists()
        raise
    with tarfile.open(into) as found:
        return {info.name: info for info in found}


def code(error: pytest.ExceptionInfo[LianError]) -> str:
    (problem,) = error.value.problems
    return problem.code


def refusal(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> str:
    """The code with which an archive of these is refused."""
    with pytest.raises(LianError) as error:
        unpacked(tmp_path, zstandard.compress(tar(*members, form=form)), members=len(members))
    return code(error)


CONTENT = (
    folder("./"),
    folder("./d"),
    member("./d/file", b"content", mode=0o4751, uid=70000, gid=3_000_000_000, mtime=1_234_567_890),
    hard("./d/again", "./d/file"),
    link("./d/up", "../d/file"),
    link("./here", "d"),
    folder("./empty"),
    member("./" + "long/" * 40 + "name", b"x" * 1000),
    link("./far", "x" * 200),
)


def test_what_belongs_into_a_folder_comes_back(tmp_path: Path) -> None:
    told, data = packed(tmp_path, tar(*CONTENT))
    assert told == Packed(told.size, len(CONTENT) - 1)
    found = unpacked(tmp_path, data, told)
    first, second = found["d/file"], found["d/again"]
    assert (first.mode, first.uid, first.gid, first.mtime) == (0o4751, 70000, 3_000_000_000, 1_234_567_890)
    assert first.size == 7 and (second.type, second.linkname) == (tarfile.LNKTYPE, "d/file")
    assert found["d/up"].linkname == "../d/file" and found["far"].linkname == "x" * 200
    assert found["long/" * 40 + "name"].size == 1000


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    shuffled = (CONTENT[0], *CONTENT[4:], CONTENT[1], CONTENT[2], CONTENT[3])
    _, one = packed(tmp_path, tar(*CONTENT))
    _, two = packed(tmp_path, tar(*shuffled))
    named = [(copy.copy(info), data) for info, data in CONTENT]
    for info, _ in named:
        info.uname, info.gname = "someone", "some"
    _, three = packed(tmp_path, tar(*named))
    assert one == two == three


def test_an_empty_folder_has_no_members(tmp_path: Path) -> None:
    assert packed(tmp_path, tar(folder("./")))[0].members == 0
    assert packed(tmp_path, tar())[0].members == 0


DROPPED = (
    member("./null", type=tarfile.CHRTYPE),
    member("./disk", type=tarfile.BLKTYPE),
    member("./pipe", type=tarfile.FIFOTYPE),
    link("./absolute", "/usr/bin/python3"),
    link("./out", "../secret"),
    link("./winding", "d/../../secret"),
    hard("./orphan", "./null"),
)


def test_what_may_not_come_back_is_left_out(tmp_path: Path) -> None:
    told, data = packed(tmp_path, tar(*CONTENT, *DROPPED))
    assert told.dropped == len(DROPPED)
    assert (told.members, data) == (len(CONTENT) - 1, packed(tmp_path, tar(*CONTENT))[1])


@pytest.mark.parametrize(
    "bad",
    [
        (member("/etc/passwd"),),
        (member("../passwd"),),
        (member("a/../../passwd"),),
        (member("a/./b"),),
        (member("a//b"),),
        (member(".."),),
        (folder("/"),),
        (member("."),),
        (member("x" * 256),),
        (member("/".join(["x" * 200] * 21)),),
        (member("null", type=tarfile.CHRTYPE),),
        (member("disk", type=tarfile.BLKTYPE),),
        (member("pipe", type=tarfile.FIFOTYPE),),
        (member("socket", type=b"s"),),
        (member("sparse", type=tarfile.GNUTYPE_SPARSE),),
        (member("volume", type=b"V"),),
        (link("a", "/etc"),),
        (link("a", ".."),),
        (link("a", "../x"),),
        (link("d/a", "../../x"),),
        (link("a", "x/../../y"),),
        (link("a", ""),),
        (link("a", "b"), member("a/x")),
        (member("a/x"), link("a", "b")),
        (folder("a"), link("a", "b"), member("a/x")),
        (member("a"), member("a")),
        (member("a"), member("a/b")),
        (folder("a"), folder("a/")),
        (hard("a", "/etc/passwd"),),
        (hard("a", "b"),),
        (hard("a", "b"), member("b")),
        (link("b", "c"), hard("a", "b")),
        (folder("b"), hard("a", "b")),
        (member("a"), hard("a", "a")),
        (hard("a", "../b"),),
        (member("a", mtime=2**40),),
        (member("a", uid=2**40),),
    ],
    ids=lambda bad: " ".join(f"{info.name[:20]}{'>' if info.linkname else ''}{info.linkname}" for info, _ in bad),
)
def test_what_does_not_belong_into_a_folder_is_refused(
    tmp_path: Path, bad: tuple[tuple[tarfile.TarInfo, bytes], ...]
) -> None:
    assert refusal(tmp_path, *bad) == UNSAFE
    assert refusal(tmp_path, *CONTENT[1:3], *bad) == UNSAFE


def test_extended_headers_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, member("x" * 200), form=tarfile.PAX_FORMAT) == UNSAFE
    info, data = member("a", b"x")
    info.pax_headers = {"path": "../b"}
    assert refusal(tmp_path, (info, data), form=tarfile.PAX_FORMAT) == UNSAFE


def test_names_with_nul_and_names_without_end(tmp_path: Path) -> None:
    assert refusal(tmp_path, member("././@LongLink", b"a\0b\0", type=b"L"), member("a")) == UNSAFE
    assert refusal(tmp_path, member("././@LongLink", b"a" * 5000, type=b"L"), member("a")) == UNSAFE
    assert refusal(tmp_path, member("././@LongLink", b"", type=b"L"), member("a")) == UNSAFE
    assert refusal(tmp_path, member("././@LongLink", b"a" * 5000, type=b"K"), link("a", "b")) == UNSAFE


@pytest.mark.parametrize("keep", [0, 1, 100, 511, 512, 513, 700, 1024, 1535])
def test_what_is_cut_off_is_broken(tmp_path: Path, keep: int) -> None:
    whole = tar(member("a", b"x" * 600))
    with pytest.raises(LianError) as error:
        unpacked(tmp_path, zstandard.compress(whole[:keep]), members=1)
    assert code(error) == BROKEN
    (tmp_path / "in.tar").write_bytes(whole[:keep])
    with pytest.raises(LianError) as error:
        asyncio.run(ARCHIVES.pack(tmp_path / "in.tar", tmp_path / "cut.zst"))
    assert code(error) == BROKEN and not (tmp_path / "cut.zst").exists()


def test_a_compressed_end_that_is_missing_is_broken(tmp_path: Path) -> None:
    told, data = packed(tmp_path, tar(member("a", os.urandom(100_000))))
    for keep in (3, 50, len(data) // 2, len(data) - 5):
        with pytest.raises(LianError) as error:
            unpacked(tmp_path, data[:keep], told)
        assert code(error) == BROKEN


def test_bombs(tmp_path: Path) -> None:
    began = time.monotonic()
    zeros = zstandard.compress(tar(member("a", bytes(100 << 20))))
    cases: list[tuple[bytes, Packed]] = [
        (zeros, Packed(1 << 20, 1)),
        (zeros, Packed(MAX_MOUNT_BYTES + 1, 1)),
        (zeros, Packed(1 << 20, MAX_MOUNT_MEMBERS + 1)),
        (zstandard.compress(tar(*(member(str(n)) for n in range(50)))), Packed(1 << 20, 49)),
    ]
    for data, told in cases:
        with pytest.raises(LianError) as error:
            unpacked(tmp_path, data, told)
        assert code(error) == TOO_LARGE
    assert time.monotonic() - began < 20


def test_a_window_that_takes_much_memory_is_not_opened(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    writer = compressor.compressobj()
    data = writer.compress(tar(member("a", b"x"))) + writer.flush()
    with pytest.raises(LianError) as error:
        unpacked(tmp_path, data, members=1)
    assert code(error) == BROKEN


def test_fewer_members_than_told_are_broken(tmp_path: Path) -> None:
    with pytest.raises(LianError) as error:
        unpacked(tmp_path, zstandard.compress(tar(member("a"))), members=2)
    assert code(error) == BROKEN


@pytest.mark.parametrize(
    ("bounds", "members"),
    [
        (Bounds(10_000, 5), [member("a", bytes(20_000))]),
        (Bounds(1 << 20, 5), [member(str(n)) for n in range(6)]),
        # Its end counts: what is packed must be within what is unpacked.
        (Bounds(1 << 10, 5), [member("a")]),
    ],
)
def test_a_folder_too_large_is_not_packed(
    tmp_path: Path, bounds: Bounds, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    archives = MountArchives(find_tool, bounds)
    with pytest.raises(LianError) as error:
        packed(tmp_path, tar(*members), archives)
    assert code(error) == TOO_LARGE and not (tmp_path / "out.zst").exists()


def test_what_grows_as_it_is_compressed_is_measured_again(tmp_path: Path) -> None:
    size = 100 << 20
    data = tar(member("a", os.urandom(size)))
    with pytest.raises(LianError) as error:
        packed(tmp_path, data, MountArchives(find_tool, Bounds(size + 512 + 1024, 1)))
    assert code(error) == TOO_LARGE and not (tmp_path / "out.zst").exists()


def test_what_is_just_not_too_large_comes_back(tmp_path: Path) -> None:
    data = tar(*(member(str(n), b"x" * 512) for n in range(5)))
    size, most = 5 * 1024 + 1024, 5
    told, archive = packed(tmp_path, data, MountArchives(find_tool, Bounds(size, most)))
    assert told == Packed(size, most) and len(unpacked(tmp_path, archive, told)) == most


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2048), st.integers(0, 3000))
def test_noise_is_refused_or_read_and_nothing_else(tmp_path: Path, noise: bytes, at: int) -> None:
    whole = bytearray(tar(*CONTENT))
    whole[at : at + len(noise)] = noise
    for data in (noise, bytes(whole)):
        try:
            found = unpacked(tmp_path, zstandard.compress(data), Packed(1 << 20, len(CONTENT) - 1))
        except LianError as error:
            assert {problem.code for problem in error.problems} <= {BROKEN, UNSAFE, TOO_LARGE}
        else:
            assert not any(name.startswith("/") or ".." in name.split("/") for name in found)


def test_busybox_packs_and_unpacks_it(tmp_path: Path) -> None:
    """What comes out of a real tool goes in again, byte for byte."""
    tool = asyncio.run(ARCHIVES.tool()).path
    made = tmp_path / "made"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "deep" / "er" / ("n" * 150)).write_bytes(b"data")
    (made / "deep" / "link").symlink_to("../deep/er")
    (made / "hard").hardlink_to(made / "deep" / "er" / ("n" * 150))
    os.mkfifo(made / "pipe")
    os.utime(made / "deep" / "er", (6000, 6000))
    os.utime(made / "deep", (5000, 5000))
    archives: list[bytes] = []
    for number, where in enumerate((made, tmp_path / "back")):
        source = tmp_path / f"{number}.tar"
        subprocess.run([tool, "tar", "-cf", source, "-C", where, "."], check=True)
        told, data = packed(tmp_path, source.read_bytes())
        archives.append(data)
        unpacked(tmp_path, data, told)
        (tmp_path / "back").mkdir(exist_ok=True)
        for name in ("a.tar", "b.tar"):
            subprocess.run([tool, "tar", "-xpf", tmp_path / name, "-C", tmp_path / "back"], check=True)
    assert archives[0] == archives[1]
    assert (tmp_path / "back/deep").stat().st_mtime == 5000
    assert (tmp_path / "back/deep/er").stat().st_mtime == 6000, "the hard link in it is made last"
    assert not (tmp_path / "back/pipe").exists()


class Endless(PosixPath):
    """A file that has this content, for as long as anyone reads: what reads it ends only if it is stopped."""

    content: Iterator[bytes]

    def open(self, *args: Any, **more: Any) -> Any:
        return self

    def __enter__(self) -> Endless:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def seek(self, at: int) -> None:
        pass

    def read(self, size: int) -> bytes:
        return next(self.content)


HUGE = 1 << 50


def headers() -> Iterator[bytes]:
    """Of files without an end."""
    for number in itertools.count():
        yield written(Member(b"%d" % number, FILE))


def one_file() -> Iterator[bytes]:
    """A tar of one file, then its content."""
    yield written(Member(b"a", FILE, size=HUGE))
    yield END[: len(END) // 2]
    while True:
        yield bytes(1 << 20)


def compressed(parts: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor().compressobj()
    for part in parts:
        yield compressor.compress(part) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def content() -> Iterator[bytes]:
    """The header of one file, and its content."""
    yield written(Member(b"a", FILE, size=HUGE))
    while True:
        yield bytes(1 << 20)


@pytest.mark.parametrize(
    ("what", "parts", "begun"),
    [
        ("pack", headers(), False),
        ("pack", one_file(), True),
        ("unpack", compressed(headers()), True),
        ("unpack", compressed(content()), True),
    ],
    ids=["pack members", "pack a file", "unpack members", "unpack a file"],
)
def test_a_cancellation_stops_it_and_leaves_nothing(
    tmp_path: Path, what: str, parts: Iterator[bytes], *, begun: bool
) -> None:
    archives = MountArchives(find_tool, Bounds(2 * HUGE, HUGE))
    into, late = tmp_path / "into", tmp_path / "late"

    async def use() -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def telling() -> Iterator[bytes]:
            for number, part in enumerate(parts):
                if number == 5:
                    loop.call_soon_threadsafe(reached.set)
                yield part

        source = Endless(tmp_path / "source")
        source.content = telling()
        work = (
            archives.pack(source, into)
            if what == "pack"
            else archives.unpack(source, into, late, Packed(2 * HUGE - 1, HUGE))
        )
        task = asyncio.create_task(work)
        await reached.wait()
        assert into.exists() is begun
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not into.exists() and not late.exists()

    asyncio.run(use())


def test_a_busybox_that_is_not_static_does_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LianError) as error:
        find_tool()
    assert code(error) == "cache-mounts-tool-missing"
    for name, source in (("busybox", Path("/bin/ls")), ("busybox.static", Path("/etc/passwd"))):
        (tmp_path / name).write_bytes(source.read_bytes())
        (tmp_path / name).chmod(0o755)
    with pytest.raises(LianError) as error:
        find_tool()
    assert "dynamically" in str(error.value.problems[0].cause)
