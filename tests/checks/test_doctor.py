"""The doctor: what the state of the parts means for the commands, and this very machine."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.checks.doctor import examine, report_on
from reconciler.checks.parts import BUILDING, COMMANDS, PARTS, READING, PartStatus, probe
from reconciler.checks.probes import Found, Surroundings
from reconciler.cli.arguments import parser
from reconciler.cli.views.doctor import tables
from reconciler.providers.builder.binaries import Located, cache_folder, locate

if TYPE_CHECKING:
    from reconciler.checks.doctor import Report


def _status(name: str, why: str | None) -> PartStatus:
    part = next(part for part in PARTS if part.name == name)
    return probe(replace(part, look=lambda around: Found("1.0", Path("/bin/it"), why)), _nowhere())


def _report(*broken: str) -> Report:
    return report_on(_status(part.name, "it is broken" if part.name in broken else None) for part in PARTS)


def _nowhere() -> Surroundings:
    return Surroundings(lambda name: Located(name, None, None, f"{name} is not on PATH"), Path("/"))


def test_with_every_part_every_command_works() -> None:
    report = _report()
    assert all(command.works for command in report.commands)
    assert report.converges
    assert [table.title for table in tables(report)] == ["parts", "commands"]


@pytest.mark.parametrize("name", ["buildkitd", "buildctl", "runc", "namespaces", "cgroups", "cache-space"])
def test_reading_commands_need_no_buildkit(name: str) -> None:
    report = _report(name)
    works = {command.name for command in report.commands if command.works}
    assert works == {"init", *READING, "schema", "doctor", "version", "completion"}
    assert {c.lacking for c in report.commands if not c.works} == {(name,)}
    assert not report.converges


def test_without_an_evaluator_nothing_can_be_read() -> None:
    report = _report("nickel")
    assert {c.name for c in report.commands if not c.works} == {*READING, *BUILDING}


@pytest.mark.parametrize("name", ["landlock", "git"])
def test_optional_parts_stop_nothing(name: str) -> None:
    report = _report(name)
    assert report.converges
    *_, advice = tables(report)
    assert advice.rows[0][:2] == (name, "it is broken")


@given(st.sets(st.sampled_from([part.name for part in PARTS])))
def test_a_command_lacks_exactly_its_broken_parts(broken: set[str]) -> None:
    report = _report(*broken)
    assert [command.name for command in report.commands] == list(COMMANDS)
    for command in report.commands:
        needed = {part.name for part in PARTS if command.name in part.needed_by}
        assert set(command.lacking) == needed & broken
    for table in tables(report):
        assert all(len(row) == len(table.columns) and all(row) for row in table.rows)


def test_every_verb_is_told() -> None:
    root = parser({})
    found = set()
    for action in root._actions:
        for name, command in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            inner = [a.choices for a in command._actions if a.dest == "subcommand"]
            found |= {f"{name} {verb}" for choices in inner for verb in choices or ()} or {name}
    assert set(COMMANDS) == found


def test_parts_name_known_commands_only() -> None:
    assert {command for part in PARTS for command in part.needed_by} <= set(COMMANDS)
    assert len({part.name for part in PARTS}) == len(PARTS)


def test_the_document() -> None:
    document = json.loads(json.dumps(_report("runc").to_json()))
    assert (document["kind"], document["version"]) == ("doctor", 1)
    runc = next(part for part in document["parts"] if part["name"] == "runc")
    assert runc == {
        "name": "runc",
        "version": "1.0",
        "path": "/bin/it",
        "usable": False,
        "why": "it is broken",
        "needed_by": ["reconcile", "watch", "build"],
        "without": "nothing can be built; validate, diff and why work",
        "hint": "apt-get install runc",
    }
    assert {"name": "watch", "works": False, "lacking": ["runc"]} in document["commands"]


@given(st.sets(st.sampled_from([part.name for part in PARTS])))
def test_the_document_is_as_its_schema_says(broken: set[str]) -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "json" / "doctor.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(_report(*broken).to_json())


def test_a_bare_machine_is_described_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program at all, no root, no cgroups: an answer for every part, and no exception."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    report = examine(locate, cache_folder())
    whys = {part.name: part.why for part in report.parts}
    assert whys["runc"] == "runc is not on PATH"
    assert whys["buildkitd"] == f"buildkitd is not on PATH nor in {tmp_path}/cache/lian/parts/buildkit-v0.33.1/bin"
    assert whys["namespaces"] == "unshare is not on PATH"
    assert whys["nickel"] is None, "the evaluator comes with lian"
    assert not report.converges


def test_this_machine() -> None:
    """The real probes on the real machine agree with what can be seen in simpler ways."""
    report = examine(locate, cache_folder())
    found = {part.name: part for part in report.parts}
    assert found["nickel"].usable
    assert found["nickel"].version
    assert found["git"].usable == (shutil.which("git") is not None)
    assert found["cache-space"].version is not None
    for part in report.parts:
        assert part.usable == (part.why is None)
        assert part.path is None or Path(part.path).exists() or part.name == "cache-space"


@pytest.mark.buildkit
def test_a_machine_that_builds_is_told_so() -> None:
    report = examine(locate, cache_folder())
    assert report.converges
    found = {part.name: part for part in report.parts}
    assert tuple(map(int, (found["buildkitd"].version or "0").split("."))) >= (0, 31)
    assert found["cgroups"].version in {"v1", "v2"}
