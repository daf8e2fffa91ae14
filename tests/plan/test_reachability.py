"""What goes from a repository and what stays: rule by rule, and on made-up repositories of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.applied import Applied, AppliedTag, History
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.model.policy import PrunePolicy
from reconciler.model.pruning import CLAIM_PREFIX, PRUNING_TAG, Announcement
from reconciler.model.record import ARTIFACT_TYPE, BuildRecord, PlatformBuild
from reconciler.model.reference import Repository
from reconciler.model.removal import Gone, Kept, Removal
from reconciler.model.stock import AttachedTag, Content, Stock, names_image
from reconciler.plan.reachability import Rules, Wants, ages_matter, attached, in_question, judge, staying, untouched

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY = 86_400.0
NOW = 1_000 * DAY
FLEET = "acme"
HERE = Repository("registry.example:5000", "shop/api")
PLATFORMS = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))


def d(name: str) -> Digest:
    return Digest.of(name.encode())


def content(name: str) -> str:
    """A content tag."""
    return f"lian-{d(name).hex[:40]}"


@dataclass
class Shelf:
    """A repository in the making."""

    tags: dict[str, Digest] = field(default_factory=dict)
    applied: dict[str, AppliedTag] = field(default_factory=dict)
    contents: dict[Digest, Content] = field(default_factory=dict)
    records: dict[Digest, tuple[BuildRecord, ...]] = field(default_factory=dict)
    referrers: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    left: Announcement | None = None

    def image(
        self,
        name: str,
        *tags: str,
        artifact: str = "shop/api",
        days: float | None = 100,
        parts: Iterable[str] = (),
        fleet: str = FLEET,
        given: bool = True,
    ) -> Digest:
        """An image with a content tag and these tags, which lian gave it if `given`; with a record unless `days` (since
        it was built) is None."""
        digest, names = d(name), list(parts)
        self.contents[digest] = Content(tuple(d(part) for part in names), d(f"{name} config"), size=10)
        self.tags |= dict.fromkeys([content(name), *tags], digest)
        for part in names:
            self.contents.setdefault(d(part), Content((), d(f"{part} config"), size=5))
            self.tags[content(part)] = d(part)
        if given:
            self.applied |= {tag: AppliedTag(digest, artifact, "0" * 40, 1) for tag in tags}
        if days is not None:
            self.record(name, artifact, days, names, fleet)
        return digest

    def record(self, name: str, artifact: str, days: float, parts: Iterable[str] = (), fleet: str = FLEET) -> None:
        """Attach a build record."""
        started = datetime.fromtimestamp(NOW - days * DAY, UTC).isoformat()
        builds = {p: PlatformBuild("k", {}, d(part)) for p, part in zip(PLATFORMS, parts, strict=False)}
        made = BuildRecord(artifact, "0" * 40, "k", d(name), builds, started, 1.0, fleet=fleet)
        self.records[d(name)] = (*self.records.get(d(name), ()), made)
        self.attach(f"{name} record {days}", name, ARTIFACT_TYPE)

    def attach(self, name: str, to: str, kind: str = "signature") -> Digest:
        """Something that refers to an image."""
        self.contents[d(name)] = Content(subject=d(to), artifact_type=kind, size=1)
        self.referrers[d(to)] = (*self.referrers.get(d(to), ()), d(name))
        return d(name)

    def foreign(self, name: str, *tags: str, parts: Iterable[str] = ()) -> Digest:
        """An image of someone else."""
        self.contents[d(name)] = Content(tuple(d(part) for part in parts), size=10)
        self.tags |= dict.fromkeys(tags, d(name))
        return d(name)

    def stock(self) -> Stock:
        applied = Applied(FLEET, History("0" * 40), self.applied) if self.applied else None
        return Stock(HERE, self.tags, applied, self.left, self.contents, self.records, self.referrers)


def rules(in_use: Iterable[Digest] = (), **policy: Any) -> Rules:
    return Rules(FLEET, PrunePolicy(**{"keep_last": 0, "min_age": int(DAY), **policy}), NOW, frozenset(in_use))


def judged(shelf: Shelf, wants: Wants | None = None, by: Rules | None = None) -> Removal:
    stock, wants, by = shelf.stock(), wants or Wants(), by or rules()
    removal = judge(stock, wants, by)
    if removal.chores:
        assert in_question(stock, wants, by)
    return attached(removal, stock)


def going(removal: Removal) -> set[Digest]:
    return {digest for image in removal.images for digest in (image.digest, *image.parts)}


API = {"shop/api"}


def test_what_is_wanted_stays_and_the_rest_of_its_artifact_is_outdated() -> None:
    shelf = Shelf()
    new, old = shelf.image("new", "latest"), shelf.image("old")
    removal = judged(shelf, Wants({"latest"}, {content("new")}, artifacts=API))
    assert [(i.digest, i.why, i.artifacts, i.tags) for i in removal.images] == [
        (old, Gone.OUTDATED, ("shop/api",), (content("old"),))
    ]
    assert (removal.images[0].size, removal.images[0].built) == (10, NOW - 100 * DAY)
    assert (dict(removal.kept), removal.ours) == ({Kept.WANTED: 1}, 2)
    assert new not in going(removal)


def test_an_artifact_that_nobody_wants_is_orphaned() -> None:
    shelf = Shelf()
    gone = shelf.image("gone", "1.0", "latest")
    removal = judged(shelf)
    assert [(i.digest, i.why) for i in removal.images] == [(gone, Gone.ORPHANED)]
    assert list(removal.images[0].attached) == [d("gone record 100")]
    assert removal.tags == ()


def test_records_of_another_fleet_and_none_at_all_make_an_image_foreign() -> None:
    shelf = Shelf()
    shelf.image("other", "a", fleet="globex", given=False)
    shelf.image("old lian", "b", fleet="", given=False)
    shelf.image("nobody", "c", days=None, given=False)
    shelf.foreign("theirs", "latest")
    assert judged(shelf).images == ()
    assert judged(shelf).kept == {Kept.FOREIGN: 4}


def test_an_applied_document_alone_makes_it_ours() -> None:
    shelf = Shelf()
    gone = shelf.image("gone", "latest", days=None)
    assert going(judged(shelf)) == {gone}


def test_a_tag_that_lian_did_not_give_keeps_the_image() -> None:
    shelf = Shelf()
    shelf.image("gone", "latest")
    shelf.tags["mine"] = d("gone")
    assert judged(shelf).kept == {Kept.TAGGED_BY_OTHERS: 1}


def test_a_tag_that_someone_has_moved_is_not_lians_any_more() -> None:
    shelf = Shelf()
    shelf.image("one", "latest")
    shelf.image("two")
    shelf.tags["latest"] = d("two")
    removal = judged(shelf)
    assert going(removal) == {d("one")}
    assert removal.kept == {Kept.TAGGED_BY_OTHERS: 1}


def test_older_versions_of_a_wanted_artifact_stay_with_what_they_point_at() -> None:
    shelf = Shelf()
    shelf.image("v1", "1.0")
    shelf.image("v2", "1.1")
    removal = judged(shelf, Wants({"1.1"}, {content("v2")}, artifacts=API))
    assert removal.images == ()
    assert removal.kept == {Kept.WANTED: 1, Kept.VERSION_TAG: 1}
    assert going(judged(shelf)) == {d("v1"), d("v2")}, "its artifact is gone"


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"keep_tags": ("v*",)}, Kept.KEEP_TAG),
        ({"min_age": int(200 * DAY)}, Kept.YOUNG),
        ({"keep_tags": ("w*",)}, None),
        ({"min_age": int(99 * DAY)}, None),
    ],
)
def test_keep_rules(policy: dict[str, Any], why: Kept | None) -> None:
    shelf = Shelf()
    shelf.image("gone", "v1")
    removal = judged(shelf, by=rules(**policy))
    assert removal.kept == ({why: 1} if why else {})
    assert bool(removal.images) is (why is None)


def test_the_newest_of_a_wanted_artifact_stay_by_the_time_of_their_records() -> None:
    shelf = Shelf()
    for age in range(10, 60, 10):
        shelf.image(f"old{age}", days=age)
    shelf.image("now", "latest", days=35)
    shelf.image("gone", days=2, artifact="shop/gone")
    removal = judged(shelf, Wants({"latest"}, artifacts=API), rules(keep_last=3, min_age=0))
    assert going(removal) == {d("old40"), d("old50"), d("gone")}, "it is the third newest itself, and counts"
    assert removal.kept == {Kept.WANTED: 1, Kept.NEWEST: 3}


def test_a_rebuild_to_the_same_image_makes_it_young_again() -> None:
    shelf = Shelf()
    shelf.image("gone", days=100)
    shelf.record("gone", "shop/api", 0.5)
    assert judged(shelf).kept == {Kept.YOUNG: 1}


@pytest.mark.parametrize("started", ["", "yesterday", "2026-01-01T00:00:00"])
def test_an_image_whose_age_nobody_knows_is_young(started: str) -> None:
    shelf = Shelf()
    shelf.image("gone")
    shelf.records[d("gone")] = (replace(shelf.records[d("gone")][0], started=started),)
    assert judged(shelf).kept == {Kept.YOUNG: 1}


@pytest.mark.parametrize("named", ["gone", "gone config", "amd64", "amd64 config"])
def test_what_runs_somewhere_stays_whichever_digest_it_is_known_by(named: str) -> None:
    shelf = Shelf()
    shelf.image("gone", "latest", parts=["amd64", "arm64"])
    shelf.image("also gone")
    removal = judged(shelf, by=rules([d(named)]))
    assert going(removal) == {d("also gone")}
    assert removal.kept == {Kept.IN_USE: 1, Kept.PART: 2}


def test_an_index_goes_with_its_parts_and_what_refers_to_them() -> None:
    shelf = Shelf()
    top = shelf.image("gone", "latest", parts=["amd64", "arm64"])
    signed = [shelf.attach("signature", "gone"), shelf.attach("sbom", "amd64"), shelf.attach("signed sbom", "sbom")]
    shelf.tags[f"sha256-{top.hex}"] = d("list")
    shelf.tags[f"sha256-{d('amd64').hex}.sig"] = d("old signature")
    removal = judged(shelf)
    (image,) = removal.images
    assert (image.digest, image.parts, image.size) == (top, (d("amd64"), d("arm64")), 20)
    assert image.attached.keys() == {d("gone record 100"), d("old signature"), *signed}
    assert image.attached[d("signed sbom")] == d("sbom")
    assert set(image.lists) == {f"sha256-{top.hex}", f"sha256-{d('amd64').hex}.sig"}
    assert set(image.tags) == {"latest", content("gone"), content("amd64"), content("arm64")}


def test_what_a_kept_image_or_a_foreign_one_names_stays() -> None:
    shelf = Shelf()
    shelf.image("old", parts=["amd64", "old arm64"])
    shelf.image("new", "latest", parts=["amd64", "new arm64"])
    shelf.foreign("theirs", "mix", parts=["old arm64"])
    removal = judged(shelf, Wants({"latest"}, artifacts=API))
    assert going(removal) == {d("old")}
    assert removal.images[0].reach == {d("old"), d("amd64"), d("old arm64")}
    assert removal.kept == {Kept.WANTED: 1, Kept.PART: 3, Kept.FOREIGN: 1}


def test_a_platform_that_is_an_image_of_its_own_now_stays() -> None:
    shelf = Shelf()
    shelf.image("wide", parts=["amd64", "arm64"])
    removal = judged(shelf, Wants(content={content("amd64")}, artifacts=API))
    assert going(removal) == {d("wide"), d("arm64")}


def test_a_shared_part_goes_with_the_last_that_names_it() -> None:
    shelf = Shelf()
    shelf.image("one", parts=["amd64", "arm64"])
    shelf.image("two", parts=["amd64", "arm64 too"])
    one, two = judged(shelf).images
    assert (one.parts, two.parts) == ((d("arm64"),), (d("amd64"), d("arm64 too")))
    assert d("amd64") in one.reach


def test_a_tag_goes_alone_where_the_image_is_wanted_for_another() -> None:
    shelf = Shelf()
    shelf.image("both", "api", "old", artifact="shop/api")
    shelf.applied["old"] = AppliedTag(d("both"), "shop/old", "0" * 40)
    removal = judged(shelf, Wants({"api"}, artifacts=API))
    assert removal.images == ()
    assert [(t.tag, t.artifact, t.digest) for t in removal.tags] == [("old", "shop/old", d("both"))]


def test_a_tag_stays_as_long_as_its_image_is_young() -> None:
    shelf = Shelf()
    shelf.image("both", "old", artifact="shop/old", days=0.1)
    assert not judged(shelf).any


def test_tags_and_digests_that_dockerfiles_name_are_wanted() -> None:
    shelf = Shelf()
    shelf.image("by tag", "1.0")
    shelf.image("by digest")
    shelf.image("neither")
    removal = judged(shelf, Wants({"1.0"}, digests={d("by digest")}))
    assert going(removal) == {d("neither")}
    assert removal.kept == {Kept.WANTED: 2}


def test_what_the_applied_document_names_in_vain_is_forgotten() -> None:
    shelf = Shelf()
    shelf.image("gone", "there")
    shelf.applied["away"] = AppliedTag(d("x"), "shop/old", "0" * 40)
    shelf.applied["wanted"] = AppliedTag(d("x"), "shop/api", "0" * 40)
    assert judged(shelf, Wants({"there"}, artifacts=API)).forget == ("away",)


# -- what an interrupted prune left, and untagged images ------------------------------------------------------------


def left(shelf: Shelf, *digests: Digest) -> None:
    shelf.left = Announcement({}, frozenset(digests), 0.0, FLEET, "x")
    shelf.tags[PRUNING_TAG] = d("announcement")


def test_what_an_interrupted_prune_left_goes() -> None:
    """The index is gone; a part without a tag and the record are not."""
    shelf = Shelf()
    shelf.image("gone", parts=["amd64", "arm64"])
    del shelf.contents[d("gone")], shelf.tags[content("gone")], shelf.tags[content("arm64")]
    left(shelf, d("gone"), d("amd64"), d("arm64"), d("gone record 100"))
    removal = judged(shelf)
    assert going(removal) == {d("amd64"), d("arm64")}
    assert removal.strays == {d("gone record 100"): d("gone")}
    assert removal.unfinished == d("announcement")


def test_what_it_left_of_an_image_that_stays_stays() -> None:
    shelf = Shelf()
    shelf.image("spared", "latest", parts=["amd64", "arm64"])
    left(shelf, d("spared"), d("amd64"), d("arm64"), d("spared record 100"))
    removal = judged(shelf, Wants({"latest"}, artifacts=API))
    assert (removal.images, dict(removal.strays)) == ((), {})
    assert removal.unfinished


def test_a_record_whose_image_is_gone_goes_with_its_list() -> None:
    shelf = Shelf()
    shelf.image("gone")
    tag = f"sha256-{d('gone').hex}"
    del shelf.contents[d("gone")], shelf.tags[content("gone")]
    shelf.tags[tag] = d("list")
    removal = judged(shelf)
    assert (removal.strays, removal.lists, removal.images) == ({d("gone record 100"): d("gone")}, (tag,), ())
    shelf.records[d("gone")] = (replace(shelf.records[d("gone")][0], fleet="globex"),)
    assert not judged(shelf).chores, "another fleet's"


def test_a_list_that_a_killed_prune_came_to_last_goes_with_the_next() -> None:
    """Image and record are gone already; nothing but what was announced tells that the list was the fleet's."""
    shelf = Shelf()
    shelf.image("there", "latest")
    tags = {f"sha256-{d('gone').hex}": d("list"), f"sha256-{d('gone').hex}.sig": d("old signature")}
    shelf.tags |= tags
    assert not judged(shelf, Wants({"latest"}, artifacts=API)).chores, "nobody knows whose"
    left(shelf, d("gone"), d("gone record 100"), d("there"))
    shelf.tags[f"sha256-{d('there').hex}"] = d("other list")
    removal = judged(shelf, Wants({"latest"}, artifacts=API))
    assert (removal.images, dict(removal.strays), set(removal.lists)) == ((), {}, set(tags))


@pytest.mark.parametrize(("days", "stays"), [(0.9, True), (1.1, False)])
def test_an_image_without_a_tag_may_be_a_build_under_way(days: float, stays: bool) -> None:
    shelf = Shelf()
    shelf.image("new", days=days)
    del shelf.tags[content("new")]
    shelf.tags[f"sha256-{d('new').hex}"] = d("list")
    removal = judged(shelf, by=rules(min_age=0))
    assert (going(removal) == set()) is stays
    assert [image.why for image in removal.images] == ([] if stays else [Gone.LEFT_OVER])


def test_claims_of_others_are_swept() -> None:
    shelf = Shelf()
    shelf.image("new", "latest")
    shelf.tags[f"{CLAIM_PREFIX}ab"] = d("claim")
    removal = judged(shelf, Wants({"latest"}, artifacts=API))
    assert (removal.any, removal.chores, dict(removal.claims)) == (False, True, {f"{CLAIM_PREFIX}ab": d("claim")})


# -- what has to be asked -------------------------------------------------------------------------------------------


def test_a_repository_whose_images_are_all_wanted_is_not_looked_into() -> None:
    shelf = Shelf()
    shelf.image("v1", "1.0")
    shelf.image("v2", "1.1", parts=["amd64", "arm64"])
    shelf.tags[f"sha256-{d('v2').hex}"] = d("list")
    wants = Wants({"1.1"}, {content("v2"), content("amd64"), content("arm64")}, artifacts=API)
    assert not in_question(shelf.stock(), wants, rules())
    assert untouched(shelf.stock(), wants, rules()).kept == {Kept.WANTED: 1, Kept.VERSION_TAG: 1}
    assert staying(shelf.stock(), wants, rules()) == {d("v1"), d("v2"), d("amd64"), d("arm64")}


def test_ages_matter_only_for_the_newest_of_wanted_artifacts() -> None:
    shelf = Shelf()
    shelf.image("gone", artifact="shop/gone")
    assert not ages_matter(shelf.stock(), Wants(artifacts=API), rules(keep_last=5))
    shelf.image("old")
    assert ages_matter(shelf.stock(), Wants(artifacts=API), rules(keep_last=5))
    assert not ages_matter(shelf.stock(), Wants(artifacts=API), rules(keep_last=0))


@pytest.mark.parametrize(
    ("tag", "image", "subject", "is_list"),
    [
        ("latest", True, None, None),
        (f"sha256-{'a' * 64}", False, Digest("sha256", "a" * 64), True),
        (f"sha256-{'a' * 64}.sig", False, Digest("sha256", "a" * 64), False),
        (f"sha256-{'a' * 64}.x", True, None, None),
        (f"sha512-{'a' * 64}", False, None, None),
        ("lian-applied-acme", False, None, None),
        ("lian-pruning", False, None, None),
        ("lian-pruning-ab", False, None, None),
        (f"lian-{'a' * 40}", True, None, None),
        ("lian-mine", True, None, None),
    ],
)
def test_what_tags_name(tag: str, image: bool, subject: Digest | None, is_list: bool | None) -> None:
    parsed = AttachedTag.parse(tag)
    assert names_image(tag) is image
    assert ((parsed.subject, parsed.is_list) if parsed else (None, None)) == (subject, is_list)


# -- all of it ------------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "e", "f")
PARTS = ("p", "q", "r")
images = st.fixed_dictionaries(
    {
        "artifact": st.sampled_from(["shop/api", "shop/old"]),
        "tags": st.sets(st.sampled_from(["1", "2", "latest"]), max_size=2),
        "days": st.none() | st.sampled_from([0.5, 3, 100]),
        "parts": st.lists(st.sampled_from(PARTS), max_size=2, unique=True),
        "fleet": st.sampled_from([FLEET, "globex"]),
        "given": st.booleans(),
    }
)
shelves = st.dictionaries(st.sampled_from(NAMES), images, max_size=5)
wanting = st.builds(
    Wants,
    tags=st.sets(st.sampled_from(["1", "latest"])),
    content=st.sets(st.sampled_from([content(n) for n in (*NAMES, *PARTS)]), max_size=2),
    digests=st.sets(st.sampled_from([d(n) for n in NAMES]), max_size=1),
    artifacts=st.sets(st.sampled_from(["shop/api"])),
)
policies = st.builds(
    rules,
    st.lists(st.sampled_from([d(n) for n in (*NAMES, *PARTS)]), max_size=1),
    keep_last=st.sampled_from([0, 1]),
    min_age=st.sampled_from([0, int(DAY)]),
    keep_tags=st.sampled_from([(), ("2",)]),
)


@given(shelves, wanting, policies)
def test_nothing_that_anything_reaches_goes_and_a_second_look_finds_nothing(
    made: dict[str, Any], wants: Wants, by: Rules
) -> None:
    shelf = Shelf()
    for name, how in made.items():
        shelf.image(name, *how.pop("tags"), **how)
    removal = judged(shelf, wants, by)
    gone = going(removal)
    stock = shelf.stock()
    after = {tag: digest for tag, digest in shelf.tags.items() if digest not in gone}
    assert gone.isdisjoint(stock.reach(after.values()))
    for tag, digest in shelf.tags.items():
        if tag in wants.tags | wants.content or digest in wants.digests:
            assert digest not in gone
    ours = {digest for digest, records in shelf.records.items() if any(r.fleet == FLEET for r in records)}
    ours |= {entry.digest for tag, entry in shelf.applied.items() if shelf.tags.get(tag) == entry.digest}
    assert all(image.digest in ours or image.digest in {d(part) for part in PARTS} for image in removal.images)
    assert not by.in_use & gone
    taken = gone | {digest for image in removal.images for digest in image.attached}
    shelf.tags = after
    shelf.contents = {digest: held for digest, held in shelf.contents.items() if digest not in taken}
    shelf.records = {digest: records for digest, records in shelf.records.items() if digest not in taken}
    shelf.referrers = {
        subject: left for subject, held in shelf.referrers.items() if (left := tuple(r for r in held if r not in taken))
    }
    assert not judged(shelf, wants, by).images
