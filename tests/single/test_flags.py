"""What flags ask for, and everything that is wrong with them at once."""

from __future__ import annotations

import pytest

from reconciler.model.one_build import ByFile, ByFlags
from reconciler.model.problem import LianError, redact
from reconciler.model.secret import Secret
from reconciler.single.flags import Flags, is_seed

SEED = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
GOOD = {"--workspace": "shop", "--context": "images/api", "--image": "registry.example:5000/shop/api:1.4"}


def asked(given: dict[str, str], behind: dict[str, str] | None = None) -> ByFlags:
    found = Flags(given, behind or {}).asked()
    assert isinstance(found, ByFlags)
    return found


def problems(given: dict[str, str], behind: dict[str, str] | None = None, seed: str | None = None) -> list[str]:
    with pytest.raises(LianError) as raised:
        Flags(given, behind or {}, Secret(seed) if seed else None).asked()
    assert all(problem.message and (problem.hint or problem.cause) for problem in raised.value.problems)
    return [problem.code for problem in raised.value.problems]


def test_flags_name_an_artifact_an_image_and_a_tag() -> None:
    found = asked(GOOD)
    assert (str(found.name), str(found.image), found.tag) == ("shop/api", "registry.example:5000/shop/api", "1.4")
    assert (found.context, found.dockerfile, found.language, found.where) == (
        "images/api",
        "Dockerfile",
        None,
        "images/api",
    )


@pytest.mark.parametrize(
    ("image", "name", "repository", "tag"),
    [
        ("registry.example/api", "shop/api", "registry.example/api", "latest"),
        ("localhost/a/my_app.web:2", "shop/my-app-web", "localhost/a/my_app.web", "2"),
        ("127.0.0.1:5000/x/a__b", "shop/a-b", "127.0.0.1:5000/x/a__b", "latest"),
        ("docker.io/tool:1", "shop/tool", "docker.io/library/tool", "1"),
        ("[::1]:5000/api:v1", "shop/api", "[::1]:5000/api", "v1"),
    ],
)
def test_an_image_gives_the_artifact_its_name(image: str, name: str, repository: str, tag: str) -> None:
    found = asked({**GOOD, "--image": image})
    assert (str(found.name), str(found.image), found.tag) == (name, repository, tag)


@pytest.mark.parametrize(
    ("flag", "value", "code"),
    [
        ("--workspace", "Shop", "workspace-name"),
        ("--workspace", "a/b", "workspace-name"),
        ("--image", "shop/api:1", "image-not-qualified"),
        ("--image", "api", "image-not-qualified"),
        ("--image", "registry.example/Shop:1", "image-invalid"),
        ("--image", "registry.example/a:b:c", "image-invalid"),
        ("--image", "https://registry.example/a", "image-invalid"),
        ("--image", "registry.example/a@sha256:" + "0" * 64, "image-invalid"),
        ("--image", "registry.example/a:lian-x", "image-invalid"),
        ("--image", "registry.example/" + "a" * 64, "image-invalid"),
        ("--context", "https://h/repo", "context-url"),
        ("--context", "a\nb", "context-missing"),
        ("--dockerfile", "/Dockerfile", "dockerfile-outside"),
        ("--dockerfile", "../Dockerfile", "dockerfile-outside"),
        ("--dockerfile", "a/../../b", "dockerfile-outside"),
        ("--dockerfile", ".", "dockerfile-missing"),
        ("--nats-url", "http://h", "nats-url-invalid"),
        ("--nats-subject-prefix", "a.*", "nats-prefix-invalid"),
        ("--orchestrator-url", "h:80", "orchestrator-url-invalid"),
        ("--runner-image", "A/B", "runner-image-invalid"),
        ("--nats-url", "nats://h:4222", "events-unsupported"),
        ("--orchestrator-url", "https://h", "orchestrator-unsupported"),
    ],
)
def test_what_is_wrong_is_told_of_its_flag(flag: str, value: str, code: str) -> None:
    with pytest.raises(LianError) as raised:
        asked({**GOOD, flag: value})
    assert raised.value.problems[0].code == code
    assert raised.value.problems[0].file == flag


def test_all_that_is_wrong_is_told_together() -> None:
    wrong = {"--workspace": "A", "--image": "x", "--dockerfile": "/x", "--context": ".", "--nats-url": "nats://h"}
    assert problems(wrong) == ["workspace-name", "image-not-qualified", "dockerfile-outside", "events-unsupported"]
    assert problems({"--nats-url": "x"}) == ["flags-missing", "nats-url-invalid", "events-unsupported"]


def test_variables_stand_behind_flags_and_are_named_where_they_are_wrong() -> None:
    without = {flag: value for flag, value in GOOD.items() if flag != "--workspace"}
    assert asked(without, {"--workspace": "other"}).name.workspace == "other"
    assert asked(GOOD, {"--workspace": "other"}).name.workspace == "shop"
    with pytest.raises(LianError, match="ORCHESTRATOR_URL"):
        asked(GOOD, {"--orchestrator-url": "https://h"})
    assert problems(GOOD, {"--nats-url": "nats://h"}) == ["events-unsupported"]


def test_what_is_missing_is_named_once() -> None:
    with pytest.raises(LianError, match=r"--workspace \(or BUILDKIT_WORKSPACE\), --context and --image are missing"):
        asked({})
    with pytest.raises(LianError, match="--image is missing"):
        asked({**GOOD, "--image": ""})


def test_a_directive_file_takes_precedence_and_says_over_what() -> None:
    flags = Flags({"--directives": "a.ncl", "--image": "nonsense", "--nats-url": "x"}, {"--workspace": "Nonsense"})
    assert flags.asked() == ByFile("a.ncl")
    assert flags.unheeded() == "--directives says what is built: --image, --nats-url have no effect"
    assert Flags({"--directives": "a.ncl"}, {"--workspace": "shop"}).unheeded() is None
    assert Flags(GOOD, {}).unheeded() is None


def test_a_seed_is_checked_and_never_shown() -> None:
    assert is_seed(SEED)
    assert not is_seed(SEED[:-1] + "A")
    assert not is_seed("U" + SEED[1:])
    flags = Flags({**GOOD, "--nats-nkey-seed": "given"}, {}, Secret(SEED[:-1] + "A"))
    with pytest.raises(LianError) as raised:
        flags.asked()
    assert [problem.code for problem in raised.value.problems] == ["nats-seed-invalid"]
    assert SEED[:-1] not in str(raised.value) + repr(flags) + repr(raised.value.problems)
    assert Flags(GOOD, {}, Secret(SEED)).asked() == asked(GOOD)


def test_seeds_are_taken_out_of_every_message() -> None:
    assert redact(f"unrecognized arguments: --nats-nkey-sed {SEED}") == "unrecognized arguments: --nats-nkey-sed ***"
    assert redact(f"--nats={SEED} is ambiguous") == "--nats=*** is ambiguous"
    assert redact("S" * 58) == "S" * 58
