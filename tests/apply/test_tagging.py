"""Each thing that speaks against moving a tag, by itself: what the plan saw, what is there now, and what becomes of it.

Two passes as wholes are in test_two_passes.py, prunes beside passes in test_prune_races.py."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.held import HeldBack
from reconciler.apply.outlasting import PATIENCE_SECONDS
from reconciler.apply.settling import ROUNDS
from reconciler.apply.tagging import Tagger
from reconciler.apply.witness import TRIES, Witness
from reconciler.model.applied import APPLIED_LAYER, APPLIED_TYPE, Applied, AppliedTag, History
from reconciler.model.canonical import canonical
from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact, packed
from reconciler.model.observed import ABSENT, Found, Observed
from reconciler.model.outcome import Outcome, Status
from reconciler.model.policy import Policy, SignPolicy
from reconciler.model.problem import LianError
from reconciler.model.pruning import PRUNING_LAYER, PRUNING_TAG, PRUNING_TYPE, Announcement
from reconciler.model.record import ARTIFACT_TYPE, RECORD_LAYER, BuildRecord
from reconciler.model.reference import Reference
from reconciler.observe.ask import read_records
from reconciler.reconcile import Options, reconcile_once
from tests import commits
from tests.commits import APPLIED_TAG, FLEET, Commit
from tests.fakes import World, image, problem
from tests.turns import LoopClock, Turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Sighting

OLDER, OURS, NEWER, STRANGE = "1" * 40, "2" * 40, "3" * 40, "4" * 40
API = commits.artifact("shop/api")
WHERE = API.image
KEY = "k" * 64


@dataclass
class Bench:
    """One repository, and a tagger of a pass on the commit OURS, whose plan saw what `saw` says."""

    world: World
    desired: Commit = field(default_factory=lambda: Commit((API,), revision=OURS, before=(OLDER,)))
    observed: Observed = field(default_factory=Observed)
    allow_older: bool = False
    images: dict[str, Manifest] = field(default_factory=dict)

    @property
    def registry(self) -> Any:
        return self.world.registry

    def image(self, name: str) -> Manifest:
        """An image that is in the repository, whatever points at it."""
        if name not in self.images:
            config = name.encode()
            self.registry.blobs[WHERE, Digest.of(config)] = config
            self.images[name] = image(config)
            self.registry.put(WHERE, self.images[name])
        return self.images[name]

    def points(self, tag: str, name: str | None) -> None:
        """Have a tag point at an image now, or at nothing."""
        self.registry.tags.pop((WHERE, tag), None)
        if name is not None:
            self.registry.tags[WHERE, tag] = self.image(name).digest

    def saw(self, tag: str, name: str | None) -> None:
        """What the plan was made from."""
        head: Sighting = ABSENT if name is None else Found(self.image(name).digest)
        self.observed.heads[Reference(WHERE, tag)] = head

    def record(self, name: str, revision: str, fleet: str = FLEET, key: str = KEY) -> None:
        """The image was built for that commit."""
        subject = self.image(name)
        record = BuildRecord("shop/api", revision, key, subject.digest, {}, "2026-01-01T00:00:00Z", 1.0, fleet=fleet)
        data = canonical(record.to_json())
        for blob in (data, EMPTY_BLOB):
            self.registry.blobs[WHERE, Digest.of(blob)] = blob
        about = Descriptor.of(subject.media_type, subject.data)
        self.registry.put(WHERE, artifact(ARTIFACT_TYPE, about, (Descriptor.of(RECORD_LAYER, data),), {}))

    def put(self, document: tuple[Manifest, dict[Digest, bytes]], tag: str = APPLIED_TAG) -> None:
        """Have a document lie in the repository."""
        manifest, blobs = document
        self.registry.blobs |= {(WHERE, digest): data for digest, data in blobs.items()}
        self.registry.put(WHERE, manifest)
        self.registry.tags[WHERE, tag] = manifest.digest

    def applied(
        self,
        history: History,
        name: str,
        *,
        tag: str = "latest",
        fleet: str = FLEET,
        revision: str | None = None,
        time: int = 0,
    ) -> None:
        """The applied document as a pass left it that pointed the tag at that image."""
        entry = AppliedTag(self.image(name).digest, "shop/api", revision or history.revision, time)
        self.put(Applied(fleet, history, {tag: entry}).packed())

    def document(self) -> Applied | None:
        """The applied document now."""
        digest = self.registry.tags.get((WHERE, APPLIED_TAG))
        if digest is None:
            return None
        layer = Digest.parse(self.registry.manifests[WHERE, digest].document["layers"][0]["digest"])
        return Applied.from_json(json.loads(self.registry.blobs[WHERE, layer]))

    def tagger(self) -> Tagger:
        self.world.source.commit = self.desired
        ports, desired = self.world.ports(), self.desired.desired
        return Tagger(ports, desired, self.observed, Witness(ports, desired, self.allow_older))

    def move(self, *tags: str, to: str = "wanted") -> tuple[str, ...]:
        """What a pass does with these tags."""
        manifest = self.image(to)
        return asyncio.run(self.tagger().tags(API, manifest, tags or ("latest",)))

    def now(self, tag: str = "latest") -> str | None:
        """Which image a tag points at."""
        digest = self.registry.tags.get((WHERE, tag))
        return next((name for name, manifest in self.images.items() if manifest.digest == digest), None)

    def held(self, *tags: str) -> str:
        """That the move is held back; the code of the problem."""
        before = {tag: self.now(tag) for tag in tags or ("latest",)}
        document = self.registry.tags.get((WHERE, APPLIED_TAG))
        with pytest.raises(HeldBack) as raised:
            self.move(*tags)
        assert {tag: self.now(tag) for tag in before} == before
        assert self.registry.tags.get((WHERE, APPLIED_TAG)) == document
        (told,) = raised.value.problems
        assert told.hint
        return told.code


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The plan saw `latest` at an older image of the fleet, and it is there still."""
    made = Bench(World(Commit((API,)), tmp_path))
    made.saw("latest", "before")
    made.points("latest", "before")
    return made


# -- nothing speaks against it ----------------------------------------------------------------------------------------


def test_a_tag_is_moved_and_the_document_says_so(bench: Bench) -> None:
    assert bench.move() == ("latest",)
    assert bench.now() == "wanted"
    document = bench.document()
    assert document is not None
    assert (document.fleet, document.history) == (FLEET, bench.desired.history)
    assert document.tags == {"latest": AppliedTag(bench.image("wanted").digest, "shop/api", OURS, 60)}


def test_a_tag_that_is_right_is_left_and_nothing_is_written(bench: Bench) -> None:
    bench.points("latest", "wanted")
    assert bench.move() == ()
    assert (bench.document(), bench.registry.journal) == (None, [])


def test_what_the_plan_saw_is_what_the_policy_was_asked_about(bench: Bench) -> None:
    """Also an image that nobody of the fleet made: that the plan goes on means that the policy lets it."""
    bench.saw("latest", "foreign")
    bench.points("latest", "foreign")
    assert bench.move() == ("latest",)


def test_entries_of_other_tags_stay_in_the_document(bench: Bench) -> None:
    bench.applied(History(OLDER), "other", tag="other", time=3)
    bench.move()
    document = bench.document()
    assert document is not None
    assert {tag: entry.revision for tag, entry in document.tags.items()} == {"other": OLDER, "latest": OURS}


# -- a newer commit was applied meanwhile -----------------------------------------------------------------------------

NEWER_HISTORIES: dict[str, tuple[History, dict[str, Any], set[str]]] = {
    "git knows it": (History(NEWER), {}, {NEWER}),
    "only its own ancestors tell": (History.of(NEWER, 0, (OURS, OLDER), complete=False), {}, set()),
    "only the time tells": (History(NEWER), {"time": 61}, set()),
    "a branch wrote the document since, git knows": (History(STRANGE), {"revision": NEWER}, {NEWER}),
    "a branch wrote the document since, the time tells": (History(STRANGE), {"revision": NEWER, "time": 61}, set()),
}


@pytest.mark.parametrize("case", NEWER_HISTORIES)
@pytest.mark.parametrize("seen", ["before", "newer", None], ids=["moved since the plan", "seen by the plan", "absent"])
def test_a_newer_commit_is_not_rolled_back(bench: Bench, case: str, seen: str | None) -> None:
    history, entry, known = NEWER_HISTORIES[case]
    bench.world.source.descendants = known
    bench.applied(history, "newer", **entry)
    bench.saw("latest", seen)
    bench.points("latest", "newer" if seen else None)
    assert bench.held() == "superseded"
    bench.allow_older = True
    if seen == "newer":
        assert bench.move() == ("latest",)


def test_a_newer_commit_that_has_not_come_to_this_tag_yet_holds_it_too(bench: Bench) -> None:
    bench.world.source.descendants = {NEWER}
    bench.applied(History(NEWER), "other", tag="other")
    assert bench.held() == "superseded"


NOT_NEWER = {
    "an older commit, git knows": (History(OLDER), 0),
    "an older commit, our own ancestors tell": (History(OLDER, time=999), 999),
    "the same commit": (History(OURS), 0),
    "the same commit, at a later time": (History(OURS, 999), 999),
    "a commit beside ours": (History.of(STRANGE, 999, (OLDER,), complete=True), 0),
    "an unknown commit, earlier": (History(STRANGE), 59),
    "an unknown commit, at the same time": (History(STRANGE), 60),
}
"""What the document tells of the commit that wrote last, and the time of the one that moved the tag."""


@pytest.mark.parametrize("case", NOT_NEWER)
@pytest.mark.parametrize("seen", ["before", "theirs"], ids=["moved since the plan", "seen by the plan"])
def test_what_another_pass_did_for_a_commit_that_is_not_newer_is_moved_on(bench: Bench, case: str, seen: str) -> None:
    history, time = NOT_NEWER[case]
    bench.applied(history, "theirs", time=time)
    bench.saw("latest", seen)
    bench.points("latest", "theirs")
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert document.history == bench.desired.history


def test_another_fleets_document_says_nothing_of_ours(bench: Bench) -> None:
    """Neither that a commit is newer, nor whose a tag is; the repository's document is then that of whoever moves."""
    bench.world.source.descendants = {NEWER}
    bench.applied(History(NEWER), "theirs", fleet="umbrella")
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert (document.fleet, set(document.tags)) == (FLEET, {"latest"})
    bench.applied(History(NEWER), "theirs", fleet="umbrella")
    bench.points("latest", "theirs")
    assert bench.held() == "tag-moved-meanwhile"


# -- tags that must not move ------------------------------------------------------------------------------------------


def test_a_tag_that_must_not_move_is_set_once(bench: Bench) -> None:
    bench.desired = replace(bench.desired, policy=Policy(immutable_tags=("latest",)))
    bench.points("latest", None)
    assert bench.move() == ("latest",)
    assert bench.move() == ()
    bench.points("latest", "before")
    assert bench.held() == "tag-immutable"
    bench.allow_older = True
    assert bench.held() == "tag-immutable"


def test_one_that_is_there_holds_before_anything_is_built(bench: Bench) -> None:
    bench.desired = replace(bench.desired, policy=Policy(immutable_tags=("latest",)))
    with pytest.raises(HeldBack, match="tag-immutable"):
        bench.tagger().unless_stuck(API, ())
    bench.tagger().unless_stuck(API, ("latest",))
    bench.saw("latest", None)
    bench.tagger().unless_stuck(API, ())


# -- someone moved the tag since the plan was made --------------------------------------------------------------------

MEANWHILE: dict[str, tuple[list[tuple[str, str]], str | None]] = {
    "a pass of the same commit": ([(OURS, FLEET)], None),
    "a pass of an older commit": ([(OLDER, FLEET)], None),
    "a pass of a newer commit": ([(NEWER, FLEET)], "superseded"),
    "a newer commit built what an older one had": ([(OLDER, FLEET), (NEWER, FLEET)], "superseded"),
    "a pass of a commit that nobody knows": ([(STRANGE, FLEET)], "tag-moved-meanwhile"),
    "an unknown commit built what an older one had": ([(STRANGE, FLEET), (OLDER, FLEET)], None),
    "another fleet": ([(OURS, "umbrella")], "tag-moved-meanwhile"),
    "someone who knows nothing of lian": ([], "tag-moved-meanwhile"),
}


@pytest.mark.parametrize("case", MEANWHILE)
@pytest.mark.parametrize("seen", ["before", None], ids=["it was there", "it was not"])
def test_who_moved_it_is_told_by_the_images_record(bench: Bench, case: str, seen: str | None) -> None:
    records, code = MEANWHILE[case]
    bench.world.source.descendants = {NEWER}
    for revision, fleet in records:
        bench.record("theirs", revision, fleet)
    bench.saw("latest", seen)
    bench.points("latest", "theirs")
    if code is None:
        assert bench.move() == ("latest",)
    else:
        assert bench.held() == code


def test_records_that_cannot_be_read_hold(bench: Bench) -> None:
    bench.record("theirs", OLDER)
    bench.points("latest", "theirs")
    bench.registry.unreadable.add("records")
    assert bench.held() == "tag-moved-meanwhile"


def test_going_back_on_purpose_stops_at_what_others_pushed(bench: Bench) -> None:
    bench.allow_older = True
    bench.world.source.descendants = {NEWER}
    bench.record("theirs", NEWER)
    bench.points("latest", "theirs")
    assert bench.move() == ("latest",)
    bench.points("latest", "foreign")
    assert bench.held() == "tag-moved-meanwhile"


# -- what cannot be read ----------------------------------------------------------------------------------------------

GARBAGE = {
    "not JSON": packed(APPLIED_TYPE, APPLIED_LAYER, b"{"),
    "another version": packed(APPLIED_TYPE, APPLIED_LAYER, canonical({"kind": "applied", "version": 2})),
    "another artifact": packed("application/x", "application/x", b"{}"),
    "without its layer": packed(APPLIED_TYPE, "application/x", b"{}"),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_a_document_that_cannot_be_understood_is_an_error_and_stays(bench: Bench, case: str) -> None:
    """It may come from a newer lian."""
    bench.put(GARBAGE[case])
    there = bench.registry.tags[WHERE, APPLIED_TAG]
    with pytest.raises(Exception, match="document-unreadable"):
        bench.move()
    assert (bench.now(), bench.registry.tags[WHERE, APPLIED_TAG]) == ("before", there)


@dataclass
class Meanwhile(Turns):
    """Things that happen when a point is reached for the first time."""

    events: dict[str, Callable[[], None]] = field(default_factory=dict)

    async def at(self, point: str) -> None:
        self.seen.append(point)
        if event := self.events.pop(point, None):
            event()
        await asyncio.sleep(0)


def meanwhile(bench: Bench, events: dict[str, Callable[[], None]] | None = None, **more: Callable[[], None]) -> None:
    """When the pass reaches that point, this happens."""
    bench.registry.points = bench.world.source.points = Meanwhile(events=more if events is None else events)


def after(events: dict[str, Callable[[], None]], point: str, times: int, event: Callable[[], None]) -> None:
    """It happens when the point is reached for the first time after so many times."""
    events[point] = (lambda: after(events, point, times - 1, event)) if times else event


def test_a_document_that_cannot_be_understood_any_more_when_it_is_to_be_written_stays(bench: Bench) -> None:
    meanwhile(bench, tag=lambda: bench.put(GARBAGE["another version"]))
    with pytest.raises(Exception, match="document-unreadable"):
        bench.move()
    assert bench.now() == "wanted"
    manifest, _ = GARBAGE["another version"]
    assert bench.registry.tags[WHERE, APPLIED_TAG] == manifest.digest


@pytest.mark.parametrize("tag", ["latest", APPLIED_TAG])
def test_a_registry_that_does_not_answer_moves_nothing(bench: Bench, tag: str) -> None:
    bench.registry.unreadable.add(tag)
    with pytest.raises(Exception, match="registry-down"):
        bench.move()
    assert (bench.now(), bench.registry.journal) == ("before", [])


def test_a_document_that_is_lost_in_between_is_begun_anew(bench: Bench) -> None:
    bench.applied(History(OLDER), "other", tag="other")
    meanwhile(bench, tag=lambda: bench.points(APPLIED_TAG, None))
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert set(document.tags) == {"latest"}


def test_a_document_whose_content_is_gone_says_nothing(bench: Bench) -> None:
    bench.applied(History.of(NEWER, 99, (OURS,), complete=True), "newer")
    digest = bench.registry.tags[WHERE, APPLIED_TAG]
    layer = Digest.parse(bench.registry.manifests[WHERE, digest].document["layers"][0]["digest"])
    data = bench.registry.blobs.pop((WHERE, layer))
    bench.registry.points.faults["blob"] = problem("blob-unknown")
    assert bench.move() == ("latest",)
    bench.registry.points.faults.clear()
    bench.registry.blobs[WHERE, layer] = data


# -- several tags, several artifacts ----------------------------------------------------------------------------------


def test_what_was_moved_before_one_is_held_stays_and_is_in_the_document(bench: Bench) -> None:
    bench.desired = replace(bench.desired, policy=Policy(immutable_tags=("1.0",)))
    bench.points("1.0", "before")
    with pytest.raises(HeldBack, match="tag-immutable"):
        bench.move("latest", "1.0", "stable")
    assert [bench.now(tag) for tag in ("latest", "1.0", "stable")] == ["wanted", "before", None]
    document = bench.document()
    assert document is not None
    assert set(document.tags) == {"latest"}


def test_each_tag_is_looked_at_just_before_it_moves(bench: Bench) -> None:
    """The newer commit's pass writes its document between the two."""
    newer = History.of(NEWER, 120, (OURS, OLDER), complete=True)
    meanwhile(bench, published=lambda: bench.applied(newer, "newer", tag="other"))
    with pytest.raises(HeldBack, match="superseded"):
        bench.move("latest", "stable")
    assert [bench.now(tag) for tag in ("latest", "stable")] == ["wanted", None]
    document = bench.document()
    assert document is not None
    assert {tag: entry.revision for tag, entry in document.tags.items()} == {"other": NEWER, "latest": OURS}


def test_artifacts_of_one_repository_do_not_lose_one_anothers_entries(bench: Bench) -> None:
    async def all_at_once() -> None:
        tagger = bench.tagger()
        manifest = bench.image("wanted")
        await asyncio.gather(*(tagger.tags(API, manifest, [f"t{number}"]) for number in range(8)))

    asyncio.run(all_at_once())
    document = bench.document()
    assert document is not None
    assert set(document.tags) == {f"t{number}" for number in range(8)}


def test_a_cancelled_move_leaves_what_it_did_in_the_document(bench: Bench) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(bench.tagger().tags(API, bench.image("wanted"), ["latest", "stable", "more"]))
        bench.world.points.arrivals["published"] = arrived = asyncio.Event()
        await arrived.wait()
        bench.world.points.arrivals.clear()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    document = bench.document()
    assert document is not None
    assert {tag for tag in ("latest", "stable", "more") if bench.now(tag) == "wanted"} == set(document.tags)


# -- a newer commit's pass wrote between the last look and the move ---------------------------------------------------


def overtaken(bench: Bench, **entry: Any) -> None:
    """Just before our move is made, a newer commit's pass moves the tag, writes that down, and ends."""

    def newer_pass() -> None:
        bench.points("latest", "newer")
        bench.applied(History.of(NEWER, 120, (OURS, OLDER), complete=True), "newer", **entry)

    meanwhile(bench, tag=newer_pass)


def test_what_was_moved_over_a_newer_commits_tag_goes_back(bench: Bench) -> None:
    overtaken(bench)
    with pytest.raises(HeldBack, match="superseded"):
        bench.move()
    document = bench.document()
    assert document is not None
    assert (bench.now(), document.history.revision, document.tags["latest"].revision) == ("newer", NEWER, NEWER)


def test_it_goes_back_to_the_newest_however_many_there_were(bench: Bench) -> None:
    """While it goes back, the next commit's pass comes."""
    newest = "5" * 40

    def newest_pass() -> None:
        bench.points("latest", "newest")
        bench.applied(History.of(newest, 180, (NEWER, OURS, OLDER), complete=True), "newest")

    def newer_pass() -> None:
        bench.points("latest", "newer")
        bench.applied(History.of(NEWER, 120, (OURS, OLDER), complete=True), "newer")
        bench.registry.points.events["tag"] = newest_pass

    meanwhile(bench, tag=newer_pass)
    with pytest.raises(HeldBack, match="superseded"):
        bench.move()
    document = bench.document()
    assert document is not None
    assert (bench.now(), document.tags["latest"].revision) == ("newest", newest)


def test_all_of_it_goes_back_also_if_one_does_not_read_back_so_at_first(bench: Bench) -> None:
    """A newer commit's pass has moved two tags; while they go back, someone moves the second once more."""
    entry = AppliedTag(bench.image("newer").digest, "shop/api", NEWER, 120)

    def newer_pass() -> None:
        for tag in ("latest", "stable"):
            bench.points(tag, "newer")
        newer = History.of(NEWER, 120, (OURS, OLDER), complete=True)
        bench.put(Applied(FLEET, newer, {"latest": entry, "stable": entry}).packed())
        after(events, "read back", 2, lambda: bench.points("stable", "else"))

    events: dict[str, Callable[[], None]] = {}
    after(events, "tag", 1, newer_pass)
    meanwhile(bench, events)
    with pytest.raises(HeldBack, match="superseded"):
        bench.move("latest", "stable")
    document = bench.document()
    assert document is not None
    assert [bench.now(tag) for tag in ("latest", "stable")] == ["newer", "newer"]
    assert document.tags == {"latest": entry, "stable": entry}


def test_going_back_on_purpose_gives_nothing_back(bench: Bench) -> None:
    bench.allow_older = True
    overtaken(bench)
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert (bench.now(), document.history.revision) == ("wanted", OURS)


def test_what_the_newer_commit_did_not_move_stays_where_it_was_moved(bench: Bench) -> None:
    """Its own pass has yet to come to it; the document stays the newer commit's."""
    overtaken(bench, tag="other")
    bench.registry.points.events["tag"] = lambda: bench.applied(
        History.of(NEWER, 120, (OURS, OLDER), complete=True), "newer", tag="other"
    )
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert (bench.now(), document.history.revision) == ("wanted", NEWER)
    assert {tag: entry.revision for tag, entry in document.tags.items()} == {"other": NEWER, "latest": OURS}


def test_what_an_older_commit_moved_meanwhile_is_no_reason_to_go_back(bench: Bench) -> None:
    meanwhile(bench, tag=lambda: bench.applied(History(OLDER), "before"))
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert (bench.now(), document.history.revision) == ("wanted", OURS)


# -- others write in the same moment ----------------------------------------------------------------------------------


def test_a_document_that_another_writes_over_is_written_again_with_theirs(bench: Bench) -> None:
    """Between our write and its reading back a pass for a branch writes its own."""
    events: dict[str, Callable[[], None]] = {}
    after(events, "read back", 1, lambda: bench.applied(History(STRANGE), "other", tag="other"))
    meanwhile(bench, events)
    assert bench.move() == ("latest",)
    document = bench.document()
    assert document is not None
    assert {tag: entry.revision for tag, entry in document.tags.items()} == {"other": STRANGE, "latest": OURS}


def test_a_document_that_never_reads_back_so_is_an_error(bench: Bench) -> None:
    """The registry loses it."""

    class Losing(Meanwhile):
        async def at(self, point: str) -> None:
            await super().at(point)
            if point == "read back":
                bench.points(APPLIED_TAG, None)

    bench.registry.points = bench.world.source.points = Losing()
    with pytest.raises(LianError, match="tag-not-moved"):
        bench.move()
    assert (bench.now(), bench.registry.points.seen.count("applied")) == ("wanted", TRIES)


@pytest.mark.parametrize("tag", ["lian-", "latest"])
def test_a_registry_that_loses_a_tag_is_told_after_some_tries(tmp_path: Path, tag: str) -> None:
    world = World(Commit((API,), {"shop/api/Dockerfile": b"FROM scratch\n"}), tmp_path)
    lost = []

    class Losing(Meanwhile):
        async def at(self, point: str) -> None:
            await super().at(point)
            if point == "read back":
                for key in [key for key in world.registry.tags if key[1].startswith(tag)]:
                    lost.append(world.registry.tags.pop(key))

    world.registry.points = Losing()
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert status(outcome) == (Status.FAILED, "tag-not-moved")
    assert len(lost) == ROUNDS


# -- which image counts -----------------------------------------------------------------------------------------------


def counts(bench: Bench, *, replaces: bool = False) -> str | None:
    """Of two images of the same inputs, one just built and one under the content tag."""
    tagger, ours = bench.tagger(), bench.image("wanted")
    found = asyncio.run(tagger.counting(API, KEY, "lian-content", ours, replaces=replaces))
    return next(name for name, manifest in bench.images.items() if manifest.digest == found)


def test_the_image_under_the_content_tag_counts_unless_it_is_to_be_replaced(bench: Bench) -> None:
    assert counts(bench) == "wanted"
    bench.points("lian-content", "theirs")
    assert (counts(bench), counts(bench, replaces=True)) == ("theirs", "wanted")


def test_an_image_of_the_same_inputs_that_a_fixed_tag_names_counts_most(bench: Bench) -> None:
    bench.desired = replace(bench.desired, policy=Policy(immutable_tags=("latest",)))
    bench.points("lian-content", "theirs")
    bench.points("latest", "fixed")
    assert counts(bench) == "theirs"
    bench.record("fixed", OURS, key="f" * 64)
    assert counts(bench) == "theirs"
    bench.record("fixed", OURS)
    assert (counts(bench), counts(bench, replaces=True)) == ("fixed", "wanted")


@pytest.mark.parametrize("signed", [False, True], ids=["by nobody", "by the fleet"])
def test_where_the_fleet_signs_only_what_it_signed_counts(tmp_path: Path, signed: bool) -> None:
    """Whoever may push could put his image under the content tag while this pass builds."""
    rules = Policy(sign=SignPolicy(SourceRef(SourceKind.FILE, "/etc/lian/sign.key")))
    world = World(replace(Commit((API,), {"shop/api/Dockerfile": b"FROM scratch\n"}), policy=rules), tmp_path)
    world.builder.reproducible = False
    asyncio.run(reconcile_once(world.ports(), Options()))
    registry = world.registry
    content = next(tag for _, tag in registry.tags if len(tag) == 45)
    theirs = registry.tags.pop((WHERE, content))
    registry.tags.clear()
    if not signed:
        for key, manifest in list(registry.manifests.items()):
            if "subject" in manifest.document:
                del registry.manifests[key]

    events = {"pushed": lambda: registry.tags.update({(WHERE, content): theirs})}
    registry.points = world.builder.points = Meanwhile(events=events)
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert [r.status for r in outcome.results] == [Status.DONE]
    assert len({registry.tags[WHERE, tag] for tag in (content, "latest")}) == 1
    assert (registry.tags[WHERE, "latest"] == theirs) == signed


# -- prunes that announced themselves ---------------------------------------------------------------------------------


@dataclass
class Waiting:
    """A whole pass that has something to tag, in time that goes by at once. `then` happens so many seconds after."""

    world: World
    then: dict[float, Callable[[], None]] = field(default_factory=dict)
    took: float = 0.0

    def run(self) -> Outcome:
        async def both() -> Outcome:
            loop = asyncio.get_running_loop()
            for seconds, event in self.then.items():
                loop.call_later(seconds, event)
            _, outcome = await reconcile_once(self.world.ports(), Options())
            self.took = loop.time()
            return outcome

        ended = Turns().run({"pass": both()})["pass"]
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def announce(self, announced: Announcement) -> None:
        """As a prune does."""
        manifest, blobs = announced.packed()
        self.world.registry.blobs |= {(WHERE, digest): data for digest, data in blobs.items()}
        self.world.registry.put(WHERE, manifest)
        self.world.registry.tags[WHERE, PRUNING_TAG] = manifest.digest

    def remove(self, digest: Digest) -> None:
        """As a prune does: the image, all its tags, and its records."""
        manifests = self.world.registry.manifests
        for key, manifest in list(manifests.items()):
            if str(digest) in (str(manifest.digest), manifest.document.get("subject", {}).get("digest")):
                del manifests[key]
        for place in [place for place, named in self.world.registry.tags.items() if named == digest]:
            del self.world.registry.tags[place]

    @property
    def now(self) -> float:
        return self.world.clock.now


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    """A revert: the image was built before, and only its tag has to move."""
    first = Commit((API,), {"shop/api/Dockerfile": b"FROM scratch\n", "shop/api/app": b"1"})
    world = World(first, tmp_path)
    world.clock = LoopClock()
    made = Waiting(world)
    for commit in (first, first.changed({"shop/api/app": b"2"})):
        world.source.commit = commit
        assert [r.status for r in made.run().results] == [Status.DONE]
    world.source.commit = world.source.commit.changed(first.files)
    return made


def old_image(waiting: Waiting) -> Digest:
    """The one that is to be tagged again: not what `latest` names now."""
    tags = waiting.world.registry.tags
    return next(d for (_, tag), d in tags.items() if len(tag) == 45 and d != tags[WHERE, "latest"])


def status(outcome: Outcome) -> tuple[Status, str | None]:
    (result,) = outcome.results
    return result.status, result.problem.code if result.problem else None


def test_a_prune_that_threatens_nothing_of_ours_is_not_waited_for(waiting: Waiting) -> None:
    waiting.announce(Announcement({"gone": Digest.of(b"x")}, frozenset({Digest.of(b"x")}), waiting.now + 60))
    assert status(waiting.run()) == (Status.DONE, None)
    assert waiting.took == 0


@pytest.mark.parametrize("named", ["tag", "image"])
def test_one_that_is_withdrawn_is_waited_for_and_no_longer(waiting: Waiting, named: str) -> None:
    digest = old_image(waiting)
    tags, digests = ({"latest": digest}, set()) if named == "tag" else ({}, {digest})
    waiting.announce(Announcement(tags, frozenset(digests), waiting.now + 60))
    waiting.then[10.5] = lambda: waiting.announce(Announcement())
    assert status(waiting.run()) == (Status.DONE, None)
    assert 10.5 <= waiting.took < 12


def test_one_whose_time_is_over_is_waited_for_and_no_longer(waiting: Waiting) -> None:
    waiting.announce(Announcement({}, frozenset({old_image(waiting)}), waiting.now + 60))
    assert status(waiting.run()) == (Status.DONE, None)
    assert 60 <= waiting.took < 62


def test_what_it_took_is_put_again_with_its_record(waiting: Waiting) -> None:
    digest, registry = old_image(waiting), waiting.world.registry
    waiting.announce(Announcement({}, frozenset({digest}), waiting.now + 60))
    waiting.then = {5.0: lambda: waiting.remove(digest), 6.0: lambda: waiting.announce(Announcement())}
    assert status(waiting.run()) == (Status.DONE, None)
    assert registry.tags[WHERE, "latest"] == digest
    assert asyncio.run(read_records(registry, WHERE, digest))
    assert status(waiting.run()) == (Status.NONE, None)


def test_what_cannot_be_put_again_is_an_error_and_the_next_pass_builds(waiting: Waiting) -> None:
    """Its blobs are gone too."""
    digest, registry = old_image(waiting), waiting.world.registry

    def remove_all() -> None:
        waiting.remove(digest)
        registry.blobs.clear()

    waiting.announce(Announcement({}, frozenset({digest}), waiting.now + 60))
    waiting.then = {5.0: remove_all, 6.0: lambda: waiting.announce(Announcement())}
    ended = status(waiting.run())
    assert ended == (Status.FAILED, "manifest-refused")
    assert status(waiting.run()) == (Status.DONE, None)
    assert registry.tags[WHERE, "latest"] == digest


def test_patience_has_an_end(waiting: Waiting) -> None:
    """A prune that goes on and on, or a clock that is hours ahead."""
    waiting.announce(Announcement({}, frozenset({old_image(waiting)}), waiting.now + 7200))
    assert status(waiting.run()) == (Status.HELD, "prune-busy")
    assert PATIENCE_SECONDS <= waiting.took < PATIENCE_SECONDS + 2


def test_an_announcement_that_cannot_be_understood_is_an_error(waiting: Waiting) -> None:
    manifest, blobs = packed(PRUNING_TYPE, PRUNING_LAYER, canonical({"kind": "pruning", "version": 2}))
    waiting.world.registry.blobs |= {(WHERE, digest): data for digest, data in blobs.items()}
    waiting.world.registry.put(WHERE, manifest)
    waiting.world.registry.tags[WHERE, PRUNING_TAG] = manifest.digest
    assert status(waiting.run()) == (Status.FAILED, "document-unreadable")


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("point", ["announced", "publish manifest"])
def test_a_revert_that_ends_while_a_move_is_told_is_not_rolled_back(bench: Bench, point: str, knows: bool) -> None:
    """Our document goes over that of a newer commit, which went back to an image that an older one built: neither the
    document nor the image's record tells of it any more."""
    bench.applied(History.of(OLDER, 0, (), complete=True), "before", revision=OLDER)
    bench.record("before", OLDER)
    bench.record("old", OLDER)
    if knows:
        bench.world.source.descendants = {NEWER}

    def newer_pass() -> None:
        if bench.now() == "before":
            bench.points("latest", "old")
            bench.applied(History.of(NEWER, 120, (OURS, OLDER), complete=True), "old", time=120)

    meanwhile(bench, {point: newer_pass})
    with pytest.raises(HeldBack) as raised:
        bench.move()
    assert bench.now() == "old"
    assert raised.value.problems[0].code in {"tag-moved-meanwhile", "superseded"}
