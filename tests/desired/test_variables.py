"""Which variables settings name as the place of a credential."""

from __future__ import annotations

from reconciler.desired.variables import named_variables


def reference(source: str, name: str) -> dict[str, object]:
    return {"source": source, "name": name}


def test_every_variable_is_found_wherever_its_reference_stands() -> None:
    settings = {
        "registry": {"credentials": reference("Env", "A") | {"user": "ci"}, "client_key": reference("File", "/key")},
        "secrets": {"shop": {"token": reference("Env", "B"), "list": [{"deep": reference("Env", "C")}]}},
        "policy": {"sign": {"key": reference("Env", "D")}},
        "events": {"nkey": reference("Command", "pass nkey")},
    }
    assert sorted(named_variables(settings)) == ["A", "B", "C", "D"]


def test_what_only_looks_like_a_reference_names_none() -> None:
    """Arguments of a build have names of the author's choice."""
    args = {"api": {"args": {"source": "Env", "name": "PATH"}}}
    assert not list(named_variables({"artifacts": args, "source": "Env", "name": "A", "x": {"source": "Env"}}))
