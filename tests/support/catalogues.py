"""Takes new texts from the code into the catalogue of the client.

Then every empty msgstr in agent/locale/ja/LC_MESSAGES/agent.po wants a translation; a test says
which are left.
"""

from __future__ import annotations

import re
from io import BytesIO

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

from tests.support.places import ROOT

AGENT = ROOT / "agent"
CATALOGUE = AGENT / "locale" / "ja" / "LC_MESSAGES" / "agent.po"
NOISE = re.compile(r'"(Report-Msgid|POT-|PO-Rev|Last-Tr|Language-Team|Generated)')
KEYWORDS = {**DEFAULT_KEYWORDS, "translate": None, "_translate": None, "N_": None}


def collect() -> Catalog:
    """Every text that the code marks; places are left out, they only make changes larger."""
    template = Catalog(charset="utf-8")
    for _, _, message, _, _ in extract_from_dir(
        AGENT, method_map=[("**.py", "python")], keywords=KEYWORDS
    ):
        template.add(message)
    return template


def read() -> Catalog:
    """Return the Japanese catalogue."""
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="ja", domain="agent", abort_invalid=True)


def write(catalogue: Catalog) -> None:
    """Sorted and without dates, so that a new text is a new paragraph and nothing else."""
    written = BytesIO()
    write_po(written, catalogue, sort_output=True, width=100, ignore_obsolete=True)
    lines = written.getvalue().decode().splitlines(keepends=True)
    CATALOGUE.write_text("".join(each for each in lines if not NOISE.match(each)), encoding="utf-8")


def main() -> None:
    """Bring the catalogue up to the code."""
    catalogue = read()
    catalogue.update(collect(), no_fuzzy_matching=True, update_creation_date=False)
    write(catalogue)


if __name__ == "__main__":
    main()
