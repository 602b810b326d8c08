"""The pages for requests that are refused, and for our own failures."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import requires_csrf_token

from server.console.lockout import WINDOW


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
    """Our own failure; the log has it."""
    text = _("Something went wrong on the server. Please try again later.")
    return _problem(request, 500, _("Error"), text)
