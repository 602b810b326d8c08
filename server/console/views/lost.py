"""Serve 「PCを紛失した」: links to the actions on a lost PC, and a record to print."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server import clock
from server.console import passwords, presence
from server.console.audit import Action
from server.console.models import AuditEvent, PushDelivery, User
from server.console.views.common import user_of, whose

RECORDED, MAX_EVENTS = timedelta(days=30), 200
"""Limits of the record: the time for which an old password can be valid, and a number of events."""


@require_safe
def lost(request: HttpRequest, device_pk: int, pk: int | None = None) -> HttpResponse:
    """Show steps and record for the user's own PC, or for a PC of an administrator's user."""
    by, (user, back) = user_of(request), whose(request, pk)
    pcs = presence.pcs_of(user)
    pc = next((pc for pc in pcs if pc.device.pk == device_pk), None)
    if pc is None:
        raise Http404
    sent_to = _sent_to(user)
    found = AuditEvent.objects.filter(subject=user, at__gt=clock.now() - RECORDED)
    events = list(found[:MAX_EVENTS])
    if not by.is_administrator:
        for event in events:  # hide administrators' addresses from the user
            event.address = event.address if event.actor_id in {None, by.pk} else None
    others = [each.device.name for each in pcs if each.password == "old" and each is not pc]
    old_until, blocked_at = passwords.old_valid_until(user), pc.device.blocked_at
    may_know = pc.password == "current" or device_pk in sent_to
    ends = [event.at for event in events if event.action == Action.SESSIONS_ENDED]
    context = {
        "person": user,
        "own": pk is None,
        "pc": pc,
        "is_done": {
            "disconnect": blocked_at is not None,
            "change": not may_know,
            "end_old": not may_know and old_until is None,
            "end_sessions": blocked_at is not None and any(at >= blocked_at for at in ends),
        },
        "cut_off": _(", ").join(others) if old_until is not None else "",
        "known": _known(user, pcs, sent_to),
        "events": events,
        "days": RECORDED.days,
        "now": clock.now(),
        "back": back,
    }
    return render(request, "console/lost.html", context)


def _sent_to(user: User) -> set[int]:
    """Return the primary keys of the PCs that the current password was pushed to.

    A PC may have the password without proof, if its connection ended before the next login.
    """
    latest = user.password_changes.values("pk")[:1]
    return set(PushDelivery.objects.filter(change=latest).values_list("device_id", flat=True))


def _known(user: User, pcs: list[presence.Pc], sent_to: set[int]) -> list[dict[str, object]]:
    """Return which password each PC had at its last login, as `since`, `until` and `is_sent`.

    `since` is when the password was set: None if several old ones ended together. `until` is its
    end: None for a permanent current one. `is_sent` says that the PC may also have the current one.
    """
    ended: defaultdict[datetime | None, list[datetime]] = defaultdict(list)
    for retired in user.retired_passwords.all():
        ended[retired.valid_until].append(retired.since)
    known: list[dict[str, object]] = []
    since: datetime | None
    for pc in pcs:
        if pc.password == "current":
            since, until = user.password_changed_at, user.temporary_until
        else:
            several, until = ended[pc.valid_until], pc.valid_until
            since = several[0] if len(several) == 1 else None
        is_sent = pc.password != "current" and pc.device.pk in sent_to
        known.append({"pc": pc, "since": since, "until": until, "is_sent": is_sent})
    return known
