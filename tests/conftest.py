"""What all tests share. Nothing here is for one platform only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDS = {"keyring": ("dbus-daemon", "gnome-keyring-daemon"), "display": ("Xvfb", "xdotool")}
"""Marker to the programs that its tests cannot do without."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and say which program is lacking."""
    for marker, programs in NEEDS.items():
        missing = [program for program in programs if shutil.which(program) is None]
        if missing and item.get_closest_marker(marker):
            pytest.skip(f"not on this machine: {', '.join(missing)} (.ci/packages test)")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where everything can be installed, a test that was skipped is a test that failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter else None
    if os.environ.get("CI") == "true" and exitstatus == 0 and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    """No test sees what the machine has set for the client or the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("COCONOWORK_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def keyring_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads to a real Secret Service of the tests' own."""
    from demo.private_keyring import private_keyring

    directory: Path = tmp_path_factory.mktemp("keyring")
    with private_keyring(directory) as environment:
        yield environment
