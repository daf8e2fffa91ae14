"""Each way a build fails, in BuildKit's words, and the problem it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.problem import Next
from reconciler.model.tier import Tier
from reconciler.providers.builder.failure import SHOWN_LINES, Evidence, explain, plain, timed_out
from reconciler.providers.builder.progress import FailedStep

PERSON, RETRY = Next.PERSON, Next.RETRY
MAKE = 'process "/bin/sh -c make" did not complete successfully: '


def evidence(error: str = "", step: FailedStep | None = None, text: str = "", status: int = 1) -> Evidence:
    said = f"{text}\nerror: {error}" if error else text
    return Evidence("shop/api", "Dockerfile", Tier(2, 4.0, 30), "/logs/api.log", status, said, step)


def failed(error: str, *output: str) -> FailedStep:
    return FailedStep("[build 2/3] RUN make", error, output)


REGISTRY = "failed to push registry.example/shop/api: failed to authorize: "
METADATA = "registry.example/base:1: failed to resolve source metadata for registry.example/base:1: "


@pytest.mark.parametrize(
    ("error", "code", "next_", "words"),
    [
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
        (REGISTRY + "unexpected status: 401 Unauthorized", "push-refused", PERSON, "registry.example/shop/api"),
        (REGISTRY + "unexpected status from POST request to http://r/v2/: 403 Forbidden", "push-refused", PERSON, ""),
        (
            "failed to solve: failed to push r.example/a: denied: requested access to the resource is denied",
            "push-refused",
            PERSON,
            "r.example/a",
        ),
        (
            "failed to solve: failed to push ghcr.io/acme/a: denied: permission_denied: write_package",
            "push-refused",
            PERSON,
            "the token may not write this package",
        ),
        (
            "failed to solve: failed to push h.example/a: denied: adding 12.0 MiB of storage resource, which when "
            "updated to current usage of 5.0 GiB will exceed the configured upper limit of 5.0 GiB.",
            "push-refused",
            PERSON,
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
            PERSON,
            "registry.example/base:1",
        ),
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
        ("failed to solve: something nobody has seen yet", "build-error", RETRY, "status 1"),
    ],
)
def test_each_row(error: str, code: str, next_: Next, words: str) -> None:
    problem = explain(evidence(error))
    assert (problem.code, problem.next) == (code, next_)
    assert words in problem.message
    assert problem.artifact == "shop/api"
    assert problem.hint is not None
    assert "/logs/api.log" in problem.hint


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
