"""`lian verify`: each way in which an image can be wrong is told as that, and nothing unread counts as well."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.attest.sign import attach
from reconciler.attest.verify import Vouched
from reconciler.audit.findings import Finding, State, Verification, Verified
from reconciler.audit.scrub import Scrub
from reconciler.audit.verify import Options, verify
from reconciler.cli import exits
from reconciler.cli.views import verify as view
from reconciler.cli.views.text import as_json
from reconciler.model.artifact import Place
from reconciler.model.attestation import Statement, sbom_statement, signature_statement
from reconciler.model.canonical import canonical
from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.digest import Digest
from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact, index
from reconciler.model.plan import Action
from reconciler.model.policy import DriftPolicy, Policy, Response, SignPolicy
from reconciler.model.problem import LianError, Problem
from reconciler.model.provenance import PROVENANCE_PREDICATE, provenance_statement
from reconciler.model.record import ARTIFACT_TYPE, KEY_ANNOTATION, RECORD_LAYER, BuildRecord
from reconciler.model.reference import Reference, Repository
from reconciler.observe.ask import read_records
from reconciler.providers.signer.by_key import KeyVerifier
from reconciler.reconcile import Options as PassOptions
from reconciler.reconcile import reconcile_once
from tests import strategies as some
from tests.attest.keys import Pair
from tests.audit.shop import API, BASE, SITE, built, move, pierce, shop_commit, shop_world
from tests.cli.test_documents import checked
from tests.cli.test_views import steers
from tests.commits import AMD64, ARM64, HOST
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

PAIR = Pair()


def told(world: World, *only: str, **more: Any) -> Verification:
    return asyncio.run(verify(world.ports(), Options(only=only, **more), KeyVerifier))


def states(found: Verification) -> dict[str, str]:
    return {str(r.artifact): r.state.value for r in found.results}


def one(world: World, name: str, **more: Any) -> Verified:
    (result,) = told(world, name, **more).results
    return result


def codes(result: Verified) -> set[str]:
    return {finding.problem.code for finding in result.findings}


def digest_of(world: World, repository: Repository, tag: str = "latest") -> Digest:
    digest = world.tag(repository, tag)
    assert digest is not None
    return digest


def content_tag_of(world: World, repository: Repository) -> str:
    """The one that names what `latest` does."""
    whole = digest_of(world, repository)
    tags = {tag for (where, tag), named in world.registry.tags.items() if (where, named) == (repository, whole)}
    return next(tag for tag in sorted(tags) if re.fullmatch(r"lian-[0-9a-f]{40}", tag))


def config_of(world: World, repository: Repository) -> Digest:
    document = world.registry.manifests[repository, digest_of(world, repository)].document
    return Digest.parse(document["config"]["digest"])


@pytest.fixture
def shop(tmp_path: Path) -> World:
    return shop_world(tmp_path)


def test_all_is_well(shop: World) -> None:
    written = list(shop.registry.journal)
    for deep in (False, True):
        found = told(shop, deep=deep)
        assert states(found) == {"shop/api": "ok", "shop/base": "ok", "web/site": "ok"}
        assert exits.of_verification(found) == 0
        assert bool(found.read) == deep
        assert all(r.record and r.record.key == r.key for r in found.results)
    assert shop.registry.journal == written


def test_only_what_is_asked_for_is_told(shop: World) -> None:
    assert states(told(shop, "shop/api")) == {"shop/api": "ok"}
    assert states(told(shop, "web/*")) == {"web/site": "ok"}
    with pytest.raises(LianError) as error:
        told(shop, "web/sight")
    assert error.value.problems[-1].hint == "did you mean web/site?"


def test_what_is_missing_is_named_with_its_remedy(shop: World) -> None:
    pierce(shop, SITE)
    result = one(shop, "web/site")
    config = config_of(shop, SITE)
    assert (result.state, result.missing) == (State.BROKEN, (config,))
    assert result.remedy == "the next `lian reconcile` rebuilds it"
    found = told(shop)
    assert states(found) == {"shop/api": "ok", "shop/base": "ok", "web/site": "broken"}
    assert exits.of_verification(found) == 3
    built(shop)
    assert states(told(shop))["web/site"] == "ok"


@pytest.mark.parametrize(
    ("response", "remedy"), [(Response.HOLD, "holds it"), (Response.REPORT, "leaves it"), (Response.HEAL, "rebuilds")]
)
def test_the_remedy_is_what_the_policy_says(shop: World, response: Response, remedy: str) -> None:
    pierce(shop, SITE)
    shop.source.commit = replace(shop.source.commit, policy=Policy(drift=DriftPolicy(broken=response)))
    assert remedy in str(one(shop, "web/site").remedy)


def test_in_a_large_fleet_a_rebuild_may_take_its_turn(shop: World) -> None:
    pierce(shop, SITE)
    site = shop.source.commit.artifacts[-1]
    more = tuple(replace(site, tags=(f"t{n}",), name=site.name._replace(artifact=f"n{n}")) for n in range(40))
    shop.source.commit = replace(shop.source.commit, artifacts=(*shop.source.commit.artifacts, *more))
    assert "--only web/site` rebuilds it" in str(one(shop, "web/site").remedy)


def test_a_child_of_a_broken_parent_names_it(shop: World) -> None:
    pierce(shop, BASE)
    for only in ([], ["shop/api"]):
        child = next(r for r in told(shop, *only).results if str(r.artifact) == "shop/api")
        assert (child.state, [str(p) for p in child.parents]) == (State.OK, ["shop/base"])
    assert "its parent shop/base is broken" in shown(told(shop, "shop/api"))


def test_damaged_bytes_are_found_by_reading_alone(shop: World) -> None:
    for key in [key for key in shop.registry.blobs if key[0] == SITE]:
        shop.registry.blobs[key] = b"x" * len(shop.registry.blobs[key])
    assert one(shop, "web/site").state is not State.BROKEN
    result = one(shop, "web/site", deep=True)
    config = config_of(shop, SITE)
    assert (result.state, result.damaged, result.missing) == (State.BROKEN, (config,), ())
    assert "delete the damaged parts" in str(result.remedy)


@pytest.mark.parametrize(
    ("provider", "times"),
    [(RegistryProvider.DISTRIBUTION, 1), (RegistryProvider.ZOT, 2), (RegistryProvider.OCI_LAYOUT, 2)],
)
def test_a_blob_is_read_once_for_each_place_that_keeps_it(shop: World, provider: RegistryProvider, times: int) -> None:
    """docker-registry keeps a blob once, whichever repositories name it; zot may keep it for each."""
    whole = digest_of(shop, SITE)
    asyncio.run(shop.registry.copy(SITE, BASE, whole))
    scrub = Scrub(shop.registry, {HOST: RegistrySettings(provider, url=f"http://{HOST}")})

    async def both() -> None:
        await asyncio.gather(*(scrub.image(repository, whole) for repository in (SITE, BASE, SITE)))

    before = shop.points.seen.count("verified")
    asyncio.run(both())
    assert shop.points.seen.count("verified") - before == times


def test_what_one_repository_lost_is_read_in_another(shop: World) -> None:
    whole = digest_of(shop, SITE)
    asyncio.run(shop.registry.copy(SITE, BASE, whole))
    config = config_of(shop, SITE)
    del shop.registry.blobs[SITE, config]
    shop.registry.blobs[BASE, config] = b"x"
    scrub = Scrub(shop.registry, {HOST: RegistrySettings(RegistryProvider.HARBOR, url=f"http://{HOST}")})
    assert asyncio.run(scrub.image(SITE, whole)).damaged == []
    assert asyncio.run(scrub.image(BASE, whole)).damaged == [config]


def test_what_is_not_built_is_drift(shop: World) -> None:
    shop.source.commit = shop.source.commit.changed({"shop/base/app": b"changed"})
    found = told(shop)
    assert states(found) == {"shop/api": "drift", "shop/base": "drift", "web/site": "ok"}
    assert [codes(r) for r in found.results[:2]] == [{"image-absent"}, {"image-absent"}]
    assert "it stands on shop/base" in found.results[0].findings[0].problem.message
    assert exits.of_verification(found) == 2


def with_foreign(world: World, response: Response) -> World:
    world.source.commit = replace(world.source.commit, policy=Policy(drift=DriftPolicy(foreign=response)))
    return world


def hints(result: Verified) -> dict[str, str]:
    return {finding.problem.code: str(finding.problem.hint) for finding in result.findings}


def test_a_tag_that_points_elsewhere_is_drift_of_a_good_image(shop: World) -> None:
    move(shop, API, "1.4")
    del shop.registry.tags[API, "stable"]
    result = one(with_foreign(shop, Response.HEAL), "shop/api", deep=True)
    assert (result.state, codes(result)) == (State.DRIFT, {"tag-elsewhere", "tag-absent"})
    assert result.record is not None
    assert all("lian reconcile --once" in hint for hint in hints(result).values())
    assert one(built(shop), "shop/api").state is State.OK  # what the hint says


def test_what_a_pass_would_hold_is_held(shop: World) -> None:
    """A command that only holds is no remedy: what `lian diff` says is."""
    move(shop, API, "1.4")
    found = told(shop)
    assert states(found) == {"shop/api": "held", "shop/base": "ok", "web/site": "ok"}
    assert exits.of_verification(found) == 4
    (result, *_) = found.results
    assert codes(result) == {"tag-foreign", "tag-elsewhere"}
    assert "policy.drift.foreign" in hints(result)["tag-foreign"]
    assert "`lian diff`" in hints(result)["tag-elsewhere"]
    assert "lian reconcile" not in "".join(hints(result).values())
    (plan, _) = asyncio.run(reconcile_once(shop.ports(), PassOptions()))
    assert [str(c.artifact) for c in plan.changes if c.action is Action.HOLD] == ["shop/api"]


def test_a_tag_that_a_pass_leaves_is_drift_with_a_remedy_by_hand(shop: World) -> None:
    move(shop, API, "1.4")
    result = one(with_foreign(shop, Response.REPORT), "shop/api")
    assert (result.state, codes(result)) == (State.DRIFT, {"tag-elsewhere"})
    assert hints(result)["tag-elsewhere"].startswith("move it back")
    assert "policy.drift.foreign" in hints(result)["tag-elsewhere"]


def test_where_most_has_vanished_no_reconcile_is_advised(shop: World) -> None:
    shop.registry.tags = {key: named for key, named in shop.registry.tags.items() if "applied" in key[1]}
    found = told(shop)
    assert set(states(found).values()) == {"held"}
    assert {"mostly-vanished", "image-absent"} == {code for result in found.results for code in codes(result)}
    assert not any("reconcile" in hint for result in found.results for hint in hints(result).values())


def test_a_commit_older_than_what_was_applied_is_held(shop: World) -> None:
    older, newer = shop.source.commit, shop.source.commit.changed({"web/site/index": b"newer"})
    shop.source.commit = newer
    built(shop)
    shop.source.commit = older
    assert codes(one(shop, "web/site")) == {"superseded", "tag-elsewhere"}


def test_a_lost_content_tag_does_not_hide_the_image(shop: World) -> None:
    for tag in [tag for (where, tag) in shop.registry.tags if where == SITE and tag.startswith("lian-")]:
        del shop.registry.tags[SITE, tag]
    result = one(shop, "web/site")
    assert (result.state, codes(result)) == (State.DRIFT, {"tag-absent"})
    assert result.digest == digest_of(shop, SITE)


@pytest.mark.parametrize("what", ["latest", "parts", "records"])
def test_what_cannot_be_read_is_unknown(shop: World, what: str) -> None:
    shop.registry.unreadable.add(what)
    found = told(shop, "web/site")
    assert states(found) == {"web/site": "unknown"}
    assert exits.of_verification(found) == 4


def test_a_child_of_what_cannot_be_read_is_unknown_for_the_same_reason(shop: World) -> None:
    shop.registry.unreadable.add(content_tag_of(shop, BASE))
    found = told(shop)
    assert states(found) == {"shop/api": "unknown", "shop/base": "unknown", "web/site": "ok"}
    assert shown(found).count("the registry does not answer") == 1


@pytest.mark.parametrize("point", ["missing", "manifest", "verified", "referrers", "blob"])
def test_whatever_fails_nothing_counts_as_well(shop: World, point: str) -> None:
    shop.points.faults[point] = LianError(Problem("registry-unreachable", "the registry cannot be reached"))
    assert states(told(shop, deep=True)) == dict.fromkeys(["shop/api", "shop/base", "web/site"], "unknown")


@pytest.mark.parametrize("code", ["registry-wrong-digest", "registry-damaged"])
def test_wrong_bytes_are_broken_and_not_unknown(shop: World, code: str) -> None:
    shop.points.faults["manifest"] = LianError(Problem(code, "the bytes are others"))
    assert one(shop, "web/site").state is State.BROKEN


def record_of(world: World, repository: Repository) -> tuple[tuple[Repository, Digest], BuildRecord]:
    """The record's manifest's place, and the record."""
    key = next(
        key
        for key, manifest in world.registry.manifests.items()
        if key[0] == repository and manifest.document.get("artifactType") == ARTIFACT_TYPE
    )
    (record,) = asyncio.run(read_records(world.registry, repository, digest_of(world, repository)))
    return key, record


def attach_record(world: World, repository: Repository, record: BuildRecord, key: str | None = None) -> None:
    """As lian attaches one; `key` is what its annotation says."""
    data = canonical(record.to_json())
    subject = world.registry.manifests[repository, digest_of(world, repository)]
    manifest = artifact(
        ARTIFACT_TYPE,
        Descriptor.of(subject.media_type, subject.data),
        (Descriptor.of(RECORD_LAYER, data),),
        {KEY_ANNOTATION: key} if key else {},
    )
    blobs = {Digest.of(data): data, Digest.of(EMPTY_BLOB): EMPTY_BLOB}
    world.registry.blobs |= {(repository, digest): blob for digest, blob in blobs.items()}
    world.registry.put(repository, manifest)


def test_an_image_without_record_is_told(shop: World) -> None:
    place, _ = record_of(shop, SITE)
    del shop.registry.manifests[place]
    result = one(shop, "web/site")
    assert (result.state, codes(result), result.record) == (State.UNRECORDED, {"record-missing"}, None)
    assert exits.of_verification(told(shop)) == 3
    hint = str(result.findings[0].problem.hint)
    tag = content_tag_of(shop, SITE)
    assert tag in hint
    del shop.registry.tags[SITE, tag]  # what the hint says
    assert one(built(shop), "web/site").state is State.OK


def test_a_record_of_another_key_image_or_platform_is_told(shop: World) -> None:
    _, record = record_of(shop, SITE)
    other = Digest.of(b"other")
    builds = {p: replace(b, digest=other) for p, b in record.platforms.items()}
    for changed, expected in (
        (replace(record, key="0" * 64), "record-other-key"),
        (replace(record, digest=other), "record-other-image"),
        (replace(record, platforms=builds), "record-other-image"),
        (replace(record, platforms={}), "record-other-image"),
    ):
        shop.registry.manifests = {
            key: m for key, m in shop.registry.manifests.items() if m.document.get("artifactType") != ARTIFACT_TYPE
        }
        attach_record(shop, SITE, changed, changed.key)
        assert codes(one(shop, "web/site")) == {expected}, changed


def test_a_record_that_is_damaged_or_gone_is_no_record(shop: World) -> None:
    place, _ = record_of(shop, SITE)
    layer = next(
        layer["digest"]
        for layer in shop.registry.manifests[place].document["layers"]
        if layer["mediaType"] == RECORD_LAYER
    )
    shop.points.faults["blob"] = LianError(Problem("blob-unknown", f"{layer} is not there"))
    assert codes(one(shop, "web/site")) == {"record-unreadable"}


def test_many_records_of_other_keys_hide_none(shop: World) -> None:
    """Only five are read of an image; the annotation tells which."""
    _, record = record_of(shop, SITE)
    for number in range(1, 10):
        newer = replace(record, key=f"{number}" * 64, started=f"2030-01-0{number}T00:00:00Z")
        attach_record(shop, SITE, newer, newer.key)
    assert one(shop, "web/site").state is State.OK


def two_platforms(tmp_path: Path) -> World:
    commit = shop_commit()
    site = replace(commit.artifacts[-1], platforms=(AMD64, ARM64))
    return built(World(replace(commit, artifacts=(*commit.artifacts[:-1], site)), tmp_path))


def test_an_index_is_for_the_wanted_platforms(tmp_path: Path) -> None:
    world = two_platforms(tmp_path)
    assert one(world, "web/site", deep=True).state is State.OK
    whole = digest_of(world, SITE)
    children = world.registry.manifests[SITE, whole].document["manifests"]
    less = index({AMD64: Descriptor.from_json({**children[0], "platform": None})})
    world.registry.put(SITE, less)
    content = content_tag_of(world, SITE)
    world.registry.tags[SITE, content] = less.digest
    result = one(world, "web/site")
    assert "index-wrong" in codes(result)
    assert result.state is State.BROKEN
    first = Digest.parse(children[0]["digest"])
    world.registry.tags[SITE, content] = first
    assert "index-wrong" in codes(one(world, "web/site"))


def test_an_index_in_the_place_of_one_platform_is_wrong(shop: World) -> None:
    whole = digest_of(shop, SITE)
    only = shop.registry.manifests[SITE, whole]
    wrapped = index({AMD64: Descriptor.of(only.media_type, only.data)})
    shop.registry.put(SITE, wrapped)
    for tag in [tag for (where, tag), d in shop.registry.tags.items() if (where, d) == (SITE, whole)]:
        shop.registry.tags[SITE, tag] = wrapped.digest
    assert "index-wrong" in codes(one(shop, "web/site"))


def trusting(world: World, sign: SignPolicy | None = None) -> World:
    """The commit names the public key."""
    commit = world.source.commit
    files = {**commit.files, "keys/release.pub": PAIR.public_pem}
    world.source.commit = replace(commit, files=files, policy=Policy(verify_keys=("keys/release.pub",), sign=sign))
    return world


def sign(world: World, repository: Repository, statement: Statement | None = None, pair: Pair = PAIR) -> None:
    digest = digest_of(world, repository)
    subject = world.registry.manifests[repository, digest]
    descriptor = Descriptor.of(subject.media_type, subject.data)
    made = statement or signature_statement(digest)
    asyncio.run(attach(world.registry, repository, descriptor, made, pair.signer))


def test_a_signature_by_a_key_of_the_commit_holds(shop: World) -> None:
    trusting(shop)
    found = told(shop, "web/site")
    assert states(found) == {"web/site": "unsigned"}
    assert exits.of_verification(found) == 3
    sign(shop, SITE, pair=Pair())
    assert codes(one(shop, "web/site")) == {"signature-missing"}
    sign(shop, SITE)
    result = one(shop, "web/site")
    assert (result.state, [v.key for v in result.vouched]) == (State.OK, ["keys/release.pub"])
    assert told(shop).keys == ("keys/release.pub",)


def test_a_key_of_ones_own_is_trusted_in_place_of_the_commits(shop: World) -> None:
    """Who does not trust the commit does not trust the keys that it names."""
    trusting(shop)
    sign(shop, SITE)
    own = Pair(name="own.pub")
    assert one(shop, "web/site", keys=(own.verifier,)).state is State.UNSIGNED
    sign(shop, SITE, pair=own)
    assert one(shop, "web/site", keys=(own.verifier,)).state is State.OK


def test_a_key_of_the_commit_that_is_no_key_is_an_error_before_anything_is_asked(shop: World) -> None:
    trusting(shop)
    shop.source.commit = replace(shop.source.commit, files={**shop.source.commit.files, "keys/release.pub": b"no"})
    shop.points.seen.clear()
    with pytest.raises(LianError, match="verify-key-unreadable"):
        told(shop)
    assert shop.points.seen == ["load"]


def test_what_the_policy_attaches_is_asked_for(shop: World) -> None:
    scanner = Reference.parse(f"scanner@{Digest.of(b'')}")
    trusting(shop, SignPolicy(SourceRef(SourceKind.ENV, "SIGNING_KEY"), provenance=True, scanner=scanner))
    sign(shop, SITE)
    result = one(shop, "web/site")
    assert [f.problem.message.partition(" has ")[2] for f in result.findings] == [
        "no provenance by a trusted key",
        "no SBOM by a trusted key",
    ]
    _, record = record_of(shop, SITE)
    sign(shop, SITE, provenance_statement(record, "acme"))
    sign(shop, SITE, sbom_statement(digest_of(shop, SITE), {"spdxVersion": "SPDX-2.3"}))
    result = one(shop, "web/site")
    assert result.state is State.OK
    assert PROVENANCE_PREDICATE in result.to_json()["statements"]


def test_signatures_that_cannot_be_read_are_unknown(shop: World) -> None:
    trusting(shop)
    sign(shop, SITE)
    bundle = next(
        Digest.parse(m.document["layers"][0]["digest"])
        for m in shop.registry.manifests.values()
        if "sigstore" in str(m.document.get("artifactType"))
    )
    del shop.registry.blobs[SITE, bundle]
    assert one(shop, "web/site").state is State.UNKNOWN


def test_the_worst_state_counts(shop: World) -> None:
    trusting(shop)
    pierce(shop, SITE)
    result = one(shop, "web/site")
    assert {f.state for f in result.findings} >= {State.BROKEN, State.UNSIGNED}
    assert result.state is State.BROKEN


def test_an_invalid_artifact_is_told_by_the_commits_problem(shop: World) -> None:
    commit = shop.source.commit
    shop.source.commit = replace(commit, holds={"web/site": Problem("git-context", "not there yet")})
    found = told(shop)
    assert states(found)["web/site"] == "held"
    assert exits.of_verification(found) == 4
    bad = replace(commit.artifacts[-1], place=Place("x.ncl"), name=commit.artifacts[-1].name._replace(artifact="bad"))
    shop.source.commit = replace(commit, artifacts=(*commit.artifacts, bad))
    found = told(shop)
    assert states(found)["web/bad"] == "invalid"
    assert exits.of_verification(found) == 1


def shown(found: Verification, *, detailed: bool = True) -> str:
    stream = io.StringIO()
    view.show(found, stream, detailed=detailed)
    return stream.getvalue()


def test_what_is_said_of_it(shop: World) -> None:
    pierce(shop, SITE)
    text = shown(told(shop), detailed=False)
    assert "broken     web/site  registry.example:5000/www/site@" in text
    assert "           the next `lian reconcile` rebuilds it\n" in text
    assert "broken[image-broken]: 1 part of registry.example:5000/www/site@" in text
    assert text.endswith(": 2 ok, 1 broken\n")
    assert "shop/api" not in text
    assert "shop/api" in shown(told(shop), detailed=True)


def test_the_same_fault_is_told_once(shop: World) -> None:
    """A registry that is down is one problem, however many images are on it."""
    shop.registry.unreadable.add("parts")
    assert shown(told(shop)).count("the registry does not answer") == 1


def test_that_no_signature_was_looked_at_is_said(shop: World) -> None:
    stream = io.StringIO()
    view.show_notes(told(shop), stream)
    assert "signatures are not looked at" in stream.getvalue()


findings = st.builds(Finding, st.sampled_from(State), some.problems)
vouched = st.builds(Vouched, st.builds(Statement, st.just(()), some.texts), some.texts.filter(bool), some.digests)
verified = st.builds(
    Verified,
    some.artifact_names,
    some.repositories,
    st.lists(some.tags, max_size=2, unique=True).map(tuple),
    st.none() | some.digests,
    st.none() | some.hexes(64),
    st.lists(findings, max_size=2).map(tuple),
    st.lists(some.digests, max_size=1).map(tuple),
    st.lists(some.digests, max_size=1).map(tuple),
    st.none() | some.records,
    st.lists(vouched, max_size=1).map(tuple),
    st.lists(some.artifact_names, max_size=2, unique=True).map(tuple),
    st.none() | some.texts,
)
reports = st.builds(
    Verification,
    some.hexes(40),
    st.booleans(),
    st.lists(some.texts.filter(bool), max_size=1).map(tuple),
    st.lists(verified, max_size=2).map(tuple),
    st.integers(0, 1 << 50),
    st.lists(some.problems, max_size=1).map(tuple),
)


@settings(max_examples=25)
@given(reports)
def test_the_document_is_what_its_schema_says(report: Verification) -> None:
    document = checked("verify", as_json(report.to_json()))
    assert sum(document["summary"].values()) == len(document["results"])


@settings(max_examples=25)
@given(reports, st.booleans())
def test_nothing_in_it_steers_a_terminal(report: Verification, detailed: bool) -> None:
    assert not steers(shown(report, detailed=detailed))


def test_exit_codes_come_in_the_order_of_the_table() -> None:
    def of(*found: State, problems: tuple[Problem, ...] = ()) -> int:
        problem = Problem("a-code", "wrong")
        name, repository = shop_commit().artifacts[0].name, SITE
        results = tuple(Verified(name, repository, (), findings=(Finding(s, problem),)) for s in found)
        return exits.of_verification(Verification("", False, (), results, 0, problems))

    assert of() == 0
    assert [of(s) for s in State] == [3, 3, 3, 4, 0, 4, 2, 0]
    assert of(State.DRIFT, State.UNKNOWN) == 4
    assert of(State.DRIFT, State.UNKNOWN, State.BROKEN) == 3
    assert of(State.BROKEN, State.INVALID, problems=(Problem("a-code", "wrong"),)) == 1
