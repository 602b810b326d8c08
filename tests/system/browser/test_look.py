"""Every page in both languages, small and large, light and dark: axe-core, and pictures."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD, SHOW, seed
from tests.support.chromium import PICTURES, NewPage
from tests.support.installation import Server

LOOKS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1440, "light"), (360, "dark"))
JUDGED = {"ja": "dark", "en": "light"}
"""The colours in which axe-core judges a language's pages; what it judges is the same in both."""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SWEEP = (320, 360, 640, 768, 1000, 1280)
"""Widths at which each page must fit, all but the first with text of twice the size as well."""

FOR_PAGES = {
    "home": 960,
    "home-administrator": 1100,
    "password": 960,
    "changed": 960,
    "users": 1100,
    "user": 1100,
    "app": 360,
    "app-new-pc-check": 360,
}
"""Pictures for docs/images and their widths; they land in `.artifacts/browser/docs`."""

BROKEN = """() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    const length = text.data.trim().length;
    if (length < 4 || text.parentElement.closest(".skip, thead, script")) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const boxes = [...range.getClientRects()].filter((box) => box.width);
    const lines = new Set(boxes.map((box) => Math.round(box.top))).size;
    if (lines > 2 && length / lines < 3) found.push(`${lines} lines: ${text.data.trim()}`);
  }
  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) found.push(`scrolls sideways: ${scrollWidth}`);
  return found;
}"""
"""Words that are broken letter by letter, and whether the page scrolls sideways."""

BEYOND = """() => [...document.querySelectorAll("main *, header *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth - 4 && e.closest(".skip") === null)
  .map((e) => e.outerHTML.slice(0, 90))"""
"""What does not fit into the width of the window."""


@pytest.fixture(scope="module")
def shown(server: Server) -> Server:
    seed(server.installation, SHOW)
    return server


class Looker:
    """Visits pages, has axe-core judge each in one size, and takes their pictures."""

    def __init__(self, page: Page, language: str) -> None:
        self.page = page
        self.language = language
        self.problems: list[str] = []

    def see(self, name: str, path: str | None = None) -> None:
        if path:
            self.page.goto(path)
        for width, scheme in LOOKS:
            look = f"{name}-{self.language}-{width}-{scheme}"
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=PICTURES / f"{look}.png", full_page=True)
            if JUDGED[self.language] == scheme:
                self._judge(look)
            if beyond := self.page.evaluate(BEYOND):
                self.problems.append(f"{look}: beyond the window: {beyond}")
        self._sweep(name)
        if name in FOR_PAGES:
            self.page.set_viewport_size({"width": FOR_PAGES[name], "height": 300})
            picture = PICTURES / "docs" / f"console-{name}-{self.language}.png"
            self.page.screenshot(path=picture, full_page=True)

    def _judge(self, look: str) -> None:
        options = {"resultTypes": ["violations"], "runOnly": TAGS}
        for violation in Axe().run(self.page, options=options).response["violations"]:
            nodes = [node["html"] for node in violation["nodes"]]
            self.problems.append(f"{look}: {violation['id']}: {nodes}")

    def _sweep(self, name: str) -> None:
        self.page.emulate_media(color_scheme="light", forced_colors="active")
        self.page.screenshot(path=PICTURES / f"{name}-{self.language}-forced.png", full_page=True)
        self.page.emulate_media(forced_colors="none")
        for size in ("100%", "200%"):
            self.page.evaluate("(size) => document.documentElement.style.fontSize = size", size)
            for width in SWEEP[size == "200%" :]:
                self.page.set_viewport_size({"width": width, "height": 900})
                if broken := self.page.evaluate(BROKEN):
                    self.problems.append(f"{name}-{self.language}-{width}-{size}: {broken}")
        self.page.evaluate("document.documentElement.style.fontSize = ''")

    def fill(self, **fields: str) -> None:
        """Fill in the page's form and send it."""
        for name, value in fields.items():
            self.page.locator(f"[name={name}]").fill(value)
        self.page.locator("main form button:not([type=button])").click()

    def log_in(self, username: str) -> None:
        self.page.goto("/login/")
        self.fill(username=username, password=PASSWORD)
        self.page.wait_for_url(lambda url: "login" not in url)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_page(shown: Server, new_page: NewPage, language: str) -> None:
    """axe-core finds nothing, and nothing reaches beyond the window."""
    problems = []
    for visit in (
        strangers_pages,
        users_pages,
        pages_of_a_new_pc,
        administrators_pages,
        pages_of_a_change,
    ):
        look = Looker(new_page(language), language)
        visit(look, shown)
        problems += look.problems
    assert not problems, "\n".join(problems)


def strangers_pages(look: Looker, _: Server) -> None:
    look.see("login", "/login/")
    look.fill(username="unknown-user", password="wrong")
    look.page.get_by_role("alert").wait_for()
    look.see("login-error")
    look.see("rules", "/password/rules/")
    look.see("app-login", "/app/login/")
    look.log_in("sato")
    look.see("temporary-password")


def users_pages(look: Looker, _: Server) -> None:
    look.log_in("tanaka")
    look.see("home", "/")
    look.see("password", "/password/")
    look.fill(current_password=PASSWORD, new_password1="tanaka", new_password2="tanaka")
    look.page.get_by_role("alert").wait_for()
    look.see("password-error")
    look.see("push-later", "/password/push/")
    look.see("app-push-later", "/app/push/")
    look.see("end-old", "/password/end-old/")
    look.see("not-found", "/nowhere/")
    look.see("not-allowed", "/users/")
    look.see("app", "/app/")
    look.page.goto("/")
    look.page.locator("a[href$='/disconnect/']").first.click()
    look.see("disconnect")
    look.page.goto("/")
    look.page.locator("a[href$='/lost/']").first.click()
    look.see("lost")
    look.see("end-sessions", "/sessions/end/")


def pages_of_a_new_pc(look: Looker, server: Server) -> None:
    """In the console and on the smartphone page."""
    look.log_in("tanaka")
    for prefix, path, digit in (("", "/pcs/new/", "2"), ("app-", "/app/new/", "3")):
        code = {"ja": "BCDF456", "en": "BCDF457"}[look.language] + digit
        seed(server.installation, f"pairing {code} DESKTOP-NEW01")
        look.see(f"{prefix}new-pc", path)
        look.fill(code="BBBB-BBBB")
        look.page.get_by_role("alert").wait_for()
        look.see(f"{prefix}new-pc-error")
        look.fill(code=code)
        look.page.locator(".words").wait_for()
        look.see(f"{prefix}new-pc-check")
        look.fill(current_password=PASSWORD)
        look.page.locator(".outcomes").wait_for()
        look.see(f"{prefix}new-pc-result")


def administrators_pages(look: Looker, _: Server) -> None:
    page = look.page
    look.log_in(ADMINISTRATOR)
    for name, path in {
        "home-administrator": "/",
        "password-administrator": "/password/",
        "old-passwords": "/old-passwords/",
        "old-passwords-failed": "/old-passwords/?left=failed",
        "old-passwords-none": "/old-passwords/?left=later",
        "unseen": "/pcs/unseen/",
        "audit": "/audit/",
        "audit-none": "/audit/?q=zzzz",
        "users-none": "/users/?q=zzzz",
        "users": "/users/",
    }.items():
        look.see(name, path)
    page.get_by_role("link", name="tanaka").click()
    look.see("user")
    for name in ("edit", "delete", "remove"):
        with page.expect_navigation():
            page.locator(f"a[href$='/{name}/']").first.click()
        look.see(f"user-{name}")
        page.go_back()
    page.locator("a[href$='/lost/']").first.click()
    look.see("user-lost")
    look.see("user-new", "/users/new/")
    look.fill(username=f"new-{look.language}")
    page.locator("#temporary").wait_for()
    look.see("user-created")
    look.see("import", "/users/import/")
    lines = f"username,role\nimported-{look.language},\nbad name,\n{ADMINISTRATOR},\n"
    file: FilePayload = {"name": "users.csv", "mimeType": "text/csv", "buffer": lines.encode()}
    page.locator("[name=file]").set_input_files(file)
    look.fill()
    page.locator("#open").wait_for()
    look.see("import-job")
    page.locator("#open").click()
    page.locator("a[download]").wait_for()
    look.see("import-passwords")


def pages_of_a_change(look: Looker, server: Server) -> None:
    """With one PC of each kind on the page of the result."""
    page, name = look.page, f"look-{look.language}"
    pcs = ("PC-A waiting", "PC-B", "PC-C ended", "PC-D waiting")
    seed(server.installation, f"user {name}", *(f"device {name} {pc}" for pc in pcs))
    look.log_in(name)
    page.goto("/password/")
    page.get_by_label("PC-D").uncheck()
    look.fill(current_password=PASSWORD, new_password1="Brand-New7", new_password2="Brand-New7")
    page.wait_for_url("**/changed/**")
    look.see("changed")
