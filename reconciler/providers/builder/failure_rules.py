"""The table of what BuildKit and runc say of a failed build, and what each of it means; `failure` reads it in order."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.model.problem import Next
from reconciler.ports.builder import PUSH_FAILED


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
