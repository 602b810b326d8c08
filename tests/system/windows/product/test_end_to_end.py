"""The whole way of the manual with the installed program: setup, tray, Credential Manager, toast.

The server is the real one with a certificate of an organisation's own; people change passwords at
its pages; what the program keeps is read by another program through the Windows API.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Set
from functools import partial
from typing import Any

import pytest
from PIL import Image

from installer import NAME
from installer.guard import NAME as GUARD
from installer.wine import windows_path
from tests.support.installation import P1, P2, P3
from tests.support.setup_program import EXE, install, programs_folder, running, uninstall
from tests.support.tls_front import Organisation, organisation
from tests.support.windows_product import Built
from tests.support.wine import Desktop, Window, wait_for

USER = "tanaka"
UPDATE_ITEM = 65
"""Pixels from the top of the menu: below the state, the days left and a line."""
LOGIN, UPDATE = "ココナワークへのログイン", "保存されているパスワードの更新"
LOCK, UNLOCK = (("CoconoworkClientSignIn", 0x02B1, event, 1) for event in (7, 8))
CLICKED = ("PythonTaskbar", 0x0414, 0, 0x0405)
"""Class, message, wParam and lParam of what Windows posts (docs/windows.md)."""


class Pc:
    """What users and an auditor do at the PC."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        self.folder = programs_folder(desktop)
        self.exe = rf"{self.folder}\{EXE}"

    def status(self) -> dict[str, Any]:
        """Return the status of the running client."""
        done = self.desktop.run(rf"{self.folder}\{NAME}.com", "status", "--json")
        found: dict[str, Any] = json.loads(done.output)
        return found

    def wait_for_state(self, state: str) -> None:
        """Wait until the client has this state."""
        wait_for(lambda: self.status()["state"] == state, self.status)

    def stored(self) -> str:
        """Return the one entry of the Credential Manager."""
        entries = self.desktop.ask("credentials")
        ours = [entry for entry in entries if "coconowork" in entry["target"]]
        assert len(ours) == 1, [entry["target"] for entry in ours]
        assert ours[0]["persist"] == 2, "CRED_PERSIST_LOCAL_MACHINE: it must not roam"
        text = ours[0]["text"]
        assert isinstance(text, str)
        return text

    def icon(self) -> tuple[int, int]:
        """Return the position of the tray icon, at the right end of the task bar."""
        bar = self.desktop.window(kind="Shell_TrayWnd")
        assert bar
        _, top, right, bottom = bar.box
        return right - (bottom - top) // 2, (top + bottom) // 2

    def menu(self, shot: str) -> Window:
        """Open the icon's menu by a right click, and keep its picture."""

        def open_it() -> Window | None:
            self.desktop.click(self.icon(), button=3)
            return self.desktop.window(kind="#32768")

        menu = wait_for(open_it, "the menu")
        self.desktop.screenshot(shot)
        return menu

    def dialog(self, title: str, shot: str = "") -> Window:
        """Return the client's window of that title, once it is shown. Keep its picture."""
        found = wait_for(lambda: self.desktop.window(exe=EXE, title=title), f"the window {title}")
        if shot:
            self.desktop.screenshot(shot, box=found.box)
        return found

    def toast(self) -> Window | None:
        """Return the notification on the screen, which is not the icon's own tooltip."""
        tips = [w for w in self.desktop.windows() if w.kind == "tooltips_class32"]
        return next((tip for tip in tips if "無効" in tip.text), None)

    def post(self, *messages: object) -> None:
        """Post messages as Windows does; see `inside/post.py`."""
        assert self.desktop.ask("post", *map(str, messages)) == len(messages) // 4

    def keep_refusal(self, name: str, title: str) -> None:
        """Wait until the window says in red what is wrong, and keep its picture."""

        def look() -> bool:
            window = self.dialog(title)
            with Image.open(self.desktop.screenshot(name, box=window.box)) as picture:
                rgb = picture.convert("RGB").tobytes()
            pixels = zip(rgb[::3], rgb[1::3], rgb[2::3], strict=True)
            return sum(r > 150 and g < 90 and b < 90 for r, g, b in pixels) > 30

        wait_for(look, "the refusal")

    def no_dialog(self) -> None:
        """Wait until the client's windows are closed."""
        wait_for(lambda: not self.desktop.window(exe=EXE, kind="TkTopLevel"), "the window's end")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    """Yield the organisation's server."""
    with organisation(tmp_path_factory.mktemp("organisation")) as made:
        made.installation.add_user(USER)
        yield made


@pytest.fixture(scope="module")
def pc(desktop: Desktop, site: Organisation, product: Built) -> Pc:
    """Return a PC of the organisation, on which an administrator has installed the client."""
    assert desktop.ask("trust", windows_path(site.authority.der)) is True
    assert install(desktop, product.product.setup, f"/SERVER={site.host}") == 0
    return Pc(desktop)


def test_the_manual(pc: Pc, site: Organisation, product: Built) -> None:
    """Each step of the manual works with the installed program, and the removal leaves nothing."""
    set_up(pc)
    change_with_push(pc, site)
    kill(pc)
    change_without_push(pc, site)
    warning_at_sign_in(pc, site)
    update_by_mouse(pc)
    upgrade(pc, product)
    uninstall(pc.desktop, pc.folder)
    assert pc.desktop.ask("credentials") == []


def set_up(pc: Pc) -> None:
    """Sign in to Windows and log in by the client's window."""
    pc.desktop.sign_out()
    pc.desktop.sign_in()
    pc.wait_for_state("logged_out")
    pc.desktop.screenshot("client-signed-out")
    pc.desktop.click(pc.icon(), times=2)
    pc.dialog(LOGIN)
    pc.desktop.type(USER)
    pc.desktop.key("Tab")
    pc.desktop.type(P1)
    pc.dialog(LOGIN, "dialog-first-set-up")
    pc.desktop.key("Return")
    pc.wait_for_state("standby")
    pc.dialog(LOGIN, "dialog-first-set-up-done")
    pc.desktop.key("Return")
    pc.no_dialog()
    pc.desktop.screenshot("client-standby")
    assert P1 in pc.stored()


def change_with_push(pc: Pc, site: Organisation) -> None:
    """Step 3 with the switch on: the client applies the new password on its own."""
    with site.browser(USER, P1) as browser:
        assert "The password was changed." in browser.change_password(P1, P2).text
    wait_for(lambda: P2 in pc.stored() and P1 not in pc.stored(), "the new password alone")
    pc.wait_for_state("standby")


def new_client(pc: Pc, before: Set[int]) -> bool:
    """Return whether a client runs that did not run before."""
    return bool(running(pc.desktop).keys() - before)


def kill(pc: Pc) -> None:
    """Kill the client twice: another one runs, which the same guard watches, and logs in."""
    guard = running(pc.desktop, GUARD)
    assert len(guard) == 1
    for _ in range(2):
        (client,) = before = running(pc.desktop).keys()
        os.kill(client, signal.SIGKILL)
        wait_for(partial(new_client, pc, before), "another client")
    pc.wait_for_state("standby")
    assert running(pc.desktop, GUARD) == guard


def change_without_push(pc: Pc, site: Organisation) -> None:
    """Step 3 with the switch off: the client goes on with the old password."""
    with site.browser(USER, P2) as browser:
        assert "The password was changed." in browser.change_password(P2, P3, push=False).text
    pc.wait_for_state("standby_old_password")
    assert P2 in pc.stored()
    assert P3 not in pc.stored()


def warning_at_sign_in(pc: Pc, site: Organisation) -> None:
    """Sign in, locked at first: what the server records of the warning was on the screen."""

    def recorded(outcome: str) -> None:
        """Wait until the server has this outcome of the warning."""
        statement = "SELECT warned FROM console_device"
        wait_for(
            lambda: site.installation.query(statement) == [(outcome,)],
            lambda: f"{outcome}: {site.installation.query(statement)}",
        )

    pc.desktop.sign_out()
    pc.desktop.sign_in(*LOCK)
    recorded("unseen")
    assert pc.toast() is None
    pc.post(*UNLOCK)
    recorded("shown")
    toast = pc.toast()
    pc.desktop.screenshot("toast-30-days")
    assert toast
    assert any("30日後" in text for text in toast.texts), toast.texts
    pc.post(*CLICKED)
    recorded("clicked")
    pc.dialog(UPDATE)
    pc.desktop.key("Escape")
    pc.no_dialog()
    assert pc.toast() is None


def update_by_mouse(pc: Pc) -> None:
    """Choose 保存されているパスワードを更新…, type a wrong password, then the right one."""
    left, top, right, _ = pc.menu("menu-old-password").box
    pc.desktop.click(((left + right) // 2, top + UPDATE_ITEM))
    pc.dialog(UPDATE)
    pc.desktop.type("wrong password")
    pc.desktop.key("Return")
    pc.keep_refusal("dialog-update-refused", UPDATE)
    assert P2 in pc.stored()
    pc.desktop.key("ctrl+a")
    pc.desktop.type(P3)
    pc.desktop.key("Return")
    pc.wait_for_state("standby")
    pc.dialog(UPDATE, "dialog-update-done")
    pc.desktop.key("Return")
    pc.no_dialog()
    assert P3 in pc.stored()
    assert P2 not in pc.stored()
    wait_for(lambda: pc.toast() is None, "the toast's end")


def upgrade(pc: Pc, product: Built) -> None:
    """Install a newer version over the running client, which starts again. Refuse an older one."""
    before = running(pc.desktop).keys()
    assert install(pc.desktop, product.newer_setup) == 0
    wait_for(partial(new_client, pc, before), "the client after the upgrade")
    assert install(pc.desktop, product.product.setup) == 1638
    pc.wait_for_state("standby")
