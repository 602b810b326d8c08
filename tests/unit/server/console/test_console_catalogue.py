"""The Japanese catalogue: whole, up to date, and with the manual's words."""

from __future__ import annotations

import io
import re

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

from tests.support.places import ROOT

CATALOGUE = ROOT / "server/console/locale/ja/LC_MESSAGES/django.po"
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "pgettext_lazy": DEFAULT_KEYWORDS["pgettext"],
}


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file)


def _in_code() -> set[tuple[str | None, str]]:
    found = extract_from_dir(
        ROOT / "server", method_map=[("**.py", "python")], keywords=KEYWORDS, comment_tags=()
    )
    return {
        (context, message[0] if isinstance(message, tuple) else message)
        for _, _, message, _, context in found
    }


def _in_templates() -> set[tuple[str | None, str]]:
    found: set[tuple[str | None, str]] = set()
    for template in (ROOT / "server/console/templates").rglob("*.html"):
        # Django makes Python of a template, for tools that know no templates.
        for call in re.finditer(
            r"""(?:\b_|\b(p)?gettext|\bn?gettext)\(u?(?P<q>['"])(.*?)(?P=q)(?:,\s*u?(['"])(.*?)\4)?""",
            templatize(template.read_text()),
            re.DOTALL,
        ):
            context, text = (call[3], call[5]) if call[1] else (None, call[3])
            found.add((context, text.replace("\\'", "'").replace('\\"', '"')))
    return found


def test_nothing_is_missing_or_left_over(catalogue: Catalog) -> None:
    """Every text of code and pages has its Japanese, and there is no other."""
    wanted = _in_code() | _in_templates()
    translated = {
        (message.context, originals(message)[0])
        for message in catalogue
        if message.id and all(translations(message))
    }
    assert wanted - translated == set()
    assert translated - wanted == set()
    assert not any(message.fuzzy for message in catalogue if message.id)


def test_placeholders_agree(catalogue: Catalog) -> None:
    """A translation fills in the same values as its original."""
    for message in catalogue:
        for text in filter(None, translations(message)):
            assert placeholders(text) == placeholders(originals(message)[-1])


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]", text))


def originals(message: Message) -> list[str]:
    return [message.id] if isinstance(message.id, str) else list(message.id)


def translations(message: Message) -> list[str]:
    string = message.string or ""
    return [string] if isinstance(string, str) else [str(text) for text in string]


LABELS = [
    "管理機能", "パスワード変更", "変更", "「coconowork client」にパスワードの変更を反映する",
    "ユーザ管理", "次回ログイン時にパスワードの変更が必要", "パスワードを変更", "仮パスワード",
    "ココナワークのパスワードの条件", "パスワードが変更されました。", "一般ユーザ",
    "アカウント管理者", "現在のパスワード", "新しいパスワード",
]  # fmt: skip


def test_labels_of_the_manual(catalogue: Catalog) -> None:
    """People follow the manual by these words, so they are exactly the manual's."""
    shown = {str(message.string) for message in catalogue}
    assert [label for label in LABELS if label not in shown] == []


def test_the_catalogue_compiles(catalogue: Catalog) -> None:
    """Babel finds nothing wrong in it."""
    assert not [list(message.check()) for message in catalogue if list(message.check())]
    assert catalogue.num_plurals == 1
    assert io.BytesIO(CATALOGUE.read_bytes()).readline().startswith(b"# Japanese words")
