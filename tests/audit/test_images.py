"""`lian images`: only what is in sync is pinned, and every form says the same to the parser that will read it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shlex
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.audit.images import Images, LeftOut, Options, Pinned, Why, images, variable
from reconciler.cli import exits
from reconciler.cli.views import images as view
from reconciler.cli.views.text import as_json
from reconciler.model.digest import Digest
from reconciler.model.name import ArtifactName
from reconciler.model.plan import Action
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference, Repository
from tests import strategies as some
from tests.audit.shop import API, SITE, built, move, pierce, shop_world
from tests.cli.test_documents import checked
from tests.cli.test_views import change, steers
from tests.commits import HOST, artifact

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import World


def told(world: World, *only: str) -> Images:
    return asyncio.run(images(world.ports(), Options(only=only)))


@pytest.fixture
def shop(tmp_path: Path) -> World:
    return shop_world(tmp_path)


def names(found: Images) -> tuple[list[str], dict[str, str]]:
    return [str(p.artifact) for p in found.pinned], {str(o.change.artifact): o.why.value for o in found.left_out}


def test_all_that_is_in_sync_is_pinned(shop: World) -> None:
    found = told(shop)
    assert names(found) == (["shop/api", "shop/base", "web/site"], {})
    api = found.pinned[0]
    digest = shop.tag(API, "stable")
    assert str(api.reference) == f"{HOST}/shop/api:1.4@{digest}"
    assert found.pinned[2].image == SITE
    assert exits.of_images(found) == 0


def test_only_those_asked_for_without_what_they_stand_on(shop: World) -> None:
    assert names(told(shop, "shop/api"))[0] == ["shop/api"]
    assert names(told(shop, "shop/*"))[0] == ["shop/api", "shop/base"]
    with pytest.raises(LianError, match="selection-empty") as error:
        told(shop, "shop/apy")
    assert error.value.problems[0].hint == "did you mean shop/api?"


def test_what_has_to_be_built_is_left_out(shop: World) -> None:
    shop.source.commit = shop.source.commit.changed({"web/site/index": b"changed"})
    found = told(shop)
    assert names(found) == (["shop/api", "shop/base"], {"web/site": "drift"})
    assert exits.of_images(found) == 2


def test_one_tag_that_is_elsewhere_is_enough_to_be_left_out(shop: World) -> None:
    """The other tag still points at the right image: who pulls by tag would not get what the digest says."""
    move(shop, API, "1.4")
    assert names(told(shop))[1] == {"shop/api": "held"}
    assert exits.of_images(told(shop)) == 4


@pytest.mark.parametrize(("response", "code"), [(Response.HEAL, 2), (Response.HOLD, 4), (Response.REPORT, 2)])
def test_whatever_the_policy_says_to_it_a_drift_is_left_out(shop: World, response: Response, code: int) -> None:
    """`lian diff` passes over what is only reported; a deployment must not."""
    move(shop, SITE, "latest")
    policy = Policy(drift=DriftPolicy(foreign=response))
    shop.source.commit = replace(shop.source.commit, policy=policy)
    found = told(shop)
    assert list(names(found)[1]) == ["web/site"]
    assert exits.of_images(found) == code


def test_an_image_with_a_hole_is_left_out_whatever_the_policy_says(shop: World) -> None:
    pierce(shop, SITE)
    for response in Response:
        policy = Policy(drift=DriftPolicy(broken=response))
        shop.source.commit = replace(shop.source.commit, policy=policy)
        assert list(names(told(shop))[1]) == ["web/site"]


def test_unknown_is_held_and_the_rest_is_pinned(shop: World) -> None:
    shop.registry.unreadable.add("stable")
    found = told(shop)
    assert names(found) == (["shop/base", "web/site"], {"shop/api": "held"})
    assert exits.of_images(found) == 4


def test_an_invalid_directive_costs_itself_and_the_exit_code(shop: World) -> None:
    bad = artifact("shop/bad", contexts={"base": "artifact:shop/nothing"})
    shop.source.commit = replace(shop.source.commit, artifacts=(*shop.source.commit.artifacts, bad))
    found = told(shop)
    assert names(found)[1] == {"shop/bad": "invalid"}
    assert len(found.pinned) == 3
    assert exits.of_images(found) == 1
    assert shown(found).count("parent-unknown") == 1


def shown(found: Images) -> str:
    stream = io.StringIO()
    view.show_rest(found, stream)
    return stream.getvalue()


def test_what_is_left_out_is_named_with_its_reason(shop: World) -> None:
    shop.registry.unreadable.add("stable")
    shop.source.commit = shop.source.commit.changed({"web/site/index": b"changed"})
    text = shown(told(shop))
    assert "left out: web/site  to build: context changed: web/site/index" in text
    assert "left out: shop/api  held, because something could not be read" in text
    assert "held[registry-down]: the registry does not answer" in text
    assert "1 image in sync, 2 left out" in text
    assert shown(told(shop, "shop/base")) == ""


def test_text_is_a_line_for_each(shop: World) -> None:
    lines = view.document(told(shop), "text").splitlines()
    assert [line.split()[0] for line in lines] == ["shop/api", "shop/base", "web/site"]
    for line in lines:
        assert Reference.parse(line.split()[1]).digest is not None


def test_a_shell_reads_the_variables(shop: World) -> None:
    text = view.document(told(shop), "env")
    script = f'{text}printf "%s" "$SHOP_API_IMAGE"'
    ran = subprocess.run(["/bin/sh", "-euc", script], capture_output=True, text=True, check=True)
    assert ran.stdout == str(told(shop, "shop/api").pinned[0].reference)
    assert [line.partition("=")[0] for line in text.splitlines()] == [
        "SHOP_API_IMAGE",
        "SHOP_BASE_IMAGE",
        "WEB_SITE_IMAGE",
    ]


def test_two_artifacts_of_one_variable_are_an_error_also_if_one_is_not_in_sync(shop: World) -> None:
    files = {f"{name}/Dockerfile": b"FROM scratch\n" for name in ("a-b/c", "a/b-c")}
    both = (artifact("a-b/c"), artifact("a/b-c"))
    shop.source.commit = shop.source.commit.changed(files, artifacts=both)
    for world in (shop, built(shop)):
        with pytest.raises(LianError) as error:
            view.document(told(world), "env")
        (problem,) = error.value.problems
        assert (problem.code, problem.message) == ("variable-conflict", "a/b-c, a-b/c would both be A_B_C_IMAGE")
    assert view.document(told(shop, "a/b-c"), "env").startswith("A_B_C_IMAGE=")


@given(some.artifact_names)
def test_a_variable_is_a_name_for_every_shell(name: ArtifactName) -> None:
    assert re.fullmatch(r"[A-Z_][A-Z0-9_]*_IMAGE", variable(name))


def test_kustomize_gets_a_component(shop: World) -> None:
    """The fields are kustomize's own (kustomization.yaml, `images`), read by a YAML parser."""
    found = told(shop)
    document = yaml.safe_load(view.document(found, "kustomize"))
    assert (document["apiVersion"], document["kind"]) == ("kustomize.config.k8s.io/v1alpha1", "Component")
    assert document["images"] == [
        {"name": str(p.artifact), "newName": str(p.image), "digest": str(p.digest)} for p in found.pinned
    ]


pinned = st.builds(
    Pinned,
    some.artifact_names,
    some.repositories | st.builds(Repository, st.just("oci-layout:/a dir/of 'mine'"), st.just("shop/api")),
    st.lists(some.tags | st.sampled_from(["1e3", "on", "1.4", "0x1f", "null", "1_000", "2026-01-01"]), min_size=1).map(
        lambda tags: tuple(dict.fromkeys(tags))[:100]
    ),
    some.digests,
    st.lists(some.platforms, max_size=2, unique=True).map(tuple),
)
reports = st.builds(
    Images,
    some.hexes(40),
    st.lists(pinned, max_size=3, unique_by=lambda p: variable(p.artifact)).map(tuple),
    st.lists(st.builds(LeftOut, some.changes, st.sampled_from(Why)), max_size=2).map(tuple),
    st.lists(some.problems, max_size=1).map(tuple),
)


@settings(max_examples=25)
@given(reports)
def test_helm_reads_every_text_as_a_text(report: Images) -> None:
    """With every text quoted YAML 1.1 and 1.2 agree; what JSON says is what YAML says."""
    for form in ("helm", "kustomize"):
        text = view.document(report, form)
        assert yaml.safe_load(text) == json.loads(text)
        assert text == view.document(report, form)
    values = yaml.safe_load(view.document(report, "helm"))["images"]
    for image_ in report.pinned:
        entry = values[str(image_.artifact)]
        assert (entry["repository"], entry["tag"]) == (str(image_.image), image_.tags[0])
        assert entry["digest"] == str(image_.digest)


@settings(max_examples=25)
@given(reports)
def test_the_document_is_what_its_schema_says(report: Images) -> None:
    document = checked("images", view.document(report, "json"))
    assert [i["reference"] for i in document["images"]] == [str(p.reference) for p in report.pinned]
    assert as_json(report.to_json()) == view.document(report, "json")


@settings(max_examples=25)
@given(reports)
def test_nothing_in_it_steers_a_terminal(report: Images) -> None:
    assert not steers(shown(report))
    assert not steers(view.document(report, "text"))


@settings(max_examples=25)
@given(st.builds(replace, reports, left_out=st.just(())))
def test_a_shell_reads_any_reference_back(report: Images) -> None:
    lines = view.document(report, "env").splitlines()
    read = [shlex.split(line)[0].partition("=")[2] for line in lines]
    assert read == [str(p.reference) for p in report.pinned]


def test_who_reads_an_image_in_a_folder_is_told() -> None:
    on_disk = Pinned(
        ArtifactName("shop", "api"), Repository("oci-layout:.lian/registry", "shop/api"), ("1",), Digest.of(b""), ()
    )
    text = shown(Images("0" * 40, (on_disk,)))
    assert "skopeo" in text
    assert "no cluster can pull it" in text
    assert "oci-layout" not in shown(Images("0" * 40, (replace(on_disk, image=Repository(HOST, "shop/api")),)))


def test_exit_codes_come_in_the_order_of_the_table() -> None:
    drift, held = (LeftOut(change(Action.BUILD), why) for why in (Why.DRIFT, Why.HELD))
    problem = Problem("a-code", "wrong")
    assert exits.of_images(Images("", left_out=(drift,))) == 2
    assert exits.of_images(Images("", left_out=(drift, held))) == 4
    assert exits.of_images(Images("", left_out=(drift, held), problems=(problem,))) == 1
