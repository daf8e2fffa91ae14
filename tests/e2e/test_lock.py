"""A base image and a file move by themselves: tracked without a lock, still with one, until `lian lock --update`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.bench import Bench, directive, layout_files, layout_tags
from tests.e2e.test_drift import Hand
from tests.schemas.evaluation import validator
from tests.servers.files import serve_files
from tests.servers.registry import password_registry_server, run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.files import FileServer
    from tests.servers.registry import RegistryServer

__all__ = ["password_registry_server"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with run_registry(tmp_path / "server") as running:
        yield running


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serve_files({"/tool": b"tool one"}) as running:
        yield running


def shop(server: RegistryServer, files: FileServer, **more: str) -> dict[str, str]:
    """One image on that base, with that file."""
    dockerfile = f"FROM {server.host}/team/base:1\nADD {files.url}/tool /tool\nCOPY own /\n"
    artifacts = {"api": 'image = "shop/api", context.path = "api"'}
    return {"directives/shop.ncl": directive("shop", artifacts), "api/Dockerfile": dockerfile, "api/own": "1", **more}


def reasons(bench: Bench) -> list[dict[str, Any]]:
    """Why shop/api is to be built; empty where it is in sync."""
    (change,) = bench.lian("diff", "--json", code=None).json["changes"]
    return [] if change["action"] == "none" else change["reasons"]


def report(bench: Bench, *words: str, code: int = 0) -> dict[str, Any]:
    document = bench.document("lock", *words, code=code)
    validator("lock_report").validate(document)
    return document


@pytest.mark.buildkit
def test_nothing_moves_until_the_lock_does(tmp_path: Path, server: RegistryServer, files: FileServer) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    hand = Hand(server, "team/base")
    old = hand.push_file("1", "one")
    bench.commit(shop(server, files))
    assert bench.reconcile()["shop/api"]["status"] == "done"

    # without a lock: what moves is told with both digests
    new = hand.push_file("1", "two")
    base = f"{server.host}/team/base:1"
    assert reasons(bench) == [{"code": "base-moved", "subject": base, "old": old, "new": new}]
    text = bench.lian("diff", code=2).out
    assert f"base {base}: {old[7:19]} → {new[7:19]}" in text
    bench.reconcile()

    # locked as it stands, only the file's content is news: it was no input before
    assert {c["name"]: c["new"] for c in report(bench)["changes"]}[base] == new
    validator("lock").validate(json.loads((bench.repo / "lian.lock").read_text()))
    lacking = report(bench, "--check", code=2)
    assert (lacking["changes"][0]["action"], lacking["mended"]) == ("lacking", True)
    assert bench.lian("lock", "--check", code=2).out.endswith("commit it\n")
    bench.commit()
    assert report(bench, "--check")["changes"] == []
    (only,) = reasons(bench)
    assert (only["code"], only["subject"], only["old"]) == ("fetched-moved", f"{files.url}/tool", None)
    bench.reconcile()
    assert reasons(bench) == []

    # everything moves, nothing happens; also where the base's registry is asked nothing
    third = hand.push_file("1", "three")
    files.files["/tool"] = b"tool two"
    assert reasons(bench) == []
    bench.commit({"api/own": "2"})
    bench.reconcile()  # what is pinned comes out of the cache: the server does not have it any more
    assert image(bench) == {"text": b"two", "tool": b"tool one", "own": b"2"}

    # moved on purpose, one after the other
    files.files["/tool"] = b"tool two"
    (moved,) = report(bench, "--update", "*/tool")["changes"]
    assert (moved["kind"], moved["action"], moved["artifacts"]) == ("url", "moved", ["shop/api"])
    (moved,) = report(bench, "--update")["changes"]
    assert (moved["name"], moved["old"], moved["new"]) == (base, new, third)
    bench.commit()
    assert {reason["code"] for reason in reasons(bench)} == {"base-moved", "fetched-moved"}
    bench.reconcile()
    assert image(bench) == {"text": b"three", "tool": b"tool two", "own": b"2"}
    assert reasons(bench) == []

    # without the lock again: the base is what it is, and no input changes for it but the file's
    (bench.repo / "lian.lock").unlink()
    bench.commit()
    assert [(r["code"], r["new"]) for r in reasons(bench)] == [("fetched-moved", None)]


def image(bench: Bench) -> dict[str, bytes]:
    """The files of shop/api."""
    root = bench.repo.parent / "registry"
    return layout_files(root, "shop/api", layout_tags(root, "shop/api")["latest"])


def test_what_people_see(tmp_path: Path, server: RegistryServer, files: FileServer) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    hand, base = Hand(server, "team/base"), f"{server.host}/team/base:1"
    old = hand.push("1", "one")
    bench.commit(shop(server, files))
    assert "which nothing pins: `lian lock` does" in bench.lian("diff", code=2).err
    assert "2 lacking, 0 unused, 0 in use" in bench.lian("lock", "--check", code=2).out
    ran = bench.lian("lock")
    assert ran.out.startswith(f"+ {base}\n  {old[:19]}\n  used by shop/api\n")
    assert re.search(r"^lian\.lock: 2 added, 0 kept \(revision [0-9a-f]{12}\); commit it$", ran.out, re.MULTILINE)
    assert ran.err == ""
    bench.commit()
    assert bench.lian("diff", code=2).err == ""
    new = hand.push("1", "two")
    assert f"{old[:19]} → {new[:19]}" in bench.lian("lock", "--update", "*base").out
    bench.commit({"api/Dockerfile": f"FROM {base}\nFROM {server.host}/team/other:1\n"})
    note = bench.lian("diff", code=4).err
    assert f"1 moving part is not in lian.lock: {server.host}/team/other:1" in note
    ran = bench.lian("lock", code=4)
    assert "error[base-missing]" in ran.err
    assert "lian.lock is as it was: 1 part could not be found out" in ran.out
    bench.commit({"api/Dockerfile": "FROM scratch\n"})
    assert "lian.lock has 2 entries that nothing uses" in bench.lian("diff", code=2).err
    assert "2 removed, 0 kept" in bench.lian("lock").out


def test_a_lock_that_is_none_holds_and_says_where(tmp_path: Path, server: RegistryServer, files: FileServer) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    Hand(server, "team/base").push("1", "one")
    bench.commit(shop(server, files))
    bench.lian("lock")
    text = (bench.repo / "lian.lock").read_text()
    bench.commit({"lian.lock": text.replace('": "sha256:', '": "sha25:', 1)})
    for command in (("lock",), ("reconcile", "--once")):
        ran = bench.lian(*command, code=1)
        assert "error[lock-invalid]" in ran.err
        assert "at lian.lock:5:5" in ran.err
    assert not (tmp_path / "registry" / "shop").exists()
    (bench.repo / "lian.lock").unlink()
    bench.lian("lock")
    assert (bench.repo / "lian.lock").read_text() == text


def test_a_url_has_no_working_tree(tmp_path: Path, server: RegistryServer, files: FileServer) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.commit(shop(server, files))
    ran = bench.lian("lock", "--repo", f"file://{bench.repo}", code=1)
    assert "error[lock-unwritable]" in ran.err
    assert bench.lian("lock", "--check", "--repo", f"file://{bench.repo}", code=2).out


def test_a_base_behind_credentials_that_are_not_there(
    tmp_path: Path, password_registry_server: RegistryServer, files: FileServer
) -> None:
    bench = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    bench.env["DOCKER_CONFIG"] = str(tmp_path / "nothing")
    bench.commit(shop(password_registry_server, files))
    ran = bench.lian("lock", code=4)
    base = f"{password_registry_server.host}/team/base:1"
    assert f"the base image {base} of this artifact could not be looked up" in ran.err
    assert "login" in ran.err
    assert not (bench.repo / "lian.lock").exists()
    held = bench.lian("diff", code=4)
    assert base in held.out
    assert "login" in held.out
