"""What may be named as another repository, and which login goes there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.git_url import GitAccess, GitUrl, as_commit
from tests.strategies_documents import git_url

A, B, C = (SourceRef(SourceKind.ENV, name) for name in "ABC")


@given(git_url)
def test_what_the_contract_takes_is_taken(text: str) -> None:
    assert str(GitUrl.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "host", "path", "by_ssh"),
    [
        ("https://GitHub.com/acme/site.git", "github.com", "acme/site.git", False),
        ("https://git.example.org:443/x", "git.example.org", "x", False),
        ("https://git.example.org:8443/x", "git.example.org:8443", "x", False),
        ("http://[::1]:8080/x", "[::1]:8080", "x", False),
        ("git@git.example.org:acme/site.git", "git.example.org", "acme/site.git", True),
        ("git@git.example.org:/srv/site.git", "git.example.org", "srv/site.git", True),
        ("ssh://git@git.example.org:22/acme/site", "git.example.org", "acme/site", True),
    ],
)
def test_a_url_is_told_apart(text: str, host: str, path: str, by_ssh: bool) -> None:
    url = GitUrl.parse(text)
    assert (url.host, url.path, url.by_ssh) == (host, path, by_ssh)


@pytest.mark.parametrize(
    "text",
    [
        "", "/srv/site.git", "./site", "file:///srv/site.git", "ext::sh -c id", "ext://sh", "-u/x", "--upload-pack=id",
        "https://-h/x", "ssh://-oProxyCommand=id/x", "git@-oProxyCommand=id:x", "git@host:-x", "ftp://h/x",
        "https://user:token@h/x", "https://user@h/x", "https://h/x?y", "https://h/x#y", "https://h/a/../b",
        "https://h/a/%2e%2e/b", "https://h/%2E./b", "https://h/a\\b", "https://h/a b", "https://h/a\n", "https://h",
        "https://h:0/x", "https://h:65536/x", "HTTPS://h/x", "file://h/x", "https:h/x",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        GitUrl.parse(text)


@given(st.text(max_size=40))
def test_nothing_but_a_reason_comes_of_any_text(text: str) -> None:
    try:
        url = GitUrl.parse(text)
    except ValueError as error:
        assert str(error)
    else:
        assert not url.path.startswith("-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/acme/site.git", B),
        ("https://github.com/acme/site", B),
        ("https://github.com/acme", B),
        ("https://github.com/acme.git", B),
        ("https://github.com/acmeother/site", A),
        ("https://github.com/Acme/site", A),
        ("https://github.com/other", A),
        ("https://github.com.example.org/acme", None),
        ("https://hub.com/acme", None),
        ("https://github.com:8443/acme", None),
        ("http://github.com/acme/site", None),
        ("git://github.com/acme/site", None),
        ("git@github.com:acme/site.git", C),
        ("ssh://git@github.com/acme/site.git", C),
        ("ssh://git@github.com:2222/acme/site.git", None),
    ],
)
def test_a_login_goes_to_the_place_it_is_bound_to(text: str, expected: SourceRef | None) -> None:
    """The nearest one, by whole names, and never where anybody can read it on its way."""
    access = GitAccess({"github.com": A, "github.com/acme": B}, {"github.com": C})
    assert access.of(GitUrl.parse(text)) == expected


def test_on_this_machine_plain_http_is_private() -> None:
    access = GitAccess({"127.0.0.1:8080": A, "127.0.0.1.example.org": A})
    assert access.of(GitUrl.parse("http://127.0.0.1:8080/x")) == A
    assert access.of(GitUrl.parse("http://127.0.0.1.example.org/x")) is None


@pytest.mark.parametrize(
    ("rev", "commit"),
    [
        ("a" * 40, "a" * 40), ("A" * 40, "a" * 40), ("aB" * 20, "ab" * 20), ("1" * 64, "1" * 64), ("F" * 64, "f" * 64),
        ("", None), ("1" * 39, None), ("1" * 41, None), ("1" * 63, None), ("g" * 40, None), ("a" * 40 + "\n", None),
        ("sha256:" + "a" * 64, None),
    ],
)  # fmt: skip
def test_a_whole_id_is_a_commit(rev: str, commit: str | None) -> None:
    assert as_commit(rev) == commit
