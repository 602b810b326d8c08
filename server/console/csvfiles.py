"""Read CSV files of users, and write CSV files that spreadsheets open safely."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from server.console.search import fold

MAX_FILE_BYTES = 1536 * 1024
MAX_USERS = 10_000
"""Most users of a file; hashing a temporary password takes 0.3 s of a core for each."""
AT_ONCE = 500
"""Rows in each part of a file that is written."""
DELIMITERS = ",;\t"
"""Excel writes semicolons where the comma is the decimal sign, and tabs in "Unicode text"."""
COLUMNS = {
    "username": ("username", "user name", "ユーザ名", "ユーザー名"),
    "display_name": ("display_name", "name", "名前", "氏名"),
    "role": ("role", "役割", "権限"),
}
"""Titles that a column may have in the first line, by the column's own name."""
ROLES = {
    "general": "general",
    "generaluser": "general",
    "一般ユーザ": "general",
    "一般ユーザー": "general",
    "administrator": "administrator",
    "accountadministrator": "administrator",
    "アカウント管理者": "administrator",
}
"""Roles by the text of a cell, after `fold`."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class CsvError(ValidationError):
    """Raised when a file cannot be used; the message says why, in the language of the page."""


class Line(NamedTuple):
    """One line of a file of users: the values of the known columns."""

    number: int
    values: dict[str, str]


def parts(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield a CSV file with a byte order mark, `AT_ONCE` rows at a time; no cell is a formula."""
    rows, mark = iter(rows), codecs.BOM_UTF8
    while several := list(islice(rows, AT_ONCE)):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([harmless(cell) for cell in row] for row in several)
        yield mark + text.getvalue().encode()
        mark = b""


def harmless(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would take for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def read_users(data: bytes) -> list[Line]:
    """Return the lines of a file of users, without empty lines. Raise CsvError."""
    if len(data) > MAX_FILE_BYTES:
        raise CsvError(_("The file is larger than %(kib)d KiB.") % {"kib": MAX_FILE_BYTES // 1024})
    text = _decode(data)
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        columns = _columns(header or [])
        lines = [
            Line(reader.line_num, _values(columns, cells))
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error:
        message = _("Line %(line)d is not CSV: check its quotation marks.")
        raise CsvError(message % {"line": reader.line_num}) from None
    if not lines:
        raise CsvError(_("The file has no line with a user."))
    if len(lines) > MAX_USERS:
        message = _("The file has %(count)d users; %(max)d at a time are possible.")
        raise CsvError(message % {"count": len(lines), "max": MAX_USERS})
    return lines


def _decode(data: bytes) -> str:
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise CsvError(_("This is an Excel workbook. Save it in Excel as “CSV UTF-8”."))
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp932"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise CsvError(_("The file is not text in UTF-8, UTF-16 or Shift_JIS (cp932)."))


def _columns(header: list[str]) -> list[str | None]:
    """Return the known name of each column of the file, or None."""
    names = {fold(alias): name for name, aliases in COLUMNS.items() for alias in aliases}
    columns = [names.get(fold(cell)) for cell in header]
    if "username" not in columns:
        raise CsvError(_("The first line must name the columns, “username” among them."))
    known = [column for column in columns if column]
    if len(known) != len(set(known)):
        raise CsvError(_("The first line names a column twice."))
    return columns


def _values(columns: list[str | None], cells: list[str]) -> dict[str, str]:
    """Return the cells of known columns, without an apostrophe of `harmless`."""
    cells = [cell[1:] if cell[:1] == "'" and harmless(cell[1:]) == cell else cell for cell in cells]
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name}
    values["extra"] = "".join(cells[len(columns) :]).strip()
    return values
