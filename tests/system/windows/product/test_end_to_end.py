"""The manual's steps with the installed program: setup, tray, Credential Manager, toast.

The server is real and has a certificate of the organisation's authority; passwords are changed on
its pages; another program reads the stored entries through the Windows API.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Set
from functools import partial
from typing import Any

import pytest

from installer import NAME
from installer.guard import NAME as GUARD
from installer.wine import windows_path
from tests.support.installation import P1, P2, P3
from tests.support.reverse_proxies import Organisation, organisation
from tests.support.setup_program import EXE, install, programs_folder, running, uninstall
from tests.support.windows_product import Built
from tests.support.wine import Desktop, Window, wait_for

USER = "tanaka"
LOGIN, UPDATE = "ココナワークへのログイン", "保存されているパスワードの更新"
UPDATE_ITEM = 65
"""Pixels from the menu's top to the entry, below the state, the days left and a separator."""
LOCK, UNLOCK = (("CoconoworkClientSignIn", 0x02B1, event, 1) for event in (7, 8))
CLICKED = ("PythonTaskbar", 0x0414, 0, 0x0405)
"""Class, message, wParam and lParam of messages that Windows posts (docs/windows.md)."""


class Pc:
    """The actions of users and of an auditor at an organisation's PC."""

    def __init__(self, desktop: Desktop, site: Organisation) -> None:
        self.desktop, self.site = desktop, site
        self.folder = programs_folder(desktop)

    def status(self) -> dict[str, Any]:
        """Return the status of the running client."""
        done = self.desktop.run(rf"{self.folder}\{NAME}.com", "status", "--json")
        found: dict[str, Any] = json.loads(done.output)
        return found

    def wait_for_state(self, state: str) -> None:
        """Wait until the client has this state."""
        wait_for(lambda: self.status()["state"] == state, self.status)

    def wait_for_new_client(self, before: Set[int]) -> None:
        """Wait until a client that is not in `before` runs and has logged in."""
        wait_for(lambda: running(self.desktop).keys() - before, "another client")
        self.wait_for_state("standby")

    def keeps(self, password: str) -> bool:
        """Return whether the Credential Manager has this password, and no other one.

        Do not call it while the client writes: reading changing entries can hang under Wine.
        """
        entries = self.desktop.ask("credentials")
        (entry,) = [entry for entry in entries if "coconowork" in entry["target"]]
        assert entry["persist"] == 2, "CRED_PERSIST_LOCAL_MACHINE: it must not roam"
        return [one for one in (P1, P2, P3) if one in entry["text"]] == [password]

    def icon(self) -> tuple[int, int]:
        """Return the position of the tray icon, at the right end of the task bar."""
        bar = self.desktop.window(kind="Shell_TrayWnd")
        assert bar
        _, top, right, bottom = bar.box
        return right - (bottom - top) // 2, (top + bottom) // 2

    def menu(self) -> Window | None:
        """Open the icon's menu by a right click."""
        self.desktop.click(self.icon(), button=3)
        return self.desktop.window(kind="#32768")

    def dialog(self, title: str, shot: str) -> None:
        """Wait for the client's window with this title, and save a screenshot."""
        found = wait_for(lambda: self.desktop.window(exe=EXE, title=title), f"the window {title}")
        self.desktop.screenshot(shot, box=found.box)

    def close_dialog(self, key: str) -> None:
        """Press the key, and wait until the client's windows are closed."""
        self.desktop.key(key)
        wait_for(lambda: not self.desktop.window(exe=EXE, kind="TkTopLevel"), "the window's end")

    def toast(self, text: str = "無効") -> Window | None:
        """Return the notification on the screen with this text. Tooltips are of the same class."""
        tips = [w for w in self.desktop.windows() if w.kind == "tooltips_class32"]
        return next((tip for tip in tips if text in "".join(tip.texts)), None)

    def post(self, *message: object) -> None:
        """Post a message as Windows does; see `inside/serve.py`."""
        assert self.desktop.ask("post", *map(str, message)) == 1

    def change_password(self, old: str, new: str, *, push: bool) -> None:
        """Change the password at the server's pages."""
        with self.site.browser(USER, old) as browser:
            page = browser.change_password(old, new, push=push)
        assert "The password was changed." in page.text

    def wait_for_record(self, outcome: str) -> None:
        """Wait until the server has this outcome of the warning."""
        query = partial(self.site.installation.query, "SELECT warned FROM console_device")
        wait_for(lambda: query() == [(outcome,)], query)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    """Yield the organisation's server."""
    with organisation(tmp_path_factory.mktemp("organisation")) as made:
        made.installation.add_user(USER)
        yield made


def test_the_manual(desktop: Desktop, site: Organisation, product: Built) -> None:
    """Each step of the manual works with the installed program, and the removal leaves nothing."""
    desktop.ask("trust", windows_path(site.authority.der))
    assert install(desktop, product.setup, f"/SERVER={site.host}") == 0
    pc = Pc(desktop, site)
    set_up(pc)
    # Step 3 with the switch on: the client applies the new password on its own.
    pc.change_password(P1, P2, push=True)
    wait_for(lambda: pc.toast("このPCに保存しました"), "the notification")
    pc.wait_for_state("standby")
    assert pc.keeps(P2)
    kill(pc)
    # Step 3 with the switch off: the client goes on with the old password.
    pc.change_password(P2, P3, push=False)
    pc.wait_for_state("standby_old_password")
    assert pc.keeps(P2)
    warning_at_sign_in(pc)
    update_by_mouse(pc)
    before = running(desktop).keys()
    assert install(desktop, product.newer_setup) == 0
    pc.wait_for_new_client(before)
    assert install(desktop, product.setup) == 1638, "an older version, which changes nothing"
    pc.wait_for_state("standby")
    uninstall(desktop, pc.folder)
    assert desktop.ask("credentials") == []


def set_up(pc: Pc) -> None:
    """Sign in to Windows, which starts the client, and log in by its window."""
    pc.desktop.sign_out()
    pc.desktop.sign_in()
    pc.wait_for_state("logged_out")
    pc.desktop.screenshot("client-signed-out")
    pc.desktop.click(pc.icon(), times=2)
    pc.dialog(LOGIN, "dialog-first-set-up")
    pc.desktop.type(USER)
    pc.desktop.key("Tab")
    pc.desktop.type(P1)
    pc.desktop.key("Return")
    pc.wait_for_state("standby")
    pc.dialog(LOGIN, "dialog-first-set-up-done")
    pc.close_dialog("Return")
    pc.desktop.screenshot("client-standby")
    assert pc.keeps(P1)


def kill(pc: Pc) -> None:
    """Kill the client twice; each time the same guard starts another, which logs in."""
    guard = running(pc.desktop, GUARD)
    assert len(guard) == 1
    for _ in range(2):
        (client,) = before = running(pc.desktop).keys()
        os.kill(client, signal.SIGKILL)
        pc.wait_for_new_client(before)
    assert running(pc.desktop, GUARD) == guard


def warning_at_sign_in(pc: Pc) -> None:
    """Sign in, locked at first; compare the warning on the screen with the server's record."""
    pc.desktop.sign_out()
    pc.desktop.sign_in(*LOCK)
    pc.wait_for_record("unseen")
    assert pc.toast() is None
    pc.post(*UNLOCK)
    pc.wait_for_record("shown")
    toast = pc.toast()
    pc.desktop.screenshot("toast-30-days")
    assert toast
    assert any("30日後" in text for text in toast.texts), toast.texts
    pc.post(*CLICKED)
    pc.wait_for_record("clicked")
    pc.dialog(UPDATE, "dialog-update")
    pc.close_dialog("Escape")
    assert pc.toast() is None


def update_by_mouse(pc: Pc) -> None:
    """Choose 保存されているパスワードを更新…, and type the new password."""
    menu = wait_for(pc.menu, "the menu")
    pc.desktop.screenshot("menu-old-password")
    left, top, right, _ = menu.box
    pc.desktop.click(((left + right) // 2, top + UPDATE_ITEM))
    pc.dialog(UPDATE, "dialog-update-by-mouse")
    pc.desktop.type(P3)
    pc.desktop.key("Return")
    pc.wait_for_state("standby")
    pc.dialog(UPDATE, "dialog-update-done")
    pc.close_dialog("Return")
    assert pc.keeps(P3)
    wait_for(lambda: pc.toast() is None, "the toast's end")
