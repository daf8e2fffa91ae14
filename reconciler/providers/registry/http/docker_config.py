"""Credentials as `docker login` leaves them (docker/cli: config.json, credential helper protocol)."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.secret import Secret
from reconciler.programs import NoAnswer, ask
from reconciler.providers.registry.refusal import Account, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

HELPER_SECONDS = 30.0
_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What proves who asks. Cannot be printed or pickled; its parts are read only where a request is made.

    `identity_token` is exchanged at the token service, `registry_token` is a bearer token by itself. `origin` is told
    where it is refused, and makes no difference to what it is.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    origin: Origin = field(default=Origin("an unknown place", "log in anew"), compare=False)

    def __repr__(self) -> str:
        return "Credential(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled")

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header, None where there is neither a name nor a password: a password may be
        empty, and so may a name before one."""
        return f"Basic {self._pair}" if self.username or self.password else None

    @property
    def _pair(self) -> str:
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")

    @property
    def account(self) -> Account:
        """As whom it asks, which may be told. A token has no name: what stands beside it is not one that counts."""
        if self.registry_token:
            return Account("", "a registry token", self.origin)
        if self.identity_token:
            return Account("", "an identity token", self.origin)
        return Account(self.username, "a password without a user name", self.origin)

    def entry(self) -> dict[str, str]:
        """As an entry of `auths`."""
        written = {"identitytoken": self.identity_token, "registrytoken": self.registry_token}
        pair = {"auth": self._pair} if self.username or self.password else {}
        return pair | {name: value for name, value in written.items() if value}


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
        helper = self._helper(host)
        if helper is not None:
            found = await self._ask(*helper)
            if found:
                return replace(found, origin=_of_helper(f"docker-credential-{helper[0]}", host))
        return self._written(host)

    def _helper(self, host: str) -> tuple[str, str, str] | None:
        """Suffix of the helper that keeps this host's credential, the server to ask it for, and the field naming it."""
        helpers = _mapping(self.document.get("credHelpers"))
        own = next((helpers[key] for key in _keys(host) if key in helpers), None)
        helper = own or self.document.get("credsStore")
        if not isinstance(helper, str) or not helper:
            return None
        return helper, _keys(host)[0], "credHelpers" if own else "credsStore"

    def _written(self, host: str) -> Credential | None:
        auths = _mapping(self.document.get("auths"))
        by_host = {_bare(key): entry for key, entry in auths.items()}
        for key in _keys(host):
            entry = _mapping(auths.get(key) or by_host.get(key))
            if entry and (found := self._entry(entry)):
                place = str(self.path) if self.path else "Docker's config.json"
                return replace(found, origin=Origin(place, f"log in again with `docker login {host}`"))
        return None

    def _entry(self, entry: Mapping[str, Any]) -> Credential | None:
        username, password = _text(entry.get("username")), _text(entry.get("password"))
        if auth := "".join(_text(entry.get("auth")).split()):
            try:
                pair = base64.b64decode(auth, validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError):
                raise LianError(_invalid(self.path, "an `auth` in it is not base64")) from None
            username, colon, password = pair.rstrip("\0").partition(":")
            if not colon:
                raise LianError(_invalid(self.path, "an `auth` in it is not USER:PASSWORD in base64"))
        found = Credential(username, password, _text(entry.get("identitytoken")), _text(entry.get("registrytoken")))
        return found if found.entry() else None

    async def _ask(self, helper: str, key: str, field: str) -> Credential | None:
        """One `get` of the helper protocol: the server on stdin, JSON on stdout."""
        command = f"docker-credential-{helper}"
        try:
            answer = await ask([command, "get"], key.encode(), self.environ, HELPER_SECONDS)
        except NoAnswer as error:
            missing = _helper_missing(command, key, field, self.path)
            raise LianError(missing if error.missing else _helper_failed(command, key, str(error))) from None
        if answer.status:
            if _NOT_FOUND in answer.output.decode("utf-8", "replace").lower():
                return None
            raise LianError(_helper_failed(command, key, f"it ended with exit code {answer.status}"))
        try:
            document = json.loads(answer.output)
            username, secret = str(document["Username"]), str(document["Secret"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise LianError(_helper_failed(command, key, "its answer is not the protocol's JSON")) from None
        return Credential(identity_token=secret) if username == "<token>" else Credential(username, secret)


def _of_helper(command: str, host: str) -> Origin:
    remedy = f"log in again with `docker login {host}`, or where {command} makes its logins by itself"
    return Origin(f"the credential helper {command}", remedy)


def rendered(credentials: Mapping[str, Credential]) -> Secret:
    """A `config.json` with these credentials, by registry host, and nothing else: no helper, no store."""
    auths = {_keys(host)[0]: credential.entry() for host, credential in sorted(credentials.items())}
    return Secret(json.dumps({"auths": auths}))


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


def _helper_missing(command: str, key: str, field: str, path: Path | None) -> Problem:
    return Problem(
        "credential-helper-missing",
        f"{command} is not installed, and is to give the credential for {key}",
        file=str(path) if path else None,
        cause=f"`{field}` of Docker's configuration names it",
        hint=f"install {command}, or remove it from `{field}` and log in again with `docker login`",
    )


def _helper_failed(command: str, key: str, cause: str) -> Problem:
    return Problem(
        "credential-helper-failed",
        f"{command} gave no credential for {key}",
        cause=cause,
        hint=f"try it by hand: `echo {key} | {command} get`",
        next=Next.RETRY,
    )
