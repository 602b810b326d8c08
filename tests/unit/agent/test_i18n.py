"""The client in Japanese and English: choice of the language, and the manual's terms."""

from __future__ import annotations

import gettext
import re
from datetime import date
from io import BytesIO

import pytest
from babel.messages.mofile import write_mo

from agent import i18n
from agent.core import wording
from agent.core.state import State
from agent.core.view import View
from tests.support import catalogues

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def japanese() -> gettext.GNUTranslations:
    """Return the Japanese catalogue, compiled as the build does."""
    compiled = BytesIO()
    write_mo(compiled, catalogues.read(catalogues.CLIENT))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def test_speaks_as_the_manual(japanese: gettext.GNUTranslations) -> None:
    """Texts on the screen use the manual's terms."""
    title, text = wording.warning(30, date(2027, 1, 4), japanese)
    assert title == "ココナワークのパスワードが変更されています"
    assert text == (
        "古いパスワードは30日後(1月4日)に無効になります。"
        "ここをクリックして、保存されているパスワードを更新してください。"
    )
    assert "本日" in wording.warning(0, date(2027, 1, 4), japanese)[1]
    assert japanese.gettext("Update the stored password…") == "保存されているパスワードを更新…"
    assert wording.status(View(State.STANDBY), japanese.gettext) == "待ち受け状態"
    assert "管理機能" in japanese.gettext("Open the management console")


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "ja_JP"}, "ja"),
        ({"LANG": "javanese"}, "en"),
    ],
)
def test_language_of_the_system(environ: dict[str, str], language: str) -> None:
    """The language comes from gettext's variables, in their order, and is English otherwise."""
    assert i18n.system_language(environ) == language


def test_without_a_catalogue_there_is_english() -> None:
    """English needs no catalogue; a missing one gives English and no error."""
    english = i18n.translation("en")
    assert i18n.translation("fr").gettext("Stopped") == english.gettext("Stopped") == "Stopped"
    for days, said in ((1, "1 day,"), (2, "2 days,")):
        text = wording.warning(days, date(2027, 1, 4), english)[1]
        assert text.startswith(f"The old password ends in {said}")
