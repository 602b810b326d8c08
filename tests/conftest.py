"""Shared by all tests: the choice of tests, the random seed, a clean environment, a keyring.

Random tests have new examples in each run. The run's seed comes from the clock and is printed in
pytest's header; `--hypothesis-seed=NUMBER` repeats a run. It feeds Hypothesis, and `random` at the
start of each test.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pbkdf2 import derived_once

NEEDS = {"keyring": ("dbus-daemon", "gnome-keyring-daemon"), "display": ("Xvfb", "xdotool")}
"""For each marker, the programs that its tests need."""


@pytest.hookimpl(tryfirst=True)  # before Hypothesis reads its option
def pytest_configure(config: pytest.Config) -> None:
    """Choose the random seed of this run, unless the command line names it."""
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(time.time_ns() % 2**32)
    if sys.platform != "win32":
        from hypothesis import HealthCheck, settings

        # No deadline: times of examples mean nothing on a shared machine. Without these settings,
        # Hypothesis repeats the same examples wherever the variable CI is set.
        settings.register_profile(
            "project",
            deadline=None,
            derandomize=False,
            database=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        )
        settings.load_profile("project")
        # For `make quick`: a quarter of the examples.
        settings.register_profile("quick", settings.get_profile("project"), max_examples=25)


def pytest_report_header(config: pytest.Config) -> str:
    """Return the header's line with the seed that repeats this run."""
    seed = config.option.hypothesis_seed
    return f"random seed: {seed} (--hypothesis-seed={seed} repeats the random tests)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests for another database than this run's."""
    kind = os.environ.get("TEST_DATABASE", "sqlite")
    other = [
        item
        for item in items
        if (marker := item.get_closest_marker("database")) and marker.args != (kind,)
    ]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in other]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed `random`, and skip a test whose programs are missing on this machine."""
    random.seed(f"{item.config.option.hypothesis_seed} {item.nodeid}")
    for marker, programs in NEEDS.items():
        missing = [program for program in programs if shutil.which(program) is None]
        if missing and item.get_closest_marker(marker):
            pytest.skip(f"not on this machine: {', '.join(missing)} (.ci/packages test)")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in CI that has skipped a test: CI has all programs."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter else None
    if os.environ.get("CI") == "true" and exitstatus == 0 and skipped:
        print(f"\nFAILED {len(skipped)} skipped tests - nothing may be skipped here")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    """Remove the machine's variables for client and server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("COCONOWORK_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _derived_once() -> Iterator[None]:
    """Derive each key once per run, because 600,000 iterations take long."""
    with derived_once():
        yield


@pytest.fixture(scope="session")
def keyring_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield the environment of a real Secret Service that only the tests use."""
    from demo.private_keyring import private_keyring

    directory: Path = tmp_path_factory.mktemp("keyring")
    with private_keyring(directory) as environment:
        yield environment
