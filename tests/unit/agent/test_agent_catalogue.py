"""The Japanese catalogue is complete, and says what the manual says."""

from __future__ import annotations

import gettext
import re
from datetime import date
from io import BytesIO

import pytest
from babel.messages.catalog import Message
from babel.messages.mofile import write_mo

from agent import i18n
from agent.core import wording
from agent.core.state import State
from agent.core.view import View
from tests.support import catalogues

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
SAME_IN_BOTH = {"ok", "{user} on {server}"}


@pytest.fixture(scope="module")
def japanese() -> gettext.GNUTranslations:
    """Return the catalogue as the build compiles it."""
    compiled = BytesIO()
    write_mo(compiled, catalogues.read())
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def messages() -> list[Message]:
    return [message for message in catalogues.read() if message.id]


def texts(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def ids(message: Message) -> list[str]:
    return [message.id] if isinstance(message.id, str) else list(message.id)


def test_has_every_text_of_the_code_and_no_other() -> None:
    """`python -m tests.support.catalogues` brings it up to date."""
    wanted = {tuple(ids(message)) for message in catalogues.collect() if message.id}
    assert {tuple(ids(message)) for message in messages()} == wanted


def test_every_text_is_translated() -> None:
    """Nothing empty, nothing fuzzy, nothing left in English."""
    for message in messages():
        assert not message.fuzzy, message.id
        assert texts(message), message.id
        for text in texts(message):
            assert JAPANESE.search(text) or message.id in SAME_IN_BOTH, message.id


def test_placeholders_are_kept() -> None:
    """A translation has the fields of its original: none lost, none misspelt."""
    for message in messages():
        fields = set(re.findall(r"{\w+", ids(message)[-1]))
        for text in texts(message):
            assert set(re.findall(r"{\w+", text)) == fields, message.id


def test_letters_for_alt_are_the_same() -> None:
    """A letter that is marked for Alt is marked in both languages, so that all are distinct."""
    for message in messages():
        marked = re.findall(r"&(\w)", ids(message)[-1].upper())
        for text in texts(message):
            assert re.findall(r"&(\w)", text) == marked, message.id


def test_speaks_as_the_manual(japanese: gettext.GNUTranslations) -> None:
    """The terms that people read in the manual are the ones on the screen."""
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


def test_language_of_the_system() -> None:
    """The language comes from gettext's variables, in their order, and is English otherwise."""
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "ja_JP"}, "ja"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "javanese"}, "en"),
    ]
    for environ, language in cases:
        assert i18n.system_language(environ) == language, environ


def test_without_a_catalogue_there_is_english() -> None:
    """English needs none, and one that is missing stops nothing."""
    english = i18n.translation("en")
    assert english.gettext("Stopped") == "Stopped"
    day = date(2027, 1, 4)
    assert wording.warning(1, day, english)[1].startswith("The old password ends in 1 day,")
    assert wording.warning(2, day, english)[1].startswith("The old password ends in 2 days,")
    assert i18n.translation("fr").gettext("Stopped") == "Stopped"
