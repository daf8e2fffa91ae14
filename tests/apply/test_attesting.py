"""What passes sign, and what they take over only if it is signed: with a key, on fakes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.attest.sign import attach
from reconciler.model.attestation import SBOM_PREDICATE, SIGNATURE_PREDICATE, sbom_statement, signature_statement
from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.digest import Digest
from reconciler.model.event import Noted
from reconciler.model.manifest import Descriptor
from reconciler.model.policy import Policy, SignPolicy
from reconciler.model.provenance import PROVENANCE_PREDICATE, provenance_of
from reconciler.model.reference import Reference, Repository
from reconciler.observe.ask import read_records
from reconciler.reconcile import Options, reconcile_once
from tests.attest.attached import verdict_on
from tests.commits import AMD64, ARM64, FLEET, Commit, artifact
from tests.fakes import FakeSigner, Points, World, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.attest.verify import Verdict
    from reconciler.model.outcome import Outcome
    from reconciler.model.platform import Platform

KEY = SourceRef(SourceKind.FILE, "/etc/lian/sign.key")
SCANNER = Reference.parse(f"scan.example:5000/syft:1@sha256:{'5c' * 32}")
PLAIN = SignPolicy(KEY, provenance=False)
FULL = SignPolicy(KEY)
WITH_SBOM = SignPolicy(KEY, scanner=SCANNER)
ALL = {SIGNATURE_PREDICATE, PROVENANCE_PREDICATE}


def commit_of(*names: str, sign: SignPolicy | None = FULL, **more: Any) -> Commit:
    """Artifacts with equal inputs, so that one may be copied from another."""
    files = {f"{name}/{file}": b"FROM scratch\n" for name in names for file in ("Dockerfile", "app")}
    return Commit(tuple(artifact(name, **more) for name in names), files, policy=Policy(sign=sign))


def world_of(folder: Path, *names: str, sign: SignPolicy | None = FULL, **more: Any) -> World:
    return World(commit_of(*(names or ("shop/api",)), sign=sign, **more), folder)


def signing(world: World, sign: SignPolicy | None) -> None:
    """From now on the fleet has this policy."""
    world.source.commit = world.source.commit.changed(policy=Policy(sign=sign))


def run(world: World) -> Outcome:
    """One pass; afterwards nothing may be out."""

    async def one() -> Outcome:
        _, outcome = await reconcile_once(world.ports(), Options())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome

    outcome = asyncio.run(one())
    assert not world.compute.out
    return outcome


def ends(outcome: Outcome) -> dict[str, tuple[str, str]]:
    return {str(r.artifact): (r.action.value, r.status.value) for r in outcome.results}


def image_of(world: World, number: int = 0) -> tuple[Repository, Digest]:
    """Where an artifact's image is."""
    repository = world.source.commit.artifacts[number].image
    digest = world.tag(repository, "latest")
    assert digest is not None
    return repository, digest


def found_on(world: World, repository: Repository, digest: Digest, key: SourceRef = KEY) -> Verdict:
    """What hangs there and holds."""

    return asyncio.run(verdict_on(world.registry, repository, digest, [FakeSigner(key.name, Points())]))


def kinds(found: Verdict) -> set[str]:
    assert (found.failures, found.unread) == ((), ())
    return {vouched.statement.predicate_type for vouched in found.vouched}


def platforms_of_record(world: World, repository: Repository, digest: Digest) -> dict[Platform, Digest]:
    (record,) = asyncio.run(read_records(world.registry, repository, digest))
    return {platform: build.digest for platform, build in record.platforms.items()}


def signatures(world: World) -> int:
    return world.registry.journal.count("signature")


def test_by_default_nothing_is_signed_and_no_key_is_looked_for(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=None)
    run(world)
    assert signatures(world) == 0
    assert not {"prepare", "sign", "verifier"} & set(world.points.seen)
    assert world.builder.requests[0].scanner is None


def test_what_is_built_is_signed_before_any_tag_moves(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    assert ends(run(world)) == {"shop/api": ("build", "done")}
    order = ["push by digest", "read back", "record", "signature", "signature", "content tag", "tag latest", "applied"]
    assert world.registry.journal == order
    assert world.points.seen.index("prepare") < world.points.seen.index("rent")
    assert kinds(found_on(world, *image_of(world))) == ALL


def test_the_provenance_is_what_the_record_says(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    run(world)
    repository, digest = image_of(world)
    (record,) = asyncio.run(read_records(world.registry, repository, digest))
    (vouched,) = found_on(world, repository, digest).of(PROVENANCE_PREDICATE)
    assert vouched.statement.predicate == provenance_of(record, FLEET, None).to_json()
    assert vouched.statement.subjects == (digest,)


def test_provenance_can_be_left_out(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=PLAIN)
    run(world)
    assert kinds(found_on(world, *image_of(world))) == {SIGNATURE_PREDICATE}


def test_several_platforms_are_signed_as_a_whole_and_each(tmp_path: Path) -> None:
    world = world_of(tmp_path, platforms=(AMD64, ARM64))
    run(world)
    repository, digest = image_of(world)
    whole = found_on(world, repository, digest)
    assert kinds(whole) == ALL
    platforms = platforms_of_record(world, repository, digest)
    (provenance,) = whole.of(PROVENANCE_PREDICATE)
    assert set(provenance.statement.subjects) == {digest, *platforms.values()}
    for one in platforms.values():
        assert kinds(found_on(world, repository, one)) == {SIGNATURE_PREDICATE}


def test_a_pass_without_drift_signs_nothing_and_reads_no_key(tmp_path: Path) -> None:
    """Also if what is there was built before signing was turned on."""
    world = world_of(tmp_path, sign=None)
    run(world)
    signing(world, FULL)
    world.points.seen.clear()
    assert ends(run(world)) == {"shop/api": ("none", "none")}
    assert signatures(world) == 0
    assert not {"prepare", "sign", "verifier", "referrers"} & set(world.points.seen)


def test_a_revert_only_moves_tags(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    run(world)
    first = world.source.commit
    world.source.commit = first.changed({"shop/api/app": b"new"})
    run(world)
    count = signatures(world)
    world.source.commit = world.source.commit.changed(first.files)
    world.points.seen.clear()
    assert ends(run(world)) == {"shop/api": ("retag", "done")}
    assert signatures(world) == count
    assert "prepare" not in world.points.seen


def test_without_the_key_nothing_is_built_and_it_is_asked_for_once(tmp_path: Path) -> None:
    world = world_of(tmp_path, "shop/a", "shop/b", "web/c")
    run(world)
    before = list(world.registry.journal)
    world.source.commit = world.source.commit.changed({"shop/a/app": b"new", "shop/b/app": b"newer"})
    world.points.faults["prepare"] = problem("signing-key-locked", "the private key cannot be opened")
    world.points.seen.clear()
    outcome = run(world)
    assert ends(outcome) == {"shop/a": ("build", "failed"), "shop/b": ("build", "failed"), "web/c": ("none", "none")}
    told = [r.problem for r in outcome.results if r.problem]
    assert [(p.code, p.artifact) for p in told] == [("signing-key-locked", "shop/a"), ("signing-key-locked", "shop/b")]
    assert world.points.seen.count("prepare") == 1
    assert "rent" not in world.points.seen
    assert world.registry.journal == before


@pytest.mark.parametrize("point", ["sign", "publish signature"])
def test_what_cannot_be_signed_stays_without_tags_and_the_next_pass_builds_it_again(tmp_path: Path, point: str) -> None:
    world = world_of(tmp_path)
    world.points.faults[point] = problem()
    outcome = run(world)
    assert ends(outcome) == {"shop/api": ("build", "failed")}
    assert world.registry.tags == {}
    world.points.faults.clear()
    assert ends(run(world)) == {"shop/api": ("build", "done")}
    assert kinds(found_on(world, *image_of(world))) == ALL
    assert ends(run(world)) == {"shop/api": ("none", "none")}


def test_signing_again_adds_no_second_signature(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.points.faults["content tag"] = problem()
    run(world)
    world.points.faults.clear()
    world.clock.now += 60
    run(world)
    assert len(found_on(world, *image_of(world)).of(SIGNATURE_PREDICATE)) == 1


def with_copy(world: World, *names: str) -> None:
    """The next commit wants the same content under another name too."""
    sign = world.source.commit.policy.sign
    wanted = commit_of("shop/api", *names, sign=sign, platforms=world.source.commit.artifacts[0].platforms)
    world.source.commit = world.source.commit.changed(wanted.files, artifacts=wanted.artifacts)


@pytest.mark.parametrize("platforms", [(AMD64,), (AMD64, ARM64)], ids=["one", "two"])
def test_a_copy_of_a_signed_image_brings_what_was_said_of_it(tmp_path: Path, platforms: Any) -> None:
    world = world_of(tmp_path, sign=WITH_SBOM, platforms=platforms)
    run(world)
    with_copy(world, "shop/copy")
    world.builder.built.clear()
    assert ends(run(world)) == {"shop/api": ("none", "none"), "shop/copy": ("retag", "done")}
    assert world.builder.built == []
    repository, digest = image_of(world, 1)
    assert (repository, digest) != image_of(world)
    assert kinds(found_on(world, repository, digest)) == (ALL | {SBOM_PREDICATE} if len(platforms) == 1 else ALL)
    for one in platforms_of_record(world, repository, digest).values():
        assert kinds(found_on(world, repository, one)) >= {SIGNATURE_PREDICATE, SBOM_PREDICATE}
    tags = [at for at, entry in enumerate(world.registry.journal) if entry == "content tag"]
    assert max(at for at, entry in enumerate(world.registry.journal) if entry == "copy") < tags[-1]


@pytest.mark.parametrize("by", [None, SourceRef(SourceKind.ENV, "STRANGER")], ids=["nobody", "a stranger"])
def test_an_image_that_the_fleet_did_not_sign_is_built_and_not_copied(tmp_path: Path, by: SourceRef | None) -> None:
    world = world_of(tmp_path, sign=SignPolicy(by) if by else None)
    run(world)
    with_copy(world, "shop/copy")
    signing(world, FULL)
    world.builder.built.clear()
    outcome = run(world)
    assert ends(outcome) == {"shop/api": ("none", "none"), "shop/copy": ("build", "done")}
    assert world.builder.built == ["shop/copy linux/amd64"]
    (noted,) = [e.text for e in world.recorder.of(Noted) if isinstance(e, Noted)]
    assert "is not signed with the fleet's key" in noted
    assert kinds(found_on(world, *image_of(world, 1))) == ALL


def test_a_copy_that_may_turn_into_a_build_counts_as_one(tmp_path: Path) -> None:
    """A person who allows no build gets none."""
    world = world_of(tmp_path, sign=None)
    run(world)
    with_copy(world, "shop/copy")
    signing(world, FULL)
    world.builder.built.clear()
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options(max_builds=0)))
    assert ends(outcome)["shop/copy"] == ("hold", "held")
    assert world.builder.built == []


def test_a_copy_that_turns_into_a_build_keeps_its_runner(tmp_path: Path) -> None:
    """Others of its workspace that end first do not take it away."""
    world = world_of(tmp_path, sign=None)
    run(world)
    with_copy(world, "shop/copy")
    signing(world, FULL)
    world.source.commit = world.source.commit.changed({"shop/api/app": b"new", "shop/copy/app": b"FROM scratch\n"})
    artifacts = (*world.source.commit.artifacts, artifact("shop/third"))
    world.source.commit = world.source.commit.changed({"shop/third/Dockerfile": b"FROM scratch\n"}, artifacts=artifacts)
    assert {status for _, status in ends(run(world)).values()} == {"done"}


@pytest.mark.parametrize("lost", ["signatures", "verifier", "prepare"])
def test_whether_a_copy_is_signed_must_be_known(tmp_path: Path, lost: str) -> None:
    world = world_of(tmp_path)
    run(world)
    with_copy(world, "shop/copy")
    world.builder.built.clear()
    if lost == "signatures":
        world.registry.unreadable.add(lost)
    else:
        world.points.faults[lost] = problem()
    assert ends(run(world)) == {"shop/api": ("none", "none"), "shop/copy": ("retag", "failed")}
    assert world.builder.built == []
    assert world.tag(world.source.commit.artifacts[1].image, "latest") is None
    world.registry.unreadable.clear()
    world.points.faults.clear()
    assert ends(run(world))["shop/copy"] == ("retag", "done")


def lose_the_whole(world: World) -> None:
    """Its platforms' content tags stay, as after a commit that wants one platform more."""
    whole = image_of(world)[1]
    for key in [key for key, digest in world.registry.tags.items() if digest == whole]:
        del world.registry.tags[key]


def test_platforms_that_the_fleet_signed_are_taken(tmp_path: Path) -> None:
    world = world_of(tmp_path, platforms=(AMD64, ARM64))
    run(world)
    lose_the_whole(world)
    world.builder.built.clear()
    assert ends(run(world)) == {"shop/api": ("build", "done")}
    assert world.builder.built == []


def test_platforms_that_somebody_put_there_are_built(tmp_path: Path) -> None:
    """Else whoever may push could have his image signed, as a part of one that is."""
    world = world_of(tmp_path, platforms=(AMD64, ARM64))
    run(world)
    repository, digest = image_of(world)
    good = platforms_of_record(world, repository, digest)
    lose_the_whole(world)
    planted = world.registry.manifests[repository, good[ARM64]]
    tag = next(tag for (_, tag), named in world.registry.tags.items() if named == good[AMD64])
    world.registry.tags[repository, tag] = _planted(world, repository, planted.data)
    world.builder.built.clear()
    assert ends(run(world)) == {"shop/api": ("build", "done")}
    assert world.builder.built == ["shop/api linux/amd64"]
    assert image_of(world)[1] == digest
    assert world.registry.tags[repository, tag] == good[AMD64]


def _planted(world: World, repository: Repository, like: bytes) -> Digest:
    """Another image, of the same parts."""
    manifest = replace(next(iter(world.registry.manifests.values())), data=like.replace(b"{", b'{"x":"planted",', 1))
    world.registry.put(repository, manifest)
    return manifest.digest


@pytest.mark.parametrize("platforms", [(AMD64,), (AMD64, ARM64)], ids=["one", "two"])
def test_what_a_scanner_says_is_signed_and_the_image_stays_what_it_is(tmp_path: Path, platforms: Any) -> None:
    (tmp_path / "plain").mkdir()
    plain = world_of(tmp_path / "plain", sign=None, platforms=platforms)
    run(plain)
    world = world_of(tmp_path, sign=WITH_SBOM, platforms=platforms)
    run(world)
    assert image_of(world) == image_of(plain)
    repository, digest = image_of(world)
    for one in platforms_of_record(world, repository, digest).values():
        (vouched,) = found_on(world, repository, one).of(SBOM_PREDICATE)
        assert vouched.statement == sbom_statement(one, {"spdxVersion": "SPDX-2.3"})
    assert {request.scanner for request in world.builder.requests} == {SCANNER}
    assert {host for lease in world.compute.rented for host in lease.hosts} >= {"scan.example:5000"}
    assert ends(run(world)) == {"shop/api": ("none", "none")}


def test_checks_are_not_scanned(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=WITH_SBOM, checks=("test",))
    run(world)
    assert [request.scanner for request in world.builder.requests] == [None, SCANNER]


def test_a_scanner_that_says_nothing_fails_the_build(tmp_path: Path) -> None:
    world = world_of(tmp_path, sign=WITH_SBOM)
    world.builder.sboms.clear()
    outcome = run(world)
    told = outcome.results[0].problem
    assert told is not None
    assert told.code == "sbom-missing"
    assert world.registry.tags == {}


def test_a_signature_on_another_image_does_not_count(tmp_path: Path) -> None:
    """A bundle that the fleet signed for one image is hung on another."""
    world = world_of(tmp_path, sign=None)
    run(world)
    repository, digest = image_of(world)

    async def forge() -> None:
        manifest = world.registry.manifests[repository, digest]
        subject = Descriptor.of(manifest.media_type, manifest.data)
        statement = signature_statement(Digest.of(b"another"))
        await attach(world.registry, repository, subject, statement, FakeSigner(KEY.name, Points()))

    asyncio.run(forge())
    with_copy(world, "shop/copy")
    signing(world, FULL)
    assert ends(run(world))["shop/copy"] == ("build", "done")
