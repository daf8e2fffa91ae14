"""Which git servers may have a credential because a commit says so."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.problem import LianError, Next
from reconciler.providers.secrets.git_logins import GitLogins
from reconciler.providers.secrets.sources import Sources

HOST = "git.example.org"
TOKEN = SourceRef(SourceKind.ENV, "GIT_TOKEN")


def read(environ: dict[str, str], source: SourceRef = TOKEN, host: str = HOST) -> str:
    logins = GitLogins(Sources(environ), environ)
    return asyncio.run(logins.read(source, f"the login of {host}", host)).reveal()


@pytest.mark.parametrize("listed", [None, "", " ", HOST, f"a.example {HOST},b.example"])
def test_a_host_has_one_unless_the_operator_lists_others_alone(listed: str | None) -> None:
    assert read({"GIT_TOKEN": "s3cret"} | ({} if listed is None else {"LIAN_CREDENTIAL_HOSTS": listed})) == "s3cret"


@pytest.mark.parametrize("listed", ["other.example", "example.org", f"{HOST}:8443", f"a.{HOST}"])
def test_for_another_host_nothing_is_read_and_no_command_is_run(listed: str) -> None:
    environ = {"GIT_TOKEN": "s3cret", "LIAN_CREDENTIAL_HOSTS": listed}
    for source in (TOKEN, SourceRef(SourceKind.COMMAND, "touch /pwned")):
        with pytest.raises(LianError) as caught:
            read(environ, source)
        (problem,) = caught.value.problems
        assert (problem.code, problem.next) == ("credential-forbidden", Next.HOLD)
        assert problem.cause == f"LIAN_CREDENTIAL_HOSTS is {listed}"
        assert HOST in problem.message and "s3cret" not in str(problem)
