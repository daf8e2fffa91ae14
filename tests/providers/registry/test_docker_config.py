"""Credentials as `docker login` and its helpers leave them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.problem import LianError
from reconciler.providers.registry.docker_config import Credential, DockerConfig
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


def test_a_helper_that_is_not_installed_is_told(tmp_path: Path) -> None:
    with pytest.raises(LianError) as error:
        found(written(tmp_path, {"credsStore": "no-such"}), "h")
    assert codes(error) == {"credential-helper-failed"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"auths": {"h": {"auth": "%"}}}', b"[" * 100_000])
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
