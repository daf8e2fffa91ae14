"""What of the environment programs are handed, whatever a commit names as the place of a credential."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.providers.secrets.handed_on import HandedOn
from reconciler.providers.secrets.sources import Sources

NEEDED = [
    "PATH", "HOME", "USER", "TMPDIR", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "https_proxy", "NO_PROXY",
    "SSL_CERT_FILE", "SSH_AUTH_SOCK", "LANG", "LC_ALL", "GNUPGHOME", "DBUS_SESSION_BUS_ADDRESS",
]  # fmt: skip


def test_what_a_commit_names_stays_away_from_then_on() -> None:
    environ = {"PATH": "/bin", "TOKEN": "s3cret", "OWN": "0perator"}
    handed_on = HandedOn(environ, {"OWN"})
    assert dict(handed_on) == {"PATH": "/bin", "TOKEN": "s3cret"}
    handed_on.withhold(["TOKEN"])
    handed_on.withhold([])
    assert (dict(handed_on), len(handed_on), "TOKEN" in handed_on) == ({"PATH": "/bin"}, 1, False)


@pytest.mark.parametrize("name", NEEDED)
def test_nobody_takes_from_programs_what_they_need(name: str) -> None:
    """Any directive may name a variable, one of a pull request too."""
    handed_on = HandedOn({name: "x", "TOKEN": "s3cret"})
    handed_on.withhold([name, "TOKEN"])
    assert dict(handed_on) == {name: "x"}


def test_a_helper_is_found_although_a_directive_names_path() -> None:
    handed_on = HandedOn({"PATH": "/usr/bin:/bin"})
    handed_on.withhold(["PATH"])
    found = asyncio.run(Sources({}, handed_on).read(SourceRef(SourceKind.COMMAND, "echo s3cret"), "the login"))
    assert found.reveal() == "s3cret"
