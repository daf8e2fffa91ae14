"""A secret reaches the step that mounts it, and nothing else: it is looked for everywhere, in every form."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import secrets
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.attest.keys import Pair
from tests.e2e.bench import BASE, Bench, directive, leftovers, until
from tests.e2e.sinks import Sinks, encodings
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.running import RegistryServer

pytestmark = pytest.mark.buildkit

PASSWORD = b"open sesame"
SLOW = 'image = "shop/api", context.path = "api", contexts.base = { artifact = "base" }'
MOUNTS = "--mount=type=secret,id=token,required=true --mount=type=secret,id=file --mount=type=secret,id=command"
PROVE = f"RUN {MOUNTS} cd /run/secrets; sha256sum token file command > /proof; sleep 0.5\n"


def canary() -> str:
    """One of its own for each test, with all signs that encodings care about."""
    return f"canary/{secrets.token_hex(6)}+ü%'\"$ &<{secrets.token_hex(6)}=y"


def fleet(bench: Bench, folder: Path, value: str, files: Mapping[str, str | bytes], **api: str) -> None:
    """A base and an image upon it that is given the value from a variable, a file and a command; all is signed."""
    (folder / "given").write_text(value)
    (folder / "sign.key").write_bytes(Pair().pem(PASSWORD))
    bench.env |= {"THE_TOKEN": value, "COSIGN_PASSWORD": PASSWORD.decode()}
    cat = json.dumps(shlex.join(["cat", str(folder / "given")]))
    settings = f"""{{
      secrets.shop = {{
        token = {{ source = 'Env, name = "THE_TOKEN" }},
        from-a-file = {{ source = 'File, name = "{folder}/given" }},
        from-a-command = {{ source = 'Command, name = {cat} }},
      }},
      policy.sign.key = {{ source = 'File, name = "{folder}/sign.key" }},
      fleet = "acme",
    }}"""
    asked = 'token.name = "token", file.name = "from-a-file", command.name = "from-a-command"'
    fields = {"secrets": f"{{ {asked} }}", **api}
    text = ", ".join([SLOW, *(f"{name} = {value}" for name, value in fields.items() if value)])
    base = 'image = "shop/base", context.path = "base"'
    bench.busybox("base")
    directives = directive("shop", {"base": base, "api": text})
    bench.commit({"lian.ncl": settings, "directives/shop.ncl": directives, "base/Dockerfile": BASE, **files})


def looked_everywhere(sinks: Sinks, *but: str) -> None:
    """None of these can be clean for want of something to look at."""
    wanted = {"stdout", "stderr", "logs", "state", "processes: words", "processes: environment", "started: words"}
    wanted |= {f"registry: {kind}" for kind in ("layer", "config", "manifest", "build-record", "attestation", "cache")}
    assert wanted - set(but) <= {sink for sink, count in sinks.looked_at.items() if count}


def test_a_secret_is_seen_nowhere_but_where_it_is_mounted(tmp_path: Path) -> None:
    value = canary()
    sinks = Sinks(value, tmp_path)
    with run_registry(tmp_path / "server") as server:
        bench = Bench.new(tmp_path / "bench", server.url)
        fleet(bench, tmp_path, value, {"api/Dockerfile": f"FROM base\n{PROVE}"})
        sinks.lian(bench, "diff", "--json", code=2)
        told = sinks.lian(bench, "reconcile", "--once", "--json", "--debug").json
        assert {result["status"] for result in told["results"]} == {"done"}
        sinks.lian(bench, "why", "shop/api", "--json", code=None)
        sinks.look_back(bench)
        sinks.look_at_registry(server.storage)
        assert sinks.seen == {}
        looked_everywhere(sinks)
        assert proof_in(server) == [hashlib.sha256(value.encode()).hexdigest()] * 3
        assert list(sinks.temporary.iterdir()) == []
        assert leftovers(bench.cache)["leases"] == []


def proof_in(server: RegistryServer) -> list[str]:
    """The digests that the step wrote of what it was given."""
    for path in server.storage.rglob("data"):
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b" and b"proof" in (text := gzip.decompress(data)):
            lines = [line for line in text.split(b"\0") if b"  command\n" in line]
            return [line.split()[0].decode() for line in lines[0].splitlines() if line]
    raise AssertionError("the step has left no proof")


def test_what_a_step_prints_of_a_secret_is_hidden(tmp_path: Path) -> None:
    """In every form, in the log and in the problem."""
    value = canary()
    sinks = Sinks(value, tmp_path)
    bench = Bench.new(tmp_path / "bench", f"oci-layout:{tmp_path / 'registry'}")
    printed = b"\n".join(b"%s: %s ." % (name.encode(), text) for name, text in encodings(value).items())
    mounted = f"RUN {MOUNTS} --mount=type=bind,source=printed.gz,target=/printed.gz"
    show = "cat /run/secrets/token; zcat /printed.gz; zcat /printed.gz >&2; cat /run/secrets/file | base64; exit 7"
    dockerfile = f"FROM base\n{mounted} {show}\n"
    fleet(bench, tmp_path, value, {"api/Dockerfile": dockerfile, "api/printed.gz": gzip.compress(printed)})
    told = sinks.lian(bench, "reconcile", "--once", "--json", "--debug", code=3).json
    problem = next(result["problem"] for result in told["results"] if result["artifact"] == "shop/api")
    assert "***" in problem["cause"]
    sinks.look_back(bench)
    assert sinks.seen == {}
    (log,) = bench.cache.glob("logs/*/shop_api*.log")
    lines = [line.partition(b" ")[2].removeprefix(b"***") for line in log.read_bytes().splitlines()]
    hidden = dict(line.split(b": ", 1) for line in lines if line.endswith(b" ."))
    assert set(hidden) == {name.encode() for name in encodings(value)}
    assert all(b"***" in text and len(text) < 16 for text in hidden.values())


def test_every_sink_would_show_what_is_no_secret(tmp_path: Path) -> None:
    """The same search for a value that is an argument, a variable and a word of a Dockerfile."""
    value = "canary-" + secrets.token_hex(12)
    sinks = Sinks(value, tmp_path)
    with run_registry(tmp_path / "server") as server:
        bench = Bench.new(tmp_path / "bench", server.url)
        leak = f"ARG TOKEN\nENV TOKEN=$TOKEN\nRUN echo {value} | tee /leak; sleep 0.3\n"
        files = {"api/Dockerfile": f"FROM base\n{leak}"}
        bad = {"bad": 'image = "shop/bad", context.path = "bad", contexts.base = { artifact = "shop/base" }'}
        files |= {
            "directives/bad.ncl": directive("bad", bad),
            "bad/Dockerfile": f"FROM base\nRUN echo {value}; exit 1\n",
        }
        fleet(bench, tmp_path, "another value", files, args=f'{{ TOKEN = "{value}" }}', secrets="")
        (sinks.temporary / "left").write_text(value)
        sinks.lian(bench, "reconcile", "--once", "--json", code=3)
        sinks.look_back(bench)
        sinks.look_at_registry(server.storage)
    found = {sink for sink, where in sinks.seen.items() if where}
    assert found >= {
        "logs",
        "processes: environment",
        "processes: words",
        "registry: attestation",
        "registry: config",
        "registry: layer",
        "registry: build-record",
        "started: words",
        "state",
        "stderr",
        "stdout",
        "temporary files",
    }


def test_each_form_is_found(tmp_path: Path) -> None:
    value = canary()
    sinks = Sinks(value, tmp_path)
    for name, text in encodings(value).items():
        sinks.look(name, "here", b"before " + text + b" after")
        sinks.look(f"{name}, compressed", "here", gzip.compress(text))
    assert len(sinks.seen) == 2 * len(encodings(value))
    assert len(encodings(value)) >= 12
    sinks.look("nothing", "here", b"canary")
    assert "nothing" not in sinks.seen


def test_after_kill_9_in_the_middle_of_a_step_it_is_nowhere(tmp_path: Path) -> None:
    """While the step runs it is in memory alone, on both sides; when lian is killed nothing has to be removed."""
    value = canary()
    sinks = Sinks(value, tmp_path)
    bench = Bench.new(tmp_path / "bench", f"oci-layout:{tmp_path / 'registry'}")
    seconds = str(10_000 + secrets.randbelow(1_000_000))  # by which this run's step is known
    wait = f"cat /run/secrets/token > /dev/null; echo waiting; sleep {seconds}"
    fleet(bench, tmp_path, value, {"api/Dockerfile": f"FROM base\nRUN {MOUNTS} {wait}\n"})
    process = sinks.start(bench, "reconcile", "--once")
    try:
        until(lambda: any("waiting" in path.read_text() for path in bench.cache.glob("logs/*/shop_api*")))
        sinks.look_at_processes(process.pid)
        sinks.look_back(bench)
        assert sinks.seen == {}
        mounts = secret_mounts(seconds)
        assert len(mounts) == 3
        assert set(mounts.values()) == {"tmpfs"}
        assert "buildctl" in lent_to()
    finally:
        process.kill()
        out, err = process.communicate()
    until(lambda: not leftovers(bench.cache)["processes"])
    sinks.printed(("reconcile",), out, err)
    sinks.look_back(bench)
    assert sinks.seen == {}
    assert secret_mounts(seconds) == {}
    bench.commit({"api/Dockerfile": f"FROM base\n{PROVE}"})
    assert "swept" in sinks.lian(bench, "reconcile", "--once").err
    sinks.look_back(bench)
    sinks.look_at_registry(tmp_path / "registry")
    assert sinks.seen == {}


def secret_mounts(seconds: str) -> dict[str, str]:
    """What the step that sleeps so long sees below /run/secrets: mount -> file system."""
    found: dict[str, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "mountinfo").read_text().splitlines()
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"sleep\0" + seconds.encode() in words:
            for line in lines:
                place, _, rest = line.partition(" - ")
                if place.split()[4].startswith("/run/secrets/"):
                    found[place.split()[4]] = rest.split()[0]
    return found


def lent_to() -> set[str]:
    """The programs that have a secret open."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any("memfd:lian-secret" in str(entry.readlink()) for entry in (folder / "fd").iterdir()):
                found.add((folder / "comm").read_text().strip())
    return found


def test_a_plan_asks_no_source(tmp_path: Path) -> None:
    """Nothing that only looks at a commit reads a secret or runs a command that gives one, though it says what is
    wrong with the bindings."""
    bench = Bench.new(tmp_path / "bench", f"oci-layout:{tmp_path / 'registry'}")
    fleet(bench, tmp_path, "value", {"api/Dockerfile": f"FROM base\n{PROVE}"})
    settings = (bench.repo / "lian.ncl").read_text()
    touched = tmp_path / "touched"
    bench.env |= {"THE_TOKEN": ""}
    (tmp_path / "given").unlink()
    bench.commit({"lian.ncl": settings.replace(f"cat {tmp_path}/given", f"touch {touched}")})
    for words, code in ((("validate",), 0), (("diff", "--json"), 2)):
        assert "secret" not in bench.lian(*words, code=code).err
    assert not touched.exists()
    result = bench.reconcile(code=4)["shop/api"]
    assert touched.exists()
    assert result["status"] == "held"
    assert result["problem"]["code"] == "credential-unreadable"
    bench.commit({"lian.ncl": settings.replace("from-a-file", "from-some-file")})
    told = bench.lian("diff", code=4)
    assert "asks for the secret 'from-a-file', which lian.ncl binds to no source" in told.out + told.err
    assert 'binds a secret that no artifact asks for: "shop"."from-some-file"' in told.out + told.err
