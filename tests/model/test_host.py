"""Machines that are reached by SSH, as settings name them."""

from __future__ import annotations

import pytest

from reconciler.model.host import Host

KEY = "ssh-ed25519 AAAAC3Nz+/=="


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("build1", Host("build1")),
        ("ci@build1.example.org", Host("build1.example.org", user="ci")),
        (f"ci@10.0.0.5:2222 {KEY}", Host("10.0.0.5", 2222, "ci", KEY)),
        (f"[fe80::1] {KEY}", Host("fe80::1", key=KEY)),
        ("root@[::1]:22", Host("::1", 22, "root")),
    ],
)
def test_a_host_is_read(text: str, host: Host) -> None:
    assert Host.parse(text) == host


@pytest.mark.parametrize("text", ["ci@build1", "build1:2222", "[::1]:2222", "a@[::1]"])
def test_it_is_shown_as_it_was_written(text: str) -> None:
    assert str(Host.parse(f"{text} {KEY}")) == text


@pytest.mark.parametrize(
    "text", ["", "a b", "-oProxyCommand=x", "h:0", "h:65536", "u@", "h  ssh-ed25519 A", "h\n", "u:p@h"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        Host.parse(text)
