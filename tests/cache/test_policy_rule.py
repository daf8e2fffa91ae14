"""What a registry is told follows from the fleet alone: in whatever order it is said, the same bytes. A fleet that no
registry could tell apart is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cache.namespace import Layout
from reconciler.cache.policy import harbor, tokens, zot
from reconciler.cache.policy.compare import Deployed, compare
from reconciler.cache.policy.findings import ANONYMOUS, Check, Finding, Kind, Standing, Who
from reconciler.cache.policy.rule import rule
from reconciler.cache.rights import READS, Ground
from reconciler.model.access import Access, ActorAccess
from reconciler.model.problem import LianError
from tests.cache.policies import ACCESS, ground
from tests.schemas.evaluation import validator
from tests.servers.docker_auth import granted

names = st.from_regex(r"[a-z0-9]{1,3}(-[a-z0-9]{1,2})?", fullmatch=True)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Access, Ground]:
    """Each account is one builder's."""
    workspaces = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    actors = draw(st.lists(names, max_size=3, unique=True))
    some = st.none() | st.lists(st.sampled_from(workspaces) | names, max_size=2, unique=True).map(tuple)
    access = Access(
        tuple(draw(st.permutations(["ci.main", "ci.night"]))),
        {actor: ActorAccess((f"user.{actor}", f"laptop.{actor}"), draw(some)) for actor in actors},
        tuple(draw(st.permutations(["root", "ops"]))),
        tuple(draw(st.permutations(["cluster", "laptops"]))),
    )
    images = st.tuples(st.sampled_from(workspaces), names).map(lambda pair: (pair[0], f"p{pair[0]}/{pair[1]}"))
    layouts = Layout("cache"), Layout(draw(st.sampled_from(["", "images"])))
    return access, Ground(*layouts, tuple(draw(st.lists(images, max_size=3, unique=True))), tuple(workspaces))


def in_projects(ground: Ground) -> Ground:
    return Ground(Layout("cache", True), Layout("sessions", True), ground.products, ground.workspaces)


def shuffled(fleet: tuple[Access, Ground], seed: int) -> tuple[Access, Ground]:
    chance = random.Random(seed)

    def other(values: Any) -> tuple[Any, ...]:
        return tuple(chance.sample(list(values), len(values)))

    access, place = fleet
    actors = {
        actor: ActorAccess(other(each.accounts), None if each.workspaces is None else other(each.workspaces))
        for actor, each in other(access.actors.items())
    }
    return (
        Access(other(access.ci), actors, other(access.admins), other(access.readers)),
        Ground(place.caches, place.sessions, other(place.products), other(place.workspaces)),
    )


def documents(access: Access, place: Ground) -> list[tuple[Any, Deployed, Any]]:
    ours, theirs = rule(access, place), rule(access, in_projects(place))
    return [
        (ours, zot.read(zot.render(ours)), zot.render(ours)),
        (ours, tokens.read(tokens.render(ours)), tokens.render(ours)),
        (harbor.named(theirs), harbor.read(harbor.render(theirs)), harbor.render(theirs)),
    ]


def test_readers_pull_products_and_see_no_caches() -> None:
    found = rule(
        Access(("ci",), {"ada": ActorAccess(("ada",))}, readers=("cluster",)),
        Ground(Layout("cache"), Layout(""), (("shop", "shop/api"),), ("shop",)),
    )
    given = {each.folder: each.of("cluster") for each in found.territories}
    assert given.pop("shop/api") == READS
    assert given
    assert not any(given.values())


@given(fleets(), st.integers(0, 99))
def test_the_order_in_which_a_fleet_is_told_does_not_matter(fleet: tuple[Access, Ground], seed: int) -> None:
    one, other = documents(*fleet), documents(*shuffled(fleet, seed))
    assert [json.dumps(text) for *_, text in one] == [json.dumps(text) for *_, text in other]


@given(fleets())
def test_what_is_rendered_for_any_fleet_is_found_equal(fleet: tuple[Access, Ground]) -> None:
    for ours, deployed, _ in documents(*fleet):
        assert compare(ours, deployed) == ()


@given(fleets(), fleets())
def test_what_is_deployed_stays_as_it_was_read(one: tuple[Access, Ground], two: tuple[Access, Ground]) -> None:
    """So that it may be compared with one rule after another."""
    for (ours, deployed, _), (theirs, *_) in zip(documents(*one), documents(*two), strict=True):
        compare(theirs, deployed)
        assert compare(ours, deployed) == ()


@given(fleets(), fleets())
def test_two_policies_are_equal_exactly_if_their_rights_are(
    one: tuple[Access, Ground], two: tuple[Access, Ground]
) -> None:
    ours, theirs = rule(*one), rule(*two)
    by_zot = compare(ours, zot.read(zot.render(theirs)))
    by_tokens = compare(ours, tokens.read(tokens.render(theirs)))
    assert bool(by_zot) == bool(by_tokens)
    same = set(ours.territories) == set(theirs.territories)
    assert not (same and by_zot)


def test_an_account_of_two_builders_is_refused() -> None:
    access = Access(("ci", "bob"), {"ada": ActorAccess(("shared",)), "bob": ActorAccess(("bob", "shared"))})
    with pytest.raises(LianError) as caught:
        rule(access, ground())
    assert [(problem.code, problem.message) for problem in caught.value.problems] == [
        ("cache-policy-account", "the account bob is that of CI and of bob"),
        ("cache-policy-account", "the account shared is that of ada and of bob"),
    ]


def test_caches_and_images_are_apart() -> None:
    layouts = Layout(""), Layout("images")
    for image in ("ci/shop", "images/dev/ada-shop", "images/dev/ada-shop/api"):
        with pytest.raises(LianError) as caught:
            rule(ACCESS, Ground(*layouts, (("shop", image),), ("shop",)))
        assert caught.value.problems[0].code == "cache-policy-place"
    assert rule(ACCESS, Ground(*layouts, (), ("shop",))).fences == ("ci", "dev", "images/dev")


@pytest.mark.parametrize(
    ("caches", "sessions"),
    [("", ""), ("cache", "cache"), ("dev/ada-shop", ""), ("cache", "cache/ci/shop")],
)
def test_prefixes_that_would_mix_sessions_and_caches_are_told_as_such(caches: str, sessions: str) -> None:
    with pytest.raises(LianError) as caught:
        rule(ACCESS, Ground(Layout(caches), Layout(sessions), (), ("shop",)))
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == ("cache-prefix-mixed", "lian.ncl")
    assert "`cache_prefix` and `images_prefix`" in problem.message
    assert problem.hint == "give them prefixes of which neither begins with the other"


@pytest.mark.parametrize("image", ["dev", "dev/a", "dev/ab", "dev/abc", "dev/tools", "dev/eve-shop/api"])
def test_an_image_where_only_sessions_have_theirs_keeps_its_rights(image: str) -> None:
    """However short its name is: zot takes the longest pattern, and it is the fence's that is long then."""
    ours = rule(ACCESS, Ground(Layout("cache"), Layout(""), (("shop", image),), ("shop",)))
    assert compare(ours, zot.read(zot.render(ours))) == ()
    assert compare(ours, tokens.read(tokens.render(ours))) == ()
    assert granted(tokens.render(ours)["acl"], "ci", image) == {"pull", "push", "delete"}


def test_a_check_says_what_it_found() -> None:
    findings = (
        Finding(Kind.OPENS, Who("ada"), "cache/ci/shop/**", "cache/ci/shop/x", ("create",), "repositories 'x'"),
        Finding(Kind.OPENS, ANONYMOUS, "shop/api", "shop/api", ("read",)),
        Finding(Kind.UNKNOWN, because="an entry that is not read"),
        *(Finding(Kind.LACKS, Who("crew", standing), "a", "b", ("pull",)) for standing in Standing),
    )
    document = Check("zot", "0" * 40, findings, ("a note",)).to_json()
    validator("cache_policy_check").validate(document)
    assert document["summary"] == {"opens": 2, "unknown": 1, "lacks": len(Standing)}
    assert document["findings"][1]["account"] is None
    assert not validator("cache_policy_check").is_valid({**document, "more": 1})
    assert [str(one.who) for one in findings[:2]] == ["ada", "anyone, without a login"]
