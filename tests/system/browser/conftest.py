"""A real server, and Chromium on its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD
from tests.support.chromium import NewPage, chromium, pages
from tests.support.installation import Installation, Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test here, so that `-m 'not browser'` leaves it out."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server of an account with a Japanese name."""
    installation = Installation(tmp_path_factory.mktemp("server") / "data")
    installation.create(
        account="株式会社ここな", user=ADMINISTRATOR, password=PASSWORD, name="総務 太郎"
    )
    with installation.serving() as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def new_page(browser: Browser, server: Server) -> Iterator[NewPage]:
    """`new_page(language="ja", **context)`: a page in a fresh profile that must log no error."""
    with pages(browser, server.console) as make:
        yield make
