"""What a person sees: plain without a terminal, narrow enough, and never steered by what others wrote."""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.cli.views import outcome as outcome_view
from reconciler.cli.views import plan as plan_view
from reconciler.cli.views import problems as problems_view
from reconciler.cli.views import reasons as reasons_view
from reconciler.cli.views import tables, why
from reconciler.cli.views.progress import LiveProgress, PlainProgress, progress
from reconciler.cli.views.reasons import sentence
from reconciler.cli.views.tables import Table
from reconciler.cli.views.text import Writer
from reconciler.cli.views.tries import sentences
from reconciler.model.attempt import Again, FailedTry
from reconciler.model.digest import Digest
from reconciler.model.event import Ended, Event, Finished, Noted, Planned, Retrying, Started, Step, Waiting
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, Change, FileChange, Plan, Reason, ReasonCode
from reconciler.model.platform import Platform
from reconciler.model.problem import Problem
from reconciler.model.tier import Tier
from reconciler.plan.story import Story
from tests import strategies as some
from tests.cli.test_documents import stories
from tests.commits import artifact

NAME = ArtifactName("shop", "api")
NASTY = "a\x1b[31m\x9b2J\x07\r\nforged\u202e\u2066\x7f\udcffz"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steers(text: str) -> bool:
    """True if something in it would move a cursor, colour what follows, turn its direction, or cannot be written."""
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return any(
        unicodedata.category(c) in {"Cc", "Cs"} or unicodedata.bidirectional(c) in bidi for c in text if c != "\n"
    )


def shown(view: Any, *args: Any, **more: Any) -> str:
    stream = io.StringIO()
    view(*args, stream, **more)
    return stream.getvalue()


def change(action: Action, *reasons: Reason, **more: Any) -> Change:
    a = artifact("shop/api")
    return Change(a.name, a.image, a.tags, a.platforms, action, reasons or (Reason(ReasonCode.IN_SYNC),), **more)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason(ReasonCode.EXPIRED, "1652", "1653", "fresh"), "a new window of its max_age has begun"),
        (Reason(ReasonCode.MAX_AGE_CHANGED, "1653", "386", "fresh"), "its max_age was changed"),
        (Reason(ReasonCode.MAX_AGE_CHANGED, "1653", None, "fresh"), "its max_age was taken away"),
        (Reason(ReasonCode.MAX_AGE_CHANGED, None, "386", "fresh"), "its max_age is new"),
        (Reason(ReasonCode.MAX_AGE_CHANGED, "7d", "30d", "max_age"), "max_age: 7d → 30d"),
        (Reason(ReasonCode.MAX_AGE_CHANGED, "7d", None, "max_age"), "max_age: 7d → (none)"),
    ],
)
def test_only_what_is_older_is_told_as_older(reason: Reason, told: str) -> None:
    assert sentence(reason) == told


@given(some.plans, st.booleans())
def test_a_plan_steers_nothing(plan: Plan, detailed: bool) -> None:
    assert not steers(shown(plan_view.show, plan, detailed=detailed))


@given(some.outcomes)
def test_an_outcome_steers_nothing(outcome: Outcome) -> None:
    stream = io.StringIO()
    outcome_view.show(outcome, stream, ["lian", "reconcile", "--once"])
    assert not steers(stream.getvalue())


@given(st.lists(some.problems, max_size=3))
def test_problems_steer_nothing(problems: list[Problem]) -> None:
    assert not steers(shown(problems_view.show, problems))


@given(stories)
def test_a_story_steers_nothing(story: Story) -> None:
    assert not steers(shown(why.show, story))


@pytest.mark.parametrize("code", ReasonCode)
def test_no_value_forges_a_line(code: ReasonCode) -> None:
    reason = Reason(code, NASTY, NASTY + "2", NASTY, (FileChange(NASTY),))
    for detailed in (False, True):
        written = shown(plan_view.show, Plan("0" * 40, (change(Action.BUILD, reason),)), detailed=detailed)
        assert not steers(written)
        assert not any(line.startswith("forged") for line in written.splitlines())


def test_places_and_messages_steer_nothing() -> None:
    problem = Problem("a-code", NASTY, file=NASTY, line=1, artifact=NASTY, cause=NASTY, hint=NASTY)
    written = shown(problems_view.show, [problem])
    assert not steers(written)
    assert not any(line.startswith("forged") for line in written.splitlines())


TIER = Tier(4, 8, 30, "medium")
EVENTS: list[Event] = [
    Noted(NASTY),
    Planned(Plan("0" * 40, (change(Action.BUILD), change(Action.HOLD)))),
    Waiting(NAME, NASTY),
    Started(NAME),
    Step(NAME, f"[1/2] RUN {NASTY}", done=True),
    Step(NAME, f"[2/2] RUN {NASTY}", done=False),
    Retrying(NAME, FailedTry(Problem("a-code", NASTY), TIER, 0.5, Again.LARGER_RUNNER), TIER),
]


def test_plain_progress_steers_nothing_and_has_a_line_for_each_event() -> None:
    stream = io.StringIO()
    with progress(stream) as recorder:
        assert isinstance(recorder, PlainProgress)
        for event in [
            *EVENTS,
            Finished(Result(NAME, Action.BUILD, Status.DONE, seconds=2.0)),
            Ended(Outcome("0" * 40)),
        ]:
            recorder.record(event)
    lines = stream.getvalue().splitlines()
    assert not steers(stream.getvalue())
    assert len(lines) == 7
    assert lines[1:3] == ["plan: 1 to build, 1 held", "shop/api  started"]
    assert lines[-1] == "shop/api  built in 2.0 s"


def test_each_try_tells_its_steps_once() -> None:
    step, small = Step(NAME, "[2/2] RUN make", done=True), Tier(2, 4, 30, "small")
    failed = FailedTry(Problem("build-out-of-memory", "it ran out of memory"), small, 1.0, Again.LARGER_RUNNER)
    stream = io.StringIO()
    with PlainProgress(stream) as recorder:
        for event in (Started(NAME), step, step, Retrying(NAME, failed, small), Started(NAME), step, step):
            recorder.record(event)
    told = [line for line in stream.getvalue().splitlines() if "RUN make" in line or "started" in line]
    assert told == ["shop/api  started", "shop/api  [2/2] RUN make"] * 2


def test_a_step_is_told_when_it_begins_and_what_needed_none_as_that() -> None:
    """A build that takes long is not silent until it has ended."""
    stream = io.StringIO()
    with PlainProgress(stream) as recorder:
        recorder.record(Step(NAME, "[1/2] COPY a /", done=True, cached=True))
        recorder.record(Step(NAME, "[2/2] RUN make"))
        assert stream.getvalue().splitlines() == ["shop/api  [1/2] COPY a / cached", "shop/api  [2/2] RUN make"]
        recorder.record(Step(NAME, "[2/2] RUN make", done=True))
    assert len(stream.getvalue().splitlines()) == 2


def test_tries_that_failed_alike_are_told_once() -> None:
    """Though each has a log of its own."""
    small, medium = Tier(2, 4, 30, "small"), Tier(4, 8, 30, "medium")
    lost = [Problem("builder-lost", "it went away", hint=f"see try{n}.log") for n in range(3)]
    tries = [FailedTry(one, small, 1.0, Again.NEW_RUNNER) for one in lost[:2]]
    told = list(sentences([*tries, FailedTry(lost[2], medium, 1.0, Again.NEW_RUNNER)]))
    assert [" (2 times)" in one for one in told] == [True, False]


def test_the_live_display_steers_nothing_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("TERM", "xterm")
    with progress(Terminal()) as recorder:
        assert isinstance(recorder, LiveProgress)
        for event in EVENTS:
            recorder.record(event)
        stream = io.StringIO()
        plain = Console(file=stream, width=80, color_system=None, force_terminal=False)
        plain.print(recorder)
        written = stream.getvalue()
        assert not steers(written)
        assert max(map(len, written.splitlines())) <= 80
        assert "shop/api" in written
        recorder.record(Finished(Result(ArtifactName("shop", "held"), Action.HOLD, Status.HELD)))
        recorder.record(Finished(Result(NAME, Action.BUILD, Status.DONE)))
        plain.print(recorder)
        assert "1 of 1 done" in stream.getvalue()


@pytest.mark.parametrize(
    ("tty", "environ", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, tty: bool, environ: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if tty else io.StringIO()
    plan_view.show(Plan("0" * 40, (change(Action.BUILD, Reason(ReasonCode.ABSENT, subject=NASTY)),)), stream)
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert not steers(re.sub(r"\x1b\[[0-9]*m", "", stream.getvalue()))


def test_a_live_display_needs_a_terminal_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress(Terminal()), PlainProgress)
    assert isinstance(progress(io.StringIO()), PlainProgress)


@given(st.lists(st.tuples(*[st.text("ab ", min_size=1, max_size=30)] * 3), min_size=1, max_size=4))
@example([("a" * 14, "b" * 29, "c" * 30)])
@example([("a" * 14, "b" * 29, "c" * 31)])
@example([("a" * 14, "b" * 29, "c" * 32)])
def test_tables_stay_in_80_columns(rows: list[tuple[str, ...]]) -> None:
    written = shown(
        lambda table, stream: tables.show([table], stream), Table("parts", ("part", "state", "where"), tuple(rows))
    )
    assert max(map(len, written.splitlines())) <= 80
    for row in rows:
        assert all(cell.rstrip() in written for cell in row)


LONG = "a word and another " * 12 + "/" + "x" * 90 + " and so on, and on " * 9


def broken_lines(written: str) -> list[str]:
    """Lines over 80 columns, but for those of one word that cannot be broken."""
    return [line for line in written.splitlines() if len(line) > 80 and not re.fullmatch(r"\s*(\S+ +)?\S{50,}", line)]


def test_long_cells_are_wrapped_and_words_are_not_cut() -> None:
    table = Table(
        "what to do", ("part", "why", "without it"), (("runc", LONG, "short"), ("x", "\x1b[2J\nforged", LONG))
    )
    written = shown(lambda stream: tables.show([table], stream))
    assert broken_lines(written) == []
    assert "x" * 90 in written
    assert not steers(written)
    assert not any(line.startswith("forged") for line in written.splitlines())
    assert " ".join(written.split()).count(" ".join(LONG.split())) == 2


@given(st.integers(0, 90))
def test_a_number_stays_with_its_unit(before: int) -> None:
    stream = io.StringIO()
    text = f"{'x' * before} after 5.5 s, with (2 cpu, 4 GiB) and more"
    Writer(stream).wrapped(["  "], text, indent=4)
    lines = stream.getvalue().splitlines()
    assert " ".join(line.strip() for line in lines) == text.strip()
    assert not any(line.endswith(("5.5", "(2", " 4")) for line in lines)


def test_a_story_stays_in_80_columns() -> None:
    hold = Problem(
        "tag-foreign", LONG, file="a/b.ncl", line=3, artifact="shop/api", cause=LONG + "\n" + LONG, hint=LONG
    )
    reason = Reason(ReasonCode.ARGS_CHANGED, LONG, LONG, "V")
    inputs: Any = {
        Platform("linux", "amd64"): {"args": {"V": LONG, "W": "1"}, "bases": {"alpine:3": "sha256:" + "a" * 64}}
    }
    for told in (change(Action.HOLD, holds=(hold,)), change(Action.BUILD, reason)):
        story = Story(
            told,
            "0" * 40,
            content_tag=None,
            tags={"x": Digest.of(b"x")},
            unread={"latest": LONG},
            inputs=inputs,
            parents=(),
            record=None,
        )
        written = shown(why.show, story)
        assert broken_lines(written) == []
        assert not steers(written)
        assert "x" * 90 in written
        assert "sha256:" + "a" * 64 in written
        assert "W: 1" in written


def test_a_plan_reads_well() -> None:
    differs = Reason(ReasonCode.TAG_DIFFERS, str(Digest.of(b"a")), str(Digest.of(b"b")), "latest")
    plan = Plan(
        "f" * 40,
        (
            change(
                Action.BUILD,
                Reason(ReasonCode.CONTEXT_CHANGED, "0" * 64, "1" * 64, files=tuple(map(FileChange, "abcd"))),
            ),
            change(Action.BUILD, Reason(ReasonCode.PARENT_CHANGED, None, None, "shop/base"), conditional=True),
            change(Action.RETAG, differs),
            change(Action.NONE),
        ),
    )
    written = shown(plan_view.show, plan)
    assert "context changed: a, b, c and 1 more" in written
    assert "rebuild unless shop/base comes out identical" in written
    assert f"tag latest points at {Digest.of(b'a').short}, wanted {Digest.of(b'b').short}" in written
    assert written.endswith("revision ffffffffffff: 2 to build, 1 to retag, 1 in sync\n")
    assert max(map(len, written.splitlines())) <= 80
    assert "in sync\n" in shown(plan_view.show, plan, detailed=True)
    assert "1 artifact in sync, nothing to do" in shown(plan_view.show, Plan("f" * 40, plan.changes[3:]))
    assert "no artifacts" in shown(plan_view.show, Plan("f" * 40))
    assert "no artifact differs" in shown(plan_view.show, Plan("f" * 40, others=3))


def test_what_many_have_as_their_cause_is_told_once_in_80_columns() -> None:
    file = FileChange("images/base/Dockerfile")
    base = replace(
        change(Action.BUILD, Reason(ReasonCode.DOCKERFILE_CHANGED, "0" * 64, "1" * 64, files=(file,))),
        artifact=ArtifactName("shop", "base"),
    )
    waits = Reason(ReasonCode.PARENT_CHANGED, None, None, "shop/base")
    children = tuple(
        replace(change(Action.BUILD, waits, conditional=True), artifact=ArtifactName("shop", f"child{n:03}"))
        for n in range(500)
    )
    written = shown(plan_view.show, Plan("f" * 40, (base, *children)))
    assert written.count("images/base/Dockerfile") == 1
    assert "501 artifacts" in written
    assert "and 500 behind, each unless what it stands on comes out identical:" in written
    assert "shop/child005 and 494 more" in " ".join(written.split())
    assert max(map(len, written.splitlines())) <= 80
    few = shown(plan_view.show, Plan("f" * 40, (base, *children[:2])))
    assert few.count("rebuild unless shop/base comes out identical") == 2


@pytest.mark.parametrize(
    ("new", "subject", "told"),
    [
        ("registry-unreachable", None, "held, because something could not be read (registry-unreachable)"),
        (
            "registry-proposed",
            None,
            "held, because its registry is not asked before this is merged (registry-proposed)",
        ),
        ("parent-unread", "w/b", "held, because w/b is in no directive that can be read (parent-unread)"),
        ("directive-unread", None, "held, because a directive that may declare it cannot be read (directive-unread)"),
        ("registry-proposed", "w/b", "held, because w/b is held (registry-proposed)"),
        ("mostly-vanished", None, "held, because most of what was applied before is gone (mostly-vanished)"),
        ("tag-foreign", "shop/base", "held, because shop/base is held (tag-foreign)"),
        ("mostly-vanished", "shop/base", "held, because shop/base is held (mostly-vanished)"),
    ],
)
def test_what_is_held_is_told_why_it_is(new: str, subject: str | None, told: str) -> None:
    assert sentence(Reason(ReasonCode.UNKNOWN, None, new, subject)) == told


def test_a_setting_is_named_once() -> None:
    changed = Reason(ReasonCode.EPOCH_CHANGED, None, "5", "source_date_epoch")
    assert sentence(changed) == "source_date_epoch: (none) → 5"


def test_tags_that_are_absent_are_told_together() -> None:
    absent = [Reason(ReasonCode.ABSENT, subject=str(tag)) for tag in range(1, 9)]
    expired = Reason(ReasonCode.EXPIRED, subject="fresh")
    for reasons, told in (
        (absent[:1], ["1 is not in the registry"]),
        ([*absent[:2], expired], ["1 and 2 are not in the registry", "a new window of its max_age has begun"]),
        ([expired, *absent], ["a new window of its max_age has begun", "1, 2, 3 and 5 more are not in the registry"]),
    ):
        assert list(reasons_view.sentences(change(Action.BUILD, *reasons))) == told
    assert len(reasons_view.sentences(change(Action.BUILD, *absent), detailed=True)) == 8
    assert reasons_view.sentences(change(Action.RETAG, *absent[:2], source=artifact("shop/base").image)) == (
        "copied from registry.example:5000/shop/base",
        "1 and 2 are not in registry.example:5000/shop/api",
    )


def copy() -> Change:
    lost = Reason(ReasonCode.ABSENT, None, str(Digest.of(b"a")), "lian-" + "8" * 40)
    source = artifact("shop/base").image
    return change(Action.RETAG, lost, digest=Digest.of(b"a"), source=source)


def test_a_copy_names_where_it_comes_from() -> None:
    planned = Plan("f" * 40, (copy(),))
    written = shown(plan_view.show, planned)
    assert "copied from registry.example:5000/shop/base" in written
    assert "is not in the registry" not in written  # it is, elsewhere
    assert "is not in registry.example:5000/shop/api" in " ".join(written.split())
    assert "copied" not in shown(plan_view.show, Plan("f" * 40, (replace(copy(), action=Action.HOLD),)))
    assert "copied from registry.example:5000/shop/base" in shown(
        why.show, Story(copy(), "0" * 40, content_tag=None, tags={}, unread={}, inputs={}, parents=(), record=None)
    )
    done = Result(NAME, Action.RETAG, Status.DONE, digest=Digest.of(b"a"), seconds=0.2)
    stream = io.StringIO()
    outcome_view.show(Outcome("0" * 40, (done,)), stream, (), planned)
    assert "in 0.2 s, copied from registry.example:5000/shop/base" in " ".join(stream.getvalue().split())
    stream = io.StringIO()
    outcome_view.show(Outcome("0" * 40, (replace(done, action=Action.BUILD),)), stream, (), planned)
    assert "copied" not in stream.getvalue()  # it was built after all


@given(some.reasons, st.booleans())
def test_every_reason_is_a_sentence(reason: Reason, detailed: bool) -> None:
    assert sentence(reason, detailed=detailed)


def test_a_failure_is_shown_in_full_with_the_line_that_repeats_it() -> None:
    problem = Problem(
        "build-failed", "RUN make failed", artifact="shop/api", cause="line 1\nline 2", hint="read /logs/a.log"
    )
    failed = Result(NAME, Action.BUILD, Status.FAILED, problem=problem)
    skipped = Result(
        ArtifactName("shop", "web"), Action.BUILD, Status.SKIPPED, problem=Problem("parent-failed", "not built")
    )
    quiet = Result(ArtifactName("shop", "same"), Action.NONE, Status.NONE)
    stream = io.StringIO()
    outcome_view.show(
        Outcome("0" * 40, (failed, skipped, quiet)), stream, ["lian", "reconcile", "--once", "--repo", "a b"]
    )
    written = stream.getvalue()
    assert "again: lian reconcile --once --repo 'a b' --only shop/api" in written
    assert "cause: line 1\n    line 2\n" in written
    assert "1 failed, 1 skipped, 1 in sync" in written
    assert "shop/same" not in written
    assert written.count("again:") == 1


def test_problems_come_in_the_order_of_files_and_lines() -> None:
    problems = [Problem("c", "m", file="b"), Problem("b", "m", file="a", line=10), Problem("a", "m", file="a", line=9)]
    assert re.findall(r"error\[(.)\]", shown(problems_view.show, problems)) == ["a", "b", "c"]


def test_what_is_one_fault_of_many_is_told_once_with_a_few_places() -> None:
    one = Problem("policy-violation", "the rule r does not let a be pushed", cause="because", shared="the rule r: none")
    many = [
        replace(
            one, message=f"the rule r does not let {n} be pushed", file="d.ncl", line=n, column=2, artifact=f"w/a{n}"
        )
        for n in range(1, 42)
    ]
    written = shown(problems_view.show, many)
    assert written == (
        "error[policy-violation]: the rule r: none\n"
        "  at d.ncl:1:2 (w/a1), d.ncl:2:2 (w/a2), d.ncl:3:2 (w/a3) and 38 more\n"
        "  cause: because\n"
    )
    alone = shown(problems_view.show, many[:1])
    assert "error[policy-violation]: the rule r does not let 1 be pushed\n  at d.ncl:1:2 (w/a1)\n" in alone
    of_one_place = shown(problems_view.show, [replace(problem, line=1) for problem in many])
    assert "at d.ncl:1:2 (w/a1, w/a10, w/a11 and 38 more)" in of_one_place
    assert all(problem["message"] in {one.message for one in many} for problem in (one.to_json() for one in many))


def test_other_problems_are_told_at_each_place() -> None:
    problems = [Problem("c", "m", file="a", line=line, artifact=f"w/a{line}") for line in range(9)]
    assert shown(problems_view.show, problems).count("error[c]") == 9


def test_a_writer_writes_one_line() -> None:
    stream = io.StringIO()
    Writer(stream).line(NASTY, (NASTY, "red"))
    assert stream.getvalue().count("\n") == 1


def test_the_story_says_when_there_is_no_record() -> None:
    story = Story(
        change(Action.NONE),
        "0" * 40,
        content_tag=None,
        tags={"latest": Digest.of(b"x")},
        unread={},
        inputs={},
        parents=(),
        record=None,
    )
    assert "not built by lian" in shown(why.show, story)
    assert "not built by lian" not in shown(why.show, replace(story, tags={"latest": None}))


@pytest.mark.parametrize(("count", "again"), [(2, "--only shop/n0 --only shop/n1"), (9, "reconcile --once")])
def test_what_fails_for_one_reason_is_told_once(count: int, again: str) -> None:
    down = Problem("registry-unreachable", "the registry cannot be reached", hint="check that it runs")
    names = [ArtifactName("shop", f"n{number}") for number in range(count)]
    ends = tuple(Result(name, Action.BUILD, Status.FAILED, problem=down.of(str(name))) for name in names)
    stream = io.StringIO()
    outcome_view.show(Outcome("0" * 40, ends), stream, ["lian", "reconcile", "--once"])
    written = stream.getvalue()
    assert written.count("error[registry-unreachable]") == written.count("again: ") == 1
    assert next(line for line in written.splitlines() if "again: " in line).endswith(again)
    assert "shop/n0" in written.partition("error[")[2]
