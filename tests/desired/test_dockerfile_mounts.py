"""Which cache mounts a target has, as BuildKit knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.desired.dockerfile import read_dockerfile, requirements
from reconciler.desired.needs import NeedsFound, read_needs
from reconciler.model.artifact import Place
from reconciler.model.cache import MAX_MOUNT_ID, MAX_MOUNTS, CacheMount, CachePolicy, Owner
from tests.commits import AMD64, ARM64, artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

TOP = "FROM scratch AS base\n"


def seen(text: str, args: Mapping[str, str] | None = None, target: str | None = None) -> list[CacheMount | str]:
    """Each mount, or why it is not known."""
    facts = read_dockerfile(text.encode(), "Dockerfile")
    found = requirements(facts, target=target, args=args or {}, platform="linux/amd64", build_platform="linux/amd64")
    return [one.mount or str(one.why) for one in found.cache_mounts]


def needs(text: str, **more: object) -> NeedsFound:
    wanted = artifact("shop/api", cache=CachePolicy(mounts=True), **more)  # type: ignore[arg-type]
    return read_needs(text.encode(), "Dockerfile", wanted, lambda where: Place("d.ncl"))


@pytest.mark.parametrize(
    ("mount", "known"),
    [
        ("type=cache,target=/root/.cache", CacheMount("/root/.cache")),
        ("type=cache,dst=/a", CacheMount("/a")),
        ("type=cache,destination=/a", CacheMount("/a")),
        ("TYPE=CACHE,TARGET=/a", CacheMount("/a")),
        ("target=/a,type=cache", CacheMount("/a")),
        ("type=cache,target=//a//b/../c/", CacheMount("/a/c")),
        ("type=cache,target=/..//a", CacheMount("/a")),
        ("type=cache,target=.cache/x/", CacheMount(".cache/x")),
        ("type=cache,target=../x", CacheMount("../x")),
        ("type=cache,target=/a,id=go", CacheMount("go")),
        ("type=cache,target=/a,id=/x//y/", CacheMount("/x//y/")),
        ("type=cache,target=/a,id=", CacheMount("/a")),
        ("type=cache,target=/a,sharing=locked,ro", CacheMount("/a")),
        ("type=cache,target=/a,uid=0", CacheMount("/a", Owner())),
        ("type=cache,target=/a,uid=1000,gid=1001,mode=0700", CacheMount("/a", Owner(1000, 1001, 0o700))),
        ("type=cache,target=/a,mode=1777", CacheMount("/a", Owner(mode=0o1777))),
        ("type=cache,target=/a,source=/", CacheMount("/a")),
        ("type=cache,target=/a,source=..", CacheMount("/a")),
        ("type=cache,target=/a,from=base", "it begins with files of another stage or image"),
        ("type=cache,target=/a,source=x", "it begins with a folder of something else"),
        ("type=cache,target=/a,src=/x", "it begins with a folder of something else"),
        (f"type=cache,target=/a,id={'x' * (MAX_MOUNT_ID + 1)}", f"its id has more than {MAX_MOUNT_ID} characters"),
        ("type=cache,target=/a,uid=0000000000004294967295", CacheMount("/a", Owner(4294967295))),
        ("type=bind,target=/cache", None),
        ("type=secret,id=cache", None),
        ("target=/cache", None),
    ],
)
def test_a_mount_by_what_it_says(mount: str, known: CacheMount | str | None) -> None:
    assert seen(f"{TOP}FROM scratch\nRUN --mount={mount} x\n") == ([] if known is None else [known])


def test_the_folder_that_a_step_runs_in() -> None:
    assert seen("FROM alpine\nRUN --mount=type=cache x\n") == [CacheMount(".")]


def test_variables_are_put_in() -> None:
    text = (
        "ARG GLOBAL=g\nFROM scratch AS base\nARG GLOBAL\nARG OWN=o\nENV SET=s\n"
        "RUN --mount=type=cache,id=$GLOBAL-${OWN}-$SET-${NONE:-n}-$TARGETARCH,target=/a x\n"
        "ENV SET=later\n"
        "FROM base\nARG TARGETARCH\nARG KIND=cache\nRUN --mount=type=$KIND,target=/$SET/$TARGETARCH,uid=$OWN x\n"
    )
    assert seen(text, {"OWN": "7"}) == [CacheMount("g-7-s-n-"), CacheMount("/later/amd64", Owner(7))]


def test_what_a_base_image_may_set_is_not_known() -> None:
    text = "FROM debian:12\nENV HERE=/h\nRUN --mount=type=cache,target=$HERE --mount=type=cache,target=$HOME/.cache x\n"
    assert seen(text) == [CacheMount("/h"), "a variable in it may be set by the base image"]
    assert seen("FROM debian:12\nRUN --mount=type=$KIND,target=/a x\n") == [
        "a variable in it may be set by the base image"
    ]
    assert seen("FROM debian:12\nRUN --mount=type=bind,target=$HOME x\n") == []


def test_only_what_the_target_reaches_counts() -> None:
    text = (
        "FROM scratch AS used\nRUN --mount=type=cache,target=/used x\n"
        "FROM scratch AS other\nRUN --mount=type=cache,target=/other x\n"
        "FROM scratch\nCOPY --from=used / /\nRUN --mount=type=cache,target=/last --mount=type=cache,target=/last x\n"
    )
    assert seen(text) == [CacheMount("/used"), CacheMount("/last")]
    assert seen(text, target="other") == [CacheMount("/other")]


def test_triggers_of_stages_count() -> None:
    text = "FROM scratch AS base\nONBUILD RUN --mount=type=cache,target=/a x\nFROM base\nRUN y\n"
    assert seen(text) == [CacheMount("/a")]


def test_needs_have_them_only_where_they_are_kept() -> None:
    text = "FROM scratch\nRUN --mount=type=cache,target=/a x\n"
    assert needs(text).platforms[AMD64].mounts == (CacheMount("/a"),)
    plain = read_needs(text.encode(), "Dockerfile", artifact("shop/api"), lambda where: Place("d.ncl"))
    assert plain.platforms[AMD64].mounts == () and plain.notes == ()


def test_checks_have_their_own() -> None:
    text = (
        "FROM scratch AS test\nRUN --mount=type=cache,target=/test x\n"
        "FROM scratch AS app\nRUN --mount=type=cache,target=/x/$TARGETARCH x\n"
    )
    found = needs(text, checks=("test",), platforms=(AMD64, ARM64))
    assert found.checks[ARM64].mounts == (CacheMount("/test"),)
    assert found.platforms[AMD64].mounts == found.platforms[ARM64].mounts == (CacheMount("/x"),)


def test_target_and_checks_together_have_no_more_than_is_kept() -> None:
    own, more = (" ".join(f"--mount=type=cache,target=/{kind}/{n}" for n in range(20)) for kind in "ab")
    text = f"FROM scratch AS test\nRUN {more} --mount=type=cache,target=/a/0 x\nFROM scratch\nRUN {own} x\n"
    found = needs(text, checks=("test",))
    assert len(found.platforms[AMD64].mounts) == 20
    assert {*found.checks[AMD64].mounts} == {CacheMount("/a/0"), *(CacheMount(f"/b/{n}") for n in range(12))}
    assert found.notes == (f"has more than {MAX_MOUNTS} cache mounts; no more are kept",)


def test_what_is_not_kept_is_noted() -> None:
    found = needs("FROM scratch AS s\nFROM scratch\nRUN --mount=type=cache,target=/a,from=s x\n")
    assert found.platforms[AMD64].mounts == ()
    assert found.notes == (
        "has a cache mount that is not kept (line 3): it begins with files of another stage or image",
    )
    many = " ".join(f"--mount=type=cache,target=/{n}" for n in range(MAX_MOUNTS + 2))
    found = needs(f"FROM scratch\nRUN {many} x\n")
    assert len(found.platforms[AMD64].mounts) == MAX_MOUNTS
    assert found.notes == (f"has more than {MAX_MOUNTS} cache mounts; no more are kept",)


def test_the_builders_own_platform_decides_nothing() -> None:
    text = "FROM scratch\nARG BUILDARCH\nRUN --mount=type=cache,id=$BUILDARCH,target=/a x\n"
    found = needs(text)
    assert found.platforms[AMD64].mounts == ()
    assert "the platform of the machine that builds" in found.notes[0]
