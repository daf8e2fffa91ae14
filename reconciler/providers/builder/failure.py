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
from reconciler.ports.builder import CACHE_BROKEN, MORE_MEMORY, OUT_OF_MEMORY, PUSH_FAILED, UNCLEAR

if TYPE_CHECKING:
    from reconciler.model.tier import Tier
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


@dataclass(frozen=True, slots=True)
class Rule:
    """If `pattern` is found in what BuildKit said: this code, message and advice; `{…}` are the pattern's groups."""

    pattern: re.Pattern[str]
    code: str
    message: str
    next: Next
    hint: str | None = None


def _rule(pattern: str, code: str, message: str, next_: Next, hint: str | None = None) -> Rule:
    return Rule(re.compile(pattern, re.DOTALL), code, message, next_, hint)


_LOGIN = "check the login for this registry (`docker login`, LIAN_REGISTRY_PASSWORD, `credentials`) and what it may do"
_REFUSED = r"(?:40[13] |denied|insufficient_scope|unauthorized|authorization failed|authentication required)"
_METADATA = r"failed to resolve source metadata for (?P<image>\S+): .*"
_PUSH = r"failed to push (?P<where>\S+?):? .*"

RULES = (
    _rule(
        r"source \"(?P<source>[^\"]*)\" denied by policy",
        "source-unpinned",
        "the Dockerfile's frontend asks for {source}, which lian did not know of and so did not pin",
        Next.PERSON,
        "use docker/dockerfile:1 in its `# syntax=` line: it reads names as lian does",
    ),
    _rule(
        r"no active session|transport is closing|error reading from server|code = Unavailable|^Unavailable: "
        r"|failed to receive status|failed to dial|connection error: desc|closing transport"
        r"|client connection is closing|error reading server preface|^Canceled: |listing workers for Build",
        "builder-lost",
        "the builder went away while it was building",
        Next.RETRY,
        "look at the machine's memory and kernel log if it happens again",
    ),
    _rule(
        r"input/output error|structure needs cleaning",
        "builder-broken",
        "the builder's disk fails",
        Next.RETRY,
        "look at the machine's kernel log if it happens again",
    ),
    _rule(
        r"dockerfile parse error|unknown instruction|file with no instructions|failed to parse dockerfile"
        r"|unknown flag: --|Syntax error - can't find = in|failed to process \"|invalid reference format"
        r"|no build stage in current context|Dockerfile cannot be empty|should not be blank",
        "dockerfile-invalid",
        "the Dockerfile cannot be read",
        Next.PERSON,
    ),
    _rule(
        r"^(?:invalid (?:containerPort|hostPort|port|ranges specified for container and host Ports|IP address|signal"
        r"|chmod parameter|mount target|secret mount|cache sharing|field|value (?:\S+ )?for \S+|checksum digest)\b"
        r"|unsupported (?:mount type|sharing value|digest algorithm)\b|unexpected key '"
        r"|not allowed for \"\w+\" type mounts|secret mount should not|both source and id can't be set"
        r"|VOLUME specified can not be|can't be .{,30} for COPY|checksum (?:requires|can't be specified))",
        "dockerfile-invalid",
        "BuildKit refuses a step of the Dockerfile",
        Next.PERSON,
    ),
    _rule(
        r"failed to read dockerfile: .*(?:no such file|not found)",
        "dockerfile-missing",
        "the Dockerfile is not there",
        Next.PERSON,
    ),
    _rule(
        r"target stage \"(?P<target>[^\"]*)\" could not be found",
        "target-missing",
        "the Dockerfile has no stage {target}",
        Next.PERSON,
        "give the directive a `target` that stands in the Dockerfile as `FROM … AS {target}`",
    ),
    _rule(
        r"failed to calculate checksum of ref .*?\"(?P<path>[^\"]*)\": not found"
        r"|failed to compute cache key: .*?\"(?P<other>[^\"]*)\": not found",
        "source-missing",
        "{path} is not in the context",
        Next.PERSON,
        "check the path, `include` and the ignore file; only committed files are sent",
    ),
    _rule(
        r"secret (?P<secret>\S+): not found",
        "secret-missing",
        "the Dockerfile asks for the secret {secret}, which the directive does not give it",
        Next.PERSON,
    ),
    _rule(
        r"(?P<what>\S+) is not allowed",
        "not-allowed",
        "the Dockerfile asks for {what}, which this builder does not allow",
        Next.PERSON,
    ),
    _rule(
        r"(?:x509: |tls: failed to verify certificate|certificate (?:has expired|is not trusted|signed by unknown))",
        "certificate-refused",
        "the builder does not trust the certificate of a server that the build speaks to",
        Next.HOLD,
        "renew the certificate, or name its authority in `ca` under `registry` in lian.ncl",
    ),
    _rule(
        r"server gave HTTP response to HTTPS client",
        "registry-speaks-http",
        "a registry speaks plain HTTP where TLS is asked for",
        Next.HOLD,
        "give its address with http:// in lian.ncl, or put TLS in front of it",
    ),
    _rule(
        _PUSH + r"permission_denied: write_package",
        "push-refused",
        "the registry refuses the push to {where}: the token may not write this package",
        Next.HOLD,
        "give the token the scope write:packages; a GITHUB_TOKEN writes only packages linked to its repository",
    ),
    _rule(
        _PUSH + r"exceed the configured upper limit",
        "push-refused",
        "the registry takes no more for {where}: the quota of its Harbor project is used up",
        Next.HOLD,
        "raise the project's quota, or remove what is not needed and let Harbor collect its garbage",
    ),
    _rule(
        _PUSH + r"(?:[Qq]uota|507 Insufficient Storage|storage limit)",
        "push-refused",
        "the registry takes no more for {where}: a quota is used up",
        Next.HOLD,
        "raise the quota, or remove what is not needed: `lian prune`, `lian cache prune`",
    ),
    _rule(
        _PUSH + _REFUSED,
        "push-refused",
        "the registry refuses the push to {where}",
        Next.HOLD,
        _LOGIN,
    ),
    _rule(_PUSH + r"(?:429 |toomanyrequests)", "registry-busy", "the registry asks to push slower", Next.RETRY),
    _rule(
        _PUSH,
        PUSH_FAILED,
        "the image was built, but the push to {where} failed",
        Next.RETRY,
        "check that the registry is up and can be reached from the builder",
    ),
    _rule(
        r"(?:429 Too Many Requests|toomanyrequests)",
        "registry-busy",
        "a registry asks to pull slower",
        Next.RETRY,
        "log in to the registry, or mirror the image into the fleet's own",
    ),
    _rule(
        r"(?:no match for platform in manifest|exec format error)",
        "platform-unsupported",
        "the image or the builder does not support this platform",
        Next.PERSON,
        "choose a base that has this platform; the builder runs only what its processor, or an emulator, can run",
    ),
    _rule(
        _METADATA + _REFUSED,
        "pull-refused",
        "the registry does not let lian pull {image}, or the image does not exist",
        Next.HOLD,
        _LOGIN,
    ),
    _rule(
        _METADATA + r"(?:: not found|manifest unknown|404 )",
        "base-not-found",
        "the base image {image} is not in its registry",
        Next.PERSON,
        "check its name and digest; where lian.lock pins it, `lian lock --update` moves it",
    ),
    _rule(
        r"failed to resolve source metadata for \S+: |failed to copy: |failed to fetch ",
        "pull-failed",
        "a base image could not be pulled",
        Next.RETRY,
        "check that its registry is up and can be reached from the builder",
    ),
    _rule(
        r"digest mismatch (?:for \S+: )?(?P<got>sha\w+:\w+)(?:: | \(expected: )(?P<expected>sha\w+:\w+)",
        "download-moved",
        "what an ADD fetches has other content than it is pinned to: {got}, not {expected}",
        Next.PERSON,
        "look at what changed; then `lian lock --update URL`, or a new `--checksum` in the Dockerfile",
    ),
    _rule(
        r"invalid response status 4(?!08|25|29)[0-9]{2}",
        "download-missing",
        "something that the Dockerfile downloads is not there, or not for everyone",
        Next.PERSON,
        "check the URL of ADD",
    ),
    _rule(
        r"dial tcp|no such host|server misbehaving|name resolution|i/o timeout|TLS handshake timeout|tls: "
        r"|connection re(?:fused|set)|broken pipe|network is unreachable|no route to host|unexpected EOF|: EOF$"
        r"|stream error|server sent GOAWAY|Client\.Timeout|context deadline exceeded|unexpected status"
        r"|invalid response status",
        "download-failed",
        "something that the build downloads could not be had",
        Next.RETRY,
        "check that its server is up and can be reached from the builder",
    ),
)

_RUNC = "runc run failed: "
"""How the last line of a step's output begins if runc did not come to run it; BuildKit then tells of exit code 1."""
_TOO_LITTLE = re.compile(r"unable to set memory limit to|OOM-killed|container process is already dead")
"""What runc 1.1 says where the limit of memory is too low for itself."""
RUNC_RULES = (
    _rule(
        r"cannot set \S+ limit|error setting cgroup config|unable to apply cgroup configuration"
        r"|no cgroup mount found|cgroup \S+ (?:is not|does not exist)",
        "limits-unavailable",
        "the builder's machine cannot limit what a step uses",
        Next.HOLD,
        "mount the memory and cpu controllers writable at /sys/fs/cgroup (`lian doctor` looks for them); with cgroups "
        "v1 the kernel has to account swap as well (swapaccount=1)",
    ),
    _rule(
        r"resource temporarily unavailable|too many open files|connection reset by peer|PID from pipe: EOF"
        r"|device or resource busy|input/output error",
        "builder-broken",
        "the builder's machine cannot start the steps of a build",
        Next.RETRY,
        "look at the machine's limits and kernel log if it happens again",
    ),
)
"""In runc's words. What they do not know is wrong in what was built: a command that is not there, say."""


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
