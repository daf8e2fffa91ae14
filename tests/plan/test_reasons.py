"""Every reason that is shown is a true difference, and every difference is shown."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.identity.resolve import Keyed
from reconciler.model.name import ArtifactName
from reconciler.model.plan import Action, ReasonCode
from reconciler.plan.compare import make_plan
from reconciler.plan.explain import without_secrets
from tests.commits import AMD64, ARM64, Commit, artifact
from tests.plan.evidence import Evidence, plan, resolved
from tests.plan.test_secret_looks import SECRET_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.identity.inputs import Inputs
    from reconciler.model.platform import Platform

ROOT = Path(__file__).parents[2]
NAME = ArtifactName("shop", "api")
FEW = st.dictionaries(st.sampled_from("ABC"), st.sampled_from("123"), max_size=3)


@st.composite
def versions(draw: st.DrawFn) -> Commit:
    """One artifact in which all that decides what it will be may be one thing or another."""
    contexts = {"libs": "libs", "tool": draw(st.sampled_from(["image:alpine:3", "image:alpine:4", "tool"]))}
    used = draw(st.lists(st.sampled_from([*contexts, "debian:12", "debian:13"]), unique=True))
    made = artifact(
        "shop/api",
        contexts=contexts,
        args=draw(FEW),
        labels=draw(FEW),
        secrets=draw(FEW),
        target=draw(st.sampled_from([None, "x", "y"])),
        os_epoch=draw(st.sampled_from([None, "1", "2"])),
        max_age=draw(st.sampled_from([None, 3_600, 86_400])),
        source_date_epoch=draw(st.integers(0, 2)),
        platforms=draw(st.sampled_from([(AMD64,), (ARM64,), (AMD64, ARM64)])),
    )
    files = {path: draw(st.sampled_from([b"1", b"2"])) for path in ("shop/api/app", "libs/a", "tool/b")}
    files["shop/api/Dockerfile"] = "".join(f"FROM {each}\n" for each in used or ["scratch"]).encode()
    pins = draw(st.sampled_from([{}, {"https://a.example/x": "sha256:1"}, {"https://a.example/x": "sha256:2"}]))
    frontend = draw(st.sampled_from([None, "docker/dockerfile:1", "docker/dockerfile:2"]))
    return Commit((made,), files, pins=pins, frontend=frontend, builder=draw(st.sampled_from([None, "v0.33.1"])))


def inputs_of(commit: Commit, evidence: Evidence) -> Mapping[Platform, Inputs]:
    identity = resolved(commit, evidence)[0].identities[NAME]
    assert isinstance(identity, Keyed)
    return identity.inputs


def leaves(inputs: Inputs) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path and value of each; the one kind of a named context is no part of its path."""
    for name, value in inputs.items():
        if name == "platform":
            continue
        for inner, one in value.items() if isinstance(value, dict) else [(None, value)]:
            text = next(iter(one.values())) if isinstance(one, dict) else one
            yield (name, inner) if inner else (name,), text if isinstance(text, str) else json.dumps(text)


def differing(
    old: Mapping[Platform, Inputs], new: Mapping[Platform, Inputs]
) -> Iterator[tuple[str, str | None, str | None]]:
    """What of it, old value, new value."""
    for platform in old.keys() ^ new.keys():
        text = str(platform)
        yield (text, text, None) if platform in old else (text, None, text)
    for platform in old.keys() & new.keys():
        before, after = dict(leaves(old[platform])), dict(leaves(new[platform]))
        for path in before.keys() | after.keys():
            if before.get(path) != after.get(path):
                yield path[-1], before.get(path), after.get(path)


@settings(max_examples=400)
@given(versions(), versions())
def test_reasons_are_the_differences_and_all_of_them(before: Commit, now: Commit) -> None:
    evidence = Evidence()
    old = inputs_of(before, evidence)
    evidence.apply(before.desired)
    resolution, observed = resolved(now, evidence)
    (change,) = make_plan(resolution, observed).changes
    expected = set(differing(old, inputs_of(now, evidence)))
    if not expected:
        assert (change.action, [reason.code for reason in change.reasons]) == (Action.NONE, [ReasonCode.IN_SYNC])
        return
    assert change.action is Action.BUILD
    assert len(change.reasons) == len(set(change.reasons))
    assert {(reason.old, reason.new) for reason in change.reasons} == {(a, b) for _, a, b in expected}
    for reason in change.reasons:
        assert reason.subject is None or (reason.subject, reason.old, reason.new) in expected


@pytest.mark.parametrize("what", SECRET_VALUES)
@pytest.mark.parametrize("kind", ["args", "labels"])
def test_a_value_that_looks_like_a_secret_is_hidden_in_reasons_and_counts_all_the_same(what: str, kind: str) -> None:
    def said(a: str, b: str) -> Commit:
        values = {"A": a, "B": b}
        return Commit((artifact("shop/api", args=values) if kind == "args" else artifact("shop/api", labels=values),))

    before, now = SECRET_VALUES[what], f"{SECRET_VALUES[what]} again"
    commit, evidence = said(before, "1"), Evidence()
    evidence.apply(commit.desired)
    commit = said(now, "2")
    (change,) = plan(commit, evidence).changes
    told = [(reason.subject, reason.old, reason.new) for reason in change.reasons]
    assert (change.action, told) == (Action.BUILD, [("A", "***", "***"), ("B", "1", "2")])


def test_a_value_whose_name_says_so_is_hidden_too() -> None:
    commit, evidence = Commit((artifact("shop/api"),)), Evidence()
    evidence.apply(commit.desired)
    commit = commit.changed(artifacts=(artifact("shop/api", args={"NPM_TOKEN": "hunter2"}),))
    (change,) = plan(commit, evidence).changes
    assert [(reason.old, reason.new) for reason in change.reasons] == [(None, "***")]


def fetching(url: str, pin: str = "sha256:1", **args: str) -> Commit:
    return Commit((artifact("shop/api", args=args),), pins={url: pin})


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://a.example/x?t=hunter2", "https://a.example/x?***"),
        ("https://ci:hunter2@a.example/x", "https://***@a.example/x"),
        ("https://a.example/hunter2/x", "https://a.example/***/x"),
        (f"https://a.example/{SECRET_VALUES['a GitHub token']}/x", "https://a.example/***/x"),
        ("https://a.example/x.git#v1", "https://a.example/x.git#v1"),
    ],
)
def test_what_is_fetched_is_named_without_secrets(url: str, told: str) -> None:
    evidence, before = Evidence(), fetching(url, NPM_TOKEN="hunter2")
    evidence.apply(before.desired)
    (change,) = plan(fetching(url, "sha256:2", NPM_TOKEN="hunter2"), evidence).changes
    assert [(r.code, r.subject, r.old, r.new) for r in change.reasons] == [
        (ReasonCode.FETCHED_MOVED, told, "sha256:1", "sha256:2")
    ]
    inputs = without_secrets(inputs_of(before, Evidence())[AMD64])
    assert (inputs["args"], inputs["fetched"]) == ({"NPM_TOKEN": "***"}, {told: "sha256:1"})


def test_what_is_fetched_from_two_places_stays_two_without_their_secrets() -> None:
    pins = {"https://a.example/x?t=1": "sha256:1", "https://a.example/x?t=2": "sha256:2"}
    inputs = without_secrets(inputs_of(replace(fetching("x"), pins=pins), Evidence())[AMD64])
    assert inputs["fetched"] == {"https://a.example/x?***": "sha256:1", "https://a.example/x?*** (2)": "sha256:2"}


def test_a_secret_in_what_is_fetched_is_that_of_then_and_of_now() -> None:
    evidence = Evidence()
    evidence.apply(fetching("https://a.example/first/x", NPM_TOKEN="first").desired)
    (change,) = plan(fetching("https://a.example/second/x", NPM_TOKEN="second"), evidence).changes
    assert [(r.subject, r.old, r.new) for r in change.reasons] == [
        ("NPM_TOKEN", "***", "***"),
        ("https://a.example/***/x", "sha256:1", None),
        ("https://a.example/***/x", None, "sha256:1"),
    ]


def print_plans() -> None:
    """Of many fleets, each applied in part and then changed."""
    chance = random.Random(7)
    for _ in range(20):
        names = [f"w{n % 3}/a{n}" for n in range(12)]
        made, files = [], {}
        for place, name in enumerate(names):
            on = {f"p{n}": f"artifact:{p}" for n, p in enumerate(chance.sample(names[:place], min(place, 2)))}
            made.append(artifact(name, contexts=on, platforms=(AMD64, ARM64), tags=("1", "latest")))
            files[f"{name}/Dockerfile"] = ("".join(f"FROM {each}\n" for each in on) or "FROM alpine\n").encode()
        commit, evidence = Commit(tuple(made), files), Evidence()
        evidence.apply(commit.desired)
        for reference in sorted(evidence.heads, key=str):
            if chance.random() < 0.2:
                evidence.heads[reference] = None
        args = {f"A{n}": str(n) for n in range(5)}
        changed = [artifact(str(a.name), contexts={n: f"artifact:{c.artifact}" for n, c in a.contexts.items()},  # type: ignore[union-attr]
                            platforms=a.platforms, tags=a.tags, args=args if chance.random() < 0.3 else {})
                   for a in made]  # fmt: skip
        document: dict[str, Any] = plan(commit.changed(artifacts=tuple(changed)), evidence).to_json()
        sys.stdout.write(json.dumps(document) + "\n")


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_same_inputs_give_the_same_bytes_whatever_order_sets_have(seed: str) -> None:
    def printed(seed: str) -> bytes:
        words = [sys.executable, "-c", "from tests.plan.test_reasons import print_plans; print_plans()"]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(words, cwd=ROOT, env=env, check=True, capture_output=True).stdout

    assert printed(seed) == printed("0") != b""
