"""lian.lock in a commit: what it pins, what it changes, and what a broken one holds. Real git, real Nickel."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.lock_file import LockFile
from reconciler.identity.ancestry import images_of
from reconciler.identity.resolve import identify
from reconciler.model.digest import Digest
from reconciler.model.lock import Lock
from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.plan.rules import violations
from tests.desired.repos import SYMLINK
from tests.desired.test_source import Bench, directives, evaluations, images

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.nickel.settings import EvaluatorSettings
    from reconciler.model.desired import Desired, Wanted
    from tests.desired.repos import Content

__all__ = ["evaluations"]

ALPINE, NODE, TOOLS = (Reference.parse(name) for name in ("alpine:3", "node:22", "reg.example/tools:1"))
OLD, NEW = (Digest("sha256", sign * 64) for sign in "ab")
URL = "https://files.example/x"
API = """api = lian.make_artifact {
  image = "shop/api", context.path = "images/api", checks = ["test"],
  contexts.tools = { image = "reg.example/tools:1" } }"""
DOCKERFILE = f"FROM node:22 AS test\nFROM alpine:3 AS out\nCOPY --from=tools /t /t\nADD {URL} /x\n"


@pytest.fixture
def bench(tmp_path: Path, evaluations: EvaluatorSettings) -> Bench:
    return Bench(tmp_path, evaluations)


def shop(lock: Lock | None = None, **more: Content) -> dict[str, Content]:
    files: dict[str, Content] = {
        "directives/shop.ncl": directives("shop", API, "plain"),
        **images("plain"),
        "images/api/Dockerfile": DOCKERFILE,
        "images/api/a": b"1",
        **more,
    }
    return files if lock is None else {**files, "lian.lock": str(lock).encode()}


def all_pinned(digest: Digest = OLD) -> Lock:
    return Lock(dict.fromkeys((ALPINE, NODE, TOOLS), digest), urls={URL: digest})


def api(desired: Desired) -> Wanted:
    return desired.wanted[ArtifactName("shop", "api")]


def key(wanted: Wanted, digest: Digest) -> str:
    assert wanted.materials is not None
    heads = dict.fromkeys(images_of(wanted.artifact, wanted.materials), digest)
    return identify(wanted, heads, {}, builder=None, moment=0.0).key


def test_a_locked_image_is_asked_of_no_registry(bench: Bench) -> None:
    wanted = api(bench.load(shop(all_pinned())))
    assert wanted.materials is not None
    assert images_of(wanted.artifact, wanted.materials) == set()
    (needs,) = wanted.materials.needs.values()
    assert needs.images == {"alpine:3": Reference(ALPINE.repository, "3", OLD)}
    (checks,) = wanted.materials.check_needs.values()
    assert checks.images["node:22"].digest == OLD


def test_a_rule_takes_what_a_lock_pins_for_a_base_by_digest(bench: Bench) -> None:
    """docs/policy.md, `bases.pinned`: judged is what is built on."""
    rules: dict[str, Content] = {"policy/p.ncl": "{ rules.fixed = { bases.pinned = true } }"}
    free, locked = bench.load(shop(None, **rules)), bench.load(shop(all_pinned(), **rules))
    assert [rule.pinned for rule in locked.rules.rules] == [True]
    assert len(violations(free)) == 3
    assert violations(locked) == []


def test_the_same_digests_give_the_same_key_with_and_without_a_lock(bench: Bench) -> None:
    free = api(bench.load(shop(Lock(urls={URL: OLD}))))
    assert free.materials is not None
    assert images_of(free.artifact, free.materials) == {ALPINE, TOOLS}
    pinned = api(bench.load(shop(all_pinned())))
    assert key(pinned, NEW) == key(free, OLD) != key(free, NEW)
    assert key(api(bench.load(shop(all_pinned(NEW)))), OLD) == key(api(bench.load(shop(Lock(urls={URL: NEW})))), NEW)


def test_a_frontend_is_pinned_like_an_image(bench: Bench) -> None:
    labs = Reference.parse("docker/dockerfile:1-labs")
    files = {**shop(), "images/api/Dockerfile": f"# syntax=docker/dockerfile:1-labs\n{DOCKERFILE}"}
    free = api(bench.load(files))
    assert free.materials is not None
    assert labs in images_of(free.artifact, free.materials)
    lock = Lock({**all_pinned().images, labs: OLD})
    pinned = api(bench.load({**files, "lian.lock": str(lock)}))
    assert pinned.materials is not None
    assert images_of(pinned.artifact, pinned.materials) == set()
    assert key(pinned, NEW) == key(free, OLD)
    other = api(bench.load({**files, "lian.lock": str(Lock({**lock.images, labs: NEW}))}))
    assert key(other, NEW) != key(pinned, NEW)


def test_a_lock_without_urls_changes_no_key(bench: Bench) -> None:
    assert key(api(bench.load(shop(Lock({ALPINE: OLD})))), OLD) == key(api(bench.load(shop())), OLD)


def test_the_content_of_a_url_is_an_input_once_it_is_pinned(bench: Bench) -> None:
    keys = [key(api(bench.load(shop(lock))), OLD) for lock in (None, Lock(urls={URL: OLD}), Lock(urls={URL: NEW}))]
    assert len(set(keys)) == 3


def test_an_expired_image_is_rebuilt_on_what_is_pinned(bench: Bench) -> None:
    aged = API.replace('"shop/api"', '"shop/api", max_age = "7d"')
    wanted = api(bench.load({**shop(all_pinned()), "directives/shop.ncl": directives("shop", aged)}))
    before, after = (identify(wanted, {}, {}, builder=None, moment=day * 86_400.0) for day in (0, 8))
    assert before.key != after.key
    (old,), (new,) = before.inputs.values(), after.inputs.values()
    assert old["bases"] == new["bases"] == {"alpine:3": str(OLD)}
    assert {leaf for leaf in new if old.get(leaf) != new[leaf]} == {"fresh"}


def test_checks_are_pinned_and_no_part_of_the_key(bench: Bench) -> None:
    assert key(api(bench.load(shop(Lock({NODE: OLD})))), OLD) == key(api(bench.load(shop(Lock({NODE: NEW})))), OLD)


def test_what_is_not_in_a_lock_is_told_only_where_there_is_one(bench: Bench) -> None:
    (note,) = bench.load(shop()).notes
    assert note == (
        f"shop/api: images/api/Dockerfile adds {URL} (line 4), which nothing pins: `lian lock` does, or a --checksum"
    )
    assert bench.load(shop(Lock({ALPINE: OLD}))).notes == (
        "3 moving parts are not in lian.lock: docker.io/library/node:22, reg.example/tools:1, https://files.example/x",
    )
    assert bench.load(shop(all_pinned())).notes == ()


def test_entries_in_vain_are_told(bench: Bench) -> None:
    lock = all_pinned()
    more = Lock({**lock.images, Reference.parse("debian:12"): OLD}, urls=lock.urls)
    assert bench.load(shop(more)).notes == (
        "lian.lock has 1 entry that nothing uses: docker.io/library/debian:12 (`lian lock` removes them)",
    )
    wrong: dict[str, Content] = {"directives/team.ncl": "{ broken"}
    assert not [note for note in bench.load(shop(more, **wrong)).notes if "nothing uses" in note]


BROKEN: list[tuple[Content, int | None]] = [
    (b"{}", 1),
    (b'{"kind": "lock",\n "version": 9}', 2),
    (b"{\n<<<<<<< HEAD", 2),
    (b"\xff\xfe", None),
    ((SYMLINK, b"other.lock"), None),
]


@pytest.mark.parametrize(("content", "line"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_lock_holds_all_that_it_may_pin_and_nothing_else(
    bench: Bench, content: Content, line: int | None
) -> None:
    desired = bench.load({**shop(), "lian.lock": content})
    (problem,) = desired.problems
    assert (problem.code, problem.file, problem.line, problem.artifact) == (
        "lock-invalid",
        "lian.lock",
        line,
        "shop/api",
    )
    assert problem.cause is not None
    assert problem.hint is not None
    assert api(desired).materials is None
    assert api(desired).holds == (problem,)
    plain = desired.wanted[ArtifactName("shop", "plain")]
    assert plain.materials is not None
    assert plain.holds == ()


def test_a_broken_lock_is_told_also_where_nothing_moves(bench: Bench) -> None:
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", "plain"), **images("plain")}
    (problem,) = bench.load({**files, "lian.lock": b"[]"}).problems
    assert (problem.code, problem.artifact) == ("lock-invalid", None)


def test_a_git_context_that_moves_is_held_by_a_broken_lock(bench: Bench) -> None:
    rev = {"main": True, "a" * 40: False}
    for name, held in rev.items():
        text = (
            f'x = lian.make_artifact {{ image = "x", context = {{ git = "https://g.example/r.git", rev = "{name}" }} }}'
        )
        desired = bench.load({"directives/shop.ncl": directives("shop", text), "lian.lock": b"[]"})
        (wanted,) = desired.wanted.values()
        assert ("lock-invalid" in {problem.code for problem in wanted.holds}) is held


# -- the file in the working tree


def lock_file(bench: Bench, **more: str) -> LockFile:
    source = bench.source(**more)
    asyncio.run(source.load())
    return LockFile(source)


def test_the_working_trees_lock_is_written_whole(bench: Bench) -> None:
    bench.load(shop())
    file, path = lock_file(bench), bench.repo.path / "lian.lock"
    assert asyncio.run(file.read()) is None
    assert asyncio.run(file.committed()) is None
    assert asyncio.run(file.write(all_pinned()))
    assert path.read_text() == str(all_pinned())
    assert not asyncio.run(file.write(all_pinned()))
    path.chmod(0o640)
    assert asyncio.run(file.write(all_pinned(NEW)))
    assert path.stat().st_mode & 0o777 == 0o640
    assert asyncio.run(file.read()) == all_pinned(NEW)
    assert [p.name for p in bench.repo.path.iterdir() if "lock" in p.name] == ["lian.lock"]
    assert asyncio.run(file.committed()) is None


def refused(work: object) -> str:
    with pytest.raises(LianError) as raised:
        asyncio.run(work)  # type: ignore[arg-type]
    (problem,) = raised.value.problems
    assert problem.hint
    return problem.code


def test_a_lock_that_cannot_be_read_or_written_says_so(bench: Bench, tmp_path: Path) -> None:
    bench.load(shop())
    file, path = lock_file(bench), bench.repo.path / "lian.lock"
    path.write_text("{")
    assert refused(file.read()) == "lock-invalid"
    path.unlink()
    path.symlink_to("elsewhere")
    assert refused(file.read()) == "lock-invalid"
    path.unlink()
    path.mkdir()
    assert refused(file.read()) == "lock-unwritable"
    assert refused(file.write(all_pinned())) == "lock-unwritable"
    assert not [p for p in bench.repo.path.iterdir() if p.name.startswith(".lian.lock")]
    subprocess.run(["git", "clone", "-q", "--bare", bench.repo.path, tmp_path / "bare"], check=True)
    assert refused(lock_file(bench, location=str(tmp_path / "bare")).read()) == "lock-unwritable"
    assert refused(lock_file(bench, location=f"file://{tmp_path}/bare").read()) == "lock-unwritable"
