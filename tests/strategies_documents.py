"""Documents for the schema tests: valid ones, the same ones with one thing wrong, and how Nickel writes them.

An enum tag is a `Tag`: a string for JSON Schema, `'Tag` for Nickel.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

Document = dict[str, Any]
Path = tuple[str | int, ...]


class Tag(str):
    """A string that Nickel writes as an enum tag."""

    __slots__ = ()


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NEEDS_ESCAPE = re.compile(r'["\\\x00-\x1f\x7f]|%(?=\{)')


def _quoted(text: str) -> str:
    def escape(match: re.Match[str]) -> str:
        char = match[0]
        return "\\%" if char == "%" else _ESCAPES.get(char, f"\\u{{{ord(char):x}}}")

    return f'"{_NEEDS_ESCAPE.sub(escape, text)}"'


def nickel(value: Any) -> str:
    """The value as Nickel source."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Tag():
            return f"'{_quoted(value)}"
        case str():
            return _quoted(value)
        case int() | float():
            return f"({value!r})"
        case list():
            return f"[{', '.join(map(nickel, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_quoted(key)} = {nickel(item)}' for key, item in value.items())} }}"
    raise TypeError(f"no Nickel literal for {type(value).__name__}")


def paths(value: Any, here: Path = ()) -> list[Path]:
    """The place of every value inside a document, itself included (as the empty path)."""
    found: list[Path] = [here]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in children:
        found += paths(item, (*here, key))
    return found


def at(document: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        document = document[key]
    return document


def replaced(document: Any, path: Path, value: Any) -> Any:
    """A copy with another value at the path."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def removed(document: Any, path: Path) -> Any:
    """A copy without the field or element at the path."""
    changed = copy.deepcopy(document)
    del at(changed, path[:-1])[path[-1]]
    return changed


def optionally(
    required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[Document]:
    """Records with all required fields and some of the optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


def tags_of(*names: str) -> st.SearchStrategy[str]:
    """Enum values: mostly tags, sometimes the string that JSON has."""
    return st.sampled_from(names).flatmap(lambda name: st.sampled_from([Tag(name), Tag(name), name]))


def _few(values: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=least, max_size=3, unique=True)


def _map(keys: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    return st.dictionaries(keys, values, max_size=2)


name = st.sampled_from(["shop", "a", "a-b", "a--b", "0", "x" * 63])
tag = st.sampled_from(["1.4", "stable", "_x", "A.b-c", "lia", "v" * 128])
image = st.sampled_from(
    ["shop/api", "api", "ghcr.io/acme/api", "localhost:5000/a__b/c.d", "[::1]:5000/x", "reg:80/a-b"]
)
image_reference = st.sampled_from(["alpine", "alpine:3.20", "ghcr.io/a/b:x@sha256:" + "0" * 64, "a.b:1"])
path = st.sampled_from([".", "a", "a/b", "images/api/", "..a/b", "a//b", "ünï/c", ".dot", "..."])
platform = st.sampled_from(["linux/amd64", "linux/arm/v7", "linux/arm64"])
target = st.sampled_from(["test", "runtime", "a.b_c-d"])
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
git_url = st.sampled_from(["https://example.org/a.git", "git@example.org:a/b.git", "ssh://git@[::1]:22/x", "git://h/a"])
revision = st.sampled_from(["main", "HEAD", "refs/tags/v1", "0" * 40, "größe"])
language = st.sampled_from(["go", "c++", "c#"])
host = st.sampled_from(["build1", "ci@10.0.0.5:2222", "[::1]:22", "ci@build1 ssh-ed25519 AAAAC3Nz"])
seconds = st.integers(0, 4102444800)
memory = st.one_of(st.integers(1, 4096), st.sampled_from([0.5, 1.25, 4095.5]))
labels = _map(st.sampled_from(["org.example.title", "a", "a/b"]), text)

vault_key_ref = optionally(
    {
        "source": tags_of("Env", "File", "Command", "Vault"),
        "name": st.sampled_from(["TOKEN", "/etc/key", "pass show x"]),
    }
)
vault_cred_ref = optionally(
    {"source": tags_of("Env", "File", "Command", "Vault"), "name": st.sampled_from(["TOKEN", "secret/data/x"])},
    user=st.sampled_from(["ci", "robot$ci"]),
)
cache_policy = st.one_of(
    optionally({}, mode=tags_of("Max", "Min", "Off"), build_mode=tags_of("Ci"), mounts=st.booleans()),
    optionally(
        {"build_mode": tags_of("Session"), "actor": name},
        mode=tags_of("Max", "Min", "Off"),
        disposition=tags_of("Export", "Discard", "Rollback"),
        mounts=st.booleans(),
    ),
)
artifact_cache = optionally({}, mode=tags_of("Max", "Min", "Off"), mounts=st.booleans())
build_spec = optionally(
    {}, cpu=st.integers(1, 256), memory_gb=memory, time_budget=st.integers(1, 1440), language=language
)
_size = st.fixed_dictionaries({"cpu": st.integers(1, 256), "memory_gb": memory, "time_budget": st.integers(1, 1440)})
_ladder_tier = optionally(
    {"name": name, "cpu": st.integers(1, 256), "memory_gb": memory}, hourly=st.sampled_from([0.006, 1, 10000])
)
_ladder = optionally(
    {"tiers": st.lists(_ladder_tier, min_size=1, max_size=3)}, currency=st.sampled_from(["EUR", "USD"])
)
tier_defaults = st.fixed_dictionaries(
    {
        "ladders": st.dictionaries(st.sampled_from(["Local", "Ssh", "Hcloud", "Orchestrator"]), _ladder, max_size=2),
        "languages": st.dictionaries(language, _size, max_size=2),
        "otherwise": _size,
    }
)
runner_override = optionally(
    {}, cpu=st.integers(1, 256), memory_gb=memory, time_budget=st.integers(1, 1440), tier=name, labels=labels
)
compute_provider_ref = st.one_of(
    optionally(
        {"provider": tags_of("Local", "DockerLocal", "Hcloud", "Proxmox", "Orchestrator")},
        url=st.sampled_from(["https://api.example.org/v1", "unix:///run/docker.sock"]),
        image=image_reference,
        credentials=vault_cred_ref,
        tiers=_few(name, 1),
    ),
    optionally({"provider": tags_of("Ssh"), "hosts": _few(host, 1)}, credentials=vault_cred_ref),
)
_registry_options = {
    "images_prefix": st.sampled_from(["images", "a/b.c"]),
    "cache_prefix": st.sampled_from(["cache"]),
    "insecure": st.booleans(),
    "ca": path,
    "credentials": vault_cred_ref,
}
_key_outside = st.one_of(
    optionally({"source": tags_of("File"), "name": st.sampled_from(["/etc/lian/a.key", "/", "/größe"])}),
    optionally({"source": tags_of("Env", "Command", "Vault"), "name": st.sampled_from(["TOKEN", "/a", "pass show x"])}),
)
_login_outside = st.one_of(
    optionally({"source": tags_of("File"), "name": st.sampled_from(["/etc/lian/token", "/"])}, user=st.just("ci")),
    optionally({"source": tags_of("Env", "Command"), "name": st.sampled_from(["TOKEN", "pass show x"])}),
)
_git_place = st.sampled_from(["github.com", "git.example.org:8443/team/a.b", "[::1]:22/x", "localhost/~ada"])
git_access = optionally({}, credentials=_map(_git_place, _login_outside), keys=_map(_git_place, _key_outside))
_mirrors = _map(
    st.sampled_from(["docker.io", "localhost", "reg:5000", "[::1]:5000"]),
    _few(st.sampled_from(["https://mirror.example.org", "http://[::1]:5000/docker-hub/a__b", "https://m:1/x"]), 1),
)
_https = {
    "provider": tags_of("Distribution", "Zot", "Harbor", "Ghcr"),
    "url": st.sampled_from(["http://127.0.0.1:5000", "https://ghcr.io", "http://[::1]:5000"]),
}
registry_provider_ref = st.one_of(
    optionally(
        {"provider": tags_of("OciLayout"), "path": st.sampled_from([".lian/registry", "/srv/oci"])}, mirrors=_mirrors
    ),
    optionally(_https, mirrors=_mirrors, **_registry_options),
    optionally(_https | {"client_cert": path, "client_key": _key_outside}, **_registry_options),
)
nats_event_config = optionally(
    {"url": st.sampled_from(["nats://127.0.0.1:4222", "tls://nats.example.org"])},
    subject_prefix=st.sampled_from(["lian-build", "a.b_c"]),
    nkey=vault_key_ref,
)
_folder = optionally({"path": path}, include=_few(path, 1))
_git = optionally({"git": git_url}, rev=revision, path=path)
build_artifact = optionally(
    {"image": image},
    tags=_few(tag, 1),
    context=st.one_of(_folder, _git),
    dockerfile=path,
    target=target,
    platforms=_few(platform, 1),
    args=_map(st.sampled_from(["VERSION", "_a1"]), text),
    labels=labels,
    contexts=_map(
        st.sampled_from(["base", "reg.example/base:1"]),
        st.one_of(
            _folder,
            _git,
            st.sampled_from([{"artifact": "base"}, {"artifact": "other-workspace/base"}]),
            st.fixed_dictionaries({"image": image_reference}),
        ),
    ),
    secrets=_map(st.sampled_from(["npm", "A_b.c-d"]), st.sampled_from([{"name": "npm-token"}, {"name": "a.b_c"}])),
    checks=_few(target),
    language=language,
    max_age=st.sampled_from(["7d", "90m", "999999w"]),
    os_epoch=st.sampled_from(["2026-11", "~"]),
    source_date_epoch=seconds,
    rebuild_on_rotate=st.booleans(),
    runner=runner_override,
    cache=artifact_cache,
)
build_directives = optionally(
    {"workspace": name},
    artifacts=_map(name, build_artifact),
    compute=compute_provider_ref,
    registry=registry_provider_ref,
    runner=runner_override,
    cache=cache_policy,
    events=nats_event_config,
)
_pinned = st.sampled_from([f"syft@sha256:{'0f' * 32}", f"scan.example.org:5000/a/syft:1@sha512:{'0f' * 64}"])
_response = tags_of("Heal", "Hold", "Report")
_account = st.sampled_from(["ci", "robot$cache+ada", "ada@example.org"])
fleet_policy = optionally(
    {},
    drift=optionally({}, retagged=_response, foreign=_response, broken=_response, orphaned=_response),
    trust=st.lists(_few(name, 2), max_size=3),
    prune=optionally(
        {},
        revisions=_few(st.sampled_from(["refs/heads/*", "refs/tags/v[0-9]*", "refs/remotes/origin/größe"])),
        keep_tags=_few(st.sampled_from(["v*", "stable", "1.[0-9]"])),
        keep_last=st.integers(0, 1000),
        min_age=st.sampled_from(["7d", "1m", "999999w"]),
    ),
    sign=st.one_of(
        optionally({"key": _key_outside}, provenance=st.booleans(), sbom=st.just(False), scanner=_pinned),
        optionally({"key": _key_outside, "sbom": st.just(True), "scanner": _pinned}, provenance=st.booleans()),
    ),
    verify=optionally({}, keys=_few(path)),
    access=optionally(
        {},
        ci=_few(_account, 1),
        actors=_map(name, optionally({}, accounts=_few(_account, 1), workspaces=_few(name, 1))),
        readers=_few(_account),
        admins=_few(_account),
    ),
)
_artifact_patterns = _few(st.sampled_from(["*", "shop/*", "s?op/[a-c]*"]), 1)


def _allow_deny(patterns: st.SearchStrategy[str], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    return optionally({}, allow=_few(patterns), deny=_few(patterns), **more)


_repository_pattern = st.sampled_from(["*", "ghcr.io/acme/*", "*.example.org/a", "reg:5000/a-?", "oci-layout/shop/*"])
_rule = optionally(
    {},
    because=text,
    artifacts=_artifact_patterns,
    **{"except": _artifact_patterns},
    bases=_allow_deny(_repository_pattern | st.sampled_from(["*:latest", "[::1]:5/a:1.*"]), pinned=st.booleans()),
    image=_allow_deny(_repository_pattern),
    tags=_allow_deny(st.sampled_from(["latest", "v[0-9]*"])),
    platforms=optionally({}, allow=_few(platform, 1), require=_few(platform, 1)),
    labels=optionally({}, require=labels),
    args=optionally(
        {},
        deny=_few(st.sampled_from(["*_TOKEN", "a?"])),
        no_secrets=st.booleans(),
        **{"except": _few(st.sampled_from(["TOKEN_URL"]))},
    ),
    runner=optionally(
        {},
        max=optionally({}, cpu=st.integers(1, 256), memory_gb=memory, time_budget=st.integers(1, 1440)),
        tiers=_few(name),
    ),
    secrets=_allow_deny(st.sampled_from(["npm-*", "*"])),
    max_age=st.sampled_from(["7d", "999999w"]),
    force=tags_of("Deny"),
)
build_policy = optionally({}, rules=_map(name, _rule))
fleet_settings = optionally(
    {},
    fleet=name,
    registry=registry_provider_ref,
    compute=compute_provider_ref,
    directives=_few(st.sampled_from(["directives/**/*.ncl", "*.ncl"]), 1),
    jobs=st.integers(1, 256),
    builder=st.sampled_from(["buildkit-0.33"]),
    source_date_epoch=seconds,
    cache=cache_policy,
    events=nats_event_config,
    tiers=_map(name, optionally({"cpu": st.integers(1, 256), "memory_gb": memory}, time_budget=st.integers(1, 1440))),
    secrets=_map(st.one_of(name, st.just("*")), _map(st.sampled_from(["npm-token", "a.b_c", "0"]), _key_outside)),
    git=git_access,
    policy=fleet_policy,
    immutable_tags=_few(st.sampled_from(["v*", "1.[0-9]"])),
)
_problem = optionally(
    {"code": st.sampled_from(["build-failed", "a"]), "message": text},
    file=st.none() | text,
    line=st.none() | st.integers(1, 9),
    column=st.none() | st.integers(1, 9),
    artifact=st.none() | text,
    cause=st.none() | text,
    hint=st.none() | text,
)


_COMMIT: Document = {"revision": st.just("0" * 40)}
_FOLDER: Document = {"origin": tags_of("Folder")}


def _result(
    status: str, of: Mapping[str, st.SearchStrategy[Any]] = _COMMIT, **more: st.SearchStrategy[Any]
) -> st.SearchStrategy[Document]:
    digest = st.just("sha256:" + "a" * 64)
    fields = {"digest": digest, "problem": _problem, "image": image, "tags": _few(tag)}
    return optionally(
        {
            "kind": st.just("build-result"),
            "version": st.just(1),
            "workspace": name,
            "artifact": st.just("shop/api"),
            "status": tags_of(status),
            **of,
            **more,
        },
        seconds=st.sampled_from([0, 1.5, 1e6]),
        **{key: strategy for key, strategy in fields.items() if key not in more},
    )


build_result = st.one_of(
    _result("Done", digest=st.just("sha256:" + "a" * 64)),
    _result("Done", _FOLDER, digest=st.just("sha256:" + "a" * 64)),
    _result("None", {**_COMMIT, "origin": tags_of("Commit")}),
    _result("Failed", problem=_problem),
    _result("Held", problem=_problem),
    _result("Skipped"),
    _result("None"),
)

_WRONG = [
    None, True, 0, -1, 1, 257, 1441, 4097, 1.5, 0.0, 10**12, "", "x", "X Y", "a\n", "-a", "..", "../a", "a/../b", "/a",
    "a/", "a..b", "lian-x", "a" * 64, "a" * 129, "a" * 1025, "http://u:p@h", "https://h/x", "a@b", "a:b",
    "é", "\t", "a\u2028", "File", "Heal", 1001, "refs/heads/*",
    "X", "Local", "Zot", "OciLayout", "Ci", "Session", "Max", [], ["a"], ["a", "a"],
    [1, True], {}, {"x": 1}, {"path": "a", "git": "https://h/x"}, {"artifact": "a", "image": "b"}, {"": "a"},
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[Document]) -> Any:
    """A document with one thing changed, most often for the worse."""
    document = draw(documents)
    place = draw(st.sampled_from(paths(document)))
    value = at(document, place)
    ways = ["replace"]
    if place:
        ways.append("remove")
    if isinstance(value, str):
        ways += ["newline", "prefix", "long"]
    if isinstance(value, dict):
        ways += ["extra", "misname"]
    if isinstance(value, list) and value:
        ways.append("repeat")
    match draw(st.sampled_from(ways)):
        case "remove":
            return removed(document, place)
        case "newline":
            return replaced(document, place, value + draw(st.sampled_from(["\n", "\r\n", " "])))
        case "prefix":
            return replaced(document, place, draw(st.sampled_from(["-", "/", "A", ".", "é"])) + value)
        case "long":
            return replaced(document, place, value + draw(st.sampled_from(["a", "e\u0301"])) * 1100)
        case "extra":
            return replaced(
                document, place, {**value, draw(st.sampled_from(["tgas", "path", "url", "actor", "a b"])): "a"}
            )
        case "misname":
            return replaced(
                document, place, {draw(st.sampled_from(["A B", "a=b", "", "a\n", "k" * 300])): "a", **value}
            )
        case "repeat":
            return replaced(document, place, [*value, value[0]])
    wrong = draw(st.sampled_from(_WRONG))
    # JSON has no tags: one in the place of a string is for the fixtures, not for a comparison with JSON Schema.
    return replaced(document, place, Tag(wrong) if isinstance(value, Tag) and isinstance(wrong, str) else wrong)
