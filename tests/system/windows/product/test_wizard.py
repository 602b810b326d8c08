"""The setup program page by page, by mouse, in Japanese and in English."""

from __future__ import annotations

from types import SimpleNamespace

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

WORDS: dict[str, dict[Language, str]] = {
    "next": {"ja": "次へ", "en": "&Next"},
    "install": {"ja": "インストール", "en": "&Install"},
    "finish": {"ja": "完了", "en": "&Finish"},
    "remove": {"ja": "削除(", "en": "&Uninstall"},
    "close": {"ja": "閉じる", "en": "&Close"},
    "welcome": {"ja": "ようこそ", "en": "Welcome"},
    "server": {"ja": "ココナワークサーバ", "en": "Coconowork server"},
    "folder": {"ja": "インストール先", "en": "Choose Install Location"},
    "done": {"ja": "完了しました", "en": "has been installed"},
    "bad_address": {"ja": "使用できません", "en": "cannot be used"},
    "forget": {"ja": "設定も削除", "en": "settings as well"},
}
"""What the wizard's buttons and pages say."""


def find_window(pc: Desktop, text: str) -> Window:
    """Wait for the window in which `text` can be read, and return it."""

    def look() -> Window | None:
        return next((w for w in pc.windows() if any(text in t for t in w.texts)), None)

    return eventually(look, or_say=f"a window with {text!r}", within_s=60)


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


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_page(desktop: Desktop, product: Built, language: Language) -> None:
    """The program can be installed and uninstalled by mouse, and a wrong address is refused."""
    pc, shot = desktop, f"setup-{language}"
    words = SimpleNamespace(**{name: texts[language] for name, texts in WORDS.items()})
    pc.launch(windows_path(product.product.setup), f"/LANG={language}")
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
    pc.launch(rf"{folder}\uninstall.exe", f"/LANG={language}")
    picture(pc, f"{shot}-5-uninstall", words.remove)
    press(pc, words.remove, words.remove)
    picture(pc, f"{shot}-6-forget", words.forget)
    press(pc, words.forget, "はい")  # a message box speaks as Windows does
    press(pc, words.close, words.close)
    eventually(lambda: not unix_path(pc, folder).exists(), or_say="the uninstaller's end")
    assert running(pc) == []
    eventually(lambda: not traces(pc), or_say="nothing left")
