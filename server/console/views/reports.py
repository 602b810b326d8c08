"""Show an account administrator the whole account: old passwords, and the audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server import clock
from server.console import csvfiles, presence
from server.console.events import action_label, detail_text
from server.console.forms import AuditFilterForm
from server.console.models import AuditEvent, Device, DeviceQuerySet, User
from server.console.views.common import (
    administrators_only,
    page_of,
    user_of,
    without_page,
)

PAGE_SIZE = 50


def _counted(account_id: int) -> DeviceQuerySet:
    """Return the account's PCs that are neither disconnected nor a disabled user's.

    EXISTS, so that a database without statistics begins with the PCs, not with all users.
    """
    users = User.objects.filter(pk=OuterRef("user"), account=account_id, is_active=True)
    found: DeviceQuerySet = Device.objects.filter(Exists(users), blocked_at__isnull=True)
    return found


def on_old_password(account_id: int) -> QuerySet[Device]:
    """Return PCs that have an old password, valid or ended, the earliest end first."""
    found = _counted(account_id).on_old_password().with_presence().select_related("user")
    return found.order_by("login_valid_until", "pk")


def figures(account_id: int) -> dict[str, int]:
    """Count the account's users, waiting PCs, and PCs on an old password."""
    pcs = _counted(account_id)
    return {
        "users": User.objects.filter(account=account_id).count(),
        "waiting": pcs.waiting().count(),
        "old": pcs.on_old_password().count(),
    }


@administrators_only
@require_safe
def old_passwords(request: HttpRequest) -> HttpResponseBase:
    """Show PCs on an old password, with the days left and the outcome of the warning."""
    page = page_of(request, on_old_password(user_of(request).account_id), size=PAGE_SIZE)
    context = {"page": page, "pcs": [presence.Pc.of(device) for device in page]}
    return render(request, "console/old_passwords.html", context)


@administrators_only
@require_safe
def old_passwords_csv(request: HttpRequest) -> HttpResponseBase:
    """Send the whole list as a file."""
    header = [
        _("User name"),
        _("Name"),
        _("PC"),
        _("Waiting"),
        _("Valid until"),
        _("Days left"),
        _("Warning"),
        _("Warned at"),
        _("Last seen"),
    ]
    rows = (_csv_row(device) for device in on_old_password(user_of(request).account_id).iterator())
    body = csvfiles.write([header, *rows])
    response = HttpResponse(body, content_type="text/csv; charset=utf-8")
    name = f"old-passwords-{timezone.localtime(clock.now()):%Y%m%d}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _csv_row(device: Device) -> list[str]:
    until = device.login_valid_until
    days = presence.days_left(until) if until and until > clock.now() else None
    return [
        device.user.username,
        device.user.display_name,
        device.name,
        _("yes") if device.is_waiting else _("no"),
        _moment(until),
        "" if days is None else str(days),
        str(device.get_warned_display()) if device.warned else _("not yet"),
        _moment(device.warned_at),
        _moment(device.last_seen_at),
    ]


def _moment(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else ""


@administrators_only
@require_safe
def audit_trail(request: HttpRequest) -> HttpResponseBase:
    """Show who did what to whom in this account, the latest first."""
    events = AuditEvent.objects.filter(account=user_of(request).account_id)
    form = AuditFilterForm(request.GET)
    if form.is_valid():
        wanted = form.cleaned_data
        if wanted["user"]:
            events = events.filter(Q(subject=wanted["user"]) | Q(actor=wanted["user"]))
        if wanted["q"]:
            name = wanted["q"].strip()
            events = events.filter(Q(subject_name__icontains=name) | Q(actor_name__icontains=name))
        if wanted["action"]:
            events = events.filter(action=wanted["action"])
        if wanted["since"]:
            events = events.filter(at__gte=_midnight(wanted["since"]))
        if wanted["until"]:
            events = events.filter(at__lt=_midnight(wanted["until"]) + timedelta(days=1))
    else:
        events = events.none()
    page = page_of(request, events, size=PAGE_SIZE)
    context = {
        "form": form,
        "page": page,
        "rows": readable(page),
        "query": without_page(request),
        "filtered": any(request.GET.get(name) for name in form.fields),
    }
    return render(request, "console/audit.html", context)


def readable(events: Iterable[AuditEvent]) -> list[dict[str, object]]:
    """Return events as rows of a table."""
    return [
        {"event": event, "label": action_label(event), "detail": detail_text(event)}
        for event in events
    ]


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
