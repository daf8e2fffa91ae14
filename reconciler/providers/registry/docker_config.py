"""Credentials as `docker login` leaves them (docker/cli: config.json, credential helper protocol)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_HELPER_SECONDS = 30.0
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What proves who asks. Cannot be printed or pickled; its parts are read only where a request is made.

    `identity_token` is exchanged at the token service, `registry_token` is a bearer token by itself.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return "Credential(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled")

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header, None where there is no password."""
        if not self.password:
            return None
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


@dataclass(frozen=True, slots=True, repr=False)
class DockerConfig:
    """A `config.json`; `document` is its content as read."""

    path: Path | None
    document: Mapping[str, Any]
    environ: Mapping[str, str]

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> DockerConfig:
        """`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; a file that is not there is an empty one.

        Raises LianError `docker-config-invalid` if the file cannot be read or is no JSON object.
        """
        environ = os.environ if environ is None else environ
        home = environ.get("DOCKER_CONFIG") or str(Path(environ.get("HOME") or "~").expanduser() / ".docker")
        path = Path(home) / "config.json"
        try:
            document = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return cls(None, MappingProxyType({}), environ)
        except OSError as error:
            raise LianError(_invalid(path, error.strerror or "cannot be read")) from None
        except (ValueError, RecursionError):
            raise LianError(_invalid(path, "it is not JSON")) from None
        if not isinstance(document, dict):
            raise LianError(_invalid(path, "it is not a JSON object"))
        return cls(path, document, environ)

    async def credential(self, host: str) -> Credential | None:
        """What is known for this registry host: its helper, else the store, else the file itself.

        Raises LianError `credential-helper-failed` or `docker-config-invalid`, never with the helper's output.
        """
        helpers = _mapping(self.document.get("credHelpers"))
        helper = next((helpers[key] for key in _keys(host) if key in helpers), self.document.get("credsStore"))
        if isinstance(helper, str) and helper:
            for key in _keys(host)[:1] if host not in _HUB else _HUB[:1]:
                found = await asyncio.to_thread(self._ask, helper, key)
                if found:
                    return found
        return self._written(host)

    def _written(self, host: str) -> Credential | None:
        auths = _mapping(self.document.get("auths"))
        by_host = {_bare(key): entry for key, entry in auths.items()}
        for key in _keys(host):
            entry = _mapping(auths.get(key) or by_host.get(key))
            if entry and (found := self._entry(entry)):
                return found
        return None

    def _entry(self, entry: Mapping[str, Any]) -> Credential | None:
        username, password = _text(entry.get("username")), _text(entry.get("password"))
        if auth := _text(entry.get("auth")):
            try:
                pair = base64.b64decode(auth, validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError):
                raise LianError(_invalid(self.path, "an `auth` in it is not base64")) from None
            username, _, password = pair.rstrip("\0").partition(":")
        found = Credential(username, password, _text(entry.get("identitytoken")), _text(entry.get("registrytoken")))
        return found if found.password or found.identity_token or found.registry_token else None

    def _ask(self, helper: str, key: str) -> Credential | None:
        """One `get` of the helper protocol: the server on stdin, JSON on stdout."""
        command = f"docker-credential-{helper}"
        try:
            done = subprocess.run(
                [command, "get"],
                input=key.encode(),
                capture_output=True,
                timeout=_HELPER_SECONDS,
                check=False,
                env=dict(self.environ),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            silent = isinstance(error, subprocess.TimeoutExpired)
            cause = "it did not answer in time" if silent else "it cannot be started"
            raise LianError(_helper_failed(command, key, cause)) from None
        if done.returncode:
            if _NOT_FOUND in done.stdout.decode("utf-8", "replace").lower():
                return None
            raise LianError(_helper_failed(command, key, f"it ended with exit code {done.returncode}"))
        try:
            answer = json.loads(done.stdout)
            username, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError):
            raise LianError(_helper_failed(command, key, "its answer is not the protocol's JSON")) from None
        return Credential(identity_token=secret) if username == "<token>" else Credential(username, secret)


def _keys(host: str) -> tuple[str, ...]:
    return _HUB if host in _HUB else (host,)


def _bare(key: str) -> str:
    """`https://host/v1/` and `host` name the same registry."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _invalid(path: Path | None, cause: str) -> Problem:
    return Problem(
        "docker-config-invalid",
        "Docker's configuration file cannot be used",
        file=str(path) if path else None,
        cause=cause,
        hint="repair it, or log in again with `docker login`",
    )


def _helper_failed(command: str, key: str, cause: str) -> Problem:
    return Problem(
        "credential-helper-failed",
        f"{command} gave no credential for {key}",
        cause=cause,
        hint=f"try it by hand: `echo {key} | {command} get`",
    )
