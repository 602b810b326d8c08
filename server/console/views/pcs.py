"""Serve the start page, and disconnect or allow a user's own PCs."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from server import clock
from server.cluster import bus
from server.console import audit, passwords, presence
from server.console.events import PageAction
from server.console.models import Device, User
from server.console.views import reports
from server.console.views.common import client_address, confirm, live, user_of


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the user's PCs and password, and to an administrator what needs action."""
    user = user_of(request)
    context: dict[str, object] = {
        "pcs": presence.pcs_of(user),
        "old_valid_until": passwords.old_valid_until(user),
    }
    if user.is_administrator:
        context |= reports.overview(user.account_id)
    return render(request, "console/home.html", context)


@require_safe
def live_pcs(request: HttpRequest) -> HttpResponse:
    """Send the table of the user's own PCs as it is now."""
    return live(request, "console/_pcs.html", pcs=presence.pcs_of(user_of(request)))


@require_http_methods(["GET", "HEAD", "POST"])
def disconnect(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Disconnect an own PC, so that it cannot wait any more."""
    user = user_of(request)
    device = get_object_or_404(Device, pk=pk, user=user)
    if request.method == "POST":
        set_blocked(device, blocked=True, by=user, address=client_address(request))
        messages.success(request, _("%(pc)s was disconnected.") % {"pc": device.name})
        return redirect("home")
    return confirm(
        request,
        title=_("Disconnect %(pc)s") % {"pc": device.name},
        texts=disconnect_warning(),
        button=_("Disconnect"),
        cancel="/",
    )


@require_http_methods(["POST"])
def allow(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Allow a disconnected own PC to wait again."""
    user = user_of(request)
    device = get_object_or_404(Device, pk=pk, user=user)
    set_blocked(device, blocked=False, by=user, address=client_address(request))
    messages.success(request, _("%(pc)s may wait again.") % {"pc": device.name})
    return redirect("home")


def disconnect_warning() -> list[str]:
    """Return what disconnecting does and does not do."""
    return [
        _("The client on this PC is disconnected at once and cannot wait any more."),
        _(
            "The password is still stored on that PC. If another person may use it, change the "
            "password too, without applying the change to that PC, and end the old passwords."
        ),
    ]


def set_blocked(device: Device, *, blocked: bool, by: User, address: str | None) -> None:
    """Disconnect a PC or allow it again; a second time changes and records nothing."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=device.user_id)
        rows = Device.objects.filter(pk=device.pk, blocked_at__isnull=blocked)
        if not rows.update(blocked_at=clock.now() if blocked else None):
            return
        action = PageAction.DEVICE_BLOCKED if blocked else PageAction.DEVICE_ALLOWED
        audit.record(action, actor=by, subject=device.user, address=address, device=device.name)
        bus.publish(device.user_id)
