"""Two registries, of which one misbehaves: nothing wrong is done on it, the other converges, and the next pass heals.

`far` is behind a proxy that fails on command, `near` is reached as it is. Both hold an older and a newer image of an
artifact each.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reconciler import wiring
from reconciler.apply import tries
from reconciler.cli import exits
from reconciler.model.digest import Digest
from reconciler.providers.registry.http.retry import RetryPolicy
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.e2e.bench import Bench, directive
from tests.e2e.test_drift import INDEX, MANIFEST, Hand
from tests.servers import faulty_registry as faults
from tests.servers.faulty_proxy import FaultyProxy, proxied
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.event import Event
    from reconciler.model.outcome import Outcome, Result
    from reconciler.model.plan import Plan

pytestmark = pytest.mark.buildkit


class Silent:
    """A recorder that keeps nothing."""

    def record(self, event: Event) -> None:
        del event


@dataclass
class Two:
    """What the tests of this module share; every test puts the tags where it wants them."""

    bench: Bench
    proxy: FaultyProxy
    far: Hand
    near: Hand
    far_images: tuple[str, str]
    near_images: tuple[str, str]

    def settle(self) -> None:
        """No fault, and both tags on the newer image."""
        self.proxy.mend()
        self.far.move("latest", self.far_images[1])
        self.near.move("latest", self.near_images[1])

    def converge(self) -> Pass:
        """A whole pass in this process."""
        return asyncio.run(self._pass())

    def plan(self) -> Plan:
        """What `lian diff` shows."""

        async def use() -> Plan:
            async with wiring.reading(self._choice) as ports:
                return (await plan_once(ports, Options())).plan

        return asyncio.run(use())

    @property
    def _choice(self) -> wiring.Choice:
        return wiring.Choice(str(self.bench.repo), "HEAD", None, self.bench.cache)

    async def _pass(self) -> Pass:
        async with wiring.working(self._choice) as made:
            return Pass(*await reconcile_once(made.ports(Silent()), Options()))


@dataclass(frozen=True)
class Pass:
    """A pass that came to its end."""

    plan: Plan
    outcome: Outcome

    def of(self, name: str) -> Result:
        return next(result for result in self.outcome.results if str(result.artifact) == name)

    @property
    def ends(self) -> dict[str, tuple[str, str]]:
        return {str(r.artifact): (r.action.value, r.status.value) for r in self.outcome.results}

    @property
    def code(self) -> int:
        return exits.of_outcome(self.outcome)


def commit(bench: Bench, text: str) -> None:
    """Both artifacts hold this text."""
    bench.commit({"images/far/text": f"far {text}", "images/near/text": f"near {text}"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    with run_registry(folder / "far") as behind, proxied(behind) as proxy, run_registry(folder / "near") as near:
        bench = Bench.new(folder)
        one = {"app": 'image = "team/app", context.path = "images/far"'}
        own = f'  registry = {{ provider = \'Distribution, url = "{proxy.url}" }},\n  artifacts ='
        bench.write(
            {
                "lian.ncl": f'{{ fleet = "t", registry = {{ provider = \'Distribution, url = "{near.url}" }} }}\n',
                "directives/far.ncl": directive("far", one).replace("  artifacts =", own),
                "directives/near.ncl": directive("near", {"app": one["app"].replace("far", "near")}),
                "images/far/Dockerfile": "FROM scratch\nCOPY text /\n",
                "images/near/Dockerfile": "FROM scratch\nCOPY text /\n",
            }
        )
        hands = Hand(behind, "team/app"), Hand(near, "team/app")
        images: list[tuple[str, ...]] = []
        for text in ("one", "two"):
            commit(bench, text)
            bench.reconcile()
            images.append(tuple(hand.digest("latest") for hand in hands))
        (far_old, near_old), (far_new, near_new) = images
        yield Two(bench, proxy, *hands, (far_old, far_new), (near_old, near_new))


@pytest.fixture
def two(made: Two, monkeypatch: pytest.MonkeyPatch) -> Two:
    """Both in sync, and failing hosts given up soon: how long they are waited for, other tests show."""
    quick = partial(RetryPolicy, first_pause=0.001, longest_pause=0.002, longest_retry_after=0.01)
    monkeypatch.setattr("reconciler.providers.registry.http.transport.RetryPolicy", quick)
    made.settle()
    return made


MANIFESTS = "/manifests/"
OTHER = str(Digest.of(b"something else"))
HUGE = b" " * (100 << 20)


def another(right: faults.Answer) -> faults.Answer:
    """Everything is there, and is something else than it is."""
    del right
    return faults.Answer(200, {"Content-Type": MANIFEST, "Docker-Content-Digest": OTHER, "Content-Length": "400"})


UNREADABLE = {  # what is asked -> the code that `far` is held with
    "reset": ("HEAD", "", faults.reset, "registry-unreachable"),
    "401": ("HEAD", "", faults.status(401), "registry-denied"),
    "403": ("HEAD", "", faults.status(403), "registry-denied"),
    "404 without a code": ("GET", MANIFESTS, faults.status(404), "registry-not-oci"),
    "429": ("HEAD", "", faults.status(429), "registry-busy"),
    "429 for long": ("HEAD", "", faults.status(429, Retry_After="3600"), "registry-busy"),
    "500": ("HEAD", "", faults.status(500), "registry-failing"),
    "502": ("HEAD", "", faults.status(502, b"<html>"), "registry-failing"),
    "503": ("HEAD", "", faults.status(503, Retry_After="3600"), "registry-failing"),
    "HTML": ("HEAD", "", faults.html(200), "registry-not-oci"),
    "another digest": ("HEAD", MANIFESTS, another, "registry-wrong-digest"),
    "no digest": ("HEAD", MANIFESTS, faults.headers(Docker_Content_Digest="sha256:\xff"), ""),
    "elsewhere": ("HEAD", MANIFESTS, faults.status(307, Location="http://127.0.0.1:1/"), "registry-unreachable"),
}


@pytest.mark.parametrize(("method", "path", "fault", "code"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_registry_that_cannot_be_read_holds_its_own(two: Two, method: str, path: str, fault: Any, code: str) -> None:
    two.proxy.fault(method, path, fault)
    if fault is UNREADABLE["HTML"][2] or code == "registry-not-oci":
        two.proxy.fault("GET" if method == "HEAD" else "HEAD", MANIFESTS, fault)
    two.near.move("latest", two.near_images[0])
    done = two.converge()
    assert done.of("near/app").status.value == "done"
    assert two.near.digest("latest") == two.near_images[1]
    assert two.far.digest("latest") == two.far_images[1]
    assert not [seen for seen in two.proxy.requests if seen.method in {"PUT", "POST", "PATCH", "DELETE"}]
    assert done.ends == {"near/app": ("retag", "done"), "far/app": ("hold", "held") if code else ("none", "none")}
    assert done.code == (exits.HELD if code else exits.DONE)
    if code:
        problem = done.of("far/app").problem
        assert problem is not None
        assert problem.code == code
        assert problem.cause or problem.hint
    heals(two)


def heals(two: Two) -> None:
    """Without the fault everything converges, and then nothing is left to do; nothing is built."""
    two.proxy.mend()
    done = two.converge()
    assert done.code == exits.DONE
    assert "build" not in {action for action, _ in done.ends.values()}
    assert [change.action.value for change in two.plan().changes] == ["none", "none"]
    assert (two.far.digest("latest"), two.near.digest("latest")) == (two.far_images[1], two.near_images[1])


def itself(right: faults.Answer) -> faults.Answer:
    """An index that names the digest it was asked for by."""
    digest = {k.lower(): v for k, v in right.headers.items()}["docker-content-digest"]
    entry = f'{{"mediaType": "{INDEX}", "digest": "{digest}", "size": 3}}'
    document = f'{{"schemaVersion": 2, "mediaType": "{INDEX}", "manifests": [{entry}]}}'
    return faults.Answer(200, {"Content-Type": INDEX, "Docker-Content-Digest": digest}, document.encode())


UNWRITABLE = {  # the tag of `far` has to move, and cannot
    "manifest of 100 MB": ("GET", "/manifests/sha256:", faults.body(HUGE), "content-too-large"),
    "index in itself": ("GET", "/manifests/sha256:", itself, "registry-wrong-digest"),
    "invalid UTF-8": ("GET", "/manifests/sha256:", faults.body(b"\xff\xfe{}"), "registry-wrong-digest"),
    "HTML manifest": ("GET", "/manifests/sha256:", faults.html(200), "registry-not-oci"),
    "cut off": ("GET", "/manifests/sha256:", faults.truncated, "registry-unreachable"),
    "403": ("PUT", MANIFESTS, faults.status(403), "registry-denied"),
    "429": ("PUT", MANIFESTS, faults.status(429), "registry-busy"),
    "500": ("PUT", MANIFESTS, faults.status(500), "registry-failing"),
    "reset": ("PUT", MANIFESTS, faults.reset, "registry-unreachable"),
    "413": ("PUT", MANIFESTS, faults.status(413), "registry-refused"),
    "another digest": ("PUT", MANIFESTS, faults.headers(Docker_Content_Digest=OTHER), "registry-wrong-digest"),
}


@pytest.mark.parametrize(("method", "path", "fault", "code"), UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_a_registry_that_cannot_be_written_fails_its_own(
    two: Two, method: str, path: str, fault: Any, code: str
) -> None:
    two.far.move("latest", two.far_images[0])
    two.near.move("latest", two.near_images[0])
    two.proxy.fault(method, path, fault)
    done = two.converge()
    problem = done.of("far/app").problem
    assert problem is not None
    assert problem.code == code
    assert done.of("far/app").status.value in {"failed", "held"}
    assert done.ends["near/app"] == ("retag", "done")
    assert two.near.digest("latest") == two.near_images[1]
    assert two.far.digest("latest") in two.far_images
    assert done.code in {exits.FAILED, exits.HELD}
    heals(two)


def unsaid(data: bytes) -> Any:
    """These bytes, and no digest that would tell that they are not the right ones."""
    return lambda right: faults.headers(Docker_Content_Digest=None, Content_Length=None)(faults.body(data)(right))


RECORDS = "/manifests/sha256-"
UNEXPLAINED = {  # the tag of `far` was moved, and whose image it is cannot be found out
    "500": (RECORDS, faults.status(500), "registry-failing"),
    "HTML": (RECORDS, faults.html(200), "registry-not-oci"),
    "403": (RECORDS, faults.status(403), "registry-denied"),
    "invalid UTF-8": (RECORDS, unsaid(b"\xff\xfe"), "registry-not-oci"),
    "no list": (RECORDS, unsaid(b'{"manifests": 3}'), "registry-not-oci"),
    "reset in a blob": ("/blobs/", faults.truncated, "registry-unreachable"),
    "another blob": ("/blobs/", faults.body(b"{}"), "registry-wrong-digest"),
    "endless blob": ("/blobs/", faults.body(HUGE), "content-too-large"),
    "blob elsewhere": ("/blobs/", faults.status(307, Location="http://127.0.0.1:1/x"), "registry-unreachable"),
}


@pytest.mark.parametrize(("path", "fault", "code"), UNEXPLAINED.values(), ids=UNEXPLAINED.keys())
def test_what_cannot_be_explained_is_not_moved(two: Two, path: str, fault: Any, code: str) -> None:
    two.far.move("latest", two.far_images[0])
    two.near.move("latest", two.near_images[0])
    two.proxy.fault("GET", path, fault)
    done = two.converge()
    assert done.of("far/app").status.value in {"held", "failed"}
    problem = done.of("far/app").problem
    assert problem is not None
    assert problem.code == code
    assert two.far.digest("latest") == two.far_images[0]
    assert done.ends["near/app"] == ("retag", "done")
    heals(two)


def test_a_slow_registry_holds_its_own(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, for longer than anyone waits."""
    monkeypatch.setattr("reconciler.providers.registry.http.lanes.CALL_SECONDS", 0.1)
    two.far.move("latest", two.far_images[0])
    two.near.move("latest", two.near_images[0])
    two.proxy.fault("GET", "/manifests/|/blobs/", faults.dripping(0.02))
    done = two.converge()
    problem = done.of("far/app").problem
    assert problem is not None
    assert problem.code == "registry-unreachable"
    assert two.far.digest("latest") == two.far_images[0]
    assert done.ends["near/app"] == ("retag", "done")
    heals(two)


def test_a_registry_that_names_what_it_does_not_hold_moves_no_tag(two: Two) -> None:
    """As behind a cache that answers for a tag with what it was long ago."""
    two.proxy.fault("HEAD", MANIFESTS, faults.headers(Docker_Content_Digest=OTHER))
    two.near.move("latest", two.near_images[0])
    done = two.converge()
    problem = done.of("far/app").problem
    assert problem is not None
    assert done.of("far/app").status.value in {"failed", "held"}
    assert problem.code in {"tag-not-moved", "registry-wrong-digest"}
    assert two.far.digest("latest") == two.far_images[1]
    assert done.ends["near/app"] == ("retag", "done")
    two.proxy.mend()
    assert two.converge().code == exits.DONE


def test_a_move_that_is_taken_and_lost_is_noticed(two: Two) -> None:
    two.far.move("latest", two.far_images[0])
    two.proxy.lost = re.compile(MANIFESTS)
    done = two.converge()
    problem = done.of("far/app").problem
    assert problem is not None
    assert (done.of("far/app").status.value, problem.code) == ("failed", "tag-not-moved")
    assert two.far.digest("latest") == two.far_images[0]
    heals(two)


def parts(manifest: dict[str, Any]) -> list[str]:
    """The digests of an image's config and layers."""
    return [str(part["digest"]) for part in (manifest["config"], *manifest["layers"])]


PUSHES = {  # a new image does not arrive
    "lost layers": ("lost", "/blobs/uploads/", "push-failed", "failed"),
    "lost manifest": ("lost", MANIFESTS, "manifest-unknown", "failed"),
    "reset in a layer": ("interrupted", "/blobs/uploads/", "push-failed", "failed"),
    "refused": ("refused", "", "push-refused", "held"),
}


@pytest.mark.parametrize(("how", "path", "code", "end"), PUSHES.values(), ids=PUSHES.keys())
def test_an_image_that_does_not_arrive_fails_alone(
    two: Two, how: str, path: str, code: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built on both, pushed to one; afterwards the other is built again, whole, and only then its tag moves. Other
    runners would not help, so none is tried; that they are is seen elsewhere."""
    monkeypatch.setattr(tries, "MAX_NEW_RUNNERS", 0)
    commit(two.bench, f"new {how} {path}")
    if how == "refused":
        two.proxy.fault("POST", "/blobs/uploads/", faults.status(403, b'{"errors": [{"code": "DENIED"}]}'))
    else:
        setattr(two.proxy, how, re.compile(path))
    done = two.converge()
    assert done.ends == {"near/app": ("build", "done"), "far/app": ("build", end)}
    assert done.code == (exits.HELD if end == "held" else exits.FAILED)
    problem = done.of("far/app").problem
    assert problem is not None
    assert problem.code == code
    assert two.far.digest("latest") == two.far_images[1]
    two.proxy.mend()
    done = two.converge()
    assert done.ends == {"near/app": ("none", "none"), "far/app": ("build", "done")}
    assert [change.action.value for change in two.plan().changes] == ["none", "none"]
    new = two.far.digest("latest")
    assert new not in two.far_images
    for part in parts(two.far.manifest(new)):
        assert httpx.head(f"{two.proxy.url}/v2/team/app/blobs/{part}").status_code == 200
    commit(two.bench, "two")
    assert set(two.converge().ends.values()) == {("retag", "done")}


@pytest.mark.parametrize(
    ("fault", "code"), [(faults.status(403), "registry-denied"), (faults.html(200), "registry-not-oci")]
)
def test_the_command_says_so(two: Two, fault: Any, code: str) -> None:
    """Exit codes and documents of the command itself."""
    for method in ("HEAD", "GET"):
        two.proxy.fault(method, "", fault)
    two.near.move("latest", two.near_images[0])
    plan = two.bench.plan(exits.HELD)
    assert {name: change["action"] for name, change in plan.items()} == {"far/app": "hold", "near/app": "retag"}
    assert plan["far/app"]["holds"][0]["code"] == code
    results = two.bench.reconcile(code=exits.HELD)
    assert results["far/app"]["problem"]["code"] == code
    assert results["near/app"]["status"] == "done"
    assert two.near.digest("latest") == two.near_images[1]
    two.proxy.mend()
    assert two.bench.plan(0)["far/app"]["action"] == "none"


def test_a_registry_that_is_down_and_comes_back(two: Two) -> None:
    """Refused, since nothing listens any more."""
    two.near.move("latest", two.near_images[0])
    with two.proxy.down():
        done = two.converge()
    problem = done.of("far/app").problem
    assert problem is not None
    assert problem.code == "registry-unreachable"
    assert done.ends == {"near/app": ("retag", "done"), "far/app": ("hold", "held")}
    assert done.code == exits.HELD
    heals(two)
