"""Serve `/app/`, the smartphone page: log in with the current password, see waiting PCs."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server.console import presence
from server.console.middleware import reachable_with_temporary_password
from server.console.views.common import live_page, user_of
from server.console.views.session import Login


class AppLogin(Login):
    """The login page for a small screen."""

    template_name = "console/app_login.html"
    next_page = "app"


logout = reachable_with_temporary_password(LogoutView.as_view(next_page="app-login"))


@require_safe
def app(request: HttpRequest) -> HttpResponse:
    """Show which of the user's own PCs wait."""
    pcs = [pc for pc in presence.pcs_of(user_of(request)) if not pc.blocked]
    return live_page(request, "console/app.html", "console/_app_pcs.html", pcs=pcs)


@reachable_with_temporary_password
@login_not_required
@require_safe
def worker(request: HttpRequest) -> HttpResponse:
    """Send the service worker, which shows the last known page without a connection."""
    return render(request, "console/worker.js", content_type="text/javascript")


@reachable_with_temporary_password
@login_not_required
@require_safe
def manifest(_request: HttpRequest) -> JsonResponse:
    """Send the web app manifest, with which a smartphone installs the page."""
    icons = [
        {"src": static(f"console/icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png"}
        for size in (192, 512)
    ]
    content = {
        "id": reverse("app"),
        "name": _("coconowork"),
        "short_name": _("coconowork"),
        "description": _("See whether your office PC waits for you."),
        "lang": get_language(),
        "start_url": reverse("app"),
        "scope": reverse("app"),
        "display": "standalone",
        "background_color": "#f4f6f9",
        "theme_color": "#1d5fb4",
        "icons": icons,
    }
    return JsonResponse(content, content_type="application/manifest+json")
