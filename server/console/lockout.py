"""Count refused passwords and lock out guessers: a handler for django-axes.

axes' own handler counts one limit for everything and keeps what was typed. Here a user name at one
address, a user name anywhere, and an address each have a limit. Names are normalised first, so
that all spellings of one user count together. They are kept as keyed hashes, because people type
passwords into the wrong field. IPv6 addresses count by their /64.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore, Lock
from typing import Any
from weakref import WeakValueDictionary

from axes.handlers.base import AxesHandler
from axes.models import AccessAttempt
from django.db import transaction
from django.db.models import F, Q, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from protocol.names import normalise_name
from server import metrics
from server.addresses import counted_address
from server.console import hashing
from server.console.audit import Action, record
from server.console.models import User

log = logging.getLogger(__name__)

WINDOW = timedelta(minutes=15)
"""Failures count until there was none for this long."""
LIMIT_USER_AND_ADDRESS = 5
LIMIT_USER = 30
"""Higher, so that strangers cannot easily lock a user out who logs in from elsewhere."""
LIMIT_ADDRESS = 50
"""An office behind one address has many people who mistype."""
PATIENCE_S = 20.0
"""How long a login waits for other logins of the same user name."""

_turns: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()
_turns_lock = Lock()


def key(username: str) -> str:
    """Return what is kept of a user name: the same for all spellings that people may type."""
    folded = normalise_name(username).casefold()
    return salted_hmac("coconowork.lockout", folded, algorithm="sha256").hexdigest()


@contextmanager
def in_turn(username: str) -> Iterator[None]:
    """Check one password of a user at a time, so that each guess of a salvo is counted.

    Raise Busy when the logins before it take too long.
    """
    with _turns_lock:
        turn = _turns.setdefault(key(username), BoundedSemaphore())
    hashing.give_back_connection()
    if not turn.acquire(timeout=PATIENCE_S):
        raise hashing.Busy
    try:
        yield
    finally:
        turn.release()


def unlock(user: User) -> bool:
    """Forget the wrong passwords of a user; return whether there were any."""
    with transaction.atomic():
        found = bool(AccessAttempt.objects.filter(username=key(user.username)).delete()[0])
        if found:
            record(Action.LOGIN_UNLOCKED, actor=None, subject=user, address=None)
    return found


class Handler(AxesHandler):  # type: ignore[misc]  # axes has no types
    """Named in the settings as `AXES_HANDLER`."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Return whether passwords for this user name, or from this address, are refused now."""
        name, address = self._who(request, credentials)
        recent = AccessAttempt.objects.filter(attempt_time__gte=timezone.now() - WINDOW)
        sums = recent.filter(Q(username=name) | Q(ip_address=address)).aggregate(
            both=Sum("failures_since_start", filter=Q(username=name, ip_address=address)),
            user=Sum("failures_since_start", filter=Q(username=name)),
            address=Sum("failures_since_start", filter=Q(ip_address=address)),
        )
        return bool(
            (sums["both"] or 0) >= LIMIT_USER_AND_ADDRESS
            or (sums["user"] or 0) >= LIMIT_USER
            or (sums["address"] or 0) >= LIMIT_ADDRESS
        )

    def user_login_failed(
        self, _sender: object, credentials: dict[str, Any], request: Any, **_more: object
    ) -> None:
        """Count and record a refused password; one during a lockout does not lengthen it."""
        if request.axes_locked_out:
            metrics.console_logins.labels("locked").inc()
            return
        name, counted = self._who(request, credentials)
        address, now = request.axes_ip_address, timezone.now()
        typed = normalise_name(credentials.get("username") or "")
        subject = User.objects.filter(username=typed).first()
        with transaction.atomic():
            AccessAttempt.objects.filter(attempt_time__lt=now - WINDOW).delete()
            who = {"username": name, "ip_address": counted, "user_agent": ""}
            AccessAttempt.objects.get_or_create(**who, defaults={"failures_since_start": 0})
            AccessAttempt.objects.filter(**who).update(
                failures_since_start=F("failures_since_start") + 1, attempt_time=now
            )
            if subject is not None:  # strangers must not fill the audit trail with made-up names
                record(Action.LOGIN_REFUSED, actor=None, subject=subject, address=address)
        metrics.console_logins.labels("refused").inc()
        whose = f"user {subject.pk}" if subject else "an unknown user name"
        log.info("console login refused: wrong password for %s from %s", whose, address)
        if self.is_locked(request, credentials):
            request.axes_locked_out = True
            log.warning("console login locked out: %s from %s", whose, address)
            # Also for a name that no user has, so that both take the same time.
            record(Action.LOGIN_LOCKED, actor=None, subject=subject, address=address)

    def user_logged_in(self, _sender: object, request: Any, user: Any, **_more: object) -> None:
        """Forget the failures of this user at this address, and no others."""
        name, counted = self._who(request, {"username": user.get_username()})
        AccessAttempt.objects.filter(username=name, ip_address=counted).delete()

    def post_save_access_attempt(self, *_: object, **_more: object) -> None:
        """Do nothing: axes calls it after each save of its own models."""

    post_delete_access_attempt = post_save_access_attempt

    def _who(self, request: Any, credentials: dict[str, Any] | None) -> tuple[str, str | None]:
        """Return the kept form of the user name, and the address that limits count by."""
        address: str | None = request.axes_ip_address
        if address is not None:  # the column takes an address, so a /64 is named by its first one
            address = counted_address(address).partition("/")[0]
        return key((credentials or {}).get("username") or ""), address
