"""The Merkle root of what is sent: it depends on all of the listing, and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.model.tree import EXECUTABLE, FILE, FOLDER, SYMLINK, Entry, node, root
from tests import strategies as some

if TYPE_CHECKING:
    from random import Random


@given(some.listings(), st.randoms())
def test_order_never_matters(listing: tuple[Entry, ...], random: Random) -> None:
    shuffled = list(listing)
    random.shuffle(shuffled)
    assert root(shuffled) == root(listing)


@given(some.listings(), some.listings())
def test_equal_roots_mean_equal_listings(one: tuple[Entry, ...], other: tuple[Entry, ...]) -> None:
    assert (root(one) == root(other)) == (set(one) == set(other))


@given(some.listings(min_size=1), st.data())
def test_any_change_of_path_mode_or_blob_changes_it(listing: tuple[Entry, ...], data: st.DataObject) -> None:
    assume(listing)
    place = data.draw(st.integers(0, len(listing) - 1))
    entry = listing[place]
    kinds = ["path"] if entry.mode == FOLDER else ["path", "mode", "blob"]
    match data.draw(st.sampled_from(kinds)):
        case "path":
            changed = replace(entry, path=entry.path + data.draw(some.file_names))
        case "mode":
            changed = replace(entry, mode=data.draw(st.sampled_from([FILE, EXECUTABLE, SYMLINK])))
        case _:
            changed = replace(entry, id=data.draw(some.hexes(40)))
    other = (*listing[:place], changed, *listing[place + 1 :])
    paths = [e.path for e in other]
    assume(changed != entry and len(set(paths)) == len(paths) and not any(_inside(p, changed.path) for p in paths))
    assert root(other) != root(listing)


def _inside(path: str, folder: str) -> bool:
    return path.startswith(folder + "/") or folder.startswith(path + "/")


@given(some.listings(), some.file_names)
def test_an_empty_folder_counts(listing: tuple[Entry, ...], name: str) -> None:
    assume(not any(e.path == name or e.path.startswith(name + "/") for e in listing))
    assert root((*listing, Entry(name, FOLDER, ""))) != root(listing)


@given(some.listings(min_size=1))
def test_folders_that_hold_something_need_no_entry(listing: tuple[Entry, ...]) -> None:
    parents = {e.path.rpartition("/")[0] for e in listing} - {""}
    assert root([*listing, *(Entry(parent, FOLDER, "") for parent in parents)]) == root(listing)


def test_a_folder_is_the_digest_of_its_children() -> None:
    inner = node([("b", FILE, "1" * 40)])
    assert root([Entry("a/b", FILE, "1" * 40)]) == node([("a", FOLDER, inner)])


def test_names_cannot_pose_as_other_entries() -> None:
    blob = "1" * 40
    honest = [Entry("a", FILE, blob), Entry("b", FILE, blob)]
    posing = [Entry(f"a {blob}\n{FILE} 1:b", FILE, blob)]
    assert root(honest) != root(posing)


def test_the_root_is_written_down() -> None:
    listing = [Entry("Dockerfile", FILE, "1" * 40), Entry("bin/run", EXECUTABLE, "2" * 40), Entry("empty", FOLDER, "")]
    assert root([]) == "6c7f6b5614f015b591ba3ae82da2b35cc5cb67f55e88fcdb7f5d1a2397b7f1d2"
    assert root(listing) == "8fa81cd5bbdddedd5c1fb59138281ea1d556940c7c752b736784e196e95ddf12"
