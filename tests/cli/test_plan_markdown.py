"""The plan as a comment: it folds, it fits, and nothing that others have written means anything in it."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.views import plan_markdown as view
from reconciler.model.plan import Action, Change, FileChange, Merge, Plan, Reason, ReasonCode
from reconciler.model.problem import Problem
from tests import strategies as some
from tests.commits import artifact

MERGE = Merge("a" * 40, "b" * 40, "main", "topic")
OPEN = re.compile(r"^(`{3,})diff$")
CLOSE = re.compile(r" {0,3}`{3,}[ \t]*")
"""What ends a block that was opened with no more backticks (CommonMark 0.31, section 4.5)."""


def change(name: str, *files: str) -> Change:
    a = artifact(name)
    reason = Reason(ReasonCode.CONTEXT_CHANGED, "1" * 64, "2" * 64, files=tuple(map(FileChange, files)))
    return Change(a.name, a.image, a.tags, a.platforms, Action.BUILD, (reason,))


def outside(comment: str) -> list[str]:
    """The lines that stand in no block."""
    found: list[str] = []
    fence = None
    for line in comment.split("\n"):
        opened = OPEN.match(line)
        if fence is None and opened:
            fence = opened[1]
        elif fence is not None and CLOSE.fullmatch(line) and line.count("`") >= len(fence):
            fence = None
        elif fence is None:
            found.append(line)
    assert fence is None, "a block is left open"
    return found


def test_it_says_what_merging_builds() -> None:
    comment = view.document(Plan("b" * 40, (change("shop/api", "a"), change("shop/web", "b")), merge=MERGE), ["a note"])
    lines = comment.split("\n")
    assert lines[0] == view.MARKER
    assert lines[2] == "### lian: 2 to build"
    assert lines[4] == "Merging `topic` (bbbbbbb) into `main` (aaaaaaa)"
    assert "+ build  shop/api  registry.example:5000/shop/api:latest" in comment.replace("build shop", "build  shop")
    assert "<details><summary>every artifact</summary>" in comment
    assert "<details><summary>1 note</summary>" in comment


def test_where_nothing_is_to_be_done_there_is_no_empty_block() -> None:
    wrong = Problem("lock-invalid", "lian.lock cannot be read", "lian.lock", 1, 1)
    for problems in ((wrong,), ()):
        plan = Plan("b" * 40, (replace(change("shop/api"), action=Action.NONE),) * 2, problems, merge=MERGE)
        comment = view.document(plan)
        assert "```diff\n\n```" not in comment
        assert comment.count("```diff\n") == 1 + len(problems)  # every artifact is folded, and lists them
        assert len(view.document(replace(plan, changes=plan.changes[:1])).split("```diff")) == 1 + len(problems)


def test_what_is_wrong_comes_first_and_is_not_folded() -> None:
    wrong = [Problem("lock-invalid", "lian.lock cannot be read", "lian.lock", 1, 1, artifact=a) for a in ("a/b", "a/c")]
    comment = view.document(Plan("b" * 40, (change("shop/api", "a"),), tuple(wrong), merge=MERGE))
    assert comment.split("\n")[2] == "### lian: 1 problem, 1 to build"
    assert comment.index("error[lock-invalid]") < comment.index("+ build")
    assert "<details><summary>1 problem" not in comment


def test_what_is_held_and_why_stands_in_the_first_lines() -> None:
    def held(name: str, *codes: str) -> Change:
        return replace(change(name), action=Action.HOLD, holds=tuple(Problem(code, "held") for code in codes))

    changes = (held("a/a", "git-proposed", "registry-proposed"), held("a/b", "git-proposed"), held("a/c", "x", "y"))
    lines = view.document(Plan("b" * 40, changes, merge=MERGE)).split("\n")
    assert lines[2] == "### lian: 3 held"
    assert lines[6] == "1 artifact is held: `x`, `y`"
    assert lines[8] == (
        "2 artifacts are held until this is merged, which is no failure: `git-proposed`, `registry-proposed`. "
        "Look with care at what is built from and pushed to then: nothing was asked yet"
    )
    wrong = Plan("b" * 40, changes[2:], (Problem("x", "wrong", artifact="a/c"),), merge=MERGE)
    assert "is held" not in view.document(wrong)  # it is told as what is wrong


def test_nothing_to_do_is_short() -> None:
    assert view.document(Plan("b" * 40, merge=MERGE)).count("\n") == 5


def test_without_a_plan_it_says_why() -> None:
    comment = view.refusal([Problem("merge-conflict", "topic cannot be merged into main", hint="rebase it")])
    assert "### lian: no plan" in comment
    assert "merge-conflict" in comment


def test_what_is_long_is_cut_and_counted() -> None:
    changes = tuple(change(f"shop/a{n}", f"images/a{n}/{'x' * 200}") for n in range(2000))
    comment = view.document(
        Plan("b" * 40, changes, tuple(Problem("x", f"{n} " + "y" * 4000) for n in range(50)), merge=MERGE)
    )
    assert len(comment) < view.LIMIT
    assert len(re.findall(r"… and [0-9,]+ more lines: lian diff shows them", comment)) == 3
    outside(comment)


def test_an_argument_of_backticks_costs_no_more_than_others() -> None:
    """As long as an argument may be."""
    a = artifact("shop/api")
    reasons = (Reason(ReasonCode.ARGS_CHANGED, "`" * 8192, "x" * 8192, subject="A"),)
    changes = [Change(a.name, a.image, a.tags, a.platforms, Action.BUILD, reasons) for _ in range(40)]
    comment = view.document(Plan("b" * 40, tuple(changes), merge=MERGE), ["`" * 8192])
    assert len(comment) < view.LIMIT
    assert "````````… 8,192 backticks" in comment
    assert re.search("x… 7,[0-9]{3} more characters", comment)
    assert outside(comment)[-1] == ""


def test_what_one_block_leaves_others_may_use() -> None:
    changes = tuple(change(f"shop/a{n}", f"images/a{n}/x") for n in range(600))
    comment = view.document(Plan("b" * 40, changes, merge=MERGE))
    assert view.LIMIT - 1000 < len(comment) < view.LIMIT


LONG = ["`" * 8192, "x" * 20_000, "` " * 500, "\n" * 300, "````\n" * 300, "\u202e" * 2000]
long = st.lists(st.sampled_from([*LONG, "a"]), min_size=1, max_size=3).map("".join)
many = st.sampled_from([1, 2, 12])


@given(long, long, long, many, st.booleans())
def test_it_is_never_too_long_and_its_blocks_end(path: str, said: str, called: str, number: int, held: bool) -> None:
    wrong = tuple(Problem("x", said, hint=path) for _ in range(number))
    changes = [change(f"shop/a{n}", path) for n in range(number)]
    if held:
        changes = [replace(change, action=Action.HOLD, holds=wrong) for change in changes]
    merge = Merge("a" * 40, "b" * 40, called, called)
    comment = view.document(Plan("b" * 40, tuple(changes), wrong, merge=merge), [path] * number)
    assert len(comment) < view.LIMIT
    assert len(outside(comment)) < 40
    refused = view.refusal(wrong)
    assert len(refused) < view.LIMIT
    assert outside(refused) == [view.MARKER, "", "### lian: no plan", "", ""]


EVIL = ["```", "````diff", "`", "<!-- ", "</details>", "@everyone", "[x](http://y)", "|", "\n", "# h", "~~~"]
evil = st.lists(st.sampled_from(EVIL), min_size=1, max_size=6).map("".join)
SPAN = re.compile(r"Merging (?P<fence>`+)(?P<said>.+)(?<!`)(?P=fence) \(bbbbbbb\) into `main` \(aaaaaaa\)")


@given(evil, evil)
def test_what_others_wrote_stays_in_its_block(path: str, called: str) -> None:
    def told(*files: str) -> list[str]:
        merge = Merge("a" * 40, "b" * 40, "main", called)
        return outside(view.document(Plan("b" * 40, (change("shop/api", *files), change("shop/web")), merge=merge)))

    lines = told(path)
    assert lines == told()
    span = next(found for line in lines if (found := SPAN.fullmatch(line)))
    assert span["fence"] not in re.findall("`+", span["said"])


@given(some.plans)
def test_every_plan_can_be_told(plan: Plan) -> None:
    outside(view.document(plan))
