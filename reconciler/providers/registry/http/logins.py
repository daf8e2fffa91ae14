"""Which credential goes to which registry host, and who may say so.

| who says it | what he may say |
|---|---|
| the operator, by the environment and Docker's configuration | everything: a login for any host, a helper to run |
| the fleet's owner, in lian.ncl | a variable, a file or a command, for the host of his registry |
| a directive's author | a variable or a file, for the host he names with it, if the operator lists that host |

A credential goes to the one host it is bound to. LIAN_REGISTRY_PASSWORD is bound to the fleet's registry, that of
--registry or of lian.ncl. LIAN_CREDENTIAL_HOSTS is the operator's list of hosts that may have credentials on a commit's
word; with it, whoever changes lian.ncl or a directive cannot lead one elsewhere. What Docker's configuration holds for
a host is not sent there either where a directive alone says that it is reached in plain or by a certificate of its own.
A revision that is not trusted at all is best looked at with --registry: what it says of registries, mirrors and
credentials, those of git servers too (secrets/git_logins.py), is then not heeded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.model.credential import HOSTS, SourceKind, is_listed
from reconciler.model.fleet import Author
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.http.docker_config import Credential, DockerConfig
from reconciler.providers.registry.refusal import Origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from reconciler.model.credential import SourceRef
    from reconciler.model.fleet import RegistrySettings
    from reconciler.model.secret import Secret
    from reconciler.providers.registry.http.auth import Credentials

SETTINGS = "lian.ncl"
"""Where the fleet's owner binds logins."""
USER, PASSWORD = "LIAN_REGISTRY_USER", "LIAN_REGISTRY_PASSWORD"
_OF_VARIABLES = Origin(
    f"{USER} and {PASSWORD}",
    f"set {USER} and {PASSWORD} anew, or unset both: what `docker login` left does not count beside them",
)
_SOURCES = {SourceKind.ENV: "the variable", SourceKind.FILE: "the file", SourceKind.COMMAND: "the command"}


@dataclass(slots=True)
class Logins:
    """`environ` holds the operator's variables, `docker` reads Docker's configuration, `read` gives what a reference
    leads to. `settings` are those of the commit by host, `fleet` is the host of the fleet's own registry."""

    docker: Callable[[], DockerConfig]
    environ: Mapping[str, str]
    read: Callable[[SourceRef, str], Awaitable[Secret]] | None = None
    settings: Mapping[str, RegistrySettings] = field(default_factory=dict)
    fleet: str | None = None

    def of(self, host: str) -> Credentials:
        """What knows the credential of this host, if there is one: the operator's variables, else what the settings
        name, else Docker's configuration. Raises LianError `docker-config-invalid`."""
        settings = self.settings.get(host)
        if settings and self._operators(settings):
            return _Given(self._own_login(host))
        if settings and settings.credentials:
            return _Named(self, settings)
        self.docker()  # one that cannot be read is told before anything is asked
        withheld = settings is not None and not self._may(settings) and _unvouched(settings)
        return _Withheld(self.docker) if withheld else _OfDocker(self.docker)

    def names(self, host: str) -> bool:
        """True for a host whose login someone names to lian; every other's is Docker's, or there is none."""
        settings = self.settings.get(host)
        return settings is not None and (self._operators(settings) or settings.credentials is not None)

    async def named(self, settings: RegistrySettings, ref: SourceRef, what: str) -> Secret:
        """What the reference in these settings leads to, if their host may have it; `what` names it in problems.

        Raises LianError `credential-forbidden`, and as `providers.secrets.Sources.read` does.
        """
        if not self._may(settings):
            listed = self.environ.get(HOSTS, "").strip()
            cause = f"{HOSTS} is {listed}" if listed else "a directive names it, and not lian.ncl"
            raise LianError(problems.login_forbidden(settings.host, HOSTS, cause))
        assert self.read is not None, "wiring gives it"
        try:
            return await self.read(ref, f"{what} of the registry {settings.host}")
        except LianError as error:
            if settings.by is not Author.OWNER:
                raise
            raise LianError([replace(each, file=each.file or SETTINGS) for each in error.problems]) from error

    def _may(self, settings: RegistrySettings) -> bool:
        """Whether this host may have a credential on the word of whoever describes it."""
        if settings.by is Author.OPERATOR:
            return True
        if listed := self.environ.get(HOSTS, "").strip():
            return is_listed(settings.host, listed)
        return settings.by is Author.OWNER

    def _operators(self, settings: RegistrySettings) -> bool:
        """True if the operator's variables are for this host."""
        given = self._set(USER) or self._set(PASSWORD)
        return given and settings.host == self.fleet and self._may(settings)

    def _set(self, name: str) -> bool:
        return bool(self.environ.get(name))

    def _own_login(self, host: str) -> Credential | LianError:
        for name, other in ((USER, PASSWORD), (PASSWORD, USER)):
            if not self._set(name):
                message = f"{other} is set, and {name} is not"
                return LianError(problems.login_incomplete(host, message, f"set both, or unset {other}"))
        return Credential(self.environ[USER], self.environ[PASSWORD], origin=_OF_VARIABLES)


@dataclass(frozen=True, slots=True, repr=False)
class _Given:
    """The operator's variables."""

    login: Credential | LianError

    async def credential(self, host: str) -> Credential | None:
        """See auth.Credentials."""
        del host
        if isinstance(self.login, LianError):
            raise self.login
        return self.login


@dataclass(frozen=True, slots=True)
class _Named:
    """What the commit's settings name; looked up when the registry asks for it, and not before."""

    logins: Logins
    settings: RegistrySettings

    async def credential(self, host: str) -> Credential | None:
        """See auth.Credentials. Raises LianError, naming the variable, file or command."""
        ref = self.settings.credentials
        assert ref is not None
        text = (await self.logins.named(self.settings, ref, "the login")).reveal()
        user, colon, password = (ref.user, ":", text) if ref.user is not None else text.partition(":")
        if not colon:
            message = f"{ref.name} holds no USER:PASSWORD, and `user` is not set"
            hint = "set `user` beside `source` and `name`, if it holds the password alone"
            raise LianError(problems.login_incomplete(host, message, hint))
        if "\n" in text:
            hint = "let it hold one line: the password, or USER:PASSWORD"
            raise LianError(problems.login_incomplete(host, f"{ref.name} holds more than one line", hint))
        return Credential(user or "", password, origin=_origin(ref, self.settings))


@dataclass(frozen=True, slots=True)
class _OfDocker:
    """Docker's configuration, as it is when it is asked: someone may log in while lian watches."""

    docker: Callable[[], DockerConfig]

    async def credential(self, host: str) -> Credential | None:
        """See auth.Credentials."""
        return await self.docker().credential(host)


@dataclass(frozen=True, slots=True)
class _Withheld:
    """A host that a directive alone describes, as one that is reached without anyone vouching for it."""

    docker: Callable[[], DockerConfig]

    async def credential(self, host: str) -> Credential | None:
        """See auth.Credentials. Raises LianError if there is one: it is not sent there."""
        if await self.docker().credential(host) is not None:
            raise LianError(problems.login_withheld(host))
        return None


def _origin(ref: SourceRef, settings: RegistrySettings) -> Origin:
    name = repr(ref.name) if ref.kind is SourceKind.COMMAND else ref.name
    source = f"{_SOURCES.get(ref.kind, 'the source')} {name}"
    named = f"`credentials` in {'the directive' if settings.by is Author.DIRECTIVE else 'lian.ncl'}"
    holds = "gives" if ref.kind is SourceKind.COMMAND else "holds"
    return Origin(f"{source}, which {named} names", f"correct what {source} {holds}, or {named}")


def _unvouched(settings: RegistrySettings) -> bool:
    """True where a directive alone says that a host is spoken to in plain, or believed by other certificates than the
    machine's."""
    if settings.by is not Author.DIRECTIVE or settings.url is None:
        return False
    from reconciler.providers.registry.http.auth import is_loopback  # a fleet on disk does without

    plain = settings.url.startswith("http://") and not is_loopback(urlsplit(settings.url).hostname or "")
    return plain or settings.insecure or settings.ca is not None
