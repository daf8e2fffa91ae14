"""The pipelines in examples/ci do what they say: their own commands run here, on a clone as the forge makes it, and
what they would tell the forge is caught by a server of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import yaml

from tests.e2e.bench import Bench, directive
from tests.schemas.evaluation import ROOT
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.buildkit

EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
STUB = '#!/bin/sh\necho "$0 $*" >>"$STUBS"\n'


@dataclass
class Forge:
    """Hears what pipelines tell it: path, headers and body of each request."""

    url: str
    heard: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def forge() -> Iterator[Forge]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.heard.append((self.path, dict(self.headers), body))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Forge(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@dataclass
class Runner:
    """Runs a job as a forge's runner does: in a clone at the commit, with lian on PATH."""

    upstream: Bench
    folder: Path
    forge: Forge

    def clone(self, commit: str) -> Path:
        where = self.folder / f"job-{len(list(self.folder.iterdir()))}"
        self.upstream.git("clone", "-q", "--no-checkout", str(self.upstream.repo), str(where))
        subprocess.run(["git", "-C", where, "checkout", "-q", commit], check=True)
        return where

    def run(self, where: Path, script: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        for name, text in (
            ("pip", STUB),
            ("gh", STUB),
            ("lian", f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n'),
        ):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "STUBS": str(self.folder / "stubs.log")}
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=where,
            env={**self.upstream.environment, **own, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def stubs(self) -> str:
        return (self.folder / "stubs.log").read_text()


@pytest.fixture
def runner(tmp_path: Path, forge: Forge) -> Iterator[Runner]:
    """A converged repository with a branch `topic` that changes one image."""
    with run_registry(tmp_path / "registry") as server:
        bench = Bench.new(tmp_path)
        settings = f'{{ fleet = "acme", registry = {{ provider = \'Distribution, url = "{server.url}" }} }}\n'
        one = {"api": 'image = "shop/api", context.path = "api"'}
        files = {"api/Dockerfile": "FROM scratch\nCOPY a /\n", "api/a": "1\n", "lian.ncl": settings}
        bench.commit({**files, "directives/shop.ncl": directive("shop", one)})
        bench.lian("reconcile", "--once")
        bench.git("checkout", "-qb", "topic")
        bench.commit({"api/a": "2\n"})
        bench.git("checkout", "-q", "main")
        (tmp_path / "jobs").mkdir()
        yield Runner(bench, tmp_path / "jobs", forge)


def pipeline(name: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "examples" / "ci" / name).read_text())
    assert isinstance(document, dict)
    return document


def filled(text: str, known: Mapping[str, str]) -> str:
    """With the expressions of GitHub's and Forgejo's workflows filled in; one that is not known fails."""
    return EXPRESSION.sub(lambda found: known[found[1]], text)


@pytest.mark.parametrize("name", ["github.yml", "forgejo.yml"])
def test_workflows(name: str, runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    known = {
        "github.base_ref": "main",
        "github.event.pull_request.head.sha": head,
        "github.event.number": "7",
        "github.token": "a-token",
        "github.api_url": f"{runner.forge.url}/api/v1",
        "github.repository": "acme/images",
        "vars.REGISTRY_USER": "",
        "secrets.REGISTRY_PASSWORD": "",
    }
    jobs = pipeline(name)["jobs"]
    where = runner.clone(head)
    done = steps(runner, where, jobs["preview"], known)
    assert [step.returncode for step in done] == [0, 0, 0], done
    plan = (where / "plan.md").read_text()
    assert "### lian: 1 to build" in plan
    assert "context changed: api/a" in plan
    if name == "github.yml":
        assert (where / "summary").read_text() == plan
        assert "gh pr comment 7 --body-file plan.md --edit-last --create-if-none" in runner.stubs
    else:
        ((path, headers, body),) = runner.forge.heard
        assert path == "/api/v1/repos/acme/images/issues/7/comments"
        assert headers["Authorization"] == "token a-token"
        assert json.loads(body) == {"body": plan}
    runner.upstream.git("merge", "-q", "topic")
    done = steps(runner, runner.clone(head), jobs["reconcile"], known)
    assert "1 built" in done[-1].stdout
    assert "pip install lian" in runner.stubs


def steps(
    runner: Runner, where: Path, job: Mapping[str, Any], known: Mapping[str, str]
) -> list[subprocess.CompletedProcess[str]]:
    """What came of the steps with a script."""
    done = []
    for step in job["steps"]:
        if "run" in step:
            env = {**job.get("env", {}), **step.get("env", {}), "GITHUB_STEP_SUMMARY": str(where / "summary")}
            given = {key: filled(value, known) for key, value in env.items()}
            done.append(runner.run(where, filled(step["run"], known), {k: v for k, v in given.items() if v}))
    return done


def test_gitlab(runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    jobs = pipeline("gitlab.yml")
    assert jobs["variables"]["GIT_DEPTH"] == "0"
    env = {
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_COMMIT_SHA": head,
        "CI_API_V4_URL": f"{runner.forge.url}/api/v4",
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
        "COMMENT_TOKEN": "a-token",
    }
    where, job = runner.clone(head), jobs["preview"]
    before = runner.run(where, "\n".join([*job["before_script"], *job["script"]]), env)
    after = runner.run(where, "\n".join(job["after_script"]), env)
    assert (before.returncode, after.returncode) == (0, 0), before.stderr + after.stderr
    ((path, headers, body),) = runner.forge.heard
    assert path == "/api/v4/projects/3/merge_requests/7/notes"
    assert headers["PRIVATE-TOKEN"] == "a-token"
    assert parse_qs(body.decode())["body"] == [(where / "plan.md").read_text()]
    runner.upstream.git("merge", "-q", "topic")
    job = jobs["reconcile"]
    done = runner.run(runner.clone(head), "\n".join([*job["before_script"], *job["script"]]), {})
    assert "1 built" in done.stdout


def test_woodpecker(runner: Runner) -> None:
    head = runner.upstream.git("rev-parse", "topic")
    document = pipeline("woodpecker.yml")
    assert document["clone"][0]["settings"] == {"partial": False, "depth": 0}
    preview, reconcile = document["steps"]
    env = {"CI_COMMIT_TARGET_BRANCH": "main", "CI_COMMIT_SHA": head}
    done = runner.run(runner.clone(head), "\n".join(preview["commands"]), env)
    assert done.returncode == 0, done.stderr
    assert "+ build shop/api" in done.stdout
    runner.upstream.git("merge", "-q", "topic")
    assert "1 built" in runner.run(runner.clone(head), "\n".join(reconcile["commands"]), {}).stdout


@pytest.mark.parametrize("name", ["github.yml", "forgejo.yml"])
def test_a_preview_without_a_plan_fails_and_says_why(name: str, runner: Runner) -> None:
    runner.upstream.git("checkout", "-q", "topic")
    head = runner.upstream.commit({"directives/shop.ncl": "{ workspace = 1 }"})
    runner.upstream.git("checkout", "-q", "main")
    known = {"github.base_ref": "main", "github.event.pull_request.head.sha": head}
    known |= {"github.api_url": "", "github.repository": "", "github.event.number": "7", "github.token": ""}
    where, job = runner.clone(head), pipeline(name)["jobs"]["preview"]
    preview = [step for step in job["steps"] if step.get("name") == "preview"]
    (done,) = steps(runner, where, {**job, "steps": preview}, known)
    assert done.returncode == 1
    assert "directives/shop.ncl:1" in (where / "plan.md").read_text()
