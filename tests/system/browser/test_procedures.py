"""The manual's procedures, step by step, in Chromium, with the real client."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Page, expect

from tests.support.browser_seed import PASSWORD, seed
from tests.support.chromium import EN, JA, Labels, NewPage, fill_new, log_in
from tests.support.installation import Server
from tests.support.pc import Pc

pytestmark = pytest.mark.keyring
SMARTPHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

P1, P2, P3, FORCED = "First-Passw0rd", "Second-Passw0rd", "Third-Passw0rd", "Fourth-Passw0rd"


each_language = pytest.mark.parametrize("words", [JA, EN], ids=["ja", "en"])


def change(page: Page, words: Labels, new: str, *, current: str = "", push: bool = True) -> None:
    """Fill in the form of a change and send it."""
    if current:
        page.get_by_label(words.current_password).fill(current)
    fill_new(page, words, new)
    if not push:
        page.get_by_label(words.push).uncheck()
    page.get_by_role("button", name=words.change, exact=True).click()
    expect(page.get_by_role("heading", name=words.changed)).to_be_visible()


def expect_switch(page: Page, words: Labels, *, on: bool) -> None:
    """Wait until the switch follows the client: on and enabled, or off and disabled."""
    switch = page.get_by_label(words.push)
    expect(switch).to_be_enabled(enabled=on, timeout=30_000)
    expect(switch).to_be_checked(checked=on)


def leave_for(page: Page, path: str) -> None:
    """Open `path`, even if the page's script reloads the page because the session has ended."""
    try:
        page.goto(path)
    except Error:  # two navigations at once: one fails
        page.wait_for_load_state()
        page.goto(path)


@each_language
def test_general_user_changes_own_password(
    server: Server, new_page: NewPage, new_pc: Callable[..., Pc], words: Labels
) -> None:
    """A user's steps: temporary password, switch, change with push, smartphone, without push."""
    name = f"own-{words.language}"
    seed(server.installation, f'user {name} "田中 一郎" must_change_password')
    page = new_page(words.language)

    log_in(page, words, name)
    expect(page.get_by_label(words.new_password)).to_have_count(2)
    expect(page.get_by_role("link", name=words.password_change)).to_have_count(0)
    page.goto("/app/")
    expect(page).to_have_url(re.compile(r"/password/$"))
    change(page, words, P1)

    page.get_by_role("link", name=words.password_change).click()
    expect_switch(page, words, on=False)
    pc = new_pc(server.address, user=name, password=P1)
    pc.start()
    expect_switch(page, words, on=True)
    pc.stop()
    expect_switch(page, words, on=False)
    pc.start()
    expect_switch(page, words, on=True)

    change(page, words, P2, current=P1)
    expect(page.get_by_text(words.applied, exact=True)).to_be_visible(timeout=30_000)

    phone = new_page(words.language, **SMARTPHONE)
    log_in(phone, words, name, P1, path="/app/")
    expect(phone.get_by_text(words.refused)).to_be_visible()
    log_in(phone, words, name, P2, path="/app/")
    expect(phone.get_by_text(words.waiting, exact=True)).to_be_visible()

    page.get_by_role("link", name=words.password_change).click()
    change(page, words, P3, current=P2, push=False)
    expect(page.get_by_text(words.not_applied, exact=True)).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("row").filter(has_text=words.days_left_30)).to_be_visible()
    expect(page.get_by_text(words.waiting, exact=True)).to_be_visible()
    # Without a click: the page's next poll finds that the session has ended.
    expect(phone.get_by_role("button", name=words.log_in)).to_be_visible(timeout=30_000)


@each_language
def test_administrator_changes_passwords(
    server: Server, new_page: NewPage, new_pc: Callable[..., Pc], words: Labels
) -> None:
    """Administrators change their own password, without a push, and then force a user's.

    A forced password is temporary and not pushed; the user then changes it, with a push.
    """
    name, administrator = f"temporary-{words.language}", f"admin-{words.language}"
    seed(server.installation, f'user {name} "佐藤 花子"', f'user {administrator} "" administrator')
    new_pc(server.address, user=name, password=PASSWORD).start()
    user, page, elsewhere = (new_page(words.language) for _ in range(3))
    log_in(user, words, name)
    expect(user.get_by_text(words.waiting, exact=True)).to_be_visible(timeout=30_000)

    log_in(page, words, administrator)
    log_in(elsewhere, words, administrator)
    page.get_by_role("link", name=words.password_change).click()
    expect(page.get_by_label(words.push)).to_have_count(0)
    change(page, words, P2, current=PASSWORD)
    leave_for(elsewhere, "/users/")
    expect(elsewhere.get_by_role("button", name=words.log_in)).to_be_visible()

    page.get_by_role("link", name=words.user_management).click()
    page.get_by_role("link", name=name).click()
    fill_new(page, words, FORCED)
    expect(page.get_by_label(words.must_change)).to_be_checked()
    page.get_by_role("button", name=words.force).click()
    expect(page.get_by_role("heading", name=words.changed)).to_be_visible()
    expect(page.get_by_text(words.days_left_30)).to_be_visible()

    leave_for(user, "/login/")
    log_in(user, words, name)
    expect(user.get_by_text(words.refused)).to_be_visible()
    log_in(user, words, name, FORCED)
    expect(user.get_by_label(words.push)).to_be_checked()
    change(user, words, P2)
    expect(user.get_by_text(words.applied, exact=True)).to_be_visible(timeout=30_000)


def test_second_click_and_late_poll(server: Server, new_page: NewPage) -> None:
    """Two clicks on 「変更」 send one form, and a late poll does not replace the answer's page."""
    words = JA
    seed(server.installation, "user twice")
    page = new_page("ja")
    log_in(page, words, "twice")
    page.get_by_role("link", name=words.password_change).click()
    polls: list[int] = []
    page.on("response", lambda said: polls.append(said.status) if "/live/" in said.url else None)
    page.get_by_label(words.current_password).fill(PASSWORD)
    fill_new(page, words, P2)
    page.evaluate(
        """() => {
            for (let n = 0; n < 20; n++) document.dispatchEvent(new Event("visibilitychange"));
            const button = [...document.querySelectorAll("main form button")].at(-1);
            button.click();
            button.click();
        }"""
    )
    expect(page.get_by_role("heading", name=words.changed)).to_be_visible()
    assert set(polls) <= {200, 401}
