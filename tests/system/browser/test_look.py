"""Every page in both languages, at many widths, light and dark: axe-core, and pictures."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD, SHOW, seed
from tests.support.chromium import EN, JA, PICTURES, Labels, NewPage, log_in
from tests.support.installation import Server

LOOKS: dict[str, tuple[int, Literal["light", "dark"]]] = {
    "en": (1440, "light"),
    "ja": (360, "dark"),
}
"""For each language, the width and colours of its pictures and of the checks by axe-core."""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SWEEP = (320, 360, 640, 768, 1000, 1280)
"""Widths at which each page must fit, except for the first also with text of twice the size."""

FOR_PAGES = {
    "home": 960, "home-administrator": 1100, "password": 960, "changed": 960, "users": 1100,
    "user": 1100, "app": 360, "app-new-pc-check": 360,
}  # fmt: skip
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
"""Find words that are broken inside, and whether the page scrolls sideways."""

BEYOND = """() => [...document.querySelectorAll("main *, header *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth - 4 && e.closest(".skip") === null)
  .map((e) => e.outerHTML.slice(0, 90))"""
"""Find elements that do not fit into the window's width."""


@pytest.fixture(scope="module")
def shown(server: Server) -> Server:
    seed(server.installation, SHOW)
    return server


class Looker:
    """Visits pages; checks each with axe-core and at many widths; takes screenshots."""

    def __init__(self, page: Page, words: Labels) -> None:
        self.page = page
        self.words = words
        self.problems: list[str] = []

    def see(self, name: str, path: str | None = None) -> None:
        page, language = self.page, self.words.language
        if path:
            page.goto(path)
        width, scheme = LOOKS[language]
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=PICTURES / f"{name}-{language}.png", full_page=True)
        options = {"resultTypes": ["violations"], "runOnly": TAGS}
        for violation in Axe().run(page, options=options).response["violations"]:
            nodes = [node["html"] for node in violation["nodes"]]
            self.problems.append(f"{name}-{language}: {violation['id']}: {nodes}")
        page.emulate_media(color_scheme="light")
        for size in ("100%", "200%"):
            page.evaluate("(size) => document.documentElement.style.fontSize = size", size)
            for width in SWEEP[size == "200%" :]:
                page.set_viewport_size({"width": width, "height": 900})
                found = page.evaluate(BROKEN) + (page.evaluate(BEYOND) if size == "100%" else [])
                if found:
                    self.problems.append(f"{name}-{language}-{width}-{size}: {found}")
        page.evaluate("document.documentElement.style.fontSize = ''")
        if name in FOR_PAGES:
            page.set_viewport_size({"width": FOR_PAGES[name], "height": 300})
            picture = PICTURES / "docs" / f"console-{name}-{language}.png"
            page.screenshot(path=picture, full_page=True)

    def follow(self, name: str, link: str) -> None:
        """Click the first link whose address ends with `link`, and check the page."""
        with self.page.expect_navigation():
            self.page.locator(f"a[href$='/{link}/']").first.click()
        self.see(name)

    def fill(self, name: str, wait_for: str, **fields: str) -> None:
        """Fill in the page's form, send it, and check the page that contains `wait_for`."""
        for field, value in fields.items():
            self.page.locator(f"[name={field}]").fill(value)
        self.page.locator("main form button:not([type=button])").click()
        self.page.locator(wait_for).wait_for()
        self.see(name)


@pytest.mark.parametrize("words", [JA, EN], ids=["ja", "en"])
def test_every_page(shown: Server, new_page: NewPage, words: Labels) -> None:
    """On every page axe-core finds no fault, and no element is wider than the window."""
    problems = []
    for visit in (
        strangers_pages,
        users_pages,
        pages_of_a_new_pc,
        administrators_pages,
        pages_of_a_change,
    ):
        look = Looker(new_page(words.language), words)
        visit(look, shown)
        problems += look.problems
    assert not problems, "\n".join(problems)


def strangers_pages(look: Looker, _: Server) -> None:
    look.see("login", "/login/")
    look.fill("login-error", "[role=alert]", username="unknown-user", password="wrong")
    look.see("rules", "/password/rules/")
    look.see("app-login", "/app/login/")
    log_in(look.page, look.words, "sato")
    look.see("temporary-password")


def users_pages(look: Looker, _: Server) -> None:
    log_in(look.page, look.words, "tanaka")
    look.see("password", "/password/")
    wrong = {"new_password1": "tanaka", "new_password2": "tanaka"}
    look.fill("password-error", "[role=alert]", current_password=PASSWORD, **wrong)
    for name, path in {
        "push-later": "/password/push/",
        "app-push-later": "/app/push/",
        "end-old": "/password/end-old/",
        "end-sessions": "/sessions/end/",
        "not-found": "/nowhere/",
        "not-allowed": "/users/",
        "app": "/app/",
        "home": "/",
    }.items():
        look.see(name, path)
    for name in ("disconnect", "lost"):
        look.follow(name, name)
        look.page.go_back()


def pages_of_a_new_pc(look: Looker, server: Server) -> None:
    """Check the pages of a new PC, in the console and on the smartphone page."""
    log_in(look.page, look.words, "tanaka")
    for prefix, path, digit in (("", "/pcs/new/", "2"), ("app-", "/app/new/", "3")):
        code = {"ja": "BCDF456", "en": "BCDF457"}[look.words.language] + digit
        seed(server.installation, f"pairing {code} DESKTOP-NEW01")
        look.see(f"{prefix}new-pc", path)
        look.fill(f"{prefix}new-pc-error", "[role=alert]", code="BBBB-BBBB")
        look.fill(f"{prefix}new-pc-check", ".words", code=code)
        look.fill(f"{prefix}new-pc-result", ".outcomes", current_password=PASSWORD)


def administrators_pages(look: Looker, _: Server) -> None:
    page, language = look.page, look.words.language
    log_in(page, look.words, ADMINISTRATOR)
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
    for name in ("edit", "delete", "remove", "lost"):
        look.follow(f"user-{name}", name)
        page.go_back()
    look.see("user-new", "/users/new/")
    look.fill("user-created", "#temporary", username=f"new-{language}")
    look.see("import", "/users/import/")
    lines = f"username,role\nimported-{language},\nbad name,\n{ADMINISTRATOR},\n"
    file: FilePayload = {"name": "users.csv", "mimeType": "text/csv", "buffer": lines.encode()}
    page.locator("[name=file]").set_input_files(file)
    look.fill("import-job", "#open")
    page.locator("#open").click()
    page.locator("a[download]").wait_for()
    look.see("import-passwords")


def pages_of_a_change(look: Looker, server: Server) -> None:
    """Check the pages of a change, with a PC in each state on the result's page."""
    name = f"look-{look.words.language}"
    pcs = ("PC-A waiting", "PC-B", "PC-C ended", "PC-D waiting")
    seed(server.installation, f"user {name}", *(f"device {name} {pc}" for pc in pcs))
    log_in(look.page, look.words, name)
    look.page.goto("/password/")
    look.page.get_by_label("PC-D").uncheck()
    new = {"new_password1": "Brand-New7", "new_password2": "Brand-New7"}
    look.fill("changed", "[data-live*=changed]", current_password=PASSWORD, **new)
