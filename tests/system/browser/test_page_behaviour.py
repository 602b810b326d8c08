"""What only a browser can show: scripts, keyboard, languages, and pages without scripts."""

from __future__ import annotations

import csv
import json
import re

import pytest
from playwright.sync_api import Error, Page, expect

from protocol.messages import Paired
from protocol.pairing import format_code, words
from tests.support.browser_seed import ADMINISTRATOR, PASSWORD, seed
from tests.support.chromium import EN, JA, NewPage, fill_new, log_in
from tests.support.gateway_client import Client
from tests.support.installation import Server
from tests.support.loop_thread import LoopThread
from tests.support.polling import eventually


def at_the_form(server: Server, new_page: NewPage, name: str, *pcs: str, **options: object) -> Page:
    """Make a user with waiting PCs. Return the page with the form of a change, logged in."""
    seed(server.installation, f"user {name}", *(f"device {name} {pc} waiting" for pc in pcs))
    page = new_page("en", **options)
    log_in(page, EN, name)
    page.goto("/password/")
    return page


def test_language_and_shown_password(new_page: NewPage) -> None:
    """The chosen language is kept on later pages, and overrides the browser's.

    Only the label of the password's button says what a click does.
    """
    page = new_page("ja")
    page.goto("/password/rules/")
    expect(page.get_by_role("heading", name=JA.rules)).to_be_visible()
    page.get_by_role("button", name=JA.other_language).click()
    expect(page.get_by_role("heading", name=EN.rules)).to_be_visible()
    page.goto("/login/")
    expect(page.get_by_role("button", name=EN.log_in)).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.locator("[name=username]")).to_be_focused()
    field = page.locator("[name=password]")
    field.fill("typed")
    for label, then, shown in (("Show", "Hide", "text"), ("Hide", "Show", "password")):
        page.get_by_role("button", name=label).click()
        expect(field).to_have_attribute("type", shown)
        button = page.get_by_role("button", name=then)
        expect(button).not_to_have_attribute("aria-pressed", re.compile(""))


def test_the_form_of_a_change(server: Server, new_page: NewPage) -> None:
    """Tab reaches the form's button, and the focus is always visible.

    In forced colours the switch's knob has another colour than its ground: when disabled, on
    and off. Once the session has ended elsewhere, the live part leads to the login page.
    """
    page = at_the_form(server, new_page, "keys")
    seen = []
    for _ in range(16):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => { const e = document.activeElement;
            return [e.name || e.innerText || "", getComputedStyle(e).outlineStyle]; }"""
        )
        if page.evaluate("document.activeElement !== document.body"):
            assert outline != "none", name
            seen.append(name)
    assert seen[0] == "Skip to the content"
    order = ["current_password", "Show", "new_password1", "Show", "new_password2", "Show"]
    first = seen.index("current_password")
    assert seen[first : first + 6] == order
    assert seen.index("Change") > first

    def expect_knob() -> None:
        colours = page.evaluate(
            """() => ["::before", null].map((part) =>
                getComputedStyle(document.querySelector("#id_push"), part).backgroundColor)"""
        )
        assert colours[0] != colours[1], colours

    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    switch = page.get_by_label(EN.push)
    expect(switch).to_be_disabled()
    expect_knob()
    seed(server.installation, "device keys PC-A waiting")
    expect(switch).to_be_checked()
    expect_knob()
    switch.uncheck()
    expect_knob()
    page.context.clear_cookies()
    expect(page.get_by_role("button", name=EN.log_in)).to_be_visible()


def test_the_choice_of_pcs_survives_the_live_update(server: Server, new_page: NewPage) -> None:
    """When another PC connects, an unticked PC stays unticked, and the switch stays off."""
    page = at_the_form(server, new_page, "chooser", "PC-A", "PC-B")
    switch = page.get_by_label(EN.push)

    def expect_ticked(*ticked: str, enabled: bool = True) -> None:
        for name in ("PC-A", "PC-B", "PC-C"):
            expect(page.get_by_label(name)).to_be_enabled(enabled=enabled)
            expect(page.get_by_label(name)).to_be_checked(checked=name in ticked)

    page.get_by_label("PC-A").uncheck()
    seed(server.installation, "device chooser PC-C waiting")
    expect_ticked("PC-B", "PC-C")
    switch.uncheck()
    seed(server.installation, "device chooser PC-D waiting")
    expect(page.get_by_label("PC-D")).to_be_visible()
    expect(switch).not_to_be_checked()
    expect(page.get_by_label("PC-D")).not_to_be_checked()
    expect_ticked(enabled=False)
    switch.check()
    expect_ticked("PC-B", "PC-C")
    for name in ("PC-B", "PC-C", "PC-D"):
        page.get_by_label(name).uncheck()
    # With no PC ticked, the switch ticks all of them.
    switch.uncheck()
    switch.check()
    expect_ticked("PC-A", "PC-B", "PC-C")


def test_without_a_script(server: Server, new_page: NewPage) -> None:
    """Without a script the change works, and no button is shown that needs a script."""
    page = at_the_form(server, new_page, "plain", java_script_enabled=False)
    expect(page.get_by_role("button", name="Show")).to_have_count(0)
    page.get_by_label(EN.current_password).fill(PASSWORD)
    fill_new(page, EN, "Brand-New7")
    page.get_by_role("button", name=EN.change, exact=True).click()
    expect(page.get_by_role("heading", name=EN.changed)).to_be_visible()


@pytest.mark.parametrize("scripts", ["on", "off"])
def test_import_and_save_the_passwords(server: Server, new_page: NewPage, scripts: str) -> None:
    """An import's page itself has the file of passwords, which the security policy allows."""
    name = f"imported-{scripts}"
    page = new_page("en", java_script_enabled=scripts == "on")
    log_in(page, EN, ADMINISTRATOR)
    page.goto("/users/import/")
    content = f"username,display_name\n{name},Name\nbad name,\n".encode()
    page.get_by_label("CSV file").set_input_files(
        {"name": "users.csv", "mimeType": "text/csv", "buffer": content}
    )
    page.get_by_role("button", name="Import").click()
    show = page.get_by_role("button", name="Open the temporary passwords")
    if scripts == "off":
        state = page.get_by_role("link", name="Show the current state")

        def look_again() -> bool:
            state.click()
            return show.is_visible()

        eventually(look_again, pause_s=0.5)
    show.click(timeout=15_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as CSV").click()
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1][0] == name
    expect(page.get_by_role("row").filter(has_text=rows[1][1])).to_be_visible()


def test_a_new_pc_by_keyboard(server: Server, new_page: NewPage) -> None:
    """The page of a new PC shows the PC's words, and its state until it has logged in."""
    seed(server.installation, "user owner")
    page = new_page("ja")
    log_in(page, JA, "owner", path="/app/login/")
    page.get_by_role("link", name="新しいPCを追加").click()
    with LoopThread() as loop:
        pc = loop.host(Client(server.gateway))
        code = loop.call(pc.pair())
        expect(page.locator("[name=code]")).to_be_focused()
        page.keyboard.type(format_code(code).lower())
        page.keyboard.press("Enter")
        expected = [f"{word.ja} {word.en}" for word in words(code, pc.device.public_key)]
        expect(page.locator(".words li")).to_have_text(expected)
        page.get_by_role("button", name="English").click()
        expect(page.get_by_role("heading", name="the same four words")).to_be_visible()
        page.locator("[name=current_password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        paired = loop.call(pc.expect(Paired))
        expect(page.get_by_text("The PC asks whether it is to connect as owner.")).to_be_visible()
        password = pc.open(paired.sealed)["password"]
        again = loop.host(Client(server.gateway, key=pc.key))
        loop.call(again.log_in(paired.user, password))
        expect(page.get_by_text("The PC has logged in as you.")).to_be_visible()
        page.get_by_role("link", name="To the start page").click()
        expect(page.get_by_text("This PC is ready for you.")).to_be_visible()


STORED = """async () => {
  const page = await (await caches.open("coconowork-app")).match("/app/");
  return page ? [await page.text(), [...page.headers.keys()].sort()] : null;
}"""


def test_the_app_without_a_connection(server: Server, new_page: NewPage) -> None:
    """Offline, the installed app shows the last known state and its time, without secrets.

    Chromium accepts the manifest; logging out deletes the stored copy.
    """
    pcs = ("device traveller PC-A waiting old", "device traveller PC-B")
    seed(server.installation, "user traveller", *pcs)
    page = new_page("en")
    log_in(page, EN, "traveller", path="/app/login/")
    session = page.context.new_cdp_session(page)
    answer = session.send("Page.getAppManifest")
    assert answer["errors"] == []
    manifest = json.loads(answer["data"])
    assert manifest["start_url"] == manifest["scope"] == "/app/"
    problems = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [one for one in problems if one["errorId"] != "in-incognito"] == []
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    text, headers = eventually(lambda: page.evaluate(STORED))
    assert headers == ["content-security-policy", "content-type"]
    assert "PC-A" in text
    for secret in ("csrf", "traveller", PASSWORD, "<form", "<script", "/app/push/", "/app/new/"):
        assert secret not in text, secret
    notice = page.get_by_text("No connection to the server.")
    expect(notice).to_be_hidden()
    page.context.set_offline(True)
    expect(notice).to_be_visible()  # on the open page
    page.goto("/app/")
    expect(notice).to_be_visible()  # when opened again
    assert re.search(r"known at: \w+ \d+, 2\d{3}, ", page.locator("main").inner_text())
    expect(page.get_by_role("heading", name="PC-B")).to_be_visible()
    expect(page.get_by_text("12 days left")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("link", name="Try again").click()
    expect(notice).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/app/login/")
    eventually(lambda: page.evaluate(STORED) is None)
    page.context.set_offline(True)
    with pytest.raises(Error, match="ERR_"):
        page.goto("/app/")
