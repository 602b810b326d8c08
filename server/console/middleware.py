"""Apply the rules of every request: headers, logins, temporary passwords, static files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from server.console.audit import coming_from
from server.console.hashing import Busy
from server.console.models import User
from server.console.paths import in_app, is_poll
from server.console.problems import busy, not_found
from server.console.sessions import note_use

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)

MAX_LOCATION_CHARS = 2_000
"""nginx allows 4 KiB for the head of an answer, and answers 502 if it is longer."""

View = Callable[..., HttpResponseBase]


class HeadersMiddleware:
    """Set security headers for every answer, and the address for every audit event.

    The headers forbid browsers to cache pages.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with coming_from(request.META.get("REMOTE_ADDR")):
            response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        response.headers.setdefault("Cache-Control", "no-store")
        location = response.headers.get("Location", "")
        if len(location) > MAX_LOCATION_CHARS:  # it holds a page's very long address
            response.headers["Location"] = location.partition("?")[0]
        # A request that ran while a form was answered must not replace the form's new session.
        if is_poll(request):
            response.cookies.clear()
        elif request.method != "POST":
            session = response.cookies.get(settings.SESSION_COOKIE_NAME)
            if session is not None and not session.value:
                del response.cookies[settings.SESSION_COOKIE_NAME]
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer Busy, and requests by or about a user who has just been deleted."""
        if isinstance(exception, Busy):
            return busy(request)
        if isinstance(exception, User.DoesNotExist):
            return not_found(request)
        if not isinstance(exception, IntegrityError):
            return None
        is_there = User.objects.filter(pk=request.user.pk or 0).exists()
        return None if is_there else redirect("login")


def reachable_with_temporary_password(view: View) -> View:
    """Mark a view that a user may reach before the temporary password is changed."""
    view.reachable_with_temporary_password = True  # type: ignore[attr-defined]  # a mark
    return view


class LoginMiddleware(LoginRequiredMiddleware):
    """Require a login as Django does, and then the change of a temporary password.

    Polls are answered with 401 instead of the login page. Other pages count as use of the session.
    """

    def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Return None when the view may run, else a redirect or 401."""
        refused: HttpResponseBase | None = super().process_view(request, view, args, kwargs)
        if is_poll(request):
            refused = HttpResponse(status=401) if refused else None
        elif request.user.is_authenticated:
            note_use(request)
        is_temporary = request.user.is_authenticated and request.user.must_change_password
        if is_temporary and not getattr(view, "reachable_with_temporary_password", False):
            return redirect("password")
        return refused

    def handle_no_permission(self, request: HttpRequest, view_func: View) -> HttpResponseRedirect:  # noqa: ARG002 - Django's
        """Redirect to the login page of the console, or of the smartphone page."""
        page = reverse("app-login" if in_app(request) else "login")
        return redirect_to_login(request.get_full_path(), page)


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """Send each static file at once: our files are small, and ASGI cannot stream from a file."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """Return WhiteNoise's answer with the content of the file."""
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
        content = b"".join(streamed.streaming_content)
        streamed.close()
        return HttpResponse(content, status=streamed.status_code, headers=streamed.headers)
