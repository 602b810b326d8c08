"""The setup program page by page, by mouse, in Japanese and in English."""

from __future__ import annotations

import itertools

import pytest

from installer.wine import windows_path
from tests.support.setup_program import (
    RUN,
    SETTINGS,
    programs_folder,
    registry,
    running,
    traces,
    wait_for_uninstaller,
)
from tests.support.windows_product import Built
from tests.support.wine import Control, Desktop, Language, Window, wait_for

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
    "ok": {"ja": "OK", "en": "OK"},
    "yes": {"ja": "はい", "en": "はい"},  # a message box has Windows' language
    "forget": {"ja": "設定も削除", "en": "settings as well"},
}
"""The texts of the wizard's buttons and pages."""


class Wizard:
    """A user of the wizard."""

    def __init__(self, pc: Desktop, language: Language) -> None:
        self._pc, self._language = pc, language
        self._pictures = itertools.count(1)

    def page(self, name: str) -> Window:
        """Wait for the page. Return its window."""
        text = WORDS[name][self._language]
        return wait_for(
            lambda: next((w for w in self._pc.windows() if text in "\n".join(w.texts)), None), text
        )

    def press(self, page: str, button: str) -> None:
        """Click the page's button once it is enabled; save a screenshot of the page."""
        name = WORDS[button][self._language]

        def look() -> Control | None:
            found = [c for c in self.page(page).children if c.text.startswith(name)]
            return next((c for c in found if c.kind == "Button" and c.enabled and c.visible), None)

        control = wait_for(look, name)
        shot = f"setup-{self._language}-{next(self._pictures)}-{page}"
        self._pc.screenshot(shot, box=self.page(page).box)
        self._pc.click(control)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_page(desktop: Desktop, product: Built, language: Language) -> None:
    """The program can be installed and uninstalled by mouse, and a wrong address is refused."""
    pc, wizard = desktop, Wizard(desktop, language)
    pc.launch(windows_path(product.setup), f"/LANG={language}")
    wizard.press("welcome", "next")
    pc.click(next(c for c in wizard.page("server").children if c.kind == "Edit"))
    pc.type("no server")
    wizard.press("server", "next")
    wizard.press("bad_address", "ok")
    pc.key("Home", "shift+End")
    pc.type("gw.example.com:8443")
    wizard.press("server", "next")
    wizard.press("folder", "install")
    wizard.press("done", "finish")
    wait_for(lambda: running(pc), "the client that the last page starts")
    assert registry(pc, rf"HKCU\{SETTINGS}")["Server"] == "gw.example.com:8443"
    assert "Coconowork Client" in registry(pc, rf"HKCU\{RUN}")

    folder = programs_folder(pc)
    pc.launch(rf"{folder}\uninstall.exe", f"/LANG={language}")
    wizard.press("remove", "remove")
    wizard.press("forget", "yes")
    wizard.press("close", "close")
    wait_for_uninstaller(pc, folder)
    assert not running(pc)
    wait_for(lambda: not traces(pc), lambda: traces(pc))
