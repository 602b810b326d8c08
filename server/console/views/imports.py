"""Import users from a CSV file: start the job, show its progress, hand out its passwords once."""

from __future__ import annotations

from base64 import b64encode

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from server import clock, config
from server.console import csvfiles, importing
from server.console.forms import ImportForm
from server.console.models import ImportJob
from server.console.resubmission import repeatable
from server.console.views.common import administrators_only, live_page, page_of, posted, user_of

SHOWN_PASSWORDS = 200
"""Most passwords on the page; the file has all of them."""


@administrators_only
def user_import(request: HttpRequest) -> HttpResponseBase:
    """Show the form and the administrator's imports of the last day, or start an import."""
    form = ImportForm(posted(request), request.FILES if request.method == "POST" else None)
    if form.is_valid():
        account, lines = user_of(request).account_id, form.cleaned_data["file"]
        if not ImportJob.objects.filter(started_by__account=account, finished_at=None).exists():
            return _start(request, lines)
        form.add_error(None, _("Another import is under way. Wait until it has ended."))
    limits = {"kib": csvfiles.MAX_FILE_BYTES // 1024, "users": csvfiles.MAX_USERS}
    context = {"form": form, "limits": limits, "jobs": _own(request).order_by("-pk")}
    return render(request, "console/import.html", context)


def _start(request: HttpRequest, lines: list[csvfiles.Line]) -> HttpResponse:
    job, key = importing.start(lines, by=user_of(request))
    response = redirect("import-job", pk=job.pk)
    response.set_cookie(
        _cookie(job),
        key,
        max_age=2 * importing.KEPT,  # the job itself takes some hours at most
        path=response.headers["Location"],
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return response


def _cookie(job: ImportJob) -> str:
    return f"import-{job.pk}"


def _own(request: HttpRequest) -> QuerySet[ImportJob]:
    """Return the jobs that this administrator started, until they are deleted."""
    kept = Q(finished_at=None) | Q(finished_at__gt=clock.now() - importing.KEPT)
    return ImportJob.objects.filter(kept, started_by=user_of(request))


@administrators_only
@require_safe
def import_job(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show an import's progress, the lines with errors, and the button for the passwords."""
    job = get_object_or_404(_own(request), pk=pk)
    counts = job.lines.aggregate(
        all=Count("pk"),
        done=Count("pk", filter=Q(done=True)),
        failed=Count("pk", filter=~Q(error="")),
        sealed=Count("pk", filter=Q(sealed__isnull=False)),
    )
    failed = job.lines.exclude(error="").order_by("number")
    return live_page(
        request,
        "console/import_job.html",
        "console/_import.html",
        job=job,
        counts=counts,
        made=counts["done"] - counts["failed"],
        page=page_of(request, failed),
    )


@administrators_only
@require_POST
def import_passwords(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show the temporary passwords of an import, once."""
    job = get_object_or_404(_own(request), pk=pk)
    key = request.COOKIES.get(_cookie(job), "")
    try:
        rows = importing.fetch(job, key)
    except importing.WrongBrowser:
        messages.error(request, _("Only the browser that started the import can open them."))
        return redirect("import-job", pk=pk)
    if rows is None:
        return redirect("import-job", pk=pk)
    file = b"".join(csvfiles.parts([[_("User name"), _("Temporary password")], *rows]))
    context = {
        "job": job,
        "rows": rows[:SHOWN_PASSWORDS],
        "all": len(rows),
        "days": config.current().temporary_password_days,
        "file": f"data:text/csv;charset=utf-8;base64,{b64encode(file).decode()}",
    }
    return repeatable(render(request, "console/import_passwords.html", context))
