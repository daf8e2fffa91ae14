"""Where cgroups are, read from mount tables of machines of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.providers.compute.cgroups import Hierarchies, MemoryReading
from reconciler.providers.compute.kernel_log import oom_kills_below
from reconciler.providers.compute.mounts import parse_mounts

V1 = """\
22 1 0:20 / /sys rw - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
"""
V2 = """\
22 1 0:20 / /sys rw - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
ROOT = Path("/sys/fs/cgroup")


def test_version_one_has_a_folder_in_each_hierarchy() -> None:
    found = Hierarchies.of(parse_mounts(V1))
    assert found.roots == tuple(ROOT / name for name in ("unified", "systemd", "memory", "cpu,cpuacct"))
    assert (found.unified, found.memory, found.cpu) == (False, ROOT / "memory", ROOT / "cpu,cpuacct")


def test_version_two_has_one() -> None:
    found = Hierarchies.of(parse_mounts(V2))
    assert (found.roots, found.unified, found.memory, found.cpu) == ((ROOT,), True, ROOT, ROOT)


def test_a_machine_without_cgroups_has_none() -> None:
    found = Hierarchies.of(parse_mounts("22 1 0:20 / /sys rw - sysfs sysfs rw\n"))
    assert (found.create("lease"), found.folders("lease")) == (None, [])
    assert (found.memory_reading("lease"), found.cpu_seconds("lease")) == (None, None)
    assert found.remove("lease") == []


def test_a_cgroup_comes_and_goes_with_all_below_it(tmp_path: Path) -> None:
    roots = (tmp_path / "memory", tmp_path / "cpu")
    found = Hierarchies(roots, unified=False, memory=roots[0])
    for root in roots:
        root.mkdir()
    assert found.create("one") == "/lian/one"
    assert found.create("one") == "/lian/one"
    assert found.create("two") == "/lian/two"
    (roots[1] / "lian/one/buildkit/step").mkdir(parents=True)
    assert len(found.folders("one")) == 4
    assert found.remove("one") == []
    assert [path.name for root in roots for path in (root / "lian").iterdir()] == ["two", "two"]
    assert found.remove("two") == []
    assert [list(root.iterdir()) for root in roots] == [[], []]


def test_what_cannot_be_removed_is_returned(tmp_path: Path) -> None:
    found = Hierarchies((tmp_path,), unified=False, memory=None)
    found.create("one")
    (tmp_path / "lian/one/file").write_text("as a cgroup with a process in it, it cannot be removed")
    assert found.remove("one") == [tmp_path / "lian/one"]


FILES = {
    False: {
        "memory.usage_in_bytes": "5000\n",
        "memory.max_usage_in_bytes": "9000\n",
        "memory.stat": "cache 1\ninactive_file 7\nactive_file 7\ntotal_inactive_file 1000\ntotal_active_file 500\n",
        "cpuacct.usage": "2500000000\n",
    },
    True: {
        "memory.current": "5000\n",
        "memory.peak": "9000\n",
        "memory.stat": "anon 1\ninactive_file 1000\nactive_file 500\n",
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 0\n",
    },
}


@pytest.mark.parametrize("unified", [False, True])
def test_what_each_version_accounts(tmp_path: Path, unified: bool) -> None:
    found = Hierarchies((tmp_path,), unified, tmp_path, tmp_path)
    (tmp_path / "lian/one").mkdir(parents=True)
    for name, text in FILES[unified].items():
        (tmp_path / "lian/one" / name).write_text(text)
    assert found.memory_reading("one") == MemoryReading(5000, 1500, 9000)
    assert found.cpu_seconds("one") == 2.5
    assert not unified or (found.oom_kills("one"), found.oom_kills("nobody")) == (3, None)
    assert (found.memory_reading("nobody"), found.cpu_seconds("nobody")) == (None, None)


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("text", ["", "nonsense", "usage_usec\n", "inactive_file x\n"])
def test_what_cannot_be_read_is_not_known(tmp_path: Path, unified: bool, text: str) -> None:
    found = Hierarchies((tmp_path,), unified, tmp_path, tmp_path)
    (tmp_path / "lian/one").mkdir(parents=True)
    for name in FILES[unified]:
        (tmp_path / "lian/one" / name).write_text(text)
    assert (found.memory_reading("one"), found.cpu_seconds("one")) == (None, None)
    assert not unified or found.oom_kills("one") is None


@pytest.mark.parametrize(
    ("text", "killed"),
    [
        ("oom-kill:constraint=MEMCG,oom_memcg=/lian/one/a,task_memcg=/lian/one/a,task=dd,pid=1", 1),
        ("oom-kill:constraint=MEMCG,oom_memcg=/docker/f0,task_memcg=/docker/f0/lian/one/b,task=dd,pid=1", 1),
        ("oom-kill:constraint=NONE,global_oom,task_memcg=/lian/one/a,task=dd,pid=1", 1),
        ("oom-kill:constraint=MEMCG,oom_memcg=/lian/one2/a,task_memcg=/lian/one2/a,task=dd,pid=1", 0),
        ("oom-kill:constraint=MEMCG,oom_memcg=/lian,task_memcg=/lian/two/lian,task=dd,pid=1", 0),
        ("a program prints task_memcg=/lian/one/a,", 0),
        ("", 0),
    ],
)
def test_what_the_kernel_says_of_a_cgroup_that_has_no_memory_left(tmp_path: Path, text: str, killed: int) -> None:
    log = tmp_path / "record"
    log.write_text(f"3,2163,94,-;{text}\n" if text else "")
    assert oom_kills_below("/lian/one", log) == killed


def test_a_log_of_the_kernel_that_may_not_be_read_tells_nothing(tmp_path: Path) -> None:
    assert oom_kills_below("/lian/one", tmp_path / "nothing") is None


def test_a_kernel_without_a_record_of_the_peak(tmp_path: Path) -> None:
    found = Hierarchies((tmp_path,), True, tmp_path, tmp_path)
    (tmp_path / "lian/one").mkdir(parents=True)
    for name in ("memory.current", "memory.stat"):
        (tmp_path / "lian/one" / name).write_text(FILES[True][name])
    assert found.memory_reading("one") == MemoryReading(5000, 1500, None)


def test_mount_points_with_blanks_are_read() -> None:
    (mount,) = parse_mounts("36 30 0:32 / /a\\040b\\134c rw - tmpfs none rw\n")
    assert mount.point == Path("/a b\\c")
