"""The quick check says what `jsonschema` says."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.desired import packaged
from reconciler.desired.nickel.settings import BUILD_DIRECTIVES, BUILD_SPEC, FLEET_SETTINGS
from reconciler.desired.nickel.twin import Twin

GOOD = {
    BUILD_DIRECTIVES.twin: {
        "workspace": "shop",
        "artifacts": {
            "api": {
                "image": "shop/api", "tags": ["1.4", "stable"], "context": {"path": ".", "include": ["a", "b"]},
                "args": {"V": "1"}, "contexts": {"base": {"artifact": "base"}, "x": {"image": "alpine:3"}},
                "secrets": {"npm": {"name": "npm-token"}}, "max_age": "7d", "source_date_epoch": 0,
                "runner": {"cpu": 2, "memory_gb": 1.5},
            },
        },
        "registry": {"provider": "Zot", "url": "http://h:1"},
        "compute": {"provider": "Ssh", "hosts": ["a@b"]},
        "cache": {"build_mode": "Session", "actor": "ada"},
    },
    FLEET_SETTINGS.twin: {"fleet": "acme", "registry": {"provider": "OciLayout", "path": "r"}, "jobs": 3},
    BUILD_SPEC.twin: {"cpu": 2, "time_budget": 5},
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats(-2, 300, allow_nan=False) | st.just(1.0)
    | st.sampled_from(["", "x", "shop/api", "1.4", "Local", "lian-1", "a\n", "..", "é" * 70]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["path", "image", "git", "provider", "url", "x", "name"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, key) for key, _ in items] + [place for _, inner in items for place in places(inner)]


@pytest.mark.parametrize("field", ["labels", "args", "contexts", "secrets"])
def test_a_wrong_name_is_answered_in_words(field: str) -> None:
    document = copy.deepcopy(GOOD[BUILD_DIRECTIVES.twin])
    document["artifacts"]["api"][field] = {"a =": "x"}  # type: ignore[index]
    said = [each.message for each in Twin(packaged.find().document(BUILD_DIRECTIVES.twin)).findings(document)]
    (name,) = [message for message in said if message.startswith("the name")]
    assert "matches" not in name and "^" not in name


def test_what_is_there_twice_is_named() -> None:
    document = copy.deepcopy(GOOD[BUILD_DIRECTIVES.twin])
    document["artifacts"]["api"]["tags"] = ["1", "b", "2", "b", "1"]  # type: ignore[index]
    said = [each.message for each in Twin(packaged.find().document(BUILD_DIRECTIVES.twin)).findings(document)]
    assert said == ['`artifacts.api.tags` is not valid: expected each element once, got "b" more than once']


@pytest.mark.parametrize("twin", sorted(GOOD))
@given(data=st.data())
def test_both_accept_and_refuse_the_same(twin: str, data: st.DataObject) -> None:
    schema = packaged.find().document(twin)
    document = copy.deepcopy(GOOD[twin])
    for _ in range(data.draw(st.integers(0, 2))):
        container, key = data.draw(st.sampled_from(places(document)))
        if data.draw(st.booleans()):
            container[key] = data.draw(JSON)
        elif isinstance(container, dict):
            container[data.draw(st.sampled_from(["extra", "url", "path", "actor"]))] = data.draw(JSON)
        if not places(document):
            break
    expected = Draft202012Validator(schema).is_valid(document)
    assert jsonschema_rs.validator_for(schema).is_valid(document) == expected, json.dumps(document)
    assert Twin(schema).accepts(document) == expected
    assert bool(Twin(schema).findings(document)) != expected


@pytest.mark.parametrize("twin", sorted(GOOD))
def test_the_shipped_twins_accept_good_documents(twin: str) -> None:
    assert jsonschema_rs.validator_for(packaged.find().document(twin)).is_valid(GOOD[twin])


def test_findings_name_field_expectation_and_nearest_name() -> None:
    twin = Twin(packaged.find().document(BUILD_DIRECTIVES.twin))
    value = {"workspace": "A b", "artifacts": {"api": {"dockerfle": "x", "tags": [], "context": {"git": 3}}}}
    found = {(finding.path, finding.message, finding.hint) for finding in twin.findings(value)}
    api = ("artifacts", "api")
    assert ((*api, "dockerfle"), "`artifacts.api` has no field `dockerfle`", "did you mean `dockerfile`?") in found
    messages = {path: message for path, message, _ in found}
    assert messages[api].startswith("`artifacts.api` lacks the field `image`")
    assert "at least 1 element, got an empty array" in messages[*api, "tags"]
    assert '1 to 63 lower-case letters, digits and inner dashes, got "A b"' in messages["workspace",]
    assert "expected a string" in messages[*api, "context", "git"]
