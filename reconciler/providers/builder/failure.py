"""Why a build failed, as a problem for a person. Pure: a table over what BuildKit said.

buildctl ends with 0 or 1 only, so the words decide: the final `error: …` on stderr, the first step that failed by
itself, and that step's last lines. The rules are in order, the first that matches is taken; patterns rest on the
distinctive end of each message, since prefixes vary with the release. What a rule says comes next is the class of the
failure (see reconciler.apply.tries): RETRY is for a builder or its surroundings, PERSON for what is built, HOLD for
what stands in the way of building it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.problem import Next, Problem
from reconciler.ports.builder import CACHE_BROKEN, MORE_MEMORY, OUT_OF_MEMORY, UNCLEAR
from reconciler.providers.builder.failure_rules import RULES, RUNC_RULES

if TYPE_CHECKING:
    from reconciler.model.tier import Tier
    from reconciler.providers.builder.failure_rules import Rule
    from reconciler.providers.builder.progress import FailedStep

SHOWN_LINES = 20
"""Of the failing step's output."""
_HEADLINE = 160
"""Signs of BuildKit's last word, if that is one line, that can stand in place of a headline."""

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_PLACE = re.compile(r"^(?P<file>\S.*):(?P<line>\d+)$\n-{4,}$", re.MULTILINE)
_PARSE_LINE = re.compile(r"dockerfile parse error on line (\d+): ")
_EXIT = re.compile(r"did not complete successfully: exit code: (\d+)")
_KILLED = re.compile(
    r"\bKilled\b|\bOOM\b|signal: killed|signal: 9\b|signal 9\b|[Oo]ut of memory|OutOfMemory|[Cc]annot allocate memory"
)
_FETCHED = re.compile(
    r"could not fetch content descriptor|httpReadSeeker|unexpected commit digest|failed to load cache"
    r"|from remote: not found|content sha256:[0-9a-f]{64}: not found|unexpected EOF|failed to copy: .*\b416\b"
    r"|gzip: invalid|invalid tar header|archive/tar: |missing descriptor",
    re.DOTALL,
)
"""Content that was not to be had as it was promised (containerd: remotes/docker, content)."""
_NO_SPACE = re.compile(r"no space left on device|Disk quota exceeded", re.IGNORECASE)
_RUNC = "runc run failed: "
"""How the last line of a step's output begins if runc did not come to run it; BuildKit then tells of exit code 1."""
_TOO_LITTLE = re.compile(r"unable to set memory limit to|OOM-killed|container process is already dead")
"""What runc 1.1 says where the limit of memory is too low for itself."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a failed build. `status` is buildctl's exit status, negative for a signal."""

    artifact: str
    dockerfile: str
    tier: Tier
    log: str
    status: int
    text: str
    """The last plain lines of stderr."""
    step: FailedStep | None
    scanner: str | None = None
    """The image that was to list the parts, as BuildKit names it."""
    reads_cache: bool = False
    """Whether it read a cache, whose layers BuildKit fetches late and cannot do without then."""

    @property
    def error(self) -> str:
        """buildctl's last word, without `error: failed to solve: `; empty if it had none."""
        found = re.split(r"^error: ", self.text, flags=re.MULTILINE)
        return found[-1].removeprefix("failed to solve: ").strip() if len(found) > 1 else ""

    @property
    def said(self) -> str:
        """What BuildKit itself said, not what the steps wrote."""
        return f"{self.error}\n{self.step.error if self.step else ''}"

    @property
    def exit_code(self) -> int | None:
        """The failing command's exit code."""
        match = _EXIT.search(self.said)
        return int(match[1]) if match else None

    @property
    def output(self) -> tuple[str, ...]:
        """The last lines of the failing step, as a terminal would leave them."""
        lines = self.step.output if self.step else ()
        return tuple(plain(line) for line in lines if plain(line).strip())[-SHOWN_LINES:]

    @property
    def limit(self) -> str:
        """The memory limit of a step."""
        return f"{self.tier.memory_gb:g} GiB"


def explain(evidence: Evidence) -> Problem:
    """The one problem that a failed build is."""
    if _NO_SPACE.search(evidence.said):
        return _disk_full(evidence)
    if evidence.exit_code is not None:
        return _failed_command(evidence)
    if "cannot allocate memory" in evidence.said:
        return _out_of_memory(evidence)
    if evidence.reads_cache and _FETCHED.search(evidence.said):
        return _cache_broken(evidence)
    for rule in RULES:
        match = rule.pattern.search(evidence.said)
        if match:
            problem = _by_rule(rule, match, evidence)
            return _without_scanner(problem, evidence) if _lacks_scanner(evidence) else problem
    return _unclear(evidence)


_EXPORTING = ("exporting to image", "pushing ")
"""What steps begin with that push what is made."""


def timed_out(evidence: Evidence, seconds: float) -> Problem:
    """The build was given up; `step` is what ran then."""
    what = f" in {evidence.step.name}" if evidence.step else ""
    hint = "give it a larger `time_budget`, and a larger --build-timeout where that is set, or make it faster"
    if evidence.step and evidence.step.name.startswith(_EXPORTING):
        hint = f"the image is made, and was being pushed: see whether the registry answers; if it does, {hint}"
    return Problem(
        "build-timeout",
        f"the build was given up after {seconds:g} s{what}",
        artifact=evidence.artifact,
        cause="\n".join(evidence.output) or None,
        hint=f"{hint}; see the whole log: {evidence.log}",
    )


def plain(line: str) -> str:
    """A line of output without terminal control sequences, and with what carriage returns have overwritten left out."""
    return _ESCAPE.sub("", line).rstrip("\r").rpartition("\r")[2]


def _failed_command(evidence: Evidence) -> Problem:
    output = "\n".join(evidence.output)
    if _NO_SPACE.search(output):
        return _disk_full(evidence)
    if evidence.output and evidence.output[-1].startswith(_RUNC) and (found := _not_started(evidence)) is not None:
        return found
    if evidence.exit_code == 137 or _KILLED.search(output):
        return _out_of_memory(evidence)
    file, line = _place(evidence)
    return Problem(
        "build-failed",
        f"the step {_name(evidence)} ended with exit code {evidence.exit_code}",
        file=file,
        line=line,
        artifact=evidence.artifact,
        cause=output or "the step wrote nothing",
        hint=f"see the whole log: {evidence.log}",
    )


def _not_started(evidence: Evidence) -> Problem | None:
    """Why runc did not come to run the step, where that is not what was built."""
    words = evidence.output[-1]
    if _TOO_LITTLE.search(words):
        return _out_of_memory(evidence)
    for rule in RUNC_RULES:
        if match := rule.pattern.search(words):
            return replace(_by_rule(rule, match, evidence), cause=words)
    return None


def _out_of_memory(evidence: Evidence) -> Problem:
    file, line = _place(evidence)
    return Problem(
        OUT_OF_MEMORY,
        f"the step {_name(evidence)} ran out of memory; the limit was {evidence.limit}",
        file=file,
        line=line,
        artifact=evidence.artifact,
        cause="\n".join(evidence.output) or _first_line(evidence.error),
        hint=f"{MORE_MEMORY}; see the whole log: {evidence.log}",
    )


def _cache_broken(evidence: Evidence) -> Problem:
    return Problem(
        CACHE_BROKEN,
        "a cache that the build read lacks what it promises",
        artifact=evidence.artifact,
        cause=_first_line(evidence.error) or _first_line(evidence.said),
        hint=f"see the whole log: {evidence.log}",
        next=Next.RETRY,
    )


def _disk_full(evidence: Evidence) -> Problem:
    return Problem(
        "disk-full",
        "no space is left on the builder's disk" + (f", in {_name(evidence)}" if evidence.step else ""),
        artifact=evidence.artifact,
        cause="\n".join(evidence.output) or _first_line(evidence.error),
        hint=f"make room where lian keeps its state; see the whole log: {evidence.log}",
        next=Next.RETRY,
    )


def _by_rule(rule: Rule, match: re.Match[str], evidence: Evidence) -> Problem:
    groups = {name: value or "" for name, value in match.groupdict().items()}
    if "path" in groups:
        groups["path"] = groups["path"] or groups["other"]
    file, line = _place(evidence)
    hints = [rule.hint.format(**groups)] if rule.hint else []
    return Problem(
        rule.code,
        rule.message.format(**groups),
        file=file,
        line=line,
        artifact=evidence.artifact,
        cause=_first_line(evidence.error) or _first_line(evidence.said),
        hint="; ".join([*hints, f"see the whole log: {evidence.log}"]),
        next=rule.next,
    )


def _lacks_scanner(evidence: Evidence) -> bool:
    scanner = evidence.scanner
    return scanner is not None and f"failed to resolve source metadata for {scanner}" in evidence.error


def _without_scanner(problem: Problem, evidence: Evidence) -> Problem:
    return replace(
        problem,
        code="scanner-unavailable",
        message=f"the SBOM scanner {evidence.scanner} cannot be pulled",
        hint="check `scanner` under `policy.sign`, and that the builder may pull it; "
        f"see the whole log: {evidence.log}",
    )


def _unclear(evidence: Evidence) -> Problem:
    """A word that the table does not know. It may go well on another builder."""
    file, line = _place(evidence)
    if evidence.status > 0 and "\n" not in evidence.error and 0 < len(evidence.error) <= _HEADLINE:
        return Problem(
            UNCLEAR,
            "BuildKit says" + (f" in {_name(evidence)}" if evidence.step else "") + f": {evidence.error}",
            file=file,
            line=line,
            artifact=evidence.artifact,
            hint=f"see the whole log: {evidence.log}",
            next=Next.RETRY,
        )
    how = f"was killed by signal {-evidence.status}" if evidence.status < 0 else f"ended with status {evidence.status}"
    return Problem(
        UNCLEAR,
        f"BuildKit's client {how}" + (f", in {_name(evidence)}" if evidence.step else ""),
        file=file,
        line=line,
        artifact=evidence.artifact,
        cause=_first_line(evidence.error) or "\n".join(evidence.text.splitlines()[-SHOWN_LINES:]) or None,
        hint=f"see the whole log: {evidence.log}",
        next=Next.RETRY,
    )


def _name(evidence: Evidence) -> str:
    """Of the failing step, on one line."""
    return " ".join(evidence.step.name.split()) if evidence.step else "of the build"


def _place(evidence: Evidence) -> tuple[str | None, int | None]:
    """Where BuildKit's excerpt points: `Dockerfile:12` above a rule of dashes."""
    match = _PLACE.search(evidence.text)
    if match:
        return match["file"], int(match["line"])
    parse = _PARSE_LINE.search(evidence.said)
    return (evidence.dockerfile, int(parse[1])) if parse else (None, None)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
