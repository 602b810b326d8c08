"""Serve the start page, and disconnect, allow or remove PCs."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server.console import passwords, people, presence
from server.console.models import Device, User
from server.console.views import reports
from server.console.views.common import confirm, live, user_of, whose


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the user's PCs and password; show an administrator what needs action, too."""
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
    """Send the present table of the user's own PCs."""
    return live(request, "console/_pcs.html", pcs=presence.pcs_of(user_of(request)))


def pc_action(
    request: HttpRequest, device_pk: int, action: str, pk: int | None = None
) -> HttpResponseBase:
    """Disconnect or allow an own PC; an administrator may remove PCs of other users, too."""
    by, (user, back) = user_of(request), whose(request, pk)
    device = get_object_or_404(Device, pk=device_pk, user=user)
    name = {"pc": device.name}
    if action == "remove" and pk is not None:
        return _remove(request, device, by=by, back=back)
    if action not in {"disconnect", "allow"}:
        raise Http404
    is_blocked = action == "disconnect"
    if request.method == "POST":
        people.set_blocked(device, blocked=is_blocked, by=by)
        text = _("%(pc)s was disconnected.") if is_blocked else _("%(pc)s may wait again.")
        messages.success(request, text % name)
        return redirect(back)
    if not is_blocked:
        return HttpResponseNotAllowed(["POST"])
    texts = [
        _("The client on this PC is disconnected at once and cannot wait any more."),
        _(
            "The password is still stored on that PC. If another person may use it, change the "
            "password too, without applying the change to that PC, and end the old passwords."
        ),
    ]
    title, button = _("Disconnect %(pc)s") % name, _("Disconnect")
    return confirm(request, title=title, texts=texts, button=button, cancel=back)


def _remove(request: HttpRequest, device: Device, *, by: User, back: str) -> HttpResponseBase:
    """Ask, and then remove a PC that is gone for good."""
    name = {"pc": device.name}
    if request.method == "POST":
        if people.remove_device(device, by=by):
            messages.success(request, _("%(pc)s was removed.") % name)
        else:
            messages.error(
                request, _("%(pc)s waits now. Disconnect it before you remove it.") % name
            )
        return redirect(back)
    texts = [
        _("For a PC that is gone for good. A client that logs in there again is a new PC."),
        _("A password on its way to this PC is discarded. The audit trail keeps the PC's name."),
    ]
    if device.blocked_at is not None:
        texts.append(
            _(
                "This PC is disconnected; as a new PC it could wait again. If its client may still "
                "have a password, change the password and end the old passwords first."
            )
        )
    title, button = _("Remove %(pc)s") % name, _("Remove")
    return confirm(request, title=title, texts=texts, button=button, cancel=back)
