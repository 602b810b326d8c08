"""The pages for requests that are refused, and for our own failures."""

from __future__ import annotations

import logging
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import requires_csrf_token

from server.console.lockout import WINDOW

RETRY_AFTER_SECONDS = 30
"""When a browser, or a program, may ask again after the database was away."""


def _problem(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context = {"title": title, "text": text, "bare": status >= 500}
    return render(request, "console/problem.html", context, status=status)


def locked_out(
    request: HttpRequest, _response: HttpResponse, _credentials: object = None
) -> HttpResponse:
    """Instead of the answer, after too many wrong passwords."""
    text = _("Too many wrong passwords. Please wait %(minutes)d minutes and try again.") % {
        "minutes": WINDOW.total_seconds() // 60
    }
    return _problem(request, 429, _("Please wait"), text)


@requires_csrf_token
def bad_request(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """What cannot be parsed."""
    text = _("The server could not understand this request.")
    return _problem(request, 400, _("Bad request"), text)


@requires_csrf_token
def forbidden(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """What this user may not do."""
    return _problem(request, 403, _("Not allowed"), _("You may not open this page."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """A form without a valid token."""
    text = _(
        "This form was no longer valid, so nothing was done. Go back, load the page again and "
        "repeat. Your browser must accept cookies from this site."
    )
    return _problem(request, 403, _("Please send the form again"), text)


@requires_csrf_token
def not_found(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """What there is not, or not for this user."""
    return _problem(request, 404, _("Not found"), _("There is no such page."))


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    """Our own failure, or the database's; the log has it."""
    if _is_database_away(sys.exc_info()[1]):
        return unavailable(request)
    text = _("Something went wrong on the server. Please try again later.")
    return _problem(request, 500, _("Error"), text)


def unavailable(request: HttpRequest) -> HttpResponse:
    """The database cannot be reached, is locked for long, or has no room left."""
    text = _(
        "The server cannot use its database at the moment. Please try again in a minute, and see "
        "then whether what you have sent was done."
    )
    response = _problem(request, 503, _("Not available at the moment"), text)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def one_line_when_the_database_is_away(record: logging.LogRecord) -> bool:
    """A filter for `django.request`: a traceback for every request would bury all else."""
    exc = record.exc_info[1] if record.exc_info else None
    if _is_database_away(exc):
        record.msg, record.args = "%s: %s", (record.getMessage(), " ".join(str(exc).split()))
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _is_database_away(exc: BaseException | None) -> bool:
    return isinstance(exc, OperationalError | InterfaceError)
