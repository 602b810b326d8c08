"""Both Japanese catalogues: complete, up to date, and with the manual's words."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from django.utils.translation.template import templatize

from tests.support.catalogues import CLIENT, CONSOLE, read
from tests.support.places import ROOT

KEYWORDS = {
    **DEFAULT_KEYWORDS,
    **dict.fromkeys(["translate", "_translate", "N_"]),
    "gettext_lazy": None,
    "gettext_noop": None,
    "pgettext_lazy": DEFAULT_KEYWORDS["pgettext"],
}
Texts = set[tuple[str | None, str]]
"""Texts in English with their contexts."""


def in_code(folder: str) -> Texts:
    return {
        (context, text[0] if isinstance(text, tuple) else text)
        for _, _, text, _, context in extract_from_dir(
            ROOT / folder, method_map=[("**.py", "python")], keywords=KEYWORDS, comment_tags=()
        )
    }


def of_client() -> Texts:
    return in_code("agent")


def of_console() -> Texts:
    """Return the texts of the server's code and templates; Django converts templates to Python."""
    found = in_code("server")
    for template in (ROOT / "server/console/templates").rglob("*.html"):
        for call in re.finditer(
            r"""(?:\b_|\b(p)?gettext|\bn?gettext)\(u?(?P<q>['"])(.*?)(?P=q)(?:,\s*u?(['"])(.*?)\4)?""",
            templatize(template.read_text()),
            re.DOTALL,
        ):
            context, text = (call[3], call[5]) if call[1] else (None, call[3])
            found.add((context, text.replace("\\'", "'").replace('\\"', '"')))
    return found


JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
NUMBER = r"(?:(?<![A-Za-z0-9_.\-:/%])\d[\d,~]*|%\(\w+\)d|%\(date\)s|{date})"
STRAY_BLANK = re.compile(
    rf"[。、] +{JAPANESE.pattern}|{NUMBER} +{JAPANESE.pattern}"
    rf"|{JAPANESE.pattern} +{NUMBER}(?![\d.]* ?[A-Za-z])"
)
"""A blank that Japanese text must not have: between sentences, or beside a number or date."""
WITHOUT_JAPANESE = {"client": ["OK", "{user}({server})"], "console": ["、", "、", "PC", "OS"]}
CATALOGUES = {"client": CLIENT, "console": CONSOLE}
each_catalogue = pytest.mark.parametrize(
    "catalogue", [read(file) for file in CATALOGUES.values()], ids=list(CATALOGUES)
)


def originals(message: Message) -> list[str]:
    return [message.id] if isinstance(message.id, str) else list(message.id)


def translations(message: Message) -> list[str]:
    string = message.string or ""
    return [string] if isinstance(string, str) else [str(text) for text in string]


@pytest.mark.parametrize(("name", "collect"), [("client", of_client), ("console", of_console)])
def test_has_every_text_and_no_other(name: str, collect: Callable[[], Texts]) -> None:
    """A catalogue has exactly the texts of the code, each in Japanese (`make messages`)."""
    messages = [message for message in read(CATALOGUES[name]) if message.id]
    translated = [each for each in messages if all(translations(each)) and not each.fuzzy]
    assert {(each.context, originals(each)[0]) for each in translated} == collect() - {(None, "")}
    assert translated == messages
    texts = [text for each in messages for text in translations(each)]
    assert [text for text in texts if not JAPANESE.search(text)] == WITHOUT_JAPANESE[name]


@each_catalogue
def test_placeholders_and_letters_are_kept(catalogue: Catalog) -> None:
    """A translation keeps the original's fields, and its Alt letter, so that letters differ."""
    kept = re.compile(r"{\w+|%\(\w+\)[sd]|(?<!&)&\w(?!\w*;)")
    for message in catalogue:
        for text in filter(None, translations(message)) if message.id else ():
            original = {each.upper() for each in kept.findall(originals(message)[-1])}
            assert {each.upper() for each in kept.findall(text)} == original, text


@each_catalogue
def test_numbers_and_sentences_have_no_blanks_beside_them(catalogue: Catalog) -> None:
    """Texts have no blank beside numbers or after sentences, except for the list of the months."""
    texts = [text for message in catalogue if message.id for text in translations(message)]
    found = [text for text in texts if STRAY_BLANK.search(text) and "1月 2月" not in text]
    assert found == []


@each_catalogue
def test_the_catalogue_compiles(catalogue: Catalog) -> None:
    """Babel compiles the catalogue without errors; Japanese has one plural form."""
    assert not [list(message.check()) for message in catalogue if list(message.check())]
    assert catalogue.num_plurals == 1


LABELS = [
    "管理機能", "パスワード変更", "変更", "「coconowork client」にパスワードの変更を反映する",
    "ユーザ管理", "次回ログイン時にパスワードの変更が必要", "パスワードを変更", "仮パスワード",
    "ココナワークのパスワードの条件", "パスワードが変更されました。", "一般ユーザ",
    "アカウント管理者", "現在のパスワード", "新しいパスワード",
]  # fmt: skip


def test_labels_of_the_manual() -> None:
    """These labels are exactly the manual's, because people follow it by them."""
    assert set(LABELS) <= {str(message.string) for message in read(CONSOLE)}
