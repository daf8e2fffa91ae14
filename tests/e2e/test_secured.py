"""Registries as platform teams run them: behind TLS, client certificates and token services; and who may name what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import Bench, directive
from tests.servers.certificates import Authority
from tests.servers.registry import PASSWORD, USER, run_registry
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import WRITE, TokenServer
from tests.servers.token_server import User as TokenUser

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.buildkit

SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", context.path = "images/api", contexts = { base = { artifact = "base" } }',
}
IMAGES = {
    "images/base/Dockerfile": "FROM scratch\nCOPY base.txt /\n",
    "images/base/base.txt": "base\n",
    "images/api/Dockerfile": "FROM base\nCOPY api.txt /\n",
    "images/api/api.txt": "api\n",
}


def test_tls_a_client_certificate_and_a_token_service_by_settings_alone(tmp_path: Path) -> None:
    """Everything is in lian.ncl: certificates in the commit, the key and the password outside. What lies in the working
    tree does not matter."""
    authority, clients = Authority(), Authority("clients")
    lian = clients.issue("lian")
    (tmp_path / "lian.key").write_text(lian.key_pem)
    (tmp_path / "password").write_text("canary-password\n")
    service = TokenServer(
        {"ci": TokenUser("canary-password", [("*", WRITE)])},
        tls=authority.issue().server_context(tmp_path / "tokens"),
    )
    with (
        service.running() as tokens,
        run_secured(tmp_path / "server", tls=authority.issue(), clients=clients, tokens=tokens) as server,
    ):
        bench = Bench.new(tmp_path / "bench")
        settings = f"""{{
          registry = {{
            provider = 'Distribution,
            url = "https://{server.host}",
            ca = "certs/ca.pem",
            client_cert = "certs/lian.pem",
            client_key = {{ source = 'File, name = "{tmp_path}/lian.key" }},
            credentials = {{ source = 'Command, name = "cat {tmp_path}/password", user = "ci" }},
          }},
        }}"""
        certificates = {"certs/ca.pem": authority.pem, "certs/lian.pem": lian.pem}
        bench.commit({"lian.ncl": settings, "directives/shop.ncl": directive("shop", SHOP), **IMAGES, **certificates})
        bench.write(dict.fromkeys(certificates, "not committed"))
        assert {result["status"] for result in bench.reconcile().values()} == {"done"}
        assert {change["action"] for change in bench.plan(0).values()} == {"none"}
        assert {asked.user for asked in tokens.asked} == {"ci"}
        (tmp_path / "password").unlink()
        held = bench.plan(4)
        assert {hold["code"] for change in held.values() for hold in change["holds"]} == {"credential-unreadable"}


def test_a_directive_leads_no_credential_to_a_host_of_its_own_choice(tmp_path: Path) -> None:
    """Until the operator lets that host have one."""
    with run_registry(tmp_path / "own") as own, run_registry(tmp_path / "other", password=True) as other:
        bench = Bench.new(tmp_path / "bench")
        login = f'credentials = {{ source = \'Env, name = "REGISTRY_PASSWORD", user = "{USER}" }}'
        registry = f'registry = {{ provider = \'Distribution, url = "http://{other.host}", {login} }}'
        theirs = directive("theirs", {"base": SHOP["base"]}).replace("  artifacts", f"  {registry},\n  artifacts", 1)
        ours = directive("shop", {"base": SHOP["base"]})
        settings = f'{{ registry = {{ provider = \'Distribution, url = "http://{own.host}" }} }}'
        bench.commit({"lian.ncl": settings, "directives/a.ncl": theirs, "directives/b.ncl": ours, **IMAGES})
        bench.env["REGISTRY_PASSWORD"] = PASSWORD
        plan = bench.plan(4)
        (hold,) = plan["theirs/base"]["holds"]
        assert hold["code"] == "credential-forbidden"
        assert f"set LIAN_CREDENTIAL_HOSTS to {other.host}" in hold["hint"]
        assert plan["shop/base"]["action"] == "build"
        bench.env["LIAN_CREDENTIAL_HOSTS"] = f"{own.host} {other.host}"
        assert {result["status"] for result in bench.reconcile().values()} == {"done"}
