"""`lian prune` on the command line: what is kept from where, what is shown, and what it exits with."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import exits, keep
from reconciler.cli.views import prune as view
from reconciler.cli.views.text import as_json
from reconciler.model.digest import Digest
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Repository
from reconciler.model.removal import (
    Doomed,
    Gone,
    Kept,
    KeptRevision,
    Pruned,
    PrunePlan,
    PruneStatus,
    Removal,
    Untagged,
)
from tests import strategies as some
from tests.cli.test_documents import checked
from tests.cli.test_views import NASTY, shown, steers
from tests.e2e.bench import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ONE, TWO = (Digest.of(text) for text in (b"one", b"two"))
HERE = Repository("registry.example:5000", "shop/api")
NOW = 1_000_000_000.0
PODS = f'{{"containerStatuses":[{{"imageID":"docker.io/shop/api@{ONE}"}}]}}\n{TWO} {TWO}x sha256:12'


in_use = partial(keep.in_use, environ=os.environ)


def problem(code: str) -> Problem:
    return Problem(code, "it is so")


# -- what is in use


def test_digests_are_found_in_whatever_text_they_stand(tmp_path: Path) -> None:
    (tmp_path / "pods.json").write_text(PODS)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe" + str(TWO).encode() + b"\0")
    assert asyncio.run(in_use([str(tmp_path / "pods.json")])) == {ONE, TWO}
    assert asyncio.run(in_use([str(tmp_path / "bytes")])) == {TWO}
    assert asyncio.run(in_use([])) == frozenset()


@given(st.lists(some.sha256s, min_size=1, max_size=5), st.sampled_from(["\n", '", "', " @", "</li><li>"]))
def test_every_digest_is_found(digests: list[Digest], between: str) -> None:
    async def read(source: str, environ: Mapping[str, str]) -> bytes:
        return between.join(map(str, digests)).encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keep, "_read", read)
        assert asyncio.run(in_use(["x"])) == set(digests)


def test_stdin_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PODS.encode())))
    assert asyncio.run(in_use(["-"])) == {ONE, TWO}


def command(code: str) -> str:
    return f'cmd:{sys.executable} -c "{code}"'


def test_what_a_command_prints_is_a_source() -> None:
    assert asyncio.run(in_use([command(f"print('{ONE}')"), command(f"print('{TWO}')")])) == {ONE, TWO}


@pytest.mark.parametrize(
    ("source", "code", "cause"),
    [
        ("/not/there", "keep-from-unreadable", "No such file"),
        ("cmd:", "keep-from-unreadable", "it is empty"),
        ("cmd:lian-has-no-such-command", "keep-from-unreadable", "no such program"),
        ("cmd:'unbalanced", "keep-from-unreadable", "No closing quotation"),
        (command("import sys; print('sha'); sys.exit('the cluster is away')"), "keep-from-unreadable", "is away"),
        (command(f"import sys; print('{ONE}'); sys.exit(3)"), "keep-from-unreadable", "exited with 3"),
        (command("pass"), "keep-from-empty", None),
        (os.devnull, "keep-from-empty", None),
    ],
)
def test_a_source_that_fails_or_names_nothing_is_an_error(source: str, code: str, cause: str | None) -> None:
    """Never: nothing is in use, so all may go."""
    with pytest.raises(LianError) as error:
        asyncio.run(in_use([source]))
    (told,) = error.value.problems
    assert (told.code, (cause or "") in (told.cause or "")) == (code, True)


def test_a_command_that_hangs_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keep, "SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(LianError) as error:
        asyncio.run(in_use([f"cmd:sh -c 'echo $$ > {tmp_path}/pid; sleep 1000 & wait'"]))
    assert "did not answer within" in (error.value.problems[0].cause or "")
    assert time.monotonic() - started < 20
    group = (tmp_path / "pid").read_text().strip()
    until(lambda: not [state for state, of in _processes() if of == group and state != "Z"])


def test_what_a_command_leaves_running_is_ended_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has ended itself, and its child has its output open."""
    monkeypatch.setattr(keep, "SECONDS", 0.5)
    with pytest.raises(LianError):
        asyncio.run(in_use([f"cmd:sh -c 'echo $$ > {tmp_path}/pid; echo {ONE}; sleep 1000 & exit 0'"]))
    group = (tmp_path / "pid").read_text().strip()
    until(lambda: not [state for state, of in _processes() if of == group and state != "Z"])


def test_a_command_without_an_end_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "LIMIT", 100_000)
    monkeypatch.setattr(keep, "SECONDS", 0.5)
    with pytest.raises(LianError) as error:
        asyncio.run(in_use([f"cmd:yes {ONE}"]))
    assert "100,000 bytes" in (error.value.problems[0].cause or "")


def _processes() -> Iterator[tuple[str, str]]:
    """State and process group of all (proc(5), /proc/pid/stat)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            yield state, group


def test_more_than_anyone_runs_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keep, "LIMIT", 100)
    (tmp_path / "large").write_text(f"{ONE} " * 10)
    with pytest.raises(LianError) as error:
        asyncio.run(in_use([str(tmp_path / "large")]))
    assert error.value.problems[0].code == "keep-from-unreadable"


# -- what is shown


def plan(*images: Doomed, tags: tuple[Untagged, ...] = (), problems: tuple[Problem, ...] = ()) -> PrunePlan:
    removal = Removal(HERE, images, tags, {Kept.WANTED: 3, Kept.YOUNG: 1}, problems=problems)
    quiet = Removal(Repository("registry.example:5000", "shop/quiet"), kept={Kept.WANTED: 1})
    return PrunePlan("acme", "0" * 40, (KeptRevision("0" * 40),), (removal, quiet))


def doomed(number: int = 0, **more: Any) -> Doomed:
    usual: dict[str, Any] = {
        "artifacts": ("shop/api",),
        "tags": ("lian-" + "a" * 40, "1.0", "1.1", "1.2", "1.3"),
        "built": NOW - 34 * 86_400,
        "size": 5 << 20,
        "parts": (TWO,),
        "attached": {Digest.of(b"record"): ONE},
    }
    return Doomed(Digest.of(str(number).encode()), Gone.OUTDATED, **{**usual, **more})


def test_the_plan_names_what_goes_why_how_old_and_how_large() -> None:
    text = shown(lambda p, stream: view.show(p, stream, NOW), plan(doomed()))
    assert "- registry.example:5000/shop/api  1 image, 5.0 MiB" in text
    line = next(line for line in text.splitlines() if "outdated" in line)
    assert all(part in line for part in ("shop/api", "34 d ago", "5.0 MiB", "1.0,1.1,1.2"))
    assert "lian-" not in text
    assert "1.3" not in text
    assert "shop/quiet" not in text
    assert "1 image to prune in 1 repository, up to 5.0 MiB" in text
    assert text.endswith("stays: 4 wanted, 1 young\n")


def test_detailed_shows_everything() -> None:
    text = shown(lambda p, stream: view.show(p, stream, NOW, detailed=True), plan(*(doomed(n) for n in range(9))))
    assert text.count("outdated") == 9
    assert str(doomed(3).digest) in text
    assert "with 1 manifest and 1 attached" in text
    assert "= registry.example:5000/shop/quiet" in text
    assert "stays: 3 wanted, 1 young" in text


def test_many_images_are_counted() -> None:
    text = shown(lambda p, stream: view.show(p, stream, NOW), plan(*(doomed(n) for n in range(9))))
    assert "and 4 more" in text
    assert "9 images to prune in 1 repository" in text


def test_tags_alone_and_what_holds_are_shown() -> None:
    text = shown(lambda p, stream: view.show(p, stream, NOW), plan(tags=(Untagged("1.0", ONE, "shop/old"),)))
    assert f"tag 1.0 of shop/old goes, {ONE.hex[:12]} stays" in text
    assert "1 tag of images that stay to prune" in text
    text = shown(lambda p, stream: view.show(p, stream, NOW), plan(problems=(problem("registry-down"),)))
    assert "held[registry-down]: it is so" in text
    assert "nothing to prune" in text


def test_an_image_of_which_little_is_known() -> None:
    text = shown(lambda p, stream: view.show(p, stream, NOW), plan(doomed(built=None, artifacts=(), tags=())))
    assert "of no known artifact  of unknown age" in text


def test_what_others_wrote_steers_no_terminal() -> None:
    nasty = plan(doomed(artifacts=(NASTY,), tags=(NASTY,)), tags=(Untagged(NASTY, ONE, NASTY),))
    assert not steers(shown(lambda p, stream: view.show(p, stream, NOW, detailed=True), nasty))


def test_the_end_is_told_in_one_line_and_problems_in_full() -> None:
    ends = (
        Pruned(HERE, PruneStatus.DONE, (ONE, TWO), ("1.0",), (TWO,)),
        Pruned(HERE, PruneStatus.FAILED, (ONE,), problems=(problem("registry-refused"),)),
        Pruned(HERE, PruneStatus.HELD, problems=(problem("prune-busy"),)),
        Pruned(HERE, PruneStatus.NONE),
    )
    text = shown(view.ended, ends)
    assert "held[prune-busy]" in text
    assert "error[registry-refused]" in text
    parts = ["3 images removed", "1 tag removed", "1 spared, because they are wanted again"]
    parts += ["1 repository failed", "1 repository held"]
    assert text.splitlines()[-1] == ", ".join(parts)
    assert [bool(view.progress(end)) for end in ends] == [True, True, True, False]


# -- exit codes


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (plan(), 0),
        (plan(doomed()), 2),
        (plan(tags=(Untagged("1.0", ONE, "shop/old"),)), 2),
        (plan(problems=(problem("registry-down"),)), 4),
        (PrunePlan("acme", "0" * 40, problems=(problem("revision-unread"),)), 4),
    ],
)
def test_a_plan_exits_as_a_diff_does(made: PrunePlan, code: int) -> None:
    assert exits.of_prune_plan(made) == code


@pytest.mark.parametrize(
    ("states", "code"),
    [([], 0), (["done", "none"], 0), (["done", "held"], 4), (["held", "failed", "done"], 3)],
)
def test_a_prune_exits_with_the_worst(states: list[str], code: int) -> None:
    assert exits.of_prune(Pruned(HERE, PruneStatus(state)) for state in states) == code


# -- the document

names = some.artifact_names.map(str)
images = st.builds(
    Doomed,
    digest=some.digests,
    why=st.sampled_from(Gone),
    artifacts=st.lists(names, max_size=2).map(tuple),
    tags=st.lists(some.tags, max_size=3).map(tuple),
    built=st.none() | st.floats(0, 4e9),
    size=st.integers(0, 1 << 50),
    parts=st.lists(some.digests, max_size=2).map(tuple),
    attached=st.dictionaries(some.digests, some.digests, max_size=2),
)
problems = st.lists(some.problems, max_size=2).map(tuple)
removals = st.builds(
    Removal,
    repository=some.repositories,
    images=st.lists(images, max_size=3).map(tuple),
    tags=st.lists(st.builds(Untagged, some.tags, some.digests, names), max_size=2).map(tuple),
    kept=st.dictionaries(st.sampled_from(Kept), st.integers(1, 9)),
    problems=problems,
)
plans = st.builds(
    PrunePlan,
    fleet=names,
    revision=some.hexes(40),
    revisions=st.lists(
        st.builds(KeptRevision, some.hexes(40), st.lists(st.just("refs/heads/x"), max_size=1).map(tuple)), max_size=2
    ).map(tuple),
    removals=st.lists(removals, max_size=3).map(tuple),
    problems=problems,
    notes=st.lists(some.texts, max_size=2).map(tuple),
)
ends = st.builds(
    Pruned,
    repository=some.repositories,
    status=st.sampled_from(PruneStatus),
    images=st.lists(some.digests, max_size=2).map(tuple),
    tags=st.lists(some.tags, max_size=2).map(tuple),
    spared=st.lists(some.digests, max_size=2).map(tuple),
    problems=problems,
)


@given(plans, st.none() | st.lists(ends, max_size=2))
def test_every_document_is_one_that_the_schema_describes(made: PrunePlan, ended: list[Pruned] | None) -> None:
    outcome = None if ended is None else {end.repository: end for end in ended}
    document = checked("prune", as_json(made.to_json(outcome)))
    assert document["summary"]["images"] == sum(len(r["images"]) for r in document["repositories"])
    json.dumps(document)
