"""Where something is fetched from: one form for all ways to write it, and none for what a server may read otherwise."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.patterns import first_source
from reconciler.plan.source_places import place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Git.Example/team/repo.git#v1:docs", "git.example/team/repo"),
        ("https://git.example:443/team/repo", "git.example/team/repo"),
        ("http://git.example:443/team/repo", "git.example:443/team/repo"),
        ("git@git.example:team/repo.git#v1", "git.example/team/repo"),
        ("git@git.example:/team/repo", "git.example/team/repo"),
        ("ssh://git@git.example:2222/team/repo", "git.example:2222/team/repo"),
        ("git://git.example:9418/r", "git.example/r"),
        ("https://user:pw@h.example/a%20b?token=x", "h.example/a b"),
        ("https://allowed.example@evil.example/x", "evil.example/x"),
        ("https://[::1]:8080/x", "[::1]:8080/x"),
        ("https://h.example", "h.example/"),
        ("https://h.example/team/", "h.example/team/"),
    ],
)
def test_one_form_for_all_ways_to_write_it(url: str, place: str) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example/ok/../evil/x",
        "https://h.example/ok/%2e%2e/evil/x",
        "https://h.example/ok/%252e%252e/evil/x",
        "https://h.example/ok/..",
        "https://h.example/ok/./x",
        "https://h.example/ok//x",
        "https://h.example\\@evil.example/x",
        "https://h.example/ok%5c..%5cevil",
        "https://h.example/a%00b",
        "https://%65vil.example/x",
        "https://h.example:port/x",
        "https://h.example:99999/x",
        "https://[::1/x",
        "https:///x",
        "https://h.example/a b",
        "",
    ],
)
def test_what_a_server_may_read_otherwise_has_no_place(url: str) -> None:
    assert place_of(url) is None
    assert first_source(("h.example/*", "*.example/*"), place_of(url)) is None
    assert first_source(("*",), place_of(url)) == "*"


@given(st.text("aZ./%25e:@#?\\[] é", max_size=12), st.sampled_from(["https://", "http://", "ssh://", "git@"]))
def test_what_has_a_place_is_asked_there(rest: str, scheme: str) -> None:
    """A place names the very host that is asked, and no folder that leads elsewhere."""
    place = place_of(scheme + rest)
    if place is None:
        return
    host, _, path = place.partition("/")
    assert not {".", "..", ""}.intersection(path.split("/")[:-1])
    if "://" in scheme + rest:
        asked = urlsplit((scheme + rest).partition("#")[0]).hostname or ""
        assert host.rpartition("]")[0].removeprefix("[") == asked if "[" in host else host.partition(":")[0] == asked


@pytest.mark.parametrize(
    ("pattern", "place", "taken"),
    [
        ("git.example/team/*", "git.example/team/repo", True),
        ("GIT.example:443/team/*", "git.example/team/repo", True),
        ("git.example/team/repo.git", "git.example/team/repo", True),
        ("git.example/team/*", "git.example/other/repo", False),
        ("*.example/team/*", "evil.test/x.example/team/y", False),
        ("git/team/*", "git/team/repo", True),
        ("git.example/team/*", "git.example:2222/team/repo", False),
        ("git.example:*/team/*", "git.example:2222/team/repo", True),
        ("[::1]:8080/*", "[::1]:8080/x", True),
        ("*", "anywhere/at/all", True),
    ],
)
def test_host_and_path_match_each_for_itself(pattern: str, place: str, taken: bool) -> None:
    assert (first_source((pattern,), place) is not None) is taken
