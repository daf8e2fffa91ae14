"""The command line as data: what each line means, and what is refused."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.arguments import parse, parser
from reconciler.cli.build import flags_of
from reconciler.cli.reconcile import repeat
from tests.cli.test_documents import checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.cli.parsing import Parser

USUAL = {"repo": ".", "rev": "HEAD", "registry": None, "cache": None, "debug": False}


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("validate", {"command": "validate", "json": False, **USUAL}),
        (
            "diff",
            {"command": "diff", "only": [], "detailed": False, "format": "text", "base": None, "out": None, **USUAL},
        ),
        ("diff --detailed --json", {"detailed": True, "format": "json"}),
        ("diff --base main --head topic --format markdown", {"base": "main", "head": "topic", "format": "markdown"}),
        ("diff --changed-since v1 --out p", {"changed_since": "v1", "out": "p"}),
        ("diff --only shop/* --only web/a", {"only": ["shop/*", "web/a"]}),
        ("diff --repo https://h/x --rev v1", {"repo": "https://h/x", "rev": "v1"}),
        ("diff --registry oci-layout:a/b", {"registry": "oci-layout:a/b"}),
        ("diff --registry http://h:5000", {"registry": "http://h:5000"}),
        ("diff --registry https://h/", {"registry": "https://h/"}),
        ("reconcile", {"command": "reconcile", "once": False, "jobs": None, "build_timeout": None, "interval": 60.0}),
        ("reconcile --once --jobs 3", {"once": True, "jobs": 3}),
        ("reconcile --once --plan p --strict", {"plan": "p", "strict": True}),
        ("reconcile --build-timeout 15m", {"build_timeout": 900.0}),
        ("reconcile --build-timeout 500ms", {"build_timeout": 0.5}),
        ("watch --interval 1.5h", {"command": "watch", "interval": 5400.0}),
        ("watch --interval 90", {"interval": 90.0}),
        (
            "sizing explain shop/api --json",
            {"command": "sizing", "subcommand": "explain", "artifact": "shop/api", "json": True},
        ),
        ("sizing suggest --only shop/*", {"command": "sizing", "subcommand": "suggest", "only": ["shop/*"]}),
        (
            "build --workspace shop --context . --image h.example/a:1 --dockerfile d --cache-from a --cache-from b",
            {
                "workspace": "shop",
                "context": ".",
                "image": "h.example/a:1",
                "dockerfile": "d",
                "cache_from": ["a", "b"],
            },
        ),
        ("build", {"command": "build", "workspace": None, "directives": None, "ssh_key": None, "rev": "HEAD"}),
        (
            "build --directives f --ssh-key k --rev v1 --allow-foreign",
            {"directives": "f", "ssh_key": "k", "rev": "v1", "allow_foreign": True, "allow_older": False},
        ),
        ("why shop/api --json", {"command": "why", "artifact": "shop/api", "json": True}),
        ("prune", {"command": "prune", "dry_run": False, "yes": False, "only": [], "keep_from": [], **USUAL}),
        (
            "prune --yes --json --only shop/* --detailed",
            {"yes": True, "json": True, "only": ["shop/*"], "detailed": True},
        ),
        ("prune --keep-from - --keep-from pods --allow-most", {"keep_from": ["-", "pods"], "allow_most": True}),
        ("images", {"command": "images", "format": "text", "only": [], **USUAL}),
        ("images --format kustomize --only shop/*", {"format": "kustomize", "only": ["shop/*"]}),
        ("images --json", {"format": "json"}),
        ("verify", {"command": "verify", "artifact": None, "only": [], "deep": False, "key": [], "json": False}),
        ("verify shop/api --deep --key a --key b", {"artifact": "shop/api", "deep": True, "key": ["a", "b"]}),
        ("sign --only shop/*", {"command": "sign", "only": ["shop/*"], "json": False, **USUAL}),
        ("registry status --only a/b", {"command": "registry", "subcommand": "status", "only": ["a/b"], **USUAL}),
        ("registry status --cache /c --json", {"cache": "/c", "json": True}),
        (
            "cache ls --only shop/* --namespace ci/* --actor alice --json",
            {"command": "cache", "subcommand": "ls", "only": ["shop/*"], "namespace": ["ci/*"], "actor": ["alice"]},
        ),
        ("runners list --json", {"command": "runners", "subcommand": "list", "json": True, **USUAL}),
        ("runners sweep", {"command": "runners", "subcommand": "sweep", "json": False, **USUAL}),
        ("cache du", {"subcommand": "du", "namespace": [], "actor": [], "json": False, **USUAL}),
        ("cache prune", {"subcommand": "prune", "older_than": None, "max_size": None, "undated": False, "yes": False}),
        ("cache prune --older-than 30d --max-size 20GB", {"older_than": 2_592_000.0, "max_size": 20_000_000_000}),
        ("cache prune --older-than 8w --max-size 1.5GiB --strange", {"max_size": 1_610_612_736, "strange": True}),
        ("cache prune --max-size 0B --allow-most --dry-run", {"max_size": 0, "allow_most": True, "dry_run": True}),
        ("init", {"command": "init", "folder": ".", "source": None, "only": [], "dry_run": False, "json": False}),
        (
            "init shop --from a/compose.yaml --workspace w --only a --only b --dry-run",
            {"folder": "shop", "source": "a/compose.yaml", "workspace": "w", "only": ["a", "b"], "dry_run": True},
        ),
        ("schema", {"command": "schema", "name": [], "path": False, "json": False}),
        ("schema fleet policy prune --json", {"name": ["fleet", "policy", "prune"], "json": True}),
        ("doctor --cache /c --debug", {"command": "doctor", "cache": "/c", "debug": True}),
        ("version --json", {"command": "version", "json": True}),
        ("completion zsh", {"command": "completion", "shell": "zsh"}),
    ],
)
def test_a_line_means(line: str, meant: dict[str, Any]) -> None:
    got = vars(parse(line.split(), {}))
    assert {name: got[name] for name in meant} == meant


def test_the_environment_stands_behind_the_flags() -> None:
    environ = {
        "LIAN_REPO": "r",
        "LIAN_REV": "v",
        "LIAN_REGISTRY": "oci-layout:x",
        "LIAN_JOBS": "4",
        "LIAN_CACHE": "/c",
    }
    got = parse(["reconcile"], environ)
    assert (got.repo, got.rev, got.registry, got.jobs, got.cache) == ("r", "v", "oci-layout:x", 4, "/c")
    flags = ["reconcile", "--repo", "a", "--rev", "b", "--registry", "http://h", "--jobs", "1", "--cache", "d"]
    got = parse(flags, environ)
    assert (got.repo, got.rev, got.registry, got.jobs, got.cache) == ("a", "b", "http://h", 1, "d")


@pytest.mark.parametrize("name", ["LIAN_REPO", "LIAN_REV", "LIAN_REGISTRY", "LIAN_JOBS", "LIAN_CACHE"])
def test_an_empty_variable_is_no_variable(name: str) -> None:
    assert parse(["reconcile"], {name: ""}) == parse(["reconcile"], {})


def _lines(command: Parser, above: tuple[str, ...] = ()) -> Iterator[tuple[list[str], str]]:
    """For each value that a verb takes, lines in which it alone is empty, with what the value is called."""
    takes = [action for action in command._actions if action.nargs != 0]
    for action in takes:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from _lines(below, (*above, name))
            continue
        needed = [one for one in takes if one.required and one is not action]
        flags = [f"{one.option_strings[0]}={_some(one)}" for one in needed if one.option_strings]
        line = [*above, *flags, *(_some(one) for one in needed if not one.option_strings)]
        for flag in action.option_strings:
            yield [*line, flag, ""], flag
            yield [*line, f"{flag}="], flag
        if not action.option_strings:
            yield [*line, ""], str(action.metavar or action.dest)
            if action.nargs in {"*", "+"}:
                yield [*line, "a", ""], str(action.metavar or action.dest)
        if action.nargs == "*" and action.option_strings:
            yield [*line, action.option_strings[0], "a", ""], action.option_strings[0]


def _some(action: argparse.Action) -> str:
    return str(next(iter(action.choices or ["x"])))


EMPTY = list(_lines(parser({})))


def test_every_verb_has_values_to_leave_empty() -> None:
    assert len({line[0] for line, _ in EMPTY}) == 21
    named = {(line[0], name) for line, name in EMPTY}
    assert {("reconcile", "--plan"), ("diff", "--base"), ("diff", "--out"), ("init", "FOLDER")} <= named


@pytest.mark.parametrize(("line", "name"), EMPTY, ids=[" ".join(line) for line, _ in EMPTY])
def test_an_empty_value_is_a_mistake(line: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipeline it is a variable that is not set: whoever gives a flag does not mean to leave it out."""
    with pytest.raises(SystemExit) as end:
        parse(line, {})
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert f"argument {name}: " in told
    assert "empty" in told


def test_an_empty_value_is_told_as_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["reconcile", "--once", "--json", "--plan", ""], {})
    (problem,) = checked("problems", capsys.readouterr().out)["problems"]
    assert problem["code"] == "usage"
    assert "--plan" in problem["message"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "COMMAND"),
        ("nonsense", "nonsense"),
        ("diff --tpyo", "--tpyo"),
        ("diff extra", "extra"),
        ("why", "ARTIFACT"),
        ("reconcile --jobs 0", "1 to 256"),
        ("reconcile --jobs 257", "1 to 256"),
        ("reconcile --jobs -1", "1 to 256"),
        ("reconcile --jobs many", "1 to 256"),
        ("reconcile --jobs ²", "1 to 256"),
        ("reconcile --build-timeout 0", "duration"),
        ("reconcile --build-timeout 5d", "duration"),
        ("reconcile --build-timeout 1e3", "duration"),
        ("watch --interval=-1s", "duration"),
        ("diff --registry ghcr.io", "oci-layout:PATH"),
        ("diff --registry oci-layout:", "oci-layout:PATH"),
        ("diff --registry https://user:secret@h", "oci-layout:PATH"),
        ("diff --registry https://h/path", "oci-layout:PATH"),
        ("diff --registry ftp://h", "oci-layout:PATH"),
        ("completion fish", "fish"),
        ("images --format yaml", "kustomize"),
        ("registry", "COMMAND"),
        ("registry statsu", "status"),
        ("build --image a --image b", "given twice"),
        ("build context", "context"),
    ],
)
def test_a_mistake_ends_with_1_and_says_how(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(line.split(), {})
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (1, "")
    assert told in shown.err
    assert "usage: lian" in shown.err
    assert "--help" in shown.err
    assert "secret" not in shown.err


@pytest.mark.parametrize(
    "line", ["diff --json --format markdown", "diff --format text --json", "images --format env --json"]
)
def test_one_form_is_asked_for(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one is not taken silently."""
    with pytest.raises(SystemExit) as ended:
        parse(line.split(), {})
    shown = capsys.readouterr()
    assert ended.value.code == 1
    assert "not allowed with argument --" in json.loads(shown.out)["problems"][0]["message"]


SEED = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"


@pytest.mark.parametrize("line", [f"build --nats-nkey-sed {SEED}", f"build --nats={SEED}", f"build {SEED} --debug"])
def test_a_seed_in_a_mistake_is_not_shown(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(line.split(), {})
    shown = capsys.readouterr()
    assert SEED not in shown.err + shown.out
    assert "lian build: " in shown.err


def test_variables_of_a_build_stand_behind_its_flags() -> None:
    environ = {"BUILDKIT_WORKSPACE": "shop", "NATS_URL": "nats://h", "NATS_NKEY_SEED": SEED, "ORCHESTRATOR_URL": ""}
    given = parse(["build", "--workspace", "other"], {"BUILDKIT_SSH_KEY": "k"})
    flags = flags_of(given, environ)
    assert (given.ssh_key, flags.given) == ("k", {"--workspace": "other"})
    assert flags.behind == {"--workspace": "shop", "--nats-url": "nats://h"}
    assert flags.seed is not None and flags.seed.reveal() == SEED
    assert SEED not in repr(vars(parse(["build", "--nats-nkey-seed", SEED], {})))
    assert flags_of(given, {}).seed is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dif", ["usage: lian [-h]", "lian: ", "did you mean diff?", "try: lian --help"]),
        (
            "diff --onyl x",
            ["usage: lian diff", "lian diff: ", "--onyl", "did you mean --only?", "try: lian diff --help"],
        ),
        ("diff --onyl=x", ["--onyl=x", "did you mean --only?"]),
        ("reconcile --onc", ["--onc", "did you mean --once?"]),
        ("build --workspac shop", ["--workspac shop", "did you mean --workspace?"]),
        ("diff --qqqqqqq --qqqqq", ["--qqqqqqq", "--qqqqq", "try: lian diff --help"]),
        ("diff extra", ["usage: lian diff", "extra", "try: lian diff --help"]),
        ("registry statsu", ["usage: lian registry", "did you mean status?", "try: lian registry --help"]),
        (
            "registry status --onyl x",
            ["usage: lian registry status", "did you mean --only?", "try: lian registry status --help"],
        ),
        ("images --format jsn", ["usage: lian images", "did you mean json?", "try: lian images --help"]),
        ("why", ["usage: lian why", "try: lian why --help"]),
    ],
)
def test_a_mistake_is_told_by_the_verb_it_was_made_with(
    line: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(line.split(), {})
    shown = capsys.readouterr().err
    assert [text for text in told if text not in shown] == []
    assert ("did you mean" in shown) == any("did you mean" in text for text in told)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("diff --json --onyl", "lian diff --help"),
        ("images --format json --onyl", "lian images --help"),
        ("images --format=json --onyl", "lian images --help"),
        ("reconcile --once --json --jobs many", "lian reconcile --help"),
        ("dif --json", "lian --help"),
        ("why --json", "lian why --help"),
    ],
)
def test_with_json_a_mistake_is_a_document_too(line: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(line.split(), {})
    shown = capsys.readouterr()
    assert ended.value.code == 1
    (problem,) = checked("problems", shown.out)["problems"]
    assert problem["code"] == "usage"
    assert hint in problem["hint"]
    assert "usage: lian" in shown.err


@pytest.mark.parametrize("line", ["diff -- --json", "diff --onyl", "why shop/api --rev=--json --onyl"])
def test_without_json_stdout_stays_empty(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(line.split(), {})
    assert capsys.readouterr().out == ""


def test_a_wrong_variable_is_a_mistake_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["watch"], {"LIAN_JOBS": "many"})
    assert ended.value.code == 1
    assert "many" in capsys.readouterr().err


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["diff", "--only", "--json", "--registry", "why", "-h"]), max_size=4)
)
def test_parsing_ends_with_0_or_1_whatever_is_typed(argv: list[str]) -> None:
    try:
        parse(argv, {})
    except SystemExit as ended:
        assert ended.code in {0, 1}


HEAVY = {
    "asyncio",
    "yaml",
    "httpx",
    "pygit2",
    "rich",
    "nickel",
    "jsonschema",
    "watchfiles",
    "shtab",
    "concurrent.futures",
}


@pytest.mark.parametrize("verb", ["validate", "diff", "why", "lock", "build"])
def test_whoever_only_looks_is_told_that_commands_may_run(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([verb, "--help"], {})
    told = capsys.readouterr().out
    assert re.search(r"lian\.ncl\b[^.]*\bmay\s+name\s+commands", told)
    assert verb != "validate" or "4 all is, and something is held" in told


@pytest.mark.parametrize("argv", [["--help"], ["reconcile", "--help"], ["--version"], ["nonsense"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    script = f"""
import sys, json
from reconciler.cli import main
try:
    main({argv!r})
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(json.loads(ran.stderr.splitlines()[-1]))
    assert not modules & HEAVY
    ours = {name for name in modules if name.startswith("reconciler")}
    ours -= {name for name in ours if name.startswith("reconciler.cli.arguments.")}  # they are of its own kind
    own = {f"reconciler.cli.{name}" for name in ("arguments", "flag_groups", "flag_values", "help_texts", "parsing")}
    told = {"reconciler.model", "reconciler.model.problem", "reconciler.model.wording"}
    assert ours <= own | told | {"reconciler", "reconciler.cli"}


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in (
        "",
        "init",
        "schema",
        "validate",
        "diff",
        "reconcile",
        "watch",
        "why",
        "images",
        "sizing",
        "sizing explain",
        "sizing suggest",
        "verify",
        "sign",
        "doctor",
        "version",
        "completion",
    ):
        with pytest.raises(SystemExit) as ended:
            parse([*command.split(), "--help"], {})
        assert ended.value.code == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    "line", ["reconcile --once", "reconcile --once --repo /r --rev v1 --registry http://h --cache /c", "watch --rev x"]
)
def test_the_line_that_repeats_a_pass_means_the_same_pass(line: str) -> None:
    meant = parse(line.split(), {})
    again = parse(repeat(meant)[1:], {})
    assert again.once
    assert all(getattr(again, name) == getattr(meant, name) for name in ("repo", "rev", "registry", "cache"))
