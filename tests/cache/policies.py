"""A fleet of two workspaces and two actors, and what is rendered for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.cache.namespace import Layout
from reconciler.cache.policy import harbor, tokens, zot
from reconciler.cache.policy.compare import compare
from reconciler.cache.policy.rule import Rule, rule
from reconciler.cache.rights import Ground
from reconciler.model.access import Access, ActorAccess

if TYPE_CHECKING:
    from reconciler.cache.policy.findings import Finding

ACCESS = Access(("ci",), {"ada": ActorAccess(("ada",)), "bob": ActorAccess(("bob",), ("shop",))})
"""ada has sessions of every workspace, bob of one."""
ACCOUNTS = ("ci", "ada", "bob")


def ground(*, projects: bool = False) -> Ground:
    """Two workspaces, with an image each."""
    images = (("shop", "shop/api"), ("tools", "tools/cli"))
    return Ground(Layout("cache", projects), Layout("", projects), images, ("shop", "tools"))


def fleet(access: Access = ACCESS, *, projects: bool = False) -> Rule:
    """Its rule."""
    return rule(access, ground(projects=projects))


def copied(document: Any) -> Any:
    """As it comes back from where it is deployed."""
    return json.loads(json.dumps(document))


def zot_policy() -> Any:
    """To be tampered with."""
    return copied(zot.render(fleet()))


def token_policy() -> Any:
    """To be tampered with."""
    return copied(tokens.render(fleet()))


def harbor_policy() -> Any:
    """To be tampered with."""
    return copied(harbor.render(fleet(projects=True)))


def found_in_zot(document: Any) -> tuple[Finding, ...]:
    """How this differs from the rule."""
    return compare(fleet(), zot.read(copied(document)))


def found_in_tokens(document: Any) -> tuple[Finding, ...]:
    """How this differs from the rule."""
    return compare(fleet(), tokens.read(copied(document)))


def found_in_harbor(document: Any) -> tuple[Finding, ...]:
    """How this differs from the rule."""
    return compare(harbor.named(fleet(projects=True)), harbor.read(copied(document)))


def told(findings: tuple[Finding, ...]) -> set[tuple[str, str, str, str]]:
    """(kind, account, example, actions) of each."""
    return {(f.kind.value, f.who.account if f.who else "?", f.example or "?", " ".join(f.actions)) for f in findings}
