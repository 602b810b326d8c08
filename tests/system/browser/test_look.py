"""Every page in both languages, small and large, light and dark: axe-core, and pictures."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD, seed
from tests.support.chromium import PICTURES, NewPage
from tests.support.installation import Server

JUDGED = ((1440, "light"), (768, "light"), (360, "dark"))
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[int, Scheme], ...] = (
    (1440, "light"),
    (768, "light"),
    (360, "light"),
    (360, "dark"),
    (1440, "dark"),
)
SWEEP = (320, 360, 480, 640, 768, 900, 1000, 1100, 1280, 1440)
"""Widths at which each page must fit, all but the first with text of twice the size as well."""

FOR_PAGES = {
    "home": 960,
    "home-administrator": 1100,
    "password": 960,
    "changed": 960,
    "users": 1100,
    "user": 1100,
    "app": 360,
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
    seed(server.installation, "show")
    return server


def log_in(page: Page, username: str, path: str = "/login/") -> None:
    page.goto(path)
    page.locator("[name=username]").fill(username)
    page.locator("[name=password]").fill(PASSWORD)
    press(page)
    page.wait_for_url(lambda url: "login" not in url)


def press(page: Page) -> None:
    """Click the button that sends the page's form."""
    page.locator("main form button:not([type=button])").click()


class Looker:
    """Visits pages, has axe-core judge them, and takes their pictures."""

    def __init__(self, page: Page, language: str) -> None:
        self.page = page
        self.language = language
        self.violations: list[str] = []

    def see(self, name: str, path: str | None = None) -> None:
        if path:
            self.page.goto(path)
        for width, scheme in LOOKS:
            look = f"{name}-{self.language}-{width}-{scheme}"
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=PICTURES / f"{look}.png", full_page=True)
            if (width, scheme) in JUDGED:
                self._judge(look)
        self._sweep(name)
        if name in FOR_PAGES:
            self.page.set_viewport_size({"width": FOR_PAGES[name], "height": 300})
            self.page.emulate_media(color_scheme="light")
            picture = PICTURES / "docs" / f"console-{name}-{self.language}.png"
            self.page.screenshot(path=picture, full_page=True)

    def _sweep(self, name: str) -> None:
        self.page.emulate_media(color_scheme="light", forced_colors="active")
        self.page.screenshot(path=PICTURES / f"{name}-{self.language}-forced.png", full_page=True)
        self.page.emulate_media(forced_colors="none")
        for size in ("100%", "200%"):
            self.page.evaluate(
                "(size) => { document.documentElement.style.fontSize = size; }", size
            )
            for width in SWEEP[size == "200%" :]:
                self.page.set_viewport_size({"width": width, "height": 900})
                broken = self.page.evaluate(BROKEN)
                if broken:
                    self.violations.append(f"{name}-{self.language}-{width}-{size}: {broken}")
        self.page.evaluate("document.documentElement.style.fontSize = ''")

    def _judge(self, look: str) -> None:
        options = {"resultTypes": ["violations"], "runOnly": TAGS}
        for violation in Axe().run(self.page, options=options).response["violations"]:
            nodes = [node["html"] for node in violation["nodes"]]
            self.violations.append(f"{look}: {violation['id']}: {nodes}")
        beyond = self.page.evaluate(BEYOND)
        if beyond:
            self.violations.append(f"{look}: beyond the window: {beyond}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_page(shown: Server, new_page: NewPage, language: str) -> None:
    """axe-core finds nothing, and nothing reaches beyond the window."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def looker() -> Looker:
        return Looker(new_page(language), language)

    stranger, user, fresh, admin = looker(), looker(), looker(), looker()
    _strangers_pages(stranger)
    _users_pages(user)
    log_in(fresh.page, "sato")
    fresh.see("temporary-password")
    _administrators_pages(admin)
    changer = looker()
    name = f"look-{language}"
    seed(shown.installation, "user", name)
    for pc, state in (("PC-A", "waiting"), ("PC-B", ""), ("PC-C", "ended"), ("PC-D", "waiting")):
        seed(shown.installation, "device", name, pc, state)
    _a_change(changer, name)
    problems = [*stranger.violations, *user.violations, *fresh.violations, *admin.violations]
    problems += changer.violations
    assert not problems, "\n".join(problems)


def _strangers_pages(look: Looker) -> None:
    look.see("login", "/login/")
    look.page.locator("[name=username]").fill("unknown-user")
    look.page.locator("[name=password]").fill("wrong")
    press(look.page)
    look.page.get_by_role("alert").wait_for()
    look.see("login-error")
    look.see("rules", "/password/rules/")
    look.see("app-login", "/app/login/")


def _users_pages(look: Looker) -> None:
    log_in(look.page, "tanaka")
    look.see("home", "/")
    look.see("password", "/password/")
    look.page.locator("[name=current_password]").fill(PASSWORD)
    look.page.locator("[name=new_password1]").fill("tanaka")
    look.page.locator("[name=new_password2]").fill("tanaka")
    press(look.page)
    look.page.get_by_role("alert").wait_for()
    look.see("password-error")
    look.see("end-old", "/password/end-old/")
    look.see("not-found", "/nowhere/")
    look.see("not-allowed", "/users/")
    look.see("app", "/app/")
    look.page.goto("/")
    look.page.locator("a[href$='/disconnect/']").first.click()
    look.see("disconnect")


def _administrators_pages(look: Looker) -> None:
    page = look.page
    log_in(page, ADMINISTRATOR)
    look.see("home-administrator", "/")
    look.see("password-administrator", "/password/")
    look.see("users", "/users/")
    look.see("users-none", "/users/?q=zzzz")
    page.goto("/users/")
    page.get_by_role("link", name="tanaka").click()
    look.see("user")
    look.see("user-new", "/users/new/")
    page.locator("[name=username]").fill(f"new-{look.language}")
    press(page)
    page.locator("#temporary").wait_for()
    look.see("user-created")
    look.see("import", "/users/import/")
    lines = f"username,role\nimported-{look.language},\nbad name,\n{ADMINISTRATOR},\n"
    file: FilePayload = {"name": "users.csv", "mimeType": "text/csv", "buffer": lines.encode()}
    page.locator("[name=file]").set_input_files(file)
    press(page)
    page.locator("#open").wait_for()
    look.see("import-job")
    page.locator("#open").click()
    page.locator("a[download]").wait_for()
    look.see("import-passwords")
    look.see("old-passwords", "/old-passwords/")
    look.see("old-passwords-failed", "/old-passwords/?left=failed")
    look.see("old-passwords-none", "/old-passwords/?left=later")
    look.see("unseen", "/pcs/unseen/")
    look.see("audit", "/audit/")
    look.see("audit-none", "/audit/?q=zzzz")


def _a_change(look: Looker, name: str) -> None:
    """With one PC of each kind on the page of the result."""
    page = look.page
    log_in(page, name)
    page.goto("/password/")
    page.locator("[name=current_password]").fill(PASSWORD)
    page.locator("[name=new_password1]").fill("Brand-New7")
    page.locator("[name=new_password2]").fill("Brand-New7")
    page.get_by_label("PC-D").uncheck()
    press(page)
    page.wait_for_url("**/changed/**")
    look.see("changed")
