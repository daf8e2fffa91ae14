"""When a host is asked again, when it is left alone, and how long that takes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.problem import LianError
from reconciler.providers.registry.http.patience import Patience
from reconciler.providers.registry.http.reply import Broken, Reply
from reconciler.providers.registry.http.retry import Pace, Retrier, RetryPolicy, retry_after
from tests.ports.registry_suite import codes
from tests.providers.registry.places import Clock


class Host:
    """Gives these answers one after the other, the last one for ever."""

    def __init__(self, *answers: Reply | Broken) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self) -> Reply:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Broken):
            raise answer
        return answer


OK, DOWN, FAILING = Reply(200, {}), Broken("refused"), Reply(503, {})


def run(host: Host, clock: Clock, policy: RetryPolicy | None = None, times: int = 1) -> list[Reply | str]:
    retrier = Retrier("h", policy or RetryPolicy(), clock.timing)

    async def use() -> list[Reply | str]:
        found: list[Reply | str] = []
        for _ in range(times):
            try:
                found.append(await retrier.run(host))
            except LianError as error:
                found.append(error.problems[0].code)
        return found

    return asyncio.run(use())


class Slow:
    """Answers after so many seconds each, the last one for ever; it breaks off where it is told to."""

    def __init__(self, *answers: tuple[float, Reply | Broken]) -> None:
        self.answers = list(answers)

    async def __call__(self) -> Reply:
        seconds, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(seconds)
        if isinstance(answer, Broken):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([(0.3, OK)], 1),
        ([(0.01, OK)], 0),
        ([(0.06, OK)] * 6, 0),  # busy, and never silent
        ([(0.06, DOWN)] * 3 + [(0.01, OK)], 1),  # one silence, however often it was asked
        ([(0.01, OK), (0.3, OK), (0.3, OK)], 1),
    ],
)
def test_a_host_that_lets_us_wait_is_told_once(answers: list[tuple[float, Reply | Broken]], told: int) -> None:
    waited: list[str] = []
    policy, host = RetryPolicy(first_pause=0.001, longest_pause=0.001), Slow(*answers)
    retrier = Retrier("h", policy, patience=Patience(lambda: waited.append("h"), 0.12))

    async def use() -> None:
        while len(host.answers) > 1:
            await retrier.run(host)
        await asyncio.gather(*(retrier.run(host) for _ in range(3)))

    asyncio.run(use())
    assert len(waited) == told


@given(st.integers(1, 10), st.none() | st.floats(0, 500), st.floats(0, 0.999))
def test_a_pause_is_bounded_and_never_shorter_than_asked_for(attempt: int, asked: float | None, draw: float) -> None:
    policy = RetryPolicy()
    pause = policy.pause(attempt, asked, draw)
    if attempt >= policy.tries or (asked is not None and asked > policy.longest_retry_after):
        assert pause is None
    else:
        assert pause is not None
        assert (asked or 0.0) <= pause <= max(asked or 0.0, policy.longest_pause)


def test_pauses_grow() -> None:
    clock = Clock()
    assert run(Host(FAILING), clock) == ["registry-failing"]
    assert clock.pauses == sorted(clock.pauses)
    assert len(clock.pauses) == 4


def test_a_host_that_failed_often_rests_and_is_then_asked_again() -> None:
    clock, host = Clock(), Host(*[DOWN] * 8, OK)
    assert run(host, clock, RetryPolicy(first_pause=0.01), times=4) == ["registry-unreachable"] * 4
    assert host.asked == 8
    clock.now += 11
    retrier = Retrier("h", RetryPolicy(), clock.timing)
    assert asyncio.run(retrier.run(host)) is OK


def test_an_answer_ends_the_count_of_failures() -> None:
    answers: list[Reply | Broken] = [DOWN, DOWN, DOWN, OK]
    host = Host(*answers * 20)
    assert run(host, Clock(), times=20) == [OK] * 20


def test_the_deadline_holds_whatever_the_server_asks_for() -> None:
    clock = Clock()
    assert run(Host(Reply(429, {"retry-after": "100"})), clock) == ["registry-busy"]
    assert sum(clock.pauses) <= RetryPolicy().deadline


def test_one_429_makes_all_wait() -> None:
    clock = Clock()
    retrier = Retrier("h", RetryPolicy(), clock.timing)

    async def use() -> None:
        await retrier.run(Host(Reply(429, {"retry-after": "5"}), OK))
        retrier._held_until = clock.now + 3
        before = clock.now
        await retrier.run(Host(OK))
        assert clock.now == before + 3

    asyncio.run(use())


def test_a_final_answer_is_given_as_it_is() -> None:
    for status in (200, 201, 301, 400, 401, 404, 501):
        host = Host(Reply(status, {}))
        assert run(host, Clock()) == [Reply(status, {})]
        assert host.asked == 1


def test_retry_after_as_seconds_and_as_a_date() -> None:
    assert retry_after(Reply(429, {"retry-after": "12"})) == 12.0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after(Reply(429, {"retry-after": later})) or 0) <= 30
    assert retry_after(Reply(429, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"})) == 0.0


@given(st.text(max_size=40))
def test_any_retry_after_is_read_without_error(text: str) -> None:
    value = retry_after(Reply(429, {"retry-after": text}))
    assert value is None or value >= 0


def test_a_cancelled_wait_is_left_at_once() -> None:
    async def use() -> None:
        retrier = Retrier("h", RetryPolicy(first_pause=1000, longest_pause=1000, deadline=1e9))
        task = asyncio.create_task(retrier.run(Host(DOWN)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())


def test_the_problem_names_host_and_cause() -> None:
    retrier = Retrier("registry.example:5000", RetryPolicy(tries=1), Clock().timing)
    with pytest.raises(LianError) as error:
        asyncio.run(retrier.run(Host(DOWN)))
    assert codes(error) == {"registry-unreachable"}
    assert "registry.example:5000" in str(error.value)
    assert error.value.problems[0].cause == "refused"


def test_a_429_halves_what_is_asked_at_a_time_once_for_a_burst() -> None:
    pace = Pace(first=8)
    for _ in range(8):
        pace.cut(0)
    assert pace.limit == 4
    pace.cut(1)
    pace.cut(2)
    pace.cut(3)
    pace.cut(4)
    assert pace.limit == 1


def test_quick_answers_make_it_more_up_to_a_limit_and_slow_ones_do_not() -> None:
    pace = Pace(first=4, most=6)
    for _ in range(4):
        pace.grow(0.010)
    assert pace.limit == 4
    pace.grow(0.010)
    assert pace.limit == 5
    for _ in range(100):
        pace.grow(0.021)  # as when a line stands before the server
    assert pace.limit == 5
    for _ in range(100):
        pace.grow(0.019)
    assert pace.limit == 6


@given(st.lists(st.sampled_from(["enter", "leave", "cut", "grow", "cancel"]), max_size=60), st.integers(1, 5))
def test_no_more_are_on_their_way_than_may_be_and_no_place_is_lost(steps: list[str], first: int) -> None:
    """Whatever happens in between: when all that were let in have left, everyone who still waits gets in."""

    async def use() -> None:
        pace, inside, waiting = Pace(first=first, most=6), 0, list[asyncio.Task[None]]()

        async def visit() -> None:
            nonlocal inside
            await pace.enter()
            inside += 1
            assert inside <= pace.limit

        for step in steps:
            if step == "enter":
                waiting.append(asyncio.create_task(visit()))
            elif step == "leave" and inside:
                inside -= 1
                pace.leave()
            elif step == "cut":
                pace.cut(pace.cuts)
            elif step == "grow":
                pace.grow(0.01)
            elif step == "cancel" and waiting:
                waiting[len(waiting) // 2].cancel()
            if step != "leave":
                await asyncio.sleep(0)
        while inside or not all(task.done() for task in waiting):
            await asyncio.sleep(0)
            if inside:
                inside -= 1
                pace.leave()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.wait_for(pace.enter(), 1)

    asyncio.run(use())


def test_a_host_that_says_429_without_a_time_is_left_alone_for_longer_each_time() -> None:
    clock = Clock()
    retrier = Retrier("h", RetryPolicy(), clock.timing)
    holds = []
    for _ in range(3):
        before = clock.now
        retrier.hold(Reply(429, {}))
        asyncio.run(retrier.admit())
        holds.append(clock.now - before)
    assert holds == sorted(holds)
    assert holds[0] > 0.2
    retrier.answered()
    before = clock.now
    retrier.hold(Reply(429, {}))
    asyncio.run(retrier.admit())
    assert clock.now - before == pytest.approx(holds[0])
