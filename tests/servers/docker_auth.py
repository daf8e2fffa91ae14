"""What docker_auth would grant by its `acl`, written a second time after its source (auth_server/authz/acl.go), with
Go's path.Match; and the users of a token service that grants just that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers.token_server import User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACTIONS = {"repository": ("pull", "push", "delete"), "registry": ("*",)}
"""What there is to ask for, by type."""


def granted(acl: Sequence[Mapping[str, Any]], account: str, name: str, kind: str = "repository") -> frozenset[str]:
    """The first entry that matches decides; without one nothing is granted."""
    asked = {"account": account, "type": kind, "name": name}
    for entry in acl:
        if all(matches(pattern, asked[key], asked) for key, pattern in entry["match"].items()):
            actions = entry["actions"]
            return frozenset(ACTIONS[kind] if actions == ["*"] else set(actions) & set(ACTIONS[kind]))
    return frozenset()


def matches(pattern: str, text: str, variables: Mapping[str, str]) -> bool:
    """An expression between slashes matches anywhere, all else is a glob. Python's `re` stands for Go's regexp, which
    is the same for what is rendered."""
    for name, value in variables.items():
        pattern = pattern.replace(f"${{{name}}}", re.escape(value))
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        return re.search(pattern[1:-1].replace("$", r"\Z"), text) is not None
    return re.fullmatch(_as_regex(pattern), text) is not None


def _as_regex(glob: str) -> str:
    """Without classes."""
    found, signs = "", iter(glob)
    for sign in signs:
        found += {"*": "[^/]*", "?": "[^/]", "\\": ""}.get(sign, re.escape(sign))
        if sign == "\\":
            found += re.escape(next(signs))
    return found


@dataclass(frozen=True)
class AclUser(User):
    """Has the rights that an acl gives to `account`."""

    account: str = ""
    acl: Sequence[Mapping[str, Any]] = ()

    def may(self, repository: str) -> frozenset[str]:
        """See User."""
        return granted(self.acl, self.account, repository)

    @property
    def lists(self) -> bool:
        """See User."""
        return bool(granted(self.acl, self.account, "catalog", "registry"))


def users_of(acl: Sequence[Mapping[str, Any]], accounts: Sequence[str]) -> dict[str, User]:
    """Each has a password of its own name."""
    return {account: AclUser(f"canary-{account}", (), None, account, acl) for account in accounts}
