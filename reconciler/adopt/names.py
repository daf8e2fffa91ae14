"""Names in lian's grammars, out of names that others chose."""

from __future__ import annotations

import re
import unicodedata
from itertools import count
from typing import TYPE_CHECKING

from reconciler.model.name import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OTHER = re.compile(r"[^a-z0-9]+")
_OTHER_IN_SECRETS = re.compile(r"[^a-z0-9._-]+")
_MAX_SECRET = 128


def name_of(text: str, otherwise: str) -> str:
    """A workspace's or artifact's name: `Shop_API` is `shop-api`; `otherwise` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return _OTHER.sub("-", plain).strip("-")[:MAX_NAME].rstrip("-") or otherwise


def secret_name(text: str) -> str:
    """A secret's logical name: `NPM_TOKEN` is `npm-token`."""
    plain = _OTHER_IN_SECRETS.sub("-", text.lower()).replace("_", "-").strip("._-")
    return plain[:_MAX_SECRET].rstrip("._-") or "secret"


def unique_names(texts: Iterable[str], otherwise: str) -> dict[str, str]:
    """Each text -> a name that no other has. Where two come to the same, the later is numbered."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        names[text] = chosen = _free(name_of(text, otherwise), taken)
        taken.add(chosen)
    return names


def secret_names(texts: Iterable[str]) -> list[str]:
    """A logical name for each of several secrets, that no other has. Where two come to the same, the later is
    numbered."""
    names: list[str] = []
    taken: set[str] = set()
    for text in texts:
        names.append(_free(secret_name(text), taken, _MAX_SECRET))
        taken.add(names[-1])
    return names


def folder_names(paths: Mapping[str, str], otherwise: str) -> dict[str, str]:
    """Each key -> a name made of the last parts of its path, of as many as set it apart: `a/api` and `b/api` are
    `a-api` and `b-api`, where `web` alone is `web`."""
    parts = {key: [part for part in path.split("/") if part not in {"", "."}] for key, path in paths.items()}
    depth = dict.fromkeys(parts, 1)
    while True:
        named = {key: name_of("-".join(parts[key][-depth[key] :]), otherwise) for key in parts}
        groups: dict[str, list[str]] = {}
        for key, name in named.items():
            groups.setdefault(name, []).append(key)
        deeper = [k for keys in groups.values() if len(keys) > 1 for k in keys if depth[k] < len(parts[k])]
        if not deeper:
            break
        for key in deeper:
            depth[key] += 1
    taken: set[str] = set()
    for key, name in named.items():
        named[key] = _free(name, taken)
        taken.add(named[key])
    return named


def _free(name: str, taken: set[str], most: int = MAX_NAME) -> str:
    if name not in taken:
        return name
    numbered = (f"{name[: most - 7].rstrip('._-')}-{number}" for number in count(2))
    return next(each for each in numbered if each not in taken)
