"""Credentials as `docker login` and its helpers leave them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.problem import LianError
from reconciler.providers.registry.http import docker_config
from reconciler.providers.registry.http.docker_config import Credential, DockerConfig, rendered
from tests.ports.registry_suite import codes

if TYPE_CHECKING:
    from pathlib import Path

AUTH = base64.b64encode(b"robot$shop+ci:se:cret").decode()
HELPER = """#!/bin/sh
read server
echo "$server" >> "$0.asked"
case "$server" in
  good.example) echo '{"ServerURL":"good.example","Username":"me","Secret":"canary"}' ;;
  token.example) echo '{"Username":"<token>","Secret":"canary"}' ;;
  https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"canary"}' ;;
  odd.example) echo 'canary' ;;
  broken.example) echo 'canary' ; exit 3 ;;
  *) echo 'credentials not found in native keychain' ; exit 1 ;;
esac
"""


def written(folder: Path, document: Any) -> DockerConfig:
    folder.mkdir(exist_ok=True)
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    (folder / "config.json").write_bytes(text)
    return DockerConfig.load({"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"})


def helper(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "docker-credential-test"
    path.write_text(HELPER)
    path.chmod(0o755)


def found(config: DockerConfig, host: str) -> Credential | None:
    return asyncio.run(config.credential(host))


@pytest.mark.parametrize(
    "key", ["h.example:5000", "https://h.example:5000", "http://h.example:5000/v2/", "h.example:5000/v1/"]
)
@pytest.mark.parametrize("entry", [{"auth": AUTH}, {"username": "robot$shop+ci", "password": "se:cret"}])
def test_the_file_itself(tmp_path: Path, key: str, entry: dict[str, str]) -> None:
    config = written(tmp_path, {"auths": {"other": {"auth": "eDp5"}, key: entry}})
    assert found(config, "h.example:5000") == Credential("robot$shop+ci", "se:cret")
    assert found(config, "h.example") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_by_each_of_its_names(tmp_path: Path, key: str) -> None:
    assert found(written(tmp_path, {"auths": {key: {"auth": AUTH}}}), "docker.io") == Credential(
        "robot$shop+ci", "se:cret"
    )


def test_tokens(tmp_path: Path) -> None:
    config = written(tmp_path, {"auths": {"a": {"identitytoken": "i"}, "b": {"registrytoken": "r"}, "c": {}, "d": "x"}})
    assert found(config, "a") == Credential(identity_token="i")
    assert found(config, "b") == Credential(registry_token="r")
    assert found(config, "c") is None
    assert found(config, "d") is None


def test_helpers_and_stores(tmp_path: Path) -> None:
    helper(tmp_path)
    auths = {"none.example": {"auth": AUTH}, "good.example": {"auth": AUTH}}
    for settings in (
        {"credsStore": "test"},
        {"credHelpers": dict.fromkeys(("good.example", "token.example", "docker.io"), "test")},
    ):
        config = written(tmp_path, settings | {"auths": auths})
        assert found(config, "good.example") == Credential("me", "canary")
        assert found(config, "token.example") == Credential(identity_token="canary")
        assert found(config, "docker.io") == Credential("hub", "canary")
        assert found(config, "none.example") == Credential("robot$shop+ci", "se:cret")
        assert found(config, "unknown.example") is None


@pytest.mark.parametrize("host", ["odd.example", "broken.example"])
def test_a_helper_that_fails_is_told_without_its_output(tmp_path: Path, host: str) -> None:
    helper(tmp_path)
    config = written(tmp_path, {"credsStore": "test"})
    with pytest.raises(LianError) as error:
        found(config, host)
    assert codes(error) == {"credential-helper-failed"}
    assert "canary" not in repr(error.value.problems)


@pytest.mark.parametrize("field", ["credsStore", "credHelpers"])
def test_a_helper_that_is_not_installed_is_told(tmp_path: Path, field: str) -> None:
    named: dict[str, Any] = {"credsStore": "no-such", "credHelpers": {"h": "no-such"}}
    with pytest.raises(LianError) as error:
        found(written(tmp_path, {field: named[field]}), "h")
    (problem,) = error.value.problems
    assert (problem.code, problem.file) == ("credential-helper-missing", str(tmp_path / "config.json"))
    assert "docker-credential-no-such" in problem.message
    assert field in f"{problem.cause} {problem.hint}"


def test_a_helper_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_config, "HELPER_SECONDS", 0.2)
    path = tmp_path / "docker-credential-slow"
    path.write_text("#!/bin/sh\necho canary\nsleep 60 &\nwait\n")
    path.chmod(0o755)
    started = time.monotonic()
    with pytest.raises(LianError) as error:
        found(written(tmp_path, {"credsStore": "slow"}), "h")
    assert codes(error) == {"credential-helper-failed"}
    assert "canary" not in repr(error.value.problems)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("me:", Credential("me", "")),
        (":secret", Credential("", "secret")),
        ("me:a:b:", Credential("me", "a:b:")),
        ("größe:ü\0", Credential("größe", "ü")),
        (":", None),
    ],
)
def test_what_stands_in_an_auth(tmp_path: Path, pair: str, expected: Credential | None) -> None:
    auth = base64.encodebytes(pair.encode()).decode()
    assert found(written(tmp_path, {"auths": {"h": {"auth": auth}}}), "h") == expected


def test_an_empty_password_is_offered() -> None:
    assert Credential("me", "").basic == "Basic " + base64.b64encode(b"me:").decode()
    assert Credential(identity_token="i").basic is None


_names = st.text(st.characters(exclude_characters=":\0", exclude_categories=["Cs", "Cc"]), max_size=20)
_words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(
    st.builds(Credential, _names, _words, _words, _words), st.sampled_from(["docker.io", "h.example:5000", "[::1]:5"])
)
def test_what_is_rendered_for_a_builder_reads_back(credential: Credential, host: str) -> None:
    document = json.loads(rendered({host: credential}).reveal())
    expected = credential if credential.entry() else None
    assert found(DockerConfig(None, document, {}), host) == expected


def test_a_rendered_configuration_names_docker_hub_as_buildkit_looks_it_up() -> None:
    document = json.loads(rendered({"docker.io": Credential("a", "b")}).reveal())
    assert list(document["auths"]) == ["https://index.docker.io/v1/"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"auths": {"h": {"auth": "%"}}}',
        b'{"auths": {"h": {"auth": "bWU="}}}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_broken_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LianError) as error:
        found(written(tmp_path, content), "h")
    assert codes(error) == {"docker-config-invalid"}
    assert error.value.problems[0].file == str(tmp_path / "config.json")


def test_no_file_is_no_credential(tmp_path: Path) -> None:
    for environ in ({"HOME": str(tmp_path)}, {"DOCKER_CONFIG": str(tmp_path / "none")}):
        assert found(DockerConfig.load(environ), "h") is None


def test_the_home_folder_is_the_default(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    written(tmp_path / ".docker", {"auths": {"h": {"auth": AUTH}}})
    assert found(DockerConfig.load({"HOME": str(tmp_path)}), "h") == Credential("robot$shop+ci", "se:cret")
