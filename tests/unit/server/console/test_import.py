"""Users from CSV files as people and attackers have them."""

from __future__ import annotations

import csv
import io
import re
from base64 import b64decode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from server.console import csvfiles
from server.console.models import AuditEvent, User
from tests.support.console_client import Browse


@pytest.fixture
def client(browse: Browse, administrator: User) -> Client:
    return browse(administrator)


def upload(client: Client, data: bytes) -> str:
    answer = client.post("/users/import/", {"file": SimpleUploadedFile("users.csv", data)})
    assert answer.status_code == 200
    return answer.content.decode()


def test_good_and_bad_lines(client: Client, administrator: User) -> None:
    """Good lines make users of the own account, bad ones are named and make nothing."""
    head = f"i{administrator.pk}"
    text = upload(
        client,
        (
            "username,display_name,role\n"
            f"{head}-a,佐藤,general\n"
            "\n"
            f"{head}-b,,アカウント管理者\n"
            "bad name,x,\n"
            f"{head}-A,again,\n"
            f"{head}-c,x,boss\n"
            f"{administrator.username},x,\n"
            f"{head}-d,x,,surplus\n"
            f'{head}-e,"Line\nbreak",\n'
        ).encode(),
    )
    made = {user.username: user for user in User.objects.filter(username__startswith=head)}
    assert set(made) == {f"{head}-a", f"{head}-b", f"{head}-e"}
    assert all(user.account == administrator.account for user in made.values())
    assert made[f"{head}-b"].is_administrator
    assert AuditEvent.objects.filter(subject__in=made.values()).count() == 3
    lines = dict(
        re.findall(r'scope="row"[^>]*>(\d+)</th>.*?class="state (on|bad)"', text, re.DOTALL)
    )
    assert lines == {
        "2": "on", "4": "on", "5": "bad", "6": "bad", "7": "bad", "8": "bad", "9": "bad", "11": "on"
    }  # fmt: skip


def test_the_passwords_are_in_the_answer_only(client: Client, administrator: User) -> None:
    """Shown and to be saved from the page itself; each opens the console once."""
    name = f"i{administrator.pk}-pw"
    text = upload(client, f"ユーザ名\n{name}\n".encode("cp932"))
    found = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', text)
    assert found
    rows = list(csv.reader(io.StringIO(b64decode(found[1]).decode("utf-8-sig"))))
    assert rows[1][0] == name
    user = User.objects.get(username=name)
    assert user.check_password(rows[1][1])
    assert user.must_change_password
    assert f"<code>{rows[1][1]}</code>" in text
    assert rows[1][1] not in client.get("/users/import/").content.decode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The submitted file is empty"),
        (b"\n\n", "first line"),
        (b"name,role\nx,general\n", "first line"),
        (b"username,username\na,b\n", "column twice"),
        (b"username\n", "no line with a user"),
        (b'username\n"open\n', "Line 2 is not CSV"),
        (b"username\n\x00\n", "not text"),
        (b"username\n\x82", "not text"),
        (b"\xff\xfeu\x00s\x00e\x00r\x00", "not text"),
        (b"PK\x03\x04" + b"\x00" * 50, "not text"),
        (b"username\n" + b"a" * csvfiles.MAX_FILE_BYTES, "larger than"),
        (b"username\n" + b"a\n" * (csvfiles.MAX_USERS + 1), "at a time"),
    ],
)
def test_unusable_files(client: Client, data: bytes, said: str) -> None:
    """The file as a whole is refused, with the reason at the field, and no user is made."""
    before = User.objects.count()
    text = upload(client, data)
    assert said in text
    assert 'id="id_file_error"' in text
    assert User.objects.count() == before


def test_no_file(client: Client) -> None:
    """Forgotten: named at the field, and not before the form was sent."""
    assert 'id="id_file_error"' not in client.get("/users/import/").content.decode()
    assert 'id="id_file_error"' in client.post("/users/import/").content.decode()


def test_markup_in_a_file_stays_text(client: Client) -> None:
    """A bad line is quoted, not carried out."""
    text = upload(client, b"username,display_name\n<script>alert(1)</script>,x\n")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever the file holds, it is read or refused in words."""
    try:
        lines = csvfiles.read_users(b"username,role\n" + data)
    except csvfiles.CsvError:
        return
    assert 0 < len(lines) <= csvfiles.MAX_USERS


@given(st.lists(st.text(), min_size=1))
def test_written_cells_are_no_formulas(cells: list[str]) -> None:
    """No cell of a file for spreadsheets begins like a formula."""
    written = csvfiles.write([cells]).decode("utf-8-sig", "surrogatepass")
    (row,) = csv.reader(io.StringIO(written, newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    assert [cell.removeprefix("'") for cell in row] == [cell.removeprefix("'") for cell in cells]
