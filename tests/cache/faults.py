"""Rooms with one fault each, and the property that finds it. `python -m tests.cache.faults` prints which ones do."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from hypothesis import Phase

from reconciler.cache import rights, rules
from reconciler.cache.namespace import Layout, Namespace, join, split
from reconciler.cache.rights import READS, WRITES, Ground, Right
from reconciler.cache.rules import Generation, Slot
from reconciler.model.access import Access, ActorAccess
from reconciler.model.cache import Ci, Session
from reconciler.model.name import is_name
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from tests.cache.rooms import PROPERTIES, REAL, Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.cache.rights import Territory
    from reconciler.model.cache import BuildMode


@dataclass(frozen=True)
class Fault:
    """`found_by` names the property that this fault is for; others may find it as well."""

    room: Room
    found_by: str


def fails(room: Room, name: str, **chosen: Any) -> bool:
    """Whether a property does not hold in the room: always the same answer."""
    usual = {
        "derandomize": True,
        "database": None,
        "deadline": None,
        "phases": [Phase.generate],
        "report_multiple_bugs": False,
    }
    try:
        PROPERTIES[name](room, **{**usual, **chosen})
    except (AssertionError, LianError):  # the latter where what is right was refused
        return True
    return False


def _fault(name: str, found_by: str, **changes: Any) -> Fault:
    return Fault(replace(REAL, name=name, **changes), found_by)


# -- joining and places --------------------------------------------------------------------------------------------


def _joined(name: str, found_by: str, joins: Callable[[str, str], str], splits: Callable[[str], Any] = split) -> Fault:
    """A room that joins otherwise, wherever something is joined."""

    def folder(layout: Layout, owned: Namespace) -> str:
        right = layout.folder(owned)
        if layout.projects or owned.actor is None:
            return right
        return f"{right.removesuffix(join(owned.actor, owned.workspace))}{joins(owned.actor, owned.workspace)}"

    def repository(layout: Layout, owned: Namespace, artifact: str) -> str:
        layout.repository(owned, artifact)
        return f"{folder(layout, owned)}/{artifact}"

    def parse(layout: Layout, path: str) -> Any:
        head, _, artifact = path.rpartition("/")
        lead = "/".join(filter(None, (layout.prefix, "dev/")))
        pair = splits(head.removeprefix(lead)) if head.startswith(lead) and not layout.projects else None
        return (Namespace(pair[1], pair[0]), artifact) if pair else layout.parse(path)

    def territories(access: Access, ground: Ground) -> tuple[Territory, ...]:
        own = list(_of_actors(access, ground))
        moved = {at.folder(each): folder(at, each) for at in (ground.caches, ground.sessions) for each in own}
        return tuple(replace(t, folder=moved.get(t.folder, t.folder)) for t in rights.territories(access, ground))

    def taken(layout: Layout, owned: Namespace, path: str) -> bool:
        return path.startswith(f"{folder(layout, owned)}/")

    return _fault(
        name, found_by, join=joins, split=splits, folder=folder, repository=repository, parse=parse,
        territories=territories, taken=taken,
    )  # fmt: skip


def _of_actors(access: Access, ground: Ground) -> Iterator[Namespace]:
    for actor, each in access.actors.items():
        for workspace in chain(ground.workspaces, each.workspaces or ()):
            yield Namespace(workspace, actor)


def _first_dash(text: str) -> tuple[str, str] | None:
    actor, _, workspace = text.partition("-")
    pair = actor, workspace.strip("-")
    return pair if all(map(is_name, pair)) else None


def _parses_longer(layout: Layout, path: str) -> Any:
    """All that a path of a cache begins."""
    parts = path.split("/")
    return next(filter(None, (layout.parse("/".join(parts[:end])) for end in range(len(parts), 0, -1))), None)


def _parses_below_anything(layout: Layout, path: str) -> Any:
    return layout.parse(path) or layout.parse(f"{layout.prefix}/{path.rpartition(f'{layout.prefix}/')[2]}")


def _reserves_ci_alone(layout: Layout, path: str) -> bool:
    return layout.reserves(path) and path.removeprefix(layout.prefix)[1 if layout.prefix else 0 :].startswith("ci")


def _reserves_what_is(layout: Layout, path: str) -> bool:
    return layout.parse(path) is not None


def _too_long(layout: Layout, owned: Namespace, artifact: str) -> str:
    try:
        return layout.repository(owned, artifact)
    except ValueError:
        return "/".join(filter(None, (layout.prefix, str(owned), artifact)))


def _projects_of_two_dashes(layout: Layout, owned: Namespace, artifact: str) -> str:
    kind = ["ci"] if owned.actor is None else ["dev", owned.actor]
    project = ".".join(filter(None, (layout.prefix, *kind, owned.workspace)))
    return f"{project}/{artifact}" if layout.projects else layout.repository(owned, artifact)


# -- rules ---------------------------------------------------------------------------------------------------------


def _exports_of_sessions_to_ci(mode: BuildMode, *build: Any) -> Slot:
    return rules.export(Ci(), *build)


def _imports_another_actors(mode: BuildMode, *build: Any) -> tuple[Slot, ...]:
    return (*rules.imports(mode, *build), *rules.imports(Session("a"), *build)[:1])


def _ci_imports_dev(mode: BuildMode, *build: Any) -> tuple[Slot, ...]:
    more = rules.imports(Session("a"), *build)[:1] if isinstance(mode, Ci) else ()
    return (*rules.imports(mode, *build), *more)


def _imports_another_workspaces(mode: BuildMode, workspace: str, *rest: Any) -> tuple[Slot, ...]:
    return (*rules.imports(mode, workspace, *rest), *rules.imports(mode, "b", *rest)[-1:])


def _ci_first(mode: BuildMode, *build: Any) -> tuple[Slot, ...]:
    return tuple(sorted(rules.imports(mode, *build), key=lambda slot: not slot.namespace.is_ci))


def _export_of_one_platform(mode: BuildMode, workspace: str, artifact: str, _: Platform) -> Slot:
    return rules.export(mode, workspace, artifact, Platform("linux", "amd64"))


def _one_workspace_is_another(mode: BuildMode, workspace: str, *rest: Any) -> tuple[Slot, ...]:
    found = rules.imports(mode, workspace, *rest)
    return found[:1] if workspace.startswith("a") else found


def _previous_to_ci(slot: Slot) -> Slot:
    return rules.previous(slot)._replace(namespace=Namespace(slot.namespace.workspace))


def _mounts_to_ci(mode: BuildMode, *build: Any) -> Slot:
    return rules.mounts_written(Ci(), *build)


def _mounts_of_another(mode: BuildMode, *build: Any) -> tuple[Slot, ...]:
    return (*rules.mounts_read(mode, *build), *rules.mounts_read(Session("b"), *build)[:1])


def _sessions_of_an_actor_alike(mode: BuildMode, workspace: str, namespace: Namespace) -> bool:
    return namespace == rules.own_namespace(mode, workspace) or (
        isinstance(mode, Session) and namespace.actor == mode.actor
    )


def _ci_reads_all(mode: BuildMode, workspace: str, namespace: Namespace) -> bool:
    return isinstance(mode, Ci) or rules.may_read(mode, workspace, namespace)


def _any_host(text: str, mode: BuildMode, workspace: str, host: str, layout: Layout) -> Reference:
    try:
        named = Reference.parse(text).repository.host
    except ValueError:
        named = host
    return rules.admit_import(text, mode, workspace, named, layout)


def _any_workspace(text: str, mode: BuildMode, workspace: str, host: str, layout: Layout) -> Reference:
    try:
        found = layout.parse(Reference.parse(text).repository.path)
    except ValueError:
        found = None
    return rules.admit_export(text, mode, found[0].workspace if found else workspace, host, layout)


def _reads_are_writes(text: str, mode: BuildMode, workspace: str, host: str, layout: Layout) -> Reference:
    return rules.admit_import(text, mode, workspace, host, layout)


def _any_prefix(text: str, mode: BuildMode, workspace: str, host: str, layout: Layout) -> Reference:
    """Looks for the namespace wherever it stands in the path."""
    asked = re.search(r"(?<=[/.])(ci|dev)[/.].*", text)
    lead = f"{host}/{layout.prefix}{'.' if layout.projects else '/'}".removesuffix("//")
    if asked and layout.prefix and "\n" not in text:
        rules.admit_import(f"{lead}{asked[0]}", mode, workspace, host, layout)
        return Reference.parse(text)
    return rules.admit_import(text, mode, workspace, host, layout)


# -- rights --------------------------------------------------------------------------------------------------------


def _more(
    access: Access, ground: Ground, where: Callable[[Namespace], bool], who: tuple[str, ...], given: frozenset[Right]
) -> tuple[Territory, ...]:
    """The right territories, and something more in caches."""
    return tuple(
        replace(each, rights=tuple(sorted((dict(each.rights) | {a: each.of(a) | given for a in who}).items())))
        if (found := ground.caches.namespace(each.folder)) and not each.exact and where(found)
        else each
        for each in rights.territories(access, ground)
    )


def _ci_pulls_dev(access: Access, ground: Ground) -> tuple[Territory, ...]:
    return _more(access, ground, lambda found: not found.is_ci, access.ci, READS)


def _actors_push_ci(access: Access, ground: Ground) -> tuple[Territory, ...]:
    accounts = tuple(account for each in access.actors.values() for account in each.accounts)
    return _more(access, ground, lambda found: found.is_ci, accounts, WRITES)


def _all_workspaces(access: Access, ground: Ground) -> tuple[Territory, ...]:
    """An actor's workspaces are where he writes, and he reads everywhere."""
    everywhere = Access(access.ci, {actor: ActorAccess(each.accounts) for actor, each in access.actors.items()})
    wide = {(each.folder, each.exact): each for each in rights.territories(everywhere, ground)}
    return tuple(wide.get((each.folder, each.exact), each) for each in rights.territories(access, ground))


def _nobody_deletes(access: Access, ground: Ground) -> tuple[Territory, ...]:
    return tuple(
        replace(each, rights=tuple((account, given - {Right.DELETE}) for account, given in each.rights))
        for each in rights.territories(access, ground)
    )


def _unordered(access: Access, ground: Ground) -> tuple[Territory, ...]:
    found = rights.territories(access, ground)
    first = ground.workspaces[0]
    return tuple(sorted(found, key=lambda each: (first not in each.folder, each.folder)))


MACHINE = "no_sequence_of_steps_breaks_a_promise"
OWN_ALONE = "a_build_writes_its_own_alone"

FAULTS = (
    _joined("joined by a lone dash", "two_pairs_never_join_alike", lambda a, w: f"{a}-{w}", _first_dash),
    _joined("joined by two dashes", "two_pairs_never_join_alike", lambda a, w: f"{a}--{w}", _first_dash),
    _joined("the pair exchanged", "splitting_undoes_joining", lambda a, w: join(w, a)),
    _joined(
        "dashes doubled in the actor's name only",
        "splitting_undoes_joining",
        lambda a, w: f"{a.replace('-', '--')}-{w}",
    ),
    _joined("joined by a slash", "what_is_joined_is_one_part_of_a_path", lambda a, w: f"{a}/{w}"),
    _fault("splits at the first dash", "what_joining_never_returns_is_not_split", split=_first_dash),
    _fault("parses what is below a cache", "what_is_no_caches_path_is_not_parsed", parse=_parses_longer),
    _fault("parses what is below any prefix", "what_is_no_caches_path_is_not_parsed", parse=_parses_below_anything),
    _fault("paths of any length", "a_registry_takes_the_path", repository=_too_long),
    _fault("projects of two dashes", "harbor_takes_the_project", repository=_projects_of_two_dashes),
    _fault("keeps CI's place free only", "no_image_may_lie_where_a_cache_does", reserves=_reserves_ci_alone),
    _fault("keeps free what is a cache only", "what_may_yet_become_a_cache_is_kept_free", reserves=_reserves_what_is),
    _fault(
        "keeps all below the prefix free",
        "images_elsewhere_are_free",
        reserves=lambda layout, path: path.startswith(layout.prefix),
    ),
    _fault(
        "tags without the variant",
        "two_slots_have_two_tags",
        tag=lambda slot: f"{slot.platform.os}-{slot.platform.architecture}{slot.generation}",
    ),
    _fault(
        "tags without the generation",
        "two_slots_have_two_tags",
        tag=lambda slot: slot._replace(generation=Generation.LATEST).tag,
    ),
    _fault(
        "a platform as it is in a tag", "a_registry_takes_the_tag", tag=lambda slot: f"{slot.platform}{slot.generation}"
    ),
    _fault(
        "deletes by the beginning of the path",
        "deleting_takes_the_own_and_nothing_else",
        taken=lambda layout, owned, path: path.startswith(layout.folder(owned)),
    ),
    _fault("a session exports to ci", OWN_ALONE, export=_exports_of_sessions_to_ci),
    _fault("an export leaves out the platform", "one_rule_for_all", export=_export_of_one_platform),
    _fault("what was found goes to ci", OWN_ALONE, previous=_previous_to_ci),
    _fault("mounts of a session go to ci", OWN_ALONE, mounts_written=_mounts_to_ci),
    _fault("mounts of another actor", "a_session_reads_its_own_and_then_cis", mounts_read=_mounts_of_another),
    _fault(
        "a session imports another actor's", "a_session_reads_its_own_and_then_cis", imports=_imports_another_actors
    ),
    _fault("a session imports CI's first", "a_session_reads_its_own_and_then_cis", imports=_ci_first),
    _fault("CI imports dev", "ci_reads_nothing_but_its_own", imports=_ci_imports_dev),
    _fault(
        "imports of another workspace",
        "nothing_is_of_another_workspace_or_artifact_or_platform",
        imports=_imports_another_workspaces,
    ),
    _fault("a rule with an exception", "one_rule_for_all", imports=_one_workspace_is_another),
    _fault("who may read may write", "no_session_may_write_what_is_cis", may_write=rules.may_read),
    _fault(
        "who may write need not read",
        "who_may_write_may_read",
        may_read=lambda _, workspace, found: found == Namespace(workspace),
    ),
    _fault(
        "an actor writes in all workspaces at once",
        "nobody_may_touch_what_is_anothers",
        may_write=_sessions_of_an_actor_alike,
    ),
    _fault("CI may read everything", "ci_may_not_touch_what_is_an_actors", may_read=_ci_reads_all),
    _fault("a cache of any host is admitted", "what_lies_elsewhere_is_refused", admit_import=_any_host),
    _fault("a cache of any prefix is admitted", "what_lies_elsewhere_is_refused", admit_import=_any_prefix),
    _fault("an export to any workspace is admitted", "what_may_be_written_is_admitted", admit_export=_any_workspace),
    _fault(
        "an export to what may be read is admitted", "what_may_be_written_is_admitted", admit_export=_reads_are_writes
    ),
    _fault("an import is admitted as an export", "what_may_be_read_is_admitted", admit_import=rules.admit_export),
    _fault("CI's accounts pull dev", "cis_accounts_have_nothing_in_dev", territories=_ci_pulls_dev),
    _fault("actors' accounts push ci", "nothing_that_ci_writes_is_an_actors_to_write", territories=_actors_push_ci),
    _fault(
        "an actor's workspaces are not asked for", "an_actor_sees_the_workspaces_he_has", territories=_all_workspaces
    ),
    _fault("nobody may delete", "rights_are_what_the_rules_say", territories=_nobody_deletes),
    _fault(
        "rights begin in the middle of a name",
        "a_territory_holds_what_is_below_it",
        lies_in=lambda path, territory: path.startswith(territory.folder),
    ),
    _fault("rights in the order they are told in", "the_order_of_what_is_told_does_not_matter", territories=_unordered),
    _fault("promotion copies", MACHINE, promoted_from=lambda slot: slot),
)


def print_table() -> None:
    """Which properties find which fault: the one that it is for, then the others."""
    from tests.cache import test_model_registry, test_namespace, test_rights, test_rules  # noqa: F401

    for fault in FAULTS:
        others = [
            name
            for name in PROPERTIES
            if name != fault.found_by and fails(fault.room, name, max_examples=4 if name == MACHINE else 25)
        ]
        first = fault.found_by if fails(fault.room, fault.found_by) else "NOT FOUND"
        print(f"{fault.room.name}\n    {first}" + "".join(f"\n    also: {name}" for name in others), flush=True)


if __name__ == "__main__":
    print_table()
