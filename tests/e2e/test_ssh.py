"""A desired repo whose builds run on a machine that is reached by SSH."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import BASE, SECONDS, Bench, directive
from tests.e2e.canaries import forms, seen_below, seen_in
from tests.servers.registry import PASSWORD, USER, run_registry
from tests.servers.sshd import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.sshd import Sshd

pytestmark = pytest.mark.buildkit

WITHOUT_RIGHTS = (
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"),
    *(f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
)
SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", context.path = "images/api", contexts = { base = { artifact = "base" } }',
}


TOKEN = "a-canary-for-a-step:1234567890"
READS = f"md5sum /run/secrets/token | grep -q {hashlib.md5(TOKEN.encode()).hexdigest()}"
WITH_TOKEN = f"""FROM base
RUN --mount=type=secret,id=token,required=true {READS}
COPY app /app
RUN ["/bin/busybox", "sleep", "0.5"]
"""
BINDS = 'secrets.shop.shop-token = { source = \'Env, name = "SHOP_TOKEN" },'


class Watch:
    """Looks at all processes but lian's own, and at the files of leases on the machine."""

    def __init__(self, server: Sshd, wanted: dict[str, bytes]) -> None:
        self.server, self.wanted = server, wanted
        self.leaks: dict[str, list[str]] = {}
        self.clients = 0
        """Times that BuildKit's client was seen running."""
        self.configs: dict[bytes, tuple[int, int]] = {}
        """Content -> mode of the file, and of its folder."""
        self.sizes: set[int] = set()
        """Of the file systems that these lie on."""
        self.secrets: dict[bytes, tuple[int, int]] = {}
        """The same of the secrets that the client is lent."""
        self._stop = threading.Event()

    @contextlib.contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, args=(pid,))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self, pid: int) -> None:
        own = _read(Path(f"/proc/{pid}/cmdline"))
        while not self._stop.wait(0.1):
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    self._look_at(Path(entry.path), own)
            for path in (Path(at, name) for at, _, names in os.walk(self.server.seen / "leases") for name in names):
                self._look_at_file(path)

    def _look_at(self, process: Path, own: bytes) -> None:
        words = _read(process / "cmdline")
        self.clients += b"buildctl\0--addr" in words
        if words != own and (found := seen_in(words + b"\0" + _read(process / "environ"), self.wanted)):
            self.leaks[words.replace(b"\0", b" ").decode(errors="replace")] = found

    def _look_at_file(self, path: Path) -> None:
        if "root" in path.relative_to(self.server.seen).parts:
            return
        with contextlib.suppress(OSError):
            lent = self.configs if path.name == "config.json" else self.secrets if path.name == "secret-0" else None
            if lent is not None and (data := path.read_bytes()):
                lent[data] = path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777
                disk = os.statvfs(path)
                self.sizes.add(disk.f_blocks * disk.f_frsize)
            elif lent is None and path.is_file() and (found := seen_in(path.read_bytes(), self.wanted)):
                self.leaks[str(path)] = found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


def settings(server: Sshd, registry: str, more: str = "") -> str:
    return f"""{{
      fleet = "acme",
      registry = {{ provider = 'Distribution, url = "{registry}" }},
      compute = {{ provider = 'Ssh, hosts = ["{server.host} {server.host.key}"] }},
      {more}
    }}"""


def shop(bench: Bench, told: str) -> None:
    bench.busybox("images/base")
    bench.commit(
        {
            "lian.ncl": told,
            "directives/shop.ncl": directive("shop", SHOP),
            "images/base/Dockerfile": BASE,
            "images/api/Dockerfile": 'FROM base\nCOPY app /app\nRUN ["/bin/busybox", "sleep", "0.5"]\n',
            "images/api/app": "1\n",
        }
    )


def test_a_registry_converges_by_builds_elsewhere(tmp_path: Path) -> None:
    """And no secret is seen on the machine."""
    with machine(tmp_path / "sshd") as server, run_registry(tmp_path / "registry", password=True) as registry:
        server.reaches(int(registry.host.rpartition(":")[2]))
        bench = Bench.new(tmp_path / "bench")
        bench.env |= {"LIAN_REGISTRY_USER": USER, "LIAN_REGISTRY_PASSWORD": PASSWORD}
        bench.env |= {"BUILDKIT_SSH_KEY": str(server.key), "SHOP_TOKEN": TOKEN}
        shop(bench, settings(server, registry.url))
        asks = SHOP["api"] + ', secrets.token = { name = "shop-token" }'
        bench.commit(
            {
                "lian.ncl": settings(server, registry.url, BINDS),
                "directives/shop.ncl": directive("shop", SHOP | {"api": asks}),
                "images/api/Dockerfile": WITH_TOKEN,
            }
        )
        watch = Watch(server, forms(PASSWORD, USER) | {f"token {name}": data for name, data in forms(TOKEN).items()})
        process = bench.start("reconcile", "--once", "--json")
        with watch.watching(process.pid):
            out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        first = {result["artifact"]: result for result in json.loads(out)["results"]}
        assert {result["status"] for result in first.values()} == {"done"}

        assert watch.leaks == {}
        assert watch.clients, "no build was seen"
        assert watch.configs, "no build was seen with its credentials"
        assert list(watch.secrets) == [TOKEN.encode()]
        assert {*watch.configs.values(), *watch.secrets.values()} == {(0o600, 0o700)}
        for data in watch.configs:
            assert list(json.loads(data)["auths"]) == [registry.host]
        assert watch.sizes == {64 << 20}, "not the one in memory"
        assert seen_below(server.seen, watch.wanted) == {}
        assert list((server.seen / "leases").iterdir()) == []
        assert bench.document("runners", "list")["runners"] == []

        assert bench.document("diff")["summary"]["build"] == 0
        bench.commit({"images/api/app": "2\n"})
        second = bench.document("reconcile", "--once")["results"]
        assert {result["artifact"]: result["status"] for result in second} == {"shop/base": "none", "shop/api": "done"}


def test_an_on_disk_registry_gets_what_a_user_without_rights_builds_elsewhere(tmp_path: Path) -> None:
    """Who may do nothing here but read what is root's: the interpreter may lie in a folder of root's."""
    with machine(tmp_path / "sshd") as server, tempfile.TemporaryDirectory(prefix="lian-home-") as name:
        home = Path(name)
        bench = Bench.new(home, f"oci-layout:{home}/layout")
        shop(bench, settings(server, "http://127.0.0.1:1"))
        subprocess.run(["chown", "--recursive", "65534:65534", home], check=True)
        bench.env |= {"HOME": name}
        bench.within = WITHOUT_RIGHTS
        results = bench.document("reconcile", "--once", "--ssh-key", str(server.key))["results"]
        assert [result["status"] for result in results] == ["done", "done"]
        assert bench.document("diff")["summary"]["none"] == 2
        assert list((server.seen / "leases").iterdir()) == []


def test_what_is_wrong_with_a_host_is_told_once(tmp_path: Path) -> None:
    with machine(tmp_path / "sshd") as server:
        bench = Bench.new(tmp_path / "bench", f"oci-layout:{tmp_path}/layout")
        shop(bench, settings(server, "http://127.0.0.1:1").replace(f" {server.host.key}", ""))
        told = bench.lian("reconcile", "--once", "--json", "--ssh-key", str(server.key), code=4)
        codes = {result["problem"]["code"] for result in told.json["results"] if result["problem"]}
        assert "host-key-missing" in codes
        assert bench.lian("runners", "list", "--ssh-key", str(server.key), code=4).out.count("host-key-missing") == 1
