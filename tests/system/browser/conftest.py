"""Runs the real server, and Chromium on it; keeps pictures of what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD
from tests.support.places import ROOT

PICTURES = ROOT / ".artifacts" / "browser"
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class Server:
    """A running `python -m server serve` with a database of its own."""

    console: str
    gateway: str
    environment: dict[str, str]

    def seed(self, *arguments: str) -> str:
        """Run `tests/support/browser_seed.py` on its database; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.browser_seed", *arguments],
            cwd=ROOT,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    environment = {
        **{name: value for name, value in os.environ.items() if "COCONOWORK" not in name},
        "COCONOWORK_SERVER_DATA_DIR": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    subprocess.run(
        [
            *(sys.executable, "-m", "server", "createadmin", "--account", "株式会社ここな"),
            *("--user", ADMINISTRATOR, "--name", "総務 太郎"),
        ],
        cwd=ROOT,
        env=environment,
        input=PASSWORD,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve", "--port", "0", "--gateway-port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        console, gateway = (process.stdout.readline().split()[-1] for _ in range(2))
        yield Server(console.rstrip("/"), gateway, environment)
        process.terminate()
        assert process.wait(timeout=30) == 0
        process.stdout.close()
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("Debian package is missing: chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser, server: Server) -> Iterator[NewPage]:
    """`new_page(language="ja", **context)`: a page in a fresh profile that must log no error."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def make(language: str = "ja", **options: object) -> Page:
        locale = {"ja": "ja-JP", "en": "en-US"}[language]
        context = browser.new_context(
            base_url=server.console,
            locale=locale,
            timezone_id="Asia/Tokyo",
            **options,  # type: ignore[arg-type]  # Playwright has one parameter for each
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: problems.append(message.text) if "Policy" in message.text else None,
        )
        return page

    expect.set_options(timeout=15_000)
    yield make
    for context in contexts:
        context.close()
    assert not problems
