"""The setup program page by page, by mouse, in Japanese and in English."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from installer.wine import windows_path
from tests.support.polling import eventually
from tests.support.setup_program import (
    RUN,
    SETTINGS,
    programs_folder,
    registry,
    running,
    traces,
    unix_path,
)
from tests.support.windows_product import Built
from tests.support.wine import Control, Desktop, Language, Window


@dataclass(frozen=True)
class Words:
    """What the wizard's buttons and pages say."""

    language: Language
    next: str
    install: str
    finish: str
    remove: str
    close: str
    welcome: str
    server: str
    folder: str
    done: str
    bad_address: str
    forget: str


WORDS = [
    Words("ja", "次へ", "インストール", "完了", "削除(", "閉じる", "ようこそ",
          "ココナワークサーバ", "インストール先", "完了しました", "使用できません",
          "設定も削除"),
    Words("en", "&Next", "&Install", "&Finish", "&Uninstall", "&Close", "Welcome",
          "Coconowork server", "Choose Install Location", "has been installed", "cannot be used",
          "settings as well"),
]  # fmt: skip


def find_window(pc: Desktop, text: str) -> Window:
    """Wait for the window in which `text` can be read, and return it."""

    def look() -> Window | None:
        return next((w for w in pc.windows() if any(text in t for t in w.texts)), None)

    return eventually(look, or_say=f"a window with {text!r}", within_s=60)


def button(window: Window, text: str) -> Control:
    """Return the button whose name begins with `text`."""
    for control in window.children:
        if control.kind == "Button" and control.visible and control.text.startswith(text):
            return control
    raise AssertionError(f"{text!r} is not among {window.texts}")


def press(pc: Desktop, page: str, name: str) -> None:
    """Wait for the page and click its button."""
    window = find_window(pc, page)
    pc.click(wait_enabled(pc, window, name))


def wait_enabled(pc: Desktop, window: Window, name: str) -> Control:
    """Wait until the button can be clicked, and return it."""

    def look() -> Control | None:
        for one in pc.windows():
            if one.handle == window.handle:
                found = [c for c in one.children if c.kind == "Button" and c.text.startswith(name)]
                return next((c for c in found if c.enabled and c.visible), None)
        return None

    return eventually(look, or_say=f"the button {name!r}", within_s=60)


def picture(pc: Desktop, name: str, page: str) -> None:
    """Keep a picture of the window with that text."""
    pc.screenshot(name, box=find_window(pc, page).box)


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words.language)
def test_every_page(desktop: Desktop, product: Built, words: Words) -> None:
    """The program can be installed and uninstalled by mouse, and a wrong address is refused."""
    pc, shot = desktop, f"setup-{words.language}"
    pc.launch(windows_path(product.product.setup), f"/LANG={words.language}")
    picture(pc, f"{shot}-1-welcome", words.welcome)
    press(pc, words.welcome, words.next)

    window = find_window(pc, words.server)
    field = next(c for c in window.children if c.kind == "Edit")
    pc.click(field)
    pc.type("no server")
    press(pc, words.server, words.next)
    picture(pc, f"{shot}-2-refused", words.bad_address)
    press(pc, words.bad_address, "OK")
    pc.key("Home", "shift+End")
    pc.type("gw.example.com:8443")
    picture(pc, f"{shot}-2-server", words.server)
    press(pc, words.server, words.next)

    picture(pc, f"{shot}-3-folder", words.folder)
    press(pc, words.folder, words.install)
    picture(pc, f"{shot}-4-done", words.done)
    press(pc, words.done, words.finish)
    eventually(lambda: running(pc), or_say="the client that the last page starts")
    assert registry(pc, rf"HKCU\{SETTINGS}")["Server"] == "gw.example.com:8443"
    assert "Coconowork Client" in registry(pc, rf"HKCU\{RUN}")

    folder = programs_folder(pc)
    pc.launch(rf"{folder}\uninstall.exe", f"/LANG={words.language}")
    picture(pc, f"{shot}-5-uninstall", words.remove)
    press(pc, words.remove, words.remove)
    picture(pc, f"{shot}-6-forget", words.forget)
    press(pc, words.forget, "はい")  # a message box speaks as Windows does
    press(pc, words.close, words.close)
    eventually(lambda: not unix_path(pc, folder).exists(), or_say="the uninstaller's end")
    assert running(pc) == []
    eventually(lambda: not traces(pc), or_say="nothing left")
