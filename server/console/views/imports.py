"""Import users from a CSV file, and show a report with their temporary passwords once."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from server.console import csvfiles, hashing, passwords, temporary_passwords
from server.console.forms import ImportForm, UserForm
from server.console.models import Account, User
from server.console.resubmission import repeatable
from server.console.views.common import administrators_only, client_address, posted, user_of
from server.console.views.users import save_new


@dataclass
class Report:
    """The result of one line of the file."""

    number: int
    username: str
    user: User | None = None
    password: str = ""
    error: str = ""


@administrators_only
@require_http_methods(["GET", "HEAD", "POST"])
def user_import(request: HttpRequest) -> HttpResponseBase:
    """Create one user for each line of a file; a line with an error creates none."""
    form = ImportForm(posted(request), request.FILES if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            lines = csvfiles.read_users(form.cleaned_data["file"].read())
        except csvfiles.CsvError as error:
            form.add_error("file", str(error))
        else:
            by = user_of(request)
            reports = _create(lines, by=by, address=client_address(request))
            page = render(request, "console/import_report.html", _outcome(reports))
            return repeatable(page)
    limits = {"kib": csvfiles.MAX_FILE_BYTES // 1024, "users": csvfiles.MAX_USERS}
    return render(request, "console/import.html", {"form": form, "limits": limits})


def _create(lines: list[csvfiles.Line], *, by: User, address: str | None) -> list[Report]:
    seen: set[str] = set()
    reports = [_check(line, seen, by.account) for line in lines]
    good = [report for report in reports if report.user]
    hashing.give_back_connection()
    # One line for each core is in the queue at a time, so that people's logins hardly wait.
    with ThreadPoolExecutor(hashing.available_cores()) as pool:
        list(pool.map(_give_password, good))
    for report in good:
        _save(report, by=by, address=address)
    return reports


def _check(line: csvfiles.Line, seen: set[str], account: Account) -> Report:
    """Check one line; `seen` holds the names of the lines before it."""
    name = line.values.get("username", "")
    report = Report(line.number, name)
    role = csvfiles.ROLES.get(line.values.get("role", "").strip().lower(), "?")
    form = UserForm({**line.values, "role": role})
    if line.values["extra"]:
        report.error = _("There are more cells than columns.")
    elif role == "?":
        report.error = _("The role is neither “general” nor “administrator”.")
    elif not form.is_valid():
        report.error = " ".join(str(text) for texts in form.errors.values() for text in texts)
    elif (folded := form.cleaned_data["username"].casefold()) in seen:
        report.error = _("This user name stands in the file twice.")
    else:
        seen.add(folded)
        report.user = form.user_of(account)
    return report


def _give_password(report: Report) -> None:
    assert report.user is not None  # noqa: S101 - only good lines come here
    report.password = temporary_passwords.generate()
    passwords.set_initial(
        report.user, report.password, must_change=True, patience_s=hashing.DEADLINE_S
    )


def _save(report: Report, *, by: User, address: str | None) -> None:
    assert report.user is not None  # noqa: S101 - only good lines come here
    if not save_new(report.user, by=by, address=address):
        report.user, report.password = None, ""
        report.error = _("This user name is taken.")


def _outcome(reports: list[Report]) -> dict[str, Any]:
    """Return the context of the page; only the page itself holds the file of passwords."""
    created = [report for report in reports if report.user]
    rows = [[_("User name"), _("Temporary password")]]
    rows += [[report.username, report.password] for report in created]
    file = b64encode(csvfiles.write(rows)).decode()
    return {
        "reports": reports,
        "created": len(created),
        "failed": len(reports) - len(created),
        "file": f"data:text/csv;charset=utf-8;base64,{file}",
    }
