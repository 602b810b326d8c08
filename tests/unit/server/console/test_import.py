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
from tests.support.console_client import Browse, page
from tests.support.pbkdf2 import derived_once
from tests.support.server_fixtures import MakeUser


def upload(client: Client, data: bytes) -> Any:
    return client.post("/users/import/", {"file": SimpleUploadedFile("users.csv", data)})


def start(client: Client, data: bytes) -> ImportJob:
    """Upload a file that is accepted; return its job, which nothing works on."""
    answer = upload(client, data)
    assert answer.status_code == 302
    job = ImportJob.objects.latest("pk")
    assert answer.headers["Location"] == f"/users/import/{job.pk}/"
    return job


def finish(job: ImportJob) -> None:
    while ImportJob.objects.filter(pk=job.pk, finished_at=None):
        assert importing.work()


def opened(client: Client, job: ImportJob) -> list[list[str]]:
    """Return the rows of the file of temporary passwords, without its head."""
    text = page(client.post(f"/users/import/{job.pk}/passwords/"))
    found = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', text)
    assert found
    rows = list(csv.reader(io.StringIO(b64decode(found[1]).decode("utf-8-sig"))))[1:]
    assert all(f"<code>{password}</code>" in text for _, password in rows)
    return rows


@pytest.fixture
def head(administrator: User) -> str:
    """Return how the names of a test's users begin."""
    return f"i{administrator.pk}"


@pytest.fixture(scope="module", autouse=True)
def _one_round() -> Iterator[None]:
    with derived_once(rounds=1):
        yield


@pytest.fixture(autouse=True)
def _no_jobs(database: None) -> Iterator[None]:
    yield
    ImportJob.objects.all().delete()


def test_good_and_bad_lines(client: Client, administrator: User, head: str) -> None:
    """Good lines make users of the own account, bad ones are named and make nothing."""
    job = start(
        client,
        (
            "username,display_name,role\n"
            f"{head}-a,佐藤,general\n"
            "\n"
            f"{head}-b,,アカウント管理者\n"
            "bad name,x,\n"
            f"{head}-A,again,\n"
            f"{head}-c,x,boss\n"
            f"{administrator.username},x,general\n"
            f"{head}-d,x,,surplus\n"
            f'{head}-e,"Line\nbreak",\n'
        ).encode(),
    )
    assert not User.objects.filter(username__startswith=head)
    assert "0 of 8 lines" not in page(client.get(f"/users/import/{job.pk}/"))  # bad ones are done
    finish(job)
    made = {user.username: user for user in User.objects.filter(username__startswith=head)}
    assert set(made) == {f"{head}-a", f"{head}-b", f"{head}-e"}
    assert all(user.account == administrator.account for user in made.values())
    assert made[f"{head}-b"].is_administrator
    assert AuditEvent.objects.filter(subject__in=made.values()).count() == 3
    text = page(client.get(f"/users/import/{job.pk}/"))
    assert re.findall(r'scope="row"[^>]*>(\d+)</th>', text) == ["5", "6", "7", "8", "9"]
    assert "<strong>3</strong>" in text
    assert "<strong>5</strong>" in text


def test_users_whom_there_are(
    client: Client, make_user: MakeUser, stranger: User, head: str
) -> None:
    """Name and role change where the file has them, never the password; others' users are taken."""
    names = {"display_name": "before", "role": "administrator"}
    both, neither = (make_user(username=f"{head}-{each}", **names) for each in ("both", "neither"))
    lines = (
        f"{both.username},'=after,general\n{neither.username},,\n"
        f"{both.username.upper()},x,\n{stranger.username},x,\n"
    )
    job = start(client, f"username,display_name,role\n{lines}".encode())
    finish(job)
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
    """In both languages, with a name that looks like a formula: nothing changes."""
    user = make_user(display_name="=1+1", role=User.Role.ADMINISTRATOR)
    for language in ("ja", "en"):
        exported = browse(administrator, language=language).get("/users.csv").getvalue()
        finish(job := start(client, exported))
        assert not job.lines.exclude(error="")
    user.refresh_from_db()
    assert (user.display_name, user.role) == ("=1+1", "administrator")
    assert not AuditEvent.objects.filter(subject__in=[user, administrator], action="user.edited")


def test_the_passwords_can_be_opened_once(client: Client, head: str) -> None:
    """Each opens the console as a temporary password; later they are neither shown nor stored."""
    name = f"{head}-pw"
    job = start(client, f"ユーザ名\n{name}\n".encode("cp932"))
    finish(job)
    [[shown, password]] = opened(client, job)
    assert shown == name
    user = User.objects.get(username=name)
    assert user.check_password(password)
    assert user.must_change_password
    assert not job.lines.filter(sealed__isnull=False)
    again = client.post(f"/users/import/{job.pk}/passwords/")
    assert again.headers["Location"] == f"/users/import/{job.pk}/"
    text = page(client.get(f"/users/import/{job.pk}/"))
    assert password not in text
    assert "They cannot be shown again" in text


def test_the_database_alone_opens_no_password(client: Client, browse: Browse, head: str) -> None:
    """The private key is in no table: the administrator's other browser cannot open them either."""
    job = start(client, f"username\n{head}-x\n".encode())
    key = client.cookies[f"import-{job.pk}"].value
    finish(job)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            content = b"".join(
                bytes(cell) if isinstance(cell, (bytes, memoryview)) else str(cell).encode()
                for row in cursor.fetchall()
                for cell in row
            )
            assert key.encode() not in content
            assert b64decode(key) not in content
    other = browse(job.started_by)
    answer = other.post(f"/users/import/{job.pk}/passwords/", follow=True)
    assert "Only the browser that started the import" in answer.content.decode()
    [[_, password]] = opened(client, job)
    assert User.objects.get(username=f"{head}-x").check_password(password)


def test_only_the_administrator_who_started_it(
    client: Client, browse: Browse, make_user: MakeUser, head: str
) -> None:
    """Another administrator of the account cannot open the passwords, even with the key."""
    job = start(client, f"username\n{head}-x\n".encode())
    finish(job)
    other = browse(make_user(role=User.Role.ADMINISTRATOR))
    other.cookies[f"import-{job.pk}"] = client.cookies[f"import-{job.pk}"].value
    for path in ("", "passwords/"):
        assert other.post(f"/users/import/{job.pk}/{path}").status_code in {404, 405}
    assert other.get(f"/users/import/{job.pk}/").status_code == 404
    assert other.get(f"/live/import/{job.pk}/").status_code == 404


def test_the_passwords_end_after_a_day(client: Client, head: str) -> None:
    """After a day the page refuses the passwords, and the next run deletes the job."""
    job = start(client, f"username\n{head}-x\n".encode())
    finish(job)
    clock.move(importing.KEPT)
    assert client.post(f"/users/import/{job.pk}/passwords/").status_code == 404
    assert not importing.work()
    assert not ImportJob.objects.filter(pk=job.pk)


def test_progress_on_a_page_that_can_be_left(client: Client, head: str) -> None:
    """The page says how far it is, and the form leads back to it and takes no second file."""
    lines = hashing.IMPORT_THREADS + 1
    file = "username\n" + "".join(f"{head}-{number}\n" for number in range(lines))
    job = start(client, file.encode())
    importing.work()
    live = client.get(f"/live/import/{job.pk}/").json()["html"]
    assert f"{hashing.IMPORT_THREADS} of {lines} lines" in live
    assert f'href="/users/import/{job.pk}/"' in page(client.get("/users/import/"))
    assert "under way" in page(upload(client, f"username\n{head}-other\n".encode()))
    early = client.post(f"/users/import/{job.pk}/passwords/")
    assert early.headers["Location"] == f"/users/import/{job.pk}/"
    finish(job)
    assert len(opened(client, job)) == lines


def test_another_process_goes_on(
    client: Client, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose process has died is gone on with after its lease, and not before."""
    lines = hashing.IMPORT_THREADS * 2
    file = "username\n" + "".join(f"{head}-{number}\n" for number in range(lines))
    job = start(client, file.encode())
    assert importing.work()
    monkeypatch.setattr(importing, "_worker", "another one")
    assert not importing.work()
    clock.move(importing.LEASE + timedelta(seconds=1))
    finish(job)
    for name, password in opened(client, job):
        assert User.objects.get(username=name).check_password(password)
    assert User.objects.filter(username__startswith=head).count() == lines


def test_two_processes_at_one_line(
    client: Client, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was taken for dead makes no second user, and keeps no second password."""
    job = start(client, f"username\n{head}-x\n".encode())
    hash_ = importing._hash

    def slow(user: User, password: str) -> None:
        hash_(user, password)
        if importing._worker != "another one":
            monkeypatch.setattr(importing, "_worker", "another one")
            clock.move(importing.LEASE + timedelta(seconds=1))
            importing.work()

    monkeypatch.setattr(importing, "_hash", slow)
    finish(job)
    [[name, password]] = opened(client, job)
    assert User.objects.get(username=name).check_password(password)
    assert not job.lines.exclude(error="")


def test_an_administrator_who_is_disabled_meanwhile(
    client: Client, administrator: User, head: str
) -> None:
    """The rest of the file makes no user."""
    job = start(client, f"username\n{head}-x\n".encode())
    User.objects.filter(pk=administrator.pk).update(is_active=False)
    finish(job)
    assert not User.objects.filter(username=f"{head}-x")
    assert job.lines.get().error.startswith("Not done")


def test_many_users(client: Client, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload of a large file is answered without hashing anything."""
    monkeypatch.delattr(hashlib, "pbkdf2_hmac")
    names = "".join(f"{head}-{number},利用者 {number}\n" for number in range(1_200))
    job = start(client, f"username,display_name\n{names}".encode())
    assert job.lines.filter(done=False, error="").count() == 1_200
    assert "0 of 1200 lines" in page(client.get(f"/users/import/{job.pk}/"))


def test_names_of_other_accounts_are_not_told_without_end(
    client: Client,
    administrator: User,
    stranger: User,
    head: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is an audit event; after some no name is looked up, in a file as in the form."""
    monkeypatch.setattr(people, "TAKEN_PER_DAY", 2)
    name = stranger.username
    job = start(client, f"username\n{name}\n{head}-free\n".encode())
    finish(job)
    assert "taken" in page(client.post("/users/new/", {"username": name, "role": "general"}))
    events = AuditEvent.objects.filter(action="name.taken", actor=administrator)
    assert [event.detail for event in events] == [{"name": name}] * 2
    for tried in (name, f"{head}-also-free"):
        form = {"username": tried, "role": "general"}
        assert "Too many user names" in page(client.post("/users/new/", form))
    job = start(client, f"username\n{head}-later\n{name}\n".encode())
    finish(job)
    assert {line.error for line in job.lines.all()} == {
        "Too many user names were taken today. Try again tomorrow."
    }
    clock.move(timedelta(days=1, seconds=1))
    client.force_login(administrator)
    page(client.post("/users/new/", {"username": f"{head}-free2", "role": "general"}))
    assert User.objects.filter(username=f"{head}-free2")


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-16", "\t"), ("utf-16-be", "\t"), ("utf-8-sig", ";"), ("cp932", "\t"), ("cp932", ",")],
)
def test_files_as_excel_saves_them(encoding: str, delimiter: str) -> None:
    """Unicode text, semicolons, tabs, byte order marks, and full-width or half-width headings."""
    rows = (("ﾕｰｻﾞ名", "ｎａｍｅ", "役 割"), ("sato", "佐藤;, 花子", "一般ユーザ"))
    cells = [[f'"{cell}"' for cell in row] for row in rows]
    text = "\r\n".join(delimiter.join(row) for row in cells)
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    [line] = csvfiles.read_users(mark + text.encode(encoding))
    assert line.values == {
        "username": "sato",
        "display_name": "佐藤;, 花子",
        "role": "一般ユーザ",
        "extra": "",
    }


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
    """The file as a whole is refused, with the reason at the field, and no user is made."""
    before = User.objects.count()
    assert 'id="id_file_error"' not in page(client.get("/users/import/"))
    text = page(client.post("/users/import/") if data is None else upload(client, data))
    assert said in text
    assert 'id="id_file_error"' in text
    assert User.objects.count() == before


def test_markup_in_a_file_stays_text(client: Client) -> None:
    """A bad line is quoted, not carried out."""
    job = start(client, b"username,display_name\n<script>alert(1)</script>,x\n")
    text = page(client.get(f"/users/import/{job.pk}/"))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@given(st.lists(st.text(), min_size=1))
def test_written_cells_are_no_formulas(cells: list[str]) -> None:
    """No cell of a file for spreadsheets begins like a formula."""
    written = b"".join(csvfiles.parts([cells])).decode("utf-8-sig", "surrogatepass")
    (row,) = csv.reader(io.StringIO(written, newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    assert [cell.removeprefix("'") for cell in row] == [cell.removeprefix("'") for cell in cells]
