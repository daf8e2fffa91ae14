"""For every test: a steady environment, tests that the machine cannot run told apart, and nothing left behind."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import memory
from tests.leftovers import VARIABLE, leftovers
from tests.needs import PREFIX, builds_lack, docker_lacks, not_run
from tests.servers.distribution_v3 import distribution_v3_server, password_distribution_v3_server
from tests.servers.dockerd import docker
from tests.servers.ggcr import ggcr_server
from tests.servers.registry import password_registry_server, registry_server
from tests.servers.zot import password_zot_server, zot_server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "distribution_v3_server",
    "docker",
    "ggcr_server",
    "password_distribution_v3_server",
    "password_registry_server",
    "password_zot_server",
    "registry_server",
    "zot_server",
]

_LONG = {"e2e", "kill"}
"""Folders of tests that take long."""
_LEFT = pytest.StashKey[list[str]]()

# The shared suites' assertions explain themselves as a test module's do, wherever they are imported first.
pytest.register_assert_rewrite("tests.ports.registry_suite", "tests.ports.compute_suite", "tests.ports.provider_suite")

# A shared machine makes single examples slow now and then; that is no fault of the code. Each run draws others.
hypothesis.settings.register_profile("lian", deadline=None, max_examples=60)
hypothesis.settings.load_profile("lian")


def pytest_configure(config: pytest.Config) -> None:
    """The user's own settings must not decide how a test ends; workers inherit what the controller set."""
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # started in the background of a shell: children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not _is_worker(config):
        os.environ[VARIABLE] = uuid.uuid4().hex
        memory.prefer()
    for name in [name for name in os.environ if name.startswith("LIAN_") and not name.startswith("LIAN_TEST_")]:
        del os.environ[name]
    os.environ.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own, in memory unless it is marked `disk`."""
    if request.node.get_closest_marker("disk") is None:
        yield tmp_path
        return
    with memory.on_disk() as folder:
        yield Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: short ones can be shared out evenly among workers at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None and _LONG.isdisjoint(item.path.parts))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `buildkit` needs a machine that can build, one marked `docker` a Docker to build in."""
    for marker, lacks in (("buildkit", builds_lack), ("docker", docker_lacks)):
        if item.get_closest_marker(marker) is not None and (reason := lacks()) is not None:
            not_run(reason)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Once, when all workers have ended: a session that leaves daemons or mounts behind has failed."""
    if _is_worker(session.config):
        return
    # Only tests can ask for it in a public way, by the fixture `tmp_path_factory`.
    folder = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    session.config.stash[_LEFT] = left = leftovers(os.environ[VARIABLE], Path(folder))
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what could not run and why, and what was left behind."""
    if reasons := Counter(_reasons(terminalreporter)):
        terminalreporter.section("could not run", yellow=True)
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5}  {reason}")
    if left := config.stash.get(_LEFT, []):
        terminalreporter.section("left behind", red=True)
        for line in left:
            terminalreporter.line(line)


def _reasons(reporter: pytest.TerminalReporter) -> Iterator[str]:
    for report in reporter.stats.get("skipped", ()):
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        yield told.removeprefix("Skipped: ").removeprefix(PREFIX)
    for report in (*reporter.stats.get("error", ()), *reporter.stats.get("failed", ())):
        told = str(report.longrepr)
        if told.startswith(PREFIX):
            yield told.removeprefix(PREFIX)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
