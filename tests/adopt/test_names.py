"""Names in lian's grammar, out of any others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.adopt.dockerfiles import is_dockerfile, variant
from reconciler.adopt.names import folder_names, name_of, secret_name, unique_names
from reconciler.model.name import is_name
from reconciler.plan.secret_looks import looks_secret
from tests.schemas.evaluation import validator


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Shop_API", "shop-api"), ("café", "cafe"), ("..", "image"), ("a--b", "a-b"), ("-a.b-", "a-b"),
        ("商店", "image"), ("x" * 80, "x" * 63), ("api", "api"),
    ],
)  # fmt: skip
def test_a_name_is_made_of(text: str, name: str) -> None:
    assert name_of(text, "image") == name


@given(st.lists(st.text(max_size=80) | st.sampled_from(["a_b", "a-b", "A b"]), unique=True, max_size=12))
def test_every_text_gets_a_name_of_its_own(texts: list[str]) -> None:
    names = unique_names(texts, "image")
    assert list(names) == texts
    assert len(set(names.values())) == len(texts)
    assert all(map(is_name, names.values()))


@given(st.text(max_size=200))
def test_a_secret_has_a_name_too(text: str) -> None:
    validator("build_directives", "secret_name").validate(secret_name(text))


def test_folders_are_told_apart_by_as_much_as_it_takes() -> None:
    paths = {"1": "repo/a/api", "2": "repo/b/api", "3": "repo/web", "4": "repo", "5": "repo/x/y", "6": "repo/x-y"}
    assert folder_names(paths, "image") == {
        "1": "a-api", "2": "b-api", "3": "web", "4": "repo", "5": "y", "6": "x-y",
    }  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(["a", "b", "A", "a-b", ".", "é"]), max_size=4).map("/".join), max_size=10))
def test_every_folder_gets_a_name_of_its_own(paths: list[str]) -> None:
    names = folder_names({f"{number}": path for number, path in enumerate(paths)}, "image")
    assert len(set(names.values())) == len(paths)
    assert all(map(is_name, names.values()))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Dockerfile", ""), ("Dockerfile.dev", "dev"), ("dev.Dockerfile", "dev"), ("api.dockerfile", "api"),
        ("Containerfile", ""), ("Dockerfile-ci", "ci"), ("Dockerfile.dockerignore", None), ("Dockerfile.md", None),
        ("Dockerfile.j2", None), ("dockerfile.go", None), ("Dockerfiles", None), ("MyDockerfile", None),
        ("Dockerfile~", None),
    ],
)  # fmt: skip
def test_a_dockerfile_is_known_by_its_name(name: str, said: str | None) -> None:
    assert is_dockerfile(name) == (said is not None)
    if said is not None:
        assert variant(name) == said


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("NPM_TOKEN", True), ("api-key", True), ("DB_PASSWORD", True), ("GITHUB_PAT", True), ("SSH_PRIVATE_KEY", True),
        ("MONKEY", False), ("TOKENIZER", False), ("KEYBOARD", False), ("VERSION", False), ("PATH", False),
        ("CACHE_KEY", False),
    ],
)  # fmt: skip
def test_a_name_that_tells_of_a_secret(name: str, hidden: bool) -> None:
    assert (looks_secret(name, "hunter2") is not None) == hidden
