"""Show an administrator the PCs of the account that need action, and the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server import clock
from server.console import presence
from server.console.audit import action_text, detail_text
from server.console.forms import AuditFilterForm, OldPasswordFilterForm, UnseenFilterForm
from server.console.models import AuditEvent, Device, DeviceQuerySet, PushDelivery, User
from server.console.search import fold
from server.console.views.common import (
    CsvResponse,
    administrators_only,
    each_of,
    list_context,
    page_of,
    user_of,
)

UNSEEN_DAYS = 30
FIRST_PCS = 5
"""PCs of each kind that the start page names."""

_TONES = {"ended": "bad", "week": "warn", "fortnight": "warn", "later": "off"}
_TONES |= {"failed": "bad", "unseen": "off"}
"""The colours of the bars of the start page's chart, in the order of the bars."""


def _counted(account_id: int) -> DeviceQuerySet:
    """Return the account's PCs, without disconnected PCs and PCs of disabled users.

    With EXISTS, a database without statistics begins with the PCs, not with all users.
    """
    users = User.objects.filter(pk=OuterRef("user"), account=account_id, is_active=True)
    found: DeviceQuerySet = Device.objects.filter(Exists(users), blocked_at__isnull=True)
    return found


def _groups() -> dict[str, Q]:
    """Return the condition of each of `OldPasswordFilterForm.GROUPS`, which do not overlap."""
    now = clock.now()
    today = timezone.localtime(now).date()
    week, fortnight = (_midnight(today + timedelta(days=days)) for days in (8, 15))
    return {
        "ended": Q(login_valid_until__lte=now),
        "week": Q(login_valid_until__gt=now, login_valid_until__lt=week),
        "fortnight": Q(login_valid_until__gte=week, login_valid_until__lt=fortnight),
        "later": Q(login_valid_until__gte=fortnight),
    }


def _push_failed() -> Q:
    """Return the condition that the last push to a PC failed."""
    return Q(pk__in=PushDelivery.failed().values("device"))


def on_old_password(account_id: int, which: Q | None = None) -> QuerySet[Device]:
    """Return PCs with an old password, valid or expired, the earliest end first."""
    found = _counted(account_id).on_old_password().with_presence().with_push_failure()
    found = found.filter(which or Q()).select_related("user")
    return found.order_by("login_valid_until", "pk")


def unseen(account_id: int, days: int = UNSEEN_DAYS) -> QuerySet[Device]:
    """Return PCs that have not waited for `days` days, the longest absence first."""
    found = _counted(account_id).with_presence().select_related("user")
    since = clock.now() - timedelta(days=days)
    lost = found.filter(waiting_since__isnull=True, last_seen_at__lt=since)
    return lost.order_by("last_seen_at", "pk")


def overview(account_id: int) -> dict[str, object]:
    """Return the account's figures, the bars of PCs that need action, and the first of these PCs.

    This makes at most eight queries, each on an index, for an account of any size.
    """
    pcs = _counted(account_id)
    groups = pcs.on_old_password().aggregate(
        **{name: Count("pk", filter=condition) for name, condition in _groups().items()}
    )
    failed = pcs.on_old_password().filter(_push_failed()).count()
    lost = unseen(account_id).count()
    return {
        "figures": {
            "users": User.objects.filter(account=account_id).count(),
            "waiting": pcs.waiting().count(),
            "old": sum(groups.values()),
        },
        "unseen_days": UNSEEN_DAYS,
        "bars": _bars({**groups, "failed": failed, "unseen": lost}),
        "soonest": _pcs(on_old_password(account_id)[:FIRST_PCS]) if any(groups.values()) else [],
        "failed": _pcs(on_old_password(account_id, _push_failed())[:FIRST_PCS]) if failed else [],
        "unseen": _pcs(unseen(account_id)[:FIRST_PCS]) if lost else [],
    }


def _bars(counts: Mapping[str, int]) -> list[dict[str, object]]:
    """Return a bar for each group; `counts` has the number of PCs in each."""
    lists = reverse("old-passwords") + "?left="
    labels = {name: _("Old password: %s") % label for name, label in OldPasswordFilterForm.GROUPS}
    labels |= {"failed": str(OldPasswordFilterForm.FAILED[1]), "unseen": _("Not seen for a time")}
    most = max(counts.values())
    return [
        {
            "label": labels[name],
            "tone": tone,
            "address": reverse("unseen-pcs") if name == "unseen" else lists + name,
            "count": counts[name],
            # The bar's length, at least 1: one PC must be visible beside 10,000.
            "percent": max(1, round(100 * counts[name] / most)) if counts[name] else 0,
        }
        for name, tone in _TONES.items()
    ]


def _pcs(devices: Iterable[Device]) -> list[presence.Pc]:
    return [presence.Pc.of(device) for device in devices]


def _wanted(request: HttpRequest) -> tuple[OldPasswordFilterForm, QuerySet[Device]]:
    """Return the filter of the request and the PCs that match it."""
    account_id, form = user_of(request).account_id, OldPasswordFilterForm(request.GET)
    if not form.is_valid():
        return form, Device.objects.none()
    groups = _groups() | {"failed": _push_failed()}
    return form, on_old_password(account_id, groups.get(form.cleaned_data["left"]))


@administrators_only
@require_safe
def old_passwords(request: HttpRequest) -> HttpResponseBase:
    """Show PCs with an old password, the days left and the outcome of the warning."""
    return _pc_list(request, "console/old_passwords.html", *_wanted(request))


@administrators_only
@require_safe
def unseen_pcs(request: HttpRequest) -> HttpResponseBase:
    """Show PCs that have not waited for a number of days, the longest absence first."""
    form = UnseenFilterForm({"days": UNSEEN_DAYS, **request.GET.dict()})
    devices: QuerySet[Device] = Device.objects.none()
    if form.is_valid():
        devices = unseen(user_of(request).account_id, form.cleaned_data["days"])
    return _pc_list(request, "console/unseen.html", form, devices)


def _pc_list(
    request: HttpRequest, template: str, form: Form, devices: QuerySet[Device]
) -> HttpResponseBase:
    page = page_of(request, devices)
    return render(request, template, list_context(request, form, page) | {"pcs": _pcs(page)})


@administrators_only
@require_safe
def old_passwords_csv(request: HttpRequest) -> HttpResponseBase:
    """Send the whole list, with the page's filter, as a CSV file."""
    columns: dict[str, Callable[[Device], str]] = {
        _("User name"): lambda pc: pc.user.username,
        _("Name"): lambda pc: pc.user.display_name,
        _("PC"): lambda pc: pc.name,
        _("Waiting"): lambda pc: _("yes") if pc.is_waiting else _("no"),
        _("Valid until"): lambda pc: _moment(pc.login_valid_until),
        _("Days left"): _days_left,
        _("Warning"): lambda pc: str(pc.get_warned_display()) if pc.warned else _("not yet"),
        _("Warned at"): lambda pc: _moment(pc.warned_at),
        _("Last seen"): lambda pc: _moment(pc.last_seen_at),
    }
    return CsvResponse("old-passwords", columns, each_of(_wanted(request)[1]))


def _days_left(device: Device) -> str:
    until = device.login_valid_until
    return str(presence.days_left(until)) if until and until > clock.now() else ""


def _moment(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else ""


def _events(request: HttpRequest) -> tuple[AuditFilterForm, QuerySet[AuditEvent]]:
    """Return the filter of the request and the account's events that match it."""
    events = AuditEvent.objects.filter(account=user_of(request).account_id)
    form = AuditFilterForm(request.GET)
    if not form.is_valid():
        return form, events.none()
    wanted = form.cleaned_data
    if user := wanted["user"]:
        events = events.filter(Q(subject=user) | Q(actor=user))
    if name := fold(wanted["q"]):
        events = events.filter(Q(subject_name__icontains=name) | Q(actor_name__icontains=name))
    if action := wanted["action"]:
        events = events.filter(action=action)
    if since := wanted["since"]:
        events = events.filter(at__gte=_midnight(since))
    if until := wanted["until"]:
        events = events.filter(at__lt=_midnight(until) + timedelta(days=1))
    return form, events


@administrators_only
@require_safe
def audit_trail(request: HttpRequest) -> HttpResponseBase:
    """Show the account's audit events, the latest first."""
    form, events = _events(request)
    page = page_of(request, events)
    context = list_context(request, form, page) | {"events": page}
    return render(request, "console/audit.html", context)


@administrators_only
@require_safe
def audit_csv(request: HttpRequest) -> HttpResponseBase:
    """Send all audit events that match the page's filter as a CSV file."""
    columns: dict[str, Callable[[AuditEvent], str]] = {
        _("When"): lambda event: _moment(event.at),
        _("Who"): lambda event: event.actor_name,
        _("What"): action_text,
        _("Details"): detail_text,
        _("Whose"): lambda event: event.subject_name,
        _("From address"): lambda event: event.address or "",
    }
    return CsvResponse("audit", columns, each_of(_events(request)[1]))


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
