"""Each way a build fails, in BuildKit's words, and the problem it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.apply.tries import FailureClass, failure_class
from reconciler.model.problem import Next
from reconciler.model.tier import Tier
from reconciler.providers.builder.failure import SHOWN_LINES, Evidence, explain, plain, timed_out
from reconciler.providers.builder.failure_rules import RULES, RUNC_RULES
from reconciler.providers.builder.progress import FailedStep

PERSON, RETRY, HOLD = Next.PERSON, Next.RETRY, Next.HOLD
MAKE = 'process "/bin/sh -c make" did not complete successfully: '


def evidence(error: str = "", step: FailedStep | None = None, text: str = "", status: int = 1) -> Evidence:
    said = f"{text}\nerror: {error}" if error else text
    return Evidence("shop/api", "Dockerfile", Tier(2, 4.0, 30), "/logs/api.log", status, said, step)


def failed(error: str, *output: str) -> FailedStep:
    return FailedStep("[build 2/3] RUN make", error, output)


REGISTRY = "failed to push registry.example/shop/api: failed to authorize: "
METADATA = "registry.example/base:1: failed to resolve source metadata for registry.example/base:1: "
PULL, PUSH = f"failed to solve: {METADATA}", "failed to solve: failed to push r.example/a: "


ROWS = [
    (f"failed to solve: {MAKE}exit code: 2", "build-failed", PERSON, "exit code 2"),
    (f"failed to solve: ResourceExhausted: {MAKE}cannot allocate memory", "build-out-of-memory", PERSON, "4 GiB"),
    (f"failed to solve: {MAKE}exit code: 137", "build-out-of-memory", PERSON, "4 GiB"),
    ("failed to solve: ResourceExhausted: write /x: no space left on device", "disk-full", RETRY, "no space"),
    ("failed to solve: failed to copy: write /x: no space left on device", "disk-full", RETRY, "no space"),
    (
        "failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF",
        "builder-lost",
        RETRY,
        "went away",
    ),
    (
        'failed to solve: Unavailable: connection error: desc = "transport: Error while dialing: dial unix /s: '
        'connect: no such file or directory"',
        "builder-lost",
        RETRY,
        "went away",
    ),
    ("failed to solve: no active session for k3x9: context deadline exceeded", "builder-lost", RETRY, ""),
    (REGISTRY + "unexpected status: 401 Unauthorized", "push-refused", HOLD, "registry.example/shop/api"),
    (REGISTRY + "unexpected status from POST request to http://r/v2/: 403 Forbidden", "push-refused", HOLD, ""),
    (
        "failed to solve: failed to push r.example/a: denied: requested access to the resource is denied",
        "push-refused",
        HOLD,
        "r.example/a",
    ),
    (
        "failed to solve: failed to push ghcr.io/acme/a: denied: permission_denied: write_package",
        "push-refused",
        HOLD,
        "the token may not write this package",
    ),
    (
        "failed to solve: failed to push h.example/a: denied: adding 12.0 MiB of storage resource, which when "
        "updated to current usage of 5.0 GiB will exceed the configured upper limit of 5.0 GiB.",
        "push-refused",
        HOLD,
        "quota",
    ),
    (
        "failed to solve: failed to push r.example/a: unexpected status: 429 Too Many Requests",
        "registry-busy",
        RETRY,
        "",
    ),
    (
        'failed to solve: failed to push r.example/a: failed to do request: Head "https://r.example/v2/": '
        "dial tcp: connect: connection refused",
        "push-failed",
        RETRY,
        "r.example/a",
    ),
    (
        "failed to solve: python:3: failed to resolve source metadata for docker.io/library/python:3: "
        "failed to copy: httpReadSeeker: 429 Too Many Requests - toomanyrequests",
        "registry-busy",
        RETRY,
        "",
    ),
    (
        "failed to solve: dockerfile parse error on line 3: unknown instruction: FORM",
        "dockerfile-invalid",
        PERSON,
        "",
    ),
    (f"failed to solve: {METADATA}registry.example/base:1: not found", "base-not-found", PERSON, "example/base:1"),
    (
        f"failed to solve: {METADATA}pull access denied, repository does not exist or may require authorization",
        "pull-refused",
        HOLD,
        "registry.example/base:1",
    ),
    (f"failed to solve: {METADATA}no match for platform in manifest: not found", "platform-unsupported", PERSON, ""),
    (f"failed to solve: {METADATA}failed to do request: i/o timeout", "pull-failed", RETRY, ""),
    (
        'failed to solve: failed to compute cache key: failed to calculate checksum of ref a::b: "/x y": not found',
        "source-missing",
        PERSON,
        "/x y is not in the context",
    ),
    ('failed to solve: target stage "test" could not be found', "target-missing", PERSON, "no stage test"),
    (
        "failed to solve: failed to read dockerfile: open Nope: no such file or directory",
        "dockerfile-missing",
        PERSON,
        "",
    ),
    ("failed to solve: secret npm: not found", "secret-missing", PERSON, "secret npm"),
    ("failed to solve: failed to load LLB: security.insecure is not allowed", "not-allowed", PERSON, ""),
    (
        'failed to solve: failed to load cache key: Get "http://h/x": dial tcp: connect: connection refused',
        "download-failed",
        RETRY,
        "",
    ),
    (
        f"failed to solve: {METADATA}unexpected status from HEAD request to https://r.example/v2/base/manifests/1: "
        "503 Service Unavailable",
        "pull-failed",
        RETRY,
        "",
    ),
    (
        f"{PULL}failed to do request: dial tcp: lookup r.example on 10.0.0.2:53: no such host",
        "pull-failed",
        RETRY,
        "base image",
    ),
    (
        f"{PULL}failed to do request: dial tcp: lookup r.example: Temporary failure in name resolution",
        "pull-failed",
        RETRY,
        "",
    ),
    (
        f"{PULL}failed to do request: net/http: TLS handshake timeout",
        "pull-failed",
        RETRY,
        "",
    ),
    (
        f'{PULL}failed to authorize: failed to fetch anonymous token: Get "https://a.example": '
        "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
        "pull-failed",
        RETRY,
        "",
    ),
    (
        "failed to solve: failed to copy: httpReadSeeker: failed open: unexpected status code "
        "https://r.example/v2/a/blobs/sha256:0f: 502 Bad Gateway",
        "pull-failed",
        RETRY,
        "",
    ),
    (
        "failed to solve: failed to copy: read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer",
        "pull-failed",
        RETRY,
        "",
    ),
    (
        f"{PUSH}failed to copy: write tcp 10.0.0.1:1->10.0.0.2:443: broken pipe",
        "push-failed",
        RETRY,
        "r.example/a",
    ),
    (
        f"{PUSH}unexpected status from POST request to https://r.example/v2/a/: 500 Internal Server Error",
        "push-failed",
        RETRY,
        "",
    ),
    (
        f"{PUSH}failed to authorize: failed to fetch oauth token: unexpected status "
        "from POST request to https://a.example/token: 503 Service Unavailable",
        "push-failed",
        RETRY,
        "",
    ),
    (
        f"{PULL}failed to do request: tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "certificate-refused",
        HOLD,
        "trust",
    ),
    (
        f'{PUSH}failed to do request: Head "https://r.example": x509: certificate has expired or is not yet valid',
        "certificate-refused",
        HOLD,
        "",
    ),
    (
        f"{PULL}failed to do request: http: server gave HTTP response to HTTPS client",
        "registry-speaks-http",
        HOLD,
        "plain HTTP",
    ),
    (
        f"{PUSH}unexpected status: 507 Insufficient Storage",
        "push-refused",
        HOLD,
        "quota",
    ),
    (
        f"{PUSH}denied: Your storage quota has been exceeded",
        "push-refused",
        HOLD,
        "quota",
    ),
    ('failed to solve: source "docker-image://x:1" denied by policy', "source-unpinned", PERSON, ""),
    (f"failed to solve: digest mismatch sha256:{'a' * 64}: sha256:{'b' * 64}", "download-moved", PERSON, ""),
    (
        f"failed to solve: digest mismatch for http://h/x: sha256:{'a' * 64} (expected: sha256:{'b' * 64})",
        "download-moved",
        PERSON,
        "",
    ),
    ("failed to solve: invalid response status 404", "download-missing", PERSON, ""),
    ("failed to solve: invalid response status 503", "download-failed", RETRY, ""),
    ("failed to solve: invalid response status 429", "download-failed", RETRY, ""),
    (
        'failed to solve: failed to load cache key: Get "http://h/x": dial tcp: lookup h: server misbehaving',
        "download-failed",
        RETRY,
        "",
    ),
    ('failed to solve: failed to load cache key: Get "http://h/x": EOF', "download-failed", RETRY, ""),
    ('failed to solve: Get "http://h/x": context deadline exceeded', "download-failed", RETRY, ""),
    (
        "failed to solve: stream error: stream ID 7; INTERNAL_ERROR; received from peer",
        "download-failed",
        RETRY,
        "",
    ),
    ("failed to solve: Canceled: context canceled", "builder-lost", RETRY, ""),
    (
        "listing workers for Build: failed to list workers: Unavailable: connection error: desc = x",
        "builder-lost",
        RETRY,
        "",
    ),
    ("failed to solve: Canceled: grpc: the client connection is closing", "builder-lost", RETRY, ""),
    ("failed to solve: failed to mount /tmp/x: read /var/lib/b/y: input/output error", "builder-broken", RETRY, ""),
    ("failed to solve: something nobody has seen yet", "build-error", RETRY, "says: something nobody has seen yet"),
    ("failed to solve: invalid containerPort: abc", "dockerfile-invalid", PERSON, "refuses a step of the Dockerfile"),
    ('failed to solve: invalid port: "80/x": invalid proto: x', "dockerfile-invalid", PERSON, "refuses a step"),
    ('failed to solve: unsupported mount type "x"', "dockerfile-invalid", PERSON, "refuses a step"),
    ('failed to solve: invalid mount target "/"', "dockerfile-invalid", PERSON, "refuses a step"),
    ("failed to solve: invalid signal: FOO", "dockerfile-invalid", PERSON, "refuses a step"),
    ("failed to solve: invalid value x for uid", "dockerfile-invalid", PERSON, "refuses a step"),
]
"""What BuildKit said, and what is made of it: code, what comes next, words of the message."""


@pytest.mark.parametrize(("error", "code", "next_", "words"), ROWS)
def test_each_row(error: str, code: str, next_: Next, words: str) -> None:
    problem = explain(evidence(error))
    assert (problem.code, problem.next) == (code, next_)
    assert words in problem.message
    assert problem.artifact == "shop/api"
    assert problem.hint is not None
    assert "/logs/api.log" in problem.hint


USER, INFRASTRUCTURE, MEMORY = FailureClass.USER, FailureClass.INFRASTRUCTURE, FailureClass.MEMORY
CLASSES = {
    "base-not-found": USER,
    "build-error": USER,
    "build-failed": USER,
    "build-out-of-memory": MEMORY,
    "builder-broken": INFRASTRUCTURE,
    "builder-lost": INFRASTRUCTURE,
    "certificate-refused": FailureClass.HOLD,
    "disk-full": INFRASTRUCTURE,
    "dockerfile-invalid": USER,
    "dockerfile-missing": USER,
    "download-failed": INFRASTRUCTURE,
    "download-missing": USER,
    "limits-unavailable": FailureClass.HOLD,
    "download-moved": USER,
    "source-unpinned": USER,
    "not-allowed": USER,
    "platform-unsupported": USER,
    "pull-failed": INFRASTRUCTURE,
    "pull-refused": FailureClass.HOLD,
    "push-failed": INFRASTRUCTURE,
    "push-refused": FailureClass.HOLD,
    "registry-busy": INFRASTRUCTURE,
    "registry-speaks-http": FailureClass.HOLD,
    "secret-missing": USER,
    "source-missing": USER,
    "target-missing": USER,
}


@pytest.mark.parametrize("error", [row[0] for row in ROWS])
def test_each_message_has_its_class(error: str) -> None:
    problem = explain(evidence(error))
    assert failure_class(problem) is CLASSES[problem.code]


def test_every_rule_has_a_message_that_it_is_the_first_to_match() -> None:
    matched = {next((r for r in RULES if r.pattern.search(evidence(row[0]).said)), None) for row in ROWS}
    assert [rule.pattern.pattern for rule in RULES if rule not in matched] == []
    assert {rule.code for rule in (*RULES, *RUNC_RULES)} <= CLASSES.keys()


def test_a_failed_step_is_named_with_its_last_lines_and_place() -> None:
    output = [f"line {number}" for number in range(50)]
    excerpt = "Dockerfile.api:12\n--------------------\n  12 | >>> RUN make\n--------------------"
    step = failed(f"{MAKE}exit code: 2", *output)
    problem = explain(evidence(f"failed to solve: {MAKE}exit code: 2", step, excerpt))
    assert problem.message == "the step [build 2/3] RUN make ended with exit code 2"
    assert (problem.place, problem.code) == ("Dockerfile.api:12", "build-failed")
    assert problem.cause is not None
    assert problem.cause.splitlines() == output[-SHOWN_LINES:]


@pytest.mark.parametrize(
    "last",
    [
        "Killed",
        "/bin/sh: line 1:    7 Killed                  cc1plus",
        "g++: fatal error: Killed signal terminated program cc1plus",
        "error: could not compile (signal: 9, SIGKILL: kill)",
        "go: compile: signal: killed",
        "fatal error: runtime: out of memory",
        "fork: Cannot allocate memory",
    ],
)
def test_a_shell_that_tells_of_a_kill_ran_out_of_memory(last: str) -> None:
    step = failed(f"{MAKE}exit code: 2", "compiling", last)
    assert explain(evidence(f"failed to solve: {MAKE}exit code: 2", step)).code == "build-out-of-memory"


@pytest.mark.parametrize("last", ["12 tests, 1 failed", "SkillKilledCount=3", "BLOOM filter", "exit signal: 90"])
def test_words_that_only_look_like_it_do_not(last: str) -> None:
    step = failed(f"{MAKE}exit code: 2", last)
    assert explain(evidence(f"failed to solve: {MAKE}exit code: 2", step)).code == "build-failed"


RUNC = "runc run failed: unable to start container process: "
LIMITS = RUNC + "error during container init: error setting cgroup config for procHooks process: "


@pytest.mark.parametrize(
    ("last", "code", "next_"),
    [
        (LIMITS + "cannot set memory limit: container could not join or create cgroup", "limits-unavailable", HOLD),
        (
            LIMITS + "open /sys/fs/cgroup/memory/lian/x/memory.memsw.limit_in_bytes: no such file or directory",
            "limits-unavailable",
            HOLD,
        ),
        (
            RUNC + "unable to apply cgroup configuration: mkdir /sys/fs/cgroup/cpuset/lian: read-only file system",
            "limits-unavailable",
            HOLD,
        ),
        ("runc run failed: no cgroup mount found in mountinfo", "limits-unavailable", HOLD),
        (
            LIMITS + "unable to set memory limit to 1073741 (current usage: 2088960, peak usage: 2256896)",
            "build-out-of-memory",
            PERSON,
        ),
        (RUNC + "container init was OOM-killed (memory limit too low?)", "build-out-of-memory", PERSON),
        ("runc run failed: container process is already dead", "build-out-of-memory", PERSON),
        (RUNC + "can't get final child's PID from pipe: EOF", "builder-broken", RETRY),
        (RUNC + "fork/exec /proc/self/exe: resource temporarily unavailable", "builder-broken", RETRY),
        (RUNC + "open /proc/self/fd: too many open files", "builder-broken", RETRY),
        (RUNC + 'exec: "/nothere": stat /nothere: no such file or directory', "build-failed", PERSON),
        (RUNC + 'exec: "x": executable file not found in $PATH', "build-failed", PERSON),
    ],
)
def test_a_step_that_runc_did_not_start(last: str, code: str, next_: Next) -> None:
    """As runc 1.1 says it; BuildKit tells of exit code 1 alone, as if the step had ended with it."""
    step = failed(f"{MAKE}exit code: 1", last)
    problem = explain(evidence(f"failed to solve: {MAKE}exit code: 1", step))
    assert (problem.code, problem.next, problem.cause) == (code, next_, last)


def test_what_a_step_writes_of_runc_is_not_taken_for_runcs_words() -> None:
    """Its own words are the last."""
    step = failed(f"{MAKE}exit code: 1", f"{LIMITS}cannot set memory limit", "make: *** [all] Error 1")
    assert explain(evidence(f"failed to solve: {MAKE}exit code: 1", step)).code == "build-failed"


def test_a_step_that_found_the_disk_full_is_not_the_authors_fault() -> None:
    step = failed(f"{MAKE}exit code: 1", "dd: error writing '/big': No space left on device")
    assert explain(evidence(f"failed to solve: {MAKE}exit code: 1", step)).code == "disk-full"


def test_what_a_step_writes_is_not_taken_for_buildkits_words() -> None:
    step = failed(f"{MAKE}exit code: 1", "error: code = Unavailable", "401 Unauthorized")
    assert explain(evidence(f"failed to solve: {MAKE}exit code: 1", step)).code == "build-failed"


@pytest.mark.parametrize("scanner", ["registry.example/syft@sha256:5c", "registry.example/base:1"])
def test_only_the_scanner_itself_is_told_as_the_scanner(scanner: str) -> None:
    problem = explain(
        replace(evidence(f"failed to solve: {METADATA}registry.example/base:1: not found"), scanner=scanner)
    )
    assert problem.code == ("scanner-unavailable" if scanner.endswith("base:1") else "base-not-found")


def test_one_line_of_buildkit_is_the_headline() -> None:
    problem = explain(evidence("failed to solve: something new", failed("something new")))
    assert problem.message == "BuildKit says in [build 2/3] RUN make: something new"
    assert problem.cause is None


@pytest.mark.parametrize("error", ["first line\nsecond line", "word " * 60])
def test_what_is_no_headline_is_told_below_it(error: str) -> None:
    problem = explain(evidence(f"failed to solve: {error}"))
    assert problem.message == "BuildKit's client ended with status 1"
    assert problem.cause == error.strip().partition("\n")[0]


def test_a_client_that_was_killed_says_so() -> None:
    problem = explain(evidence(status=-9))
    assert (problem.code, problem.message) == ("build-error", "BuildKit's client was killed by signal 9")


def test_what_a_terminal_would_not_show_is_not_shown() -> None:
    assert plain("\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\r") == "red and plain"
    assert plain(" 10%\r 55%\r100%") == "100%"


def test_secrets_in_urls_are_not_shown() -> None:
    step = failed(f"{MAKE}exit code: 1", "fatal: https://me:hunter2@git.example/x?token=hunter2 not found")
    problem = explain(evidence(f"failed to solve: {MAKE}exit code: 1", step))
    assert "hunter2" not in str(problem)


def test_a_build_given_up_names_what_ran() -> None:
    problem = timed_out(evidence(step=failed("", "still at it")), 90.0)
    assert (problem.code, problem.next) == ("build-timeout", PERSON)
    assert problem.message == "the build was given up after 90 s in [build 2/3] RUN make"
    assert problem.cause == "still at it"
    assert "`time_budget`" in str(problem.hint) and "--build-timeout" in str(problem.hint)
    pushing = replace(failed("", ""), name="exporting to image")
    assert "whether the registry answers" in str(timed_out(evidence(step=pushing), 90.0).hint)
