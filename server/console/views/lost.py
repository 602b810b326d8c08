"""Serve 「PCを紛失した」: the actions on a lost PC, each by its own page, and a record to print."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server import clock
from server.console import passwords, presence
from server.console.audit import Action
from server.console.models import AuditEvent, PushDelivery, User
from server.console.views.common import managed_user, user_of

RECORDED, MAX_EVENTS = timedelta(days=30), 200
"""How far the record goes back: as long as an old password can be valid."""


@require_safe
def lost(request: HttpRequest, device_pk: int, pk: int | None = None) -> HttpResponse:
    """Show the steps and the record: for an own PC, or for that of an administrator's user."""
    by = user_of(request)
    user = by if pk is None else managed_user(request, pk)
    pcs = presence.pcs_of(user)
    pc = next((pc for pc in pcs if pc.device.pk == device_pk), None)
    if pc is None:
        raise Http404
    sent_to = _sent_to(user)
    found = AuditEvent.objects.filter(subject=user, at__gt=clock.now() - RECORDED)
    events = list(found[:MAX_EVENTS])
    if not by.is_administrator:
        for event in events:  # an administrator's address is not the user's business
            event.address = event.address if event.actor_id in {None, by.pk} else None
    context = {
        "person": user,
        "own": pk is None,
        "pc": pc,
        "steps": _steps(request, user, pc, pcs, events, sent_to=sent_to, own=pk is None),
        "known": _known(user, pcs, sent_to),
        "events": events,
        "days": RECORDED.days,
        "now": clock.now(),
        "back": reverse("home") if pk is None else reverse("user", args=[pk]),
    }
    return render(request, "console/lost.html", context)


def _steps(
    request: HttpRequest,
    user: User,
    pc: presence.Pc,
    pcs: list[presence.Pc],
    events: list[AuditEvent],
    *,
    sent_to: set[int],
    own: bool,
) -> list[dict[str, object]]:
    """Return the actions on the lost PC or its user, and what it means to leave each out."""

    def to(name: str, *arguments: object) -> str:
        """Return the address of an action's page, which leads back here."""
        return f"{reverse(name, args=arguments)}?{urlencode({'next': request.path})}"

    others = [each.device.name for each in pcs if each.password == "old" and each is not pc]
    old_until = passwords.old_valid_until(user)
    blocked_at = pc.device.blocked_at
    may_know = pc.password == "current" or pc.device.pk in sent_to
    ends = [event.at for event in events if event.action == Action.SESSIONS_ENDED]
    password_text = _(
        "Set a temporary password, which the user changes at the next login, or a new one. The PC "
        "does not get it."
    )
    if own:
        password_text = _("Change the password without applying the change to this PC.")
    end_text = _("Afterwards no client can log in with a password from before the change.")
    if others and old_until is not None:
        end_text += " " + _(
            "That cuts off these PCs, too, which are still on an old password: %(pcs)s. They "
            "should take the new password first."
        ) % {"pcs": _(", ").join(others)}
    return [
        {
            "title": _("Disconnect the PC"),
            "is_done": blocked_at is not None,
            "text": _(
                "Its client is cut off at once and cannot log in any more, until it is allowed."
            ),
            "left_out": _(
                "its client goes on waiting, and takes passwords that are applied to it."
            ),
            "address": to("pc", pc.device.pk, "disconnect")
            if own
            else to("user-pc", user.pk, pc.device.pk, "disconnect"),
            "button": _("Disconnect"),
        },
        {
            "title": _("Change the password") if own else _("Set a temporary or new password"),
            "is_done": not may_know,
            "text": password_text,
            "left_out": _(
                "who can open the PC's password store has the current password, for everything."
            ),
            "address": to("password") if own else to("user", user.pk),
            "button": _("Change the password"),
        },
        {
            "title": _("End the old passwords"),
            "is_done": not may_know and old_until is None,
            "text": end_text,
            "left_out": _(
                "a client on another PC can log in with a password from this PC for up to 30 days."
            ),
            "address": to("end-old") if own else to("user-end-old", user.pk),
            "button": _("End old passwords"),
        },
        {
            "title": _("End all sessions"),
            "is_done": blocked_at is not None and any(at >= blocked_at for at in ends),
            "text": _("Browsers and smartphones are logged out of the console and the app."),
            "left_out": _("a browser on the PC that is logged in stays so for up to 12 hours."),
            "address": to("end-sessions") if own else to("user-action", user.pk, "end-sessions"),
            "button": _("End sessions"),
        },
    ]


def _sent_to(user: User) -> set[int]:
    """Return the PCs that the current password was pushed to.

    One that has not proven it may have it: its connection may have ended between the two.
    """
    latest = user.password_changes.values("pk")[:1]
    return set(PushDelivery.objects.filter(change=latest).values_list("device_id", flat=True))


def _known(user: User, pcs: list[presence.Pc], sent_to: set[int]) -> list[dict[str, object]]:
    """Return which password each PC had at its last login, and until when that is accepted.

    `since`, when it was set, is None when several old ones were ended at once; `until` is None for
    the current one. `is_sent` is whether the PC may have the current one besides.
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
