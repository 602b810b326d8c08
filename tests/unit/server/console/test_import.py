"""Users from CSV files as people and attackers have them."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from server import clock
from server.console import csvfiles, hashing, importing, people
from server.console.models import AuditEvent, ImportJob, User
from tests.support.console_client import Browse, form_token, page, run_before
from tests.support.server_fixtures import MakeUser


def upload(client: Client, data: bytes | str) -> Any:
    data = data if isinstance(data, bytes) else data.encode()
    return client.post("/users/import/", {"file": SimpleUploadedFile("users.csv", data)})


def start(client: Client, data: bytes | str) -> ImportJob:
    """Upload a file that is accepted. Return its job, which no worker has begun."""
    answer = upload(client, data)
    job = ImportJob.objects.latest("pk")
    assert answer.headers["Location"] == f"/users/import/{job.pk}/"
    return job


def names(head: str, count: int) -> str:
    return "username\n" + "".join(f"{head}-{number}\n" for number in range(count))


def done(client: Client, data: bytes | str) -> ImportJob:
    """Upload a file; return its job when it has ended."""
    job = start(client, data)
    while importing.work():
        pass
    return job


def opened(client: Client, job: ImportJob) -> dict[str, str]:
    """Open the temporary passwords, twice with one answer. Return them by user name."""
    form = form_token(client, f"/users/import/{job.pk}/")
    text, again = (page(client.post(f"/users/import/{job.pk}/passwords/", form)) for _ in range(2))
    assert text == again
    found = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', text)
    assert found
    _, *rows = csv.reader(io.StringIO(b64decode(found[1]).decode("utf-8-sig")))
    passwords = dict(rows)
    for name, password in passwords.items():
        assert f"<code>{password}</code>" in text
        user = User.objects.get(username=name)
        assert user.check_password(password)
        assert user.must_change_password
    return passwords


@pytest.fixture
def head(administrator: User) -> str:
    """Return the prefix of this test's user names."""
    return f"i{administrator.pk}"


@pytest.fixture(autouse=True)
def _no_jobs(database: None) -> Iterator[None]:
    yield
    ImportJob.objects.all().delete()


def test_good_and_bad_lines(
    client: Client, administrator: User, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good lines make users of this account, bad ones are listed; the upload hashes nothing."""
    with monkeypatch.context() as patch:
        patch.delattr(hashlib, "pbkdf2_hmac")
        job = start(
            client,
            "username,display_name,role\n"
            f"{head}-a,佐藤,general\n"
            "\n"
            f"{head}-b,,アカウント管理者\n"
            "<script>alert(1)</script>,x,\n"
            f"{head}-A,again,\n"
            f"{head}-c,x,boss\n"
            f"{administrator.username},x,general\n"
            f"{head}-d,x,,surplus\n"
            f'{head}-e,"Line\nbreak",\n',
        )
    assert not User.objects.filter(username__startswith=head)
    assert "0 of 8 lines" not in page(client.get(f"/users/import/{job.pk}/"))  # bad lines count
    while importing.work():
        pass
    made = {user.username: user for user in User.objects.filter(username__startswith=head)}
    assert set(made) == {f"{head}-a", f"{head}-b", f"{head}-e"}
    assert all(user.account == administrator.account for user in made.values())
    assert made[f"{head}-b"].is_administrator
    assert AuditEvent.objects.filter(subject__in=made.values()).count() == 3
    text = page(client.get(f"/users/import/{job.pk}/"))
    assert "&lt;script&gt;alert" in text
    assert "<script>alert" not in text
    assert re.findall(r'scope="row"[^>]*>(\d+)</th>', text) == ["5", "6", "7", "8", "9"]
    assert "<strong>3</strong>" in text
    assert "<strong>5</strong>" in text


def test_users_whom_there_are(
    client: Client, make_user: MakeUser, stranger: User, head: str
) -> None:
    """A file changes an existing user's name and role, no password; others' names are taken."""
    before = {"display_name": "before", "role": "administrator"}
    both, neither = (make_user(username=f"{head}-{each}", **before) for each in ("both", "neither"))
    lines = (
        f"{both.username},'=after,general\n{neither.username},,\n"
        f"{both.username.upper()},x,\n{stranger.username},x,\n"
    )
    job = done(client, f"username,display_name,role\n{lines}")
    errors = dict(job.lines.values_list("number", "error"))
    assert [number for number, error in errors.items() if error] == [4, 5]
    assert "Open the temporary passwords" not in page(client.get(f"/users/import/{job.pk}/"))
    fields = ("display_name", "role", "password", "must_change_password")
    for user, name, role in ((both, "=after", "general"), (neither, "before", "administrator")):
        after = User.objects.values_list(*fields).get(pk=user.pk)
        assert after == (name, role, user.password, False)
    assert AuditEvent.objects.filter(subject__in=[both, neither]).count() == 1
    stranger.refresh_from_db()
    assert stranger.display_name == ""


def test_the_exported_list_can_be_imported(
    client: Client, browse: Browse, administrator: User, make_user: MakeUser
) -> None:
    """An exported list, in either language, can be imported and changes nothing."""
    user = make_user(display_name="=1+1", role=User.Role.ADMINISTRATOR)
    for language in ("ja", "en"):
        exported = browse(administrator, language=language).get("/users.csv").getvalue()
        assert not done(client, exported).lines.exclude(error="")
    user.refresh_from_db()
    assert (user.display_name, user.role) == ("=1+1", "administrator")
    assert not AuditEvent.objects.filter(subject__in=[user, administrator], action="user.edited")


def test_passwords_of_an_import(
    client: Client, browse: Browse, make_user: MakeUser, head: str
) -> None:
    """Only the browser that started an import opens its passwords, once; no table has the key.

    The page shows the progress. Until the import ends, no second file is taken. After a day
    the page refuses the passwords, and the next run deletes the job.
    """
    lines = hashing.IMPORT_THREADS + 1
    job = start(client, names(head, lines).replace("username", "ユーザ名").encode("cp932"))
    path, key = f"/users/import/{job.pk}/", client.cookies[f"import-{job.pk}"].value
    importing.work()
    live = client.get(f"/live/import/{job.pk}/").json()["html"]
    assert f"{hashing.IMPORT_THREADS} of {lines} lines" in live
    assert f'href="{path}"' in page(client.get("/users/import/"))
    assert "under way" in page(upload(client, names(head, 1)))
    assert client.post(f"{path}passwords/").headers["Location"] == path
    while importing.work():
        pass
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            cells = [cell for row in cursor.fetchall() for cell in row]
            binary = [bytes(cell) for cell in cells if isinstance(cell, bytes | memoryview)]
            assert key not in str(cells)
            assert b64decode(key) not in b"".join(binary)
    colleague = browse(make_user(role=User.Role.ADMINISTRATOR))
    colleague.cookies[f"import-{job.pk}"] = key
    assert colleague.post(f"{path}passwords/").status_code == 404
    refused = page(browse(job.started_by).post(f"{path}passwords/", follow=True))
    assert "Only the browser that started the import" in refused
    passwords = opened(client, job)
    assert len(passwords) == lines
    assert not job.lines.filter(sealed__isnull=False)
    text = page(client.post(f"{path}passwords/", follow=True))
    assert not any(password in text for password in passwords.values())
    assert "They cannot be shown again" in text
    clock.move(importing.KEPT)
    assert client.post(f"{path}passwords/").status_code == 404
    assert not importing.work()
    assert not ImportJob.objects.filter(pk=job.pk)


def test_another_process_goes_on(
    client: Client, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes over the job of a dead process after its lease, not before.

    A process wrongly taken for dead makes no second user, and stores no second password.
    """
    lines = hashing.IMPORT_THREADS * 2
    job = start(client, names(head, lines))
    assert importing.work()
    monkeypatch.setattr(importing, "_worker", "another one")
    assert not importing.work()

    def slow(*_: object) -> None:
        monkeypatch.setattr(importing, "_hash", hash_)
        monkeypatch.setattr(importing, "_worker", "a third one")
        clock.move(importing.LEASE + timedelta(seconds=1))
        importing.work()

    hash_ = importing._hash
    run_before(monkeypatch, importing, "_hash", slow)
    clock.move(importing.LEASE + timedelta(seconds=1))
    while importing.work():
        pass
    assert len(opened(client, job)) == lines
    assert User.objects.filter(username__startswith=head).count() == lines
    assert not job.lines.exclude(error="")


def test_an_administrator_who_is_disabled_meanwhile(
    client: Client, administrator: User, head: str
) -> None:
    """Once the administrator is disabled, the rest of the file makes no user."""
    job = start(client, names(head, 1))
    User.objects.filter(pk=administrator.pk).update(is_active=False)
    while importing.work():
        pass
    assert not User.objects.filter(username__startswith=head)
    assert job.lines.get().error.startswith("Not done")


def test_names_of_other_accounts_are_not_told_without_end(
    client: Client, administrator: User, stranger: User, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each taken name is an audit event; above a daily limit, file and form look up no name."""
    monkeypatch.setattr(people, "TAKEN_PER_DAY", 2)
    name = stranger.username

    def create(name: str) -> str:
        return page(client.post("/users/new/", {"username": name, "role": "general"}))

    done(client, f"username\n{name}\n{head}-free\n")
    assert "taken" in create(name)
    events = AuditEvent.objects.filter(action="name.taken", actor=administrator)
    assert [event.detail for event in events] == [{"name": name}] * 2
    assert {event.address for event in events} == {"127.0.0.1"}
    for tried in (name, f"{head}-also-free"):
        assert "Too many user names" in create(tried)
    job = done(client, f"username\n{head}-later\n{name}\n")
    assert {line.error for line in job.lines.all()} == {
        "Too many user names were taken today. Try again tomorrow."
    }
    clock.move(timedelta(days=1, seconds=1))
    client.force_login(administrator)
    create(f"{head}-free2")
    assert User.objects.filter(username=f"{head}-free2")


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-16", "\t"), ("utf-16-be", "\t"), ("utf-8-sig", ";"), ("cp932", ",")],
)
def test_files_as_excel_saves_them(encoding: str, delimiter: str) -> None:
    """Excel's forms are read: Unicode text, semicolons, tabs, byte order marks, wide headings."""
    rows = (("ﾕｰｻﾞ名", "ｎａｍｅ", "役 割"), ("sato", "佐藤;, 花子", "一般ユーザ"))
    cells = [[f'"{cell}"' for cell in row] for row in rows]
    text = "\r\n".join(delimiter.join(row) for row in cells)
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    [line] = csvfiles.read_users(mark + text.encode(encoding))
    known = {"username": "sato", "display_name": "佐藤;, 花子", "role": "一般ユーザ"}
    assert line.values == known | {"extra": ""}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "required"),
        (b"", "The submitted file is empty"),
        (b"\n\n", "first line"),
        (b"name,role\nx,general\n", "first line"),
        (b"username,username\na,b\n", "column twice"),
        (b"username\n", "no line with a user"),
        (b'username\n"open\n', "Line 2 is not CSV"),
        (b"username\n\x00\n", "not text"),
        (b"username\n\x82", "not text"),
        (b"\xff\xfeu\x00s\x00e\x00r\x00", "first line"),
        (b"\xff\xfeu\x00s", "not text"),
        ("username\n".encode("utf-16-le"), "not text"),
        (b"PK\x03\x04" + b"\x00" * 50, "Excel workbook"),
        (b"username\n" + b"a" * csvfiles.MAX_FILE_BYTES, "larger than"),
        (b"username\n" + b"a\n" * (csvfiles.MAX_USERS + 1), "at a time"),
    ],
)
def test_unusable_files(client: Client, data: bytes | None, said: str) -> None:
    """An unusable file is refused as a whole, with the reason at its field; no user is made."""
    before = User.objects.count()
    assert 'id="id_file_error"' not in page(client.get("/users/import/"))
    text = page(client.post("/users/import/") if data is None else upload(client, data))
    assert said in text
    assert 'id="id_file_error"' in text
    assert User.objects.count() == before


@given(st.lists(st.text(), min_size=1))
def test_written_cells_are_no_formulas(cells: list[str]) -> None:
    """No cell of a written CSV file begins like a formula."""
    written = b"".join(csvfiles.parts([cells])).decode("utf-8-sig", "surrogatepass")
    (row,) = csv.reader(io.StringIO(written, newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    assert [cell.removeprefix("'") for cell in row] == [cell.removeprefix("'") for cell in cells]
