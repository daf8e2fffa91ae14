"""BuildKit's progress, line by line."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.cache_use import StepRun
from reconciler.model.masking import Mask
from reconciler.model.secret import SecretBytes
from reconciler.ports.builder import StepSeen
from reconciler.providers.builder.progress import MAX_OUTPUT_LINES, Progress

T0, T1 = "2026-01-01T00:00:02Z", "2026-01-01T00:00:09.123456789Z"


def line(**parts: Any) -> bytes:
    return json.dumps(parts).encode()


def vertex(digest: str, name: str, **parts: Any) -> dict[str, Any]:
    return {"digest": digest, "name": name, **parts}


def output(digest: str, data: bytes) -> bytes:
    return line(logs=[{"vertex": digest, "stream": 2, "data": base64.b64encode(data).decode(), "timestamp": T0}])


def test_a_step_is_seen_when_it_begins_and_when_it_ends() -> None:
    progress = Progress()
    assert progress.feed(line(vertexes=[vertex("a", "[1/2] RUN x")])).seen == ()
    assert progress.feed(line(vertexes=[vertex("a", "[1/2] RUN x", started=T0)])).seen == (
        StepSeen("[1/2] RUN x", False, False),
    )
    assert list(progress.running) == ["[1/2] RUN x"]
    done = line(vertexes=[vertex("a", "[1/2] RUN x", started=T0, completed=T1)])
    assert progress.feed(done).seen == (StepSeen("[1/2] RUN x", True, False),)
    assert progress.feed(done).seen == ()
    assert progress.running == ()


def test_steps_are_the_instructions_of_the_dockerfile() -> None:
    progress = Progress()
    names = ["[internal] load build context", "[1/2] FROM a", "[build 2/2] RUN x", "[linux/arm64 b 3/3] RUN y"]
    names += ["exporting to image", "[auth] a:pull token for r", "[context base] load from client"]
    cached = [vertex(str(n), name, started=T0, completed=T1, cached=n == 2) for n, name in enumerate(names)]
    progress.feed(line(vertexes=cached))
    assert progress.steps == (
        StepRun("[build 2/2] RUN x", True, 0.0),
        StepRun("[linux/arm64 b 3/3] RUN y", False, 7.123),
    )


def test_a_step_that_was_found_stays_found_while_its_layer_is_fetched() -> None:
    """BuildKit takes the last step of an image from a cache, and opens it again to fetch what the export needs."""
    progress = Progress()
    layer = f"sha256:{'0f' * 32}"
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0, completed=T0, cached=True)]))
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0)]))
    for current in (10, 70):
        progress.feed(line(statuses=[{"id": layer, "vertex": "a", "current": current, "total": 70, "completed": T1}]))
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0, completed=T1)]))
    assert progress.steps == (StepRun("[1/1] RUN x", True, 0.0),)
    assert progress.pulled == 70


def test_steps_are_kept_without_credentials() -> None:
    progress = Progress()
    name = "[1/1] RUN curl https://bob:s3cret@host.example/x?token=abc"
    progress.feed(line(vertexes=[vertex("a", name, started=T0, completed=T1)]))
    assert "s3cret" not in progress.steps[0].name
    assert "abc" not in progress.steps[0].name


def test_what_a_base_image_brings_is_no_cache() -> None:
    progress = Progress()
    progress.feed(line(vertexes=[vertex("a", "[base 1/2] FROM docker.io/library/x", started=T0)]))
    progress.feed(
        line(statuses=[{"id": f"sha256:{'0f' * 32}", "vertex": "a", "current": 9, "total": 9, "completed": T1}])
    )
    assert (progress.pulled, progress.steps) == (0, ())


def test_what_goes_wrong_with_a_cache_is_not_what_failed() -> None:
    progress = Progress()
    read = vertex("a", "importing cache manifest from r/c:x", started=T0, completed=T1, error="r/c:x: not found")
    written = vertex("b", "exporting cache to registry", started=T0, completed=T1, error="error writing layer blob")
    progress.feed(line(vertexes=[read, written]))
    assert (progress.failed, progress.export_failure) == (None, "error writing layer blob")


def test_an_export_that_opens_again_is_seen_again_but_loading_is_not() -> None:
    progress = Progress()
    for name, times in (("exporting to image", 2), ("[internal] load build context", 1)):
        seen: list[StepSeen] = []
        for started in (T0, T1):
            seen += progress.feed(line(vertexes=[vertex(name, name, started=started)])).seen
            seen += progress.feed(line(vertexes=[vertex(name, name, started=started, completed=T1)])).seen
        assert seen == [StepSeen(name, False, False), StepSeen(name, True, False)] * times


def test_the_log_has_whole_lines_and_every_byte_of_output() -> None:
    progress = Progress()
    log = progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0)])).log
    for chunk in (b"one\ntw", b"o\xff\x1b[31m", b"\n\nlast"):
        log += progress.feed(output("a", chunk)).log
    log += progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0, completed=T1)])).log
    assert log == b"#1 [1/1] RUN x\n#1 one\n#1 two\xff\x1b[31m\n#1 \n#1 last\n#1 DONE\n"


def test_the_first_error_that_is_no_cancellation_counts() -> None:
    progress = Progress()
    progress.feed(line(vertexes=[vertex("a", "[1/2] RUN a", started=T0), vertex("b", "[2/2] RUN b", started=T0)]))
    progress.feed(output("b", b"why\n"))
    failed = 'process "b" did not complete successfully: exit code: 2'
    progress.feed(line(vertexes=[vertex("a", "[1/2] RUN a", started=T0, completed=T1, error="context canceled")]))
    progress.feed(line(vertexes=[vertex("b", "[2/2] RUN b", started=T0, completed=T1, error=failed)]))
    progress.feed(line(vertexes=[vertex("c", "[3/3] RUN c", started=T0, completed=T1, error="something else")]))
    assert progress.failed is not None
    assert (progress.failed.name, progress.failed.error, progress.failed.output) == ("[2/2] RUN b", failed, ("why",))


def test_output_that_comes_after_the_error_belongs_to_it() -> None:
    progress = Progress()
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN a", started=T0, completed=T1, error="exit code: 1")]))
    progress.feed(output("a", b"late"))
    assert progress.failed is not None
    assert progress.failed.output == ("late",)


def test_text_between_is_kept_and_logged() -> None:
    progress = Progress()
    assert progress.feed(b"Dockerfile:4").log == b"Dockerfile:4\n"
    for odd in (b"{not json", b"[]", b"", b"error: failed to solve: x"):
        progress.feed(odd)
    assert progress.text == "Dockerfile:4\n{not json\n[]\n\nerror: failed to solve: x"
    assert progress.failed is None


def test_memory_is_bounded() -> None:
    progress = Progress()
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN a", started=T0, error="exit code: 1")]))
    for number in range(1000):
        progress.feed(output("a", b"%d " % number + b"x" * 10_000 + b"\n"))
        progress.feed(b"text " * 10_000)
    assert progress.failed is not None
    assert len(progress.failed.output) == MAX_OUTPUT_LINES
    assert len("".join(progress.failed.output)) + len(progress.text) < 1_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["vertexes", "logs", "statuses", "warnings"]
PARTS = st.dictionaries(st.sampled_from(["digest", "name", "vertex", "started", "completed", "error", "data"]), JSON)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), st.lists(PARTS, max_size=3) | JSON) | JSON, max_size=5))
def test_any_json_is_taken(documents: list[Any]) -> None:
    progress = Progress()
    for document in documents:
        progress.feed(json.dumps(document).encode())
    assert all(step.seconds >= 0 for step in progress.steps)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_output_is_logged_alike_however_it_is_cut(chunks: list[bytes]) -> None:
    def log(parts: list[bytes]) -> bytes:
        progress = Progress()
        written = progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0)])).log
        for part in parts:
            written += progress.feed(output("a", part)).log
        return written + progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0, completed=T1)])).log

    assert log(chunks) == log([b"".join(chunks)])


CANARY = "canary-31d7-canary"


def masking() -> Progress:
    return Progress(Mask([SecretBytes(CANARY.encode())]))


def test_secrets_are_hidden_in_all_that_buildkit_says() -> None:
    progress = masking()
    log = progress.feed(line(vertexes=[vertex("a", f"[1/1] RUN echo {CANARY}", started=T0)]))
    told = [log.log, *(step.name.encode() for step in log.seen)]
    told.append(progress.feed(output("a", f"one {CANARY} two\n".encode())).log)
    status = {"vertex": "a", "id": CANARY, "name": f"pushing {CANARY}", "completed": T1}
    told.append(progress.feed(line(statuses=[status])).log)
    warning = {"vertex": "a", "short": base64.b64encode(CANARY.encode()).decode()}
    told.append(progress.feed(line(warnings=[warning])).log)
    told.append(progress.feed(f"error: failed to solve: echo {CANARY}".encode()).log)
    done = vertex("a", f"[1/1] RUN echo {CANARY}", started=T0, completed=T1, error=f"process echo {CANARY} failed")
    told.append(progress.feed(line(vertexes=[done])).log)
    told += [progress.text.encode(), repr(progress.steps).encode(), repr(progress.failed).encode()]
    assert all(b"***" in text for text in told)
    assert CANARY.encode() not in b"".join(told)


def test_a_secret_that_comes_in_pieces_is_hidden() -> None:
    progress = masking()
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0)]))
    log = b"".join(progress.feed(output("a", bytes([byte]))).log for byte in f"a {CANARY} b\nc".encode())
    log += progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0, completed=T1)])).log
    assert log == b"#1 a *** b\n#1 c\n#1 DONE\n"


def test_what_may_begin_a_secret_is_told_when_its_step_ends() -> None:
    progress = masking()
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0)]))
    assert progress.feed(output("a", b"the canary")).log == b""
    log = progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0, completed=T1, error="exit code: 1")])).log
    assert log == b"#1 the canary\n#1 ERROR: exit code: 1\n"
    failed = progress.failed
    assert failed
    assert failed.output == ("the canary",)


def test_the_streams_of_a_step_are_looked_at_apart() -> None:
    """Else what is written to stderr in between would save a secret on stdout."""
    progress = masking()
    progress.feed(line(vertexes=[vertex("a", "[1/1] RUN x", started=T0)]))
    half = len(CANARY) // 2
    parts = ((1, CANARY[:half]), (2, "in between\n"), (1, CANARY[half:] + " end\n"))
    log = b""
    for stream, text in parts:
        data = base64.b64encode(text.encode()).decode()
        log += progress.feed(line(logs=[{"vertex": "a", "stream": stream, "data": data}])).log
    assert sorted(log.splitlines()) == [b"#1 *** end", b"#1 in between"]
