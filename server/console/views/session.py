"""Logging in and out, choosing the language, and the pages for refused requests."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.csrf import requires_csrf_token
from django.views.i18n import set_language as django_set_language

from server.console.forms import LoginForm
from server.console.lockout import WINDOW
from server.console.middleware import reachable_with_temporary_password
from server.console.views.common import hide_passwords


@method_decorator([login_not_required, hide_passwords], name="dispatch")
class Login(LoginView):
    """User name and password."""

    template_name = "console/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True


logout = reachable_with_temporary_password(LogoutView.as_view())
set_language = reachable_with_temporary_password(login_not_required(django_set_language))


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
