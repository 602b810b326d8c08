"""The manual's procedures, word by word, in Chromium, with the real client on the other end."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Locator, Page, expect

from tests.support.browser_seed import ADMINISTRATOR, PASSWORD, seed
from tests.support.chromium import PICTURES, NewPage, fill_new
from tests.support.installation import Server
from tests.support.labels import EN, JA, Labels
from tests.support.pc import Pc

pytestmark = pytest.mark.keyring
SMARTPHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

P1, P2, P3, FORCED = "First-Passw0rd", "Second-Passw0rd", "Third-Passw0rd", "Fourth-Passw0rd"


@pytest.fixture(params=[JA, EN], ids=["ja", "en"])
def words(request: pytest.FixtureRequest) -> Labels:
    labels = request.param
    assert isinstance(labels, Labels)
    return labels


def picture(page: Page, name: str, words: Labels) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"step-{name}-{words.language}.png", full_page=True)


def log_in(page: Page, words: Labels, username: str, password: str, path: str = "/") -> None:
    page.goto(path)
    page.get_by_label(words.username).fill(username)
    page.get_by_label(words.password).fill(password)
    page.get_by_role("button", name=words.log_in).click()


def fill_change(page: Page, words: Labels, current: str, new: str) -> None:
    page.get_by_label(words.current_password).fill(current)
    fill_new(page, words, new)


def press_change(page: Page, words: Labels) -> None:
    page.get_by_role("button", name=words.change, exact=True).click()
    expect(page.get_by_role("heading", name=words.changed)).to_be_visible()


def switch(page: Page, words: Labels) -> Locator:
    return page.get_by_label(words.push)


def leave_for(page: Page, path: str) -> None:
    """Open `path`, also while the page's script reloads it because its session has ended."""
    try:
        page.goto(path)
    except Error:  # the browser drops one of two navigations
        page.wait_for_load_state()
        page.goto(path)


def test_general_user_changes_own_password(
    server: Server, new_page: NewPage, new_pc: Callable[..., Pc], words: Labels
) -> None:
    """Temporary password; switch following the client; push on; smartphone; push off."""
    name = f"own-{words.language}"
    seed(server.installation, f'user {name} "田中 一郎" must_change_password')
    page = new_page(words.language)

    log_in(page, words, name, PASSWORD)
    expect(page.get_by_label(words.new_password)).to_have_count(2)
    expect(page.get_by_role("link", name=words.password_change)).to_have_count(0)
    page.goto("/app/")
    expect(page).to_have_url(re.compile(r"/password/$"))
    picture(page, "temporary", words)
    fill_new(page, words, P1)
    press_change(page, words)

    page.get_by_role("link", name=words.password_change).click()
    expect(switch(page, words)).to_be_disabled()
    expect(switch(page, words)).not_to_be_checked()
    picture(page, "switch-off", words)
    pc = new_pc(server.address, user=name, password=P1)
    pc.start()
    expect(switch(page, words)).to_be_enabled(timeout=30_000)
    expect(switch(page, words)).to_be_checked()
    picture(page, "switch-on", words)
    pc.stop()
    expect(switch(page, words)).to_be_disabled(timeout=30_000)
    expect(switch(page, words)).not_to_be_checked()
    pc.start()
    expect(switch(page, words)).to_be_checked(timeout=30_000)

    fill_change(page, words, P1, P2)
    press_change(page, words)
    expect(page.get_by_text(words.applied, exact=True)).to_be_visible(timeout=30_000)
    picture(page, "applied", words)

    phone = new_page(words.language, **SMARTPHONE)
    log_in(phone, words, name, P1, "/app/")
    expect(phone.get_by_text(words.refused)).to_be_visible()
    log_in(phone, words, name, P2, "/app/")
    expect(phone.get_by_text(words.waiting, exact=True)).to_be_visible()
    picture(phone, "smartphone", words)

    page.get_by_role("link", name=words.password_change).click()
    fill_change(page, words, P2, P3)
    switch(page, words).uncheck()
    press_change(page, words)
    expect(page.get_by_text(words.not_applied, exact=True)).to_be_visible()
    picture(page, "not-applied", words)
    page.goto("/")
    expect(page.get_by_role("row").filter(has_text=words.days_left_30)).to_be_visible()
    expect(page.get_by_text(words.waiting, exact=True)).to_be_visible()
    # Without a click: its next look at the PCs finds that the session has ended.
    expect(phone.get_by_role("button", name=words.log_in)).to_be_visible(timeout=30_000)


def test_administrator_forces_a_password(
    server: Server, new_page: NewPage, new_pc: Callable[..., Pc], words: Labels
) -> None:
    """Forced with a temporary password; nothing is pushed; the user changes it, with the push."""
    name = f"temporary-{words.language}"
    seed(server.installation, f'user {name} "佐藤 花子"')
    new_pc(server.address, user=name, password=PASSWORD).start()
    user = new_page(words.language)
    log_in(user, words, name, PASSWORD)
    expect(user.get_by_text(words.waiting, exact=True)).to_be_visible(timeout=30_000)

    page = new_page(words.language)
    log_in(page, words, ADMINISTRATOR, PASSWORD)
    page.get_by_role("link", name=words.user_management).click()
    page.get_by_role("link", name=name).click()
    fill_new(page, words, FORCED)
    expect(page.get_by_label(words.must_change)).to_be_checked()
    page.get_by_role("button", name=words.force).click()
    expect(page.get_by_role("heading", name=words.changed)).to_be_visible()
    expect(page.get_by_text(words.days_left_30)).to_be_visible()
    picture(page, "forced", words)

    leave_for(user, "/")
    log_in(user, words, name, PASSWORD)
    expect(user.get_by_text(words.refused)).to_be_visible()
    log_in(user, words, name, FORCED)
    fill_new(user, words, P2)
    expect(switch(user, words)).to_be_checked()
    press_change(user, words)
    expect(user.get_by_text(words.applied, exact=True)).to_be_visible(timeout=30_000)


def test_administrator_changes_own_password(
    server: Server, new_page: NewPage, words: Labels
) -> None:
    """An administrator's page has no switch for PCs; a change ends the other sessions only."""
    name = f"admin-{words.language}"
    seed(server.installation, f'user {name} "" administrator')
    page, elsewhere = new_page(words.language), new_page(words.language)
    log_in(page, words, name, PASSWORD)
    log_in(elsewhere, words, name, PASSWORD)
    page.get_by_role("link", name=words.password_change).click()
    expect(switch(page, words)).to_have_count(0)
    fill_change(page, words, PASSWORD, P2)
    press_change(page, words)
    picture(page, "administrator-changed", words)
    page.get_by_role("link", name=words.user_management).click()
    expect(page.get_by_role("heading", name=words.user_management)).to_be_visible()
    leave_for(elsewhere, "/users/")
    expect(elsewhere.get_by_role("button", name=words.log_in)).to_be_visible()


def test_second_click_and_late_poll(server: Server, new_page: NewPage) -> None:
    """Two clicks on 「変更」 send one form, and a poll under way does not replace its answer."""
    words = JA
    seed(server.installation, "user twice")
    page = new_page("ja")
    log_in(page, words, "twice", PASSWORD)
    page.get_by_role("link", name=words.password_change).click()
    polls: list[int] = []
    page.on(
        "response",
        lambda answer: polls.append(answer.status) if "/live/" in answer.url else None,
    )
    fill_change(page, words, PASSWORD, "Second-2nd-2")
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
