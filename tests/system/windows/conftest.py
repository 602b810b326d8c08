"""Fixtures of the tests on Windows desktops. On Windows itself, only `adapters/` runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.windows_product import Built

ON_WINDOWS = sys.platform == "win32"

collect_ignore = ["product", "desktop"] if ON_WINDOWS else ["adapters"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of these tests."""
    config.addinivalue_line("markers", "windows: drives a Windows desktop under Wine")


if not ON_WINDOWS:

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Mark all tests here, so that `-m 'not windows'` leaves them out."""
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker("windows")
                # Fixtures have no time limit, because one of them builds the product.
                item.add_marker(pytest.mark.timeout(300, func_only=True))

    @pytest.fixture(scope="session")
    def winpy() -> Path:
        """Return the folder of the Windows Python."""
        from installer import BuildError
        from installer.build import require_tools
        from installer.winpy.assemble import assemble

        try:
            require_tools("Xvfb", "xdotool", "import", "localedef")
        except BuildError as exc:
            pytest.skip(str(exc))
        return assemble()

    @pytest.fixture(scope="session")
    def product(winpy: Path) -> Built:
        """Return the setup program, the MSI, and newer ones of both."""
        from tests.support.windows_product import built

        return built()

    @pytest.fixture(scope="session")
    def display() -> Iterator[str]:
        """Yield the name of an X display for Windows desktops."""
        from tests.support.wine import SCREEN
        from tests.support.x11 import screen

        with screen(SCREEN) as name:
            yield name
