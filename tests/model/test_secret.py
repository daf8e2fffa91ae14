"""Secrets, and every way in which a value is usually shown, kept or sent."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import string
import traceback
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

import reconciler
from reconciler.model.canonical import canonical
from reconciler.model.secret import Secret, SecretBytes

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary-31d7"
BOTH = [Secret(CANARY), SecretBytes(CANARY.encode())]


@dataclass(frozen=True)
class Holder:
    """As a build request holds it."""

    secret: Any
    by_id: dict[str, Any] = field(default_factory=dict)


def logged(value: Any) -> str:
    stream = io.StringIO()
    log = logging.Logger("of a test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(args)s"))
    log.addHandler(handler)
    log.error("it is %s and %r", value, value)
    log.error(value)
    return stream.getvalue()


def raised(value: Any) -> str:
    try:
        raise ValueError(value)
    except ValueError as error:
        shown = io.StringIO()
        trace = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        Console(file=shown, width=200).print(trace)
        return "".join(traceback.format_exception(error)) + shown.getvalue() + repr(error.args)


def explored(value: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print([value], {"a": value})
    return stream.getvalue()


SHOWN: dict[str, Callable[[Any], object]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": lambda value: format(value, ">40"),
    "f-string": lambda value: f"{value} {value!r} {value!s} {value:x<20}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031
    "str.format": "{0} {0!r}".format,
    "Template": lambda value: string.Template("$a").substitute(a=value),
    "print": lambda value: print(value, file=io.StringIO()),
    "pprint": lambda value: pprint.pformat({"a": [value]}),
    "in a list": lambda value: str([value, (value,), {value}]),
    "rich": explored,
    "logging": logged,
    "exception": raised,
    "dataclass": lambda value: repr(Holder(value, {"a": value})),
    "asdict": lambda value: asdict(Holder(value, {"a": value})),
    "astuple": lambda value: astuple(Holder(value, {"a": value})),
    "copy": copy.copy,
    "deepcopy": lambda value: copy.deepcopy(Holder(value)),
    "default=str": lambda value: json.dumps([value], default=str),
}
REFUSED: dict[str, Callable[[Any], object]] = {
    "pickle": pickle.dumps,
    "old pickle": lambda value: pickle.dumps(value, protocol=0),
    "pickled in a record": lambda value: pickle.dumps(Holder(value)),
    "state": lambda value: value.__getstate__(),
    "json": json.dumps,
    "canonical": lambda value: canonical({"a": value}),
    "vars": vars,
    "bytes": bytes,
    "join": "".join,
    "concatenated": lambda value: "x" + value,
    "path": Path,
    "iterated": list,
    "length": len,
}


@pytest.mark.parametrize("secret", BOTH, ids=["text", "bytes"])
@pytest.mark.parametrize("way", SHOWN.values(), ids=SHOWN.keys())
def test_a_secret_is_shown_nowhere(secret: Any, way: Callable[[Any], object]) -> None:
    assert CANARY not in str(way(secret))
    assert CANARY not in repr(way(secret))


@pytest.mark.parametrize("secret", BOTH, ids=["text", "bytes"])
@pytest.mark.parametrize("way", REFUSED.values(), ids=REFUSED.keys())
def test_a_secret_is_made_into_nothing_else(secret: Any, way: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as error:
        way(secret)
    assert CANARY not in repr(error.value)


def test_these_ways_do_show_what_is_no_secret() -> None:
    """Else the tests above could not fail."""
    for name, way in SHOWN.items():
        assert name == "print" or CANARY in str(way(CANARY)), name
    for name in ("pickle", "json", "canonical", "join", "concatenated", "iterated"):
        REFUSED[name](CANARY)


def test_secrets_are_compared_and_kept_in_sets() -> None:
    text, data = Secret(CANARY), SecretBytes(CANARY.encode())
    assert text == Secret(CANARY) != Secret("other")
    assert text != CANARY
    assert text != data
    assert data == SecretBytes(CANARY.encode())
    assert len({text, Secret(CANARY), data, SecretBytes(CANARY.encode())}) == 2
    assert bool(text)
    assert not Secret("")
    assert (text.reveal(), data.reveal()) == (CANARY, CANARY.encode())
    assert replace(Holder(text), secret=data).secret is data
    assert asdict(Holder(text))["secret"] is text


READERS = {
    "desired/foreign.py": 1,
    "desired/git_apart.py": 1,
    "desired/git_remote.py": 2,
    "model/secret.py": 1,
    "model/masking.py": 1,
    "providers/builder/credentials.py": 1,
    "providers/builder/lending.py": 2,
    "providers/compute/docker/container.py": 1,
    "providers/compute/local.py": 1,
    "providers/compute/ssh/workplace.py": 1,
    "providers/compute/ssh/provider.py": 1,
    "providers/registry/http/logins.py": 1,
    "providers/registry/http/trust.py": 1,
    "single/flags.py": 1,
    "wiring/__init__.py": 1,
}


def test_secrets_are_read_at_known_places_alone() -> None:
    """Whoever adds one has thought of where the value goes from there."""
    root = Path(reconciler.__file__).parent
    found = {str(path.relative_to(root)): path.read_text().count(".reveal()") for path in root.rglob("*.py")}
    assert {path: count for path, count in found.items() if count} == READERS
