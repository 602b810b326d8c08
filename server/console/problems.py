"""Answer requests that are refused or that fail, with pages in the user's language."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.lockout import WINDOW
from server.console.paths import in_app

RETRY_AFTER_SECONDS = 30
"""Seconds after which a browser or program should retry, sent with status 503."""


def _problem(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context = {"title": title, "text": text, "bare": status >= 500}
    response = render(request, "console/problem.html", context, status=status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def locked_out(
    request: HttpRequest, _response: HttpResponse, _credentials: object = None
) -> HttpResponse:
    """Answer a login after too many wrong passwords."""
    text = _("Too many wrong passwords. Please wait %(minutes)d minutes and try again.") % {
        "minutes": WINDOW.total_seconds() // 60
    }
    return _problem(request, 429, _("Please wait"), text)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Answer a form without a valid token. For a second sending of the login form, redirect."""
    if request.path.endswith("login/") and request.user.is_authenticated:
        return redirect("app" if in_app(request) else "home")
    text = _(
        "This form was no longer valid, so nothing was done. Go back, load the page again and "
        "repeat. Your browser must accept cookies from this site."
    )
    return _problem(request, 403, _("Please send the form again"), text)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a failure of the server or of the database; the log has the details."""
    if _is_database_away(sys.exc_info()[1]):
        return unavailable(request)
    text = _("Something went wrong on the server. Please try again later.")
    return _problem(request, 500, _("Error"), text)


def _handler(status: int, title: Promise, text: Promise) -> Callable[..., HttpResponse]:
    def handle(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
        return _problem(request, status, str(title), str(text))

    return handle


bad_request = _handler(
    400, gettext_lazy("Bad request"), gettext_lazy("The server could not understand this request.")
)
forbidden = _handler(403, gettext_lazy("Not allowed"), gettext_lazy("You may not open this page."))
not_found = _handler(404, gettext_lazy("Not found"), gettext_lazy("There is no such page."))
unavailable = _handler(
    503,
    gettext_lazy("Not available at the moment"),
    gettext_lazy(
        "The server cannot use its database at the moment. Please try again in a minute, and see "
        "then whether what you have sent was done."
    ),
)
busy = _handler(
    503,
    gettext_lazy("The server is busy"),
    gettext_lazy(
        "Many people are changing or entering passwords at the moment, so nothing was done. "
        "Please try again in a minute."
    ),
)


def shorten(record: logging.LogRecord) -> bool:
    """Remove the traceback from a log record about a bad request or an unreachable database.

    Strangers could fill the log with tracebacks. This is a filter for loggers and handlers.
    """
    if getattr(record, "status_code", None) == 401:  # a poll of a page whose session has ended
        return False
    exc = record.exc_info[1] if record.exc_info else None
    if exc is not None and getattr(record, "status_code", 500) < 500:
        record.exc_info = record.exc_text = None
    if _is_database_away(exc):
        record.msg, record.args = "%s: %s", (record.getMessage(), " ".join(str(exc).split()))
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _is_database_away(exc: BaseException | None) -> bool:
    return isinstance(exc, OperationalError | InterfaceError)
