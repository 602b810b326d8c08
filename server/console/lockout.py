"""Count refused passwords and lock out guessers: a handler for django-axes.

axes' own handler has one limit for everything, and stores what was typed. Here there are three
limits: of a user name at one address, of a user name anywhere, and of an address. Names are
normalised first, so that all spellings of one user count together. They are stored as keyed hashes,
because people type passwords into the wrong field. IPv6 addresses count by their /64.

Wrong codes of new PCs are counted in the same table, by user and by address. The column for the
user agent, which has no other use here, keeps them apart from passwords.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import ceil
from threading import BoundedSemaphore, Lock
from typing import Any
from weakref import WeakValueDictionary

from axes.handlers.base import AxesHandler
from axes.models import AccessAttempt
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Max, Q, QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import ngettext

from protocol.names import normalise_name
from server import metrics
from server.addresses import counted_address
from server.cluster import bus
from server.console import hashing
from server.console.audit import Action, record
from server.console.models import User

log = logging.getLogger(__name__)

WINDOW = timedelta(minutes=15)
"""Failures are forgotten when there was no new one for this long."""
LIMIT_USER_AND_ADDRESS = 5
LIMIT_USER = 30
"""Higher, so that strangers at other addresses cannot easily lock a user out."""
LIMIT_ADDRESS = 50
"""Higher, because many people of an office share one address, and mistype."""
CODE_WINDOW = timedelta(hours=1)
"""As `WINDOW`, for wrong codes of new PCs."""
LIMIT_CODES = 10
"""Most wrong codes of one user; the limit of one address is `LIMIT_ADDRESS`."""
PATIENCE_S = 20.0
"""Longest time that a login waits for other logins of the same user name."""

_PASSWORDS, _CODES = "", "code"

_turns: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()
_turns_lock = Lock()


def key(username: str) -> str:
    """Return the keyed hash that is stored for a user name, the same for all its spellings."""
    folded = normalise_name(username).casefold()
    return salted_hmac("coconowork.lockout", folded, algorithm="sha256").hexdigest()


@contextmanager
def in_turn(username: str) -> Iterator[None]:
    """Let one password of a user be checked at a time, to count parallel guesses. Raise Busy."""
    with _turns_lock:
        turn = _turns.setdefault(key(username), BoundedSemaphore())
    hashing.give_back_connection()
    if not turn.acquire(timeout=PATIENCE_S):
        raise hashing.Busy
    try:
        yield
    finally:
        turn.release()


def unlock(user: User) -> None:
    """Forget the wrong passwords of a user, here and at the gateways."""
    with transaction.atomic():
        AccessAttempt.objects.filter(username=key(user.username)).delete()
        record(Action.LOGIN_UNLOCKED, subject=user)
        bus.publish_unlock(user.username)


class TooManyCodes(ValidationError):
    """Raised after too many wrong codes of a user or an address; the text says how long to wait."""

    def __init__(self, wait: timedelta) -> None:
        minutes = ceil(wait.total_seconds() / 60)
        text = ngettext(
            "Too many wrong codes. Please wait %(minutes)d minute and try again.",
            "Too many wrong codes. Please wait %(minutes)d minutes and try again.",
            minutes,
        )
        super().__init__(text % {"minutes": minutes})


def check_codes(user: User, address: str | None) -> None:
    """Raise TooManyCodes if this user or address has made too many wrong guesses."""
    now = timezone.now()
    name, counted = key(user.username), _counted(address)
    found = _counts(_CODES, name, counted, since=now - CODE_WINDOW)
    if found["user"] >= LIMIT_CODES or found["address"] >= LIMIT_ADDRESS:
        raise TooManyCodes(found["last"] + CODE_WINDOW - now)


def count_wrong_code(user: User, address: str | None) -> None:
    """Count a wrong code, and record an audit event if it locks the user or the address out."""
    now = timezone.now()
    _failures(_CODES).filter(attempt_time__lt=now - CODE_WINDOW).delete()
    _count(_CODES, key(user.username), _counted(address), at=now)
    log.info("console: wrong code of a new PC from user %d at %s", user.pk, address)
    try:
        check_codes(user, address)
    except TooManyCodes:
        log.warning("console: too many wrong codes from user %d at %s", user.pk, address)
        record(Action.CODES_LOCKED, actor=user, subject=user)


def _failures(kind: str) -> QuerySet[Any, Any]:
    attempts: QuerySet[Any, Any] = AccessAttempt.objects.filter(user_agent=kind)
    return attempts


def _counts(kind: str, name: str, counted: str | None, *, since: datetime) -> dict[str, Any]:
    """Return the failures of a user, of an address, and of both, and the time of the last one."""
    by, here = Q(username=name), Q(ip_address=counted)
    return (
        _failures(kind)
        .filter(by | here, attempt_time__gt=since)
        .aggregate(
            user=Sum("failures_since_start", filter=by, default=0),
            address=Sum("failures_since_start", filter=here, default=0),
            both=Sum("failures_since_start", filter=by & here, default=0),
            last=Max("attempt_time"),
        )
    )


def _count(kind: str, name: str, counted: str | None, *, at: datetime) -> None:
    who = {"username": name, "ip_address": counted, "user_agent": kind}
    AccessAttempt.objects.get_or_create(**who, defaults={"failures_since_start": 0})
    AccessAttempt.objects.filter(**who).update(
        failures_since_start=F("failures_since_start") + 1, attempt_time=at
    )


def _counted(address: str | None) -> str | None:
    """Return the address that limits count by; for a /64, its first address."""
    return counted_address(address).partition("/")[0] if address is not None else None


class Handler(AxesHandler):  # type: ignore[misc]  # axes has no types
    """Count failures for django-axes; the setting `AXES_HANDLER` names this class."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Return whether passwords for this user name, or from this address, are refused now."""
        name, counted = self._who(request, credentials)
        found = _counts(_PASSWORDS, name, counted, since=timezone.now() - WINDOW)
        return bool(
            found["both"] >= LIMIT_USER_AND_ADDRESS
            or found["user"] >= LIMIT_USER
            or found["address"] >= LIMIT_ADDRESS
        )

    def user_login_failed(
        self, _sender: object, credentials: dict[str, Any], request: Any, **_more: object
    ) -> None:
        """Count and record a refused password. During a lockout, it is not counted."""
        if request.axes_locked_out:
            metrics.console_logins.labels("locked").inc()
            return
        name, counted = self._who(request, credentials)
        address, now = request.axes_ip_address, timezone.now()
        typed = normalise_name(credentials.get("username") or "")
        subject = User.objects.filter(username=typed).first()
        with transaction.atomic():
            _failures(_PASSWORDS).filter(attempt_time__lt=now - WINDOW).delete()
            _count(_PASSWORDS, name, counted, at=now)
            if subject is not None:  # strangers must not fill the audit trail with made-up names
                record(Action.LOGIN_REFUSED, subject=subject)
        metrics.console_logins.labels("refused").inc()
        whose = f"user {subject.pk}" if subject else "an unknown user name"
        log.info("console login refused: wrong password for %s from %s", whose, address)
        if self.is_locked(request, credentials):
            request.axes_locked_out = True
            log.warning("console login locked out: %s from %s", whose, address)
            # Record unknown user names, too, so that known and unknown ones take the same time.
            record(Action.LOGIN_LOCKED, subject=subject)

    def user_logged_in(self, _sender: object, request: Any, user: Any, **_more: object) -> None:
        """Forget the failures of this user at this address, but no others."""
        name, counted = self._who(request, {"username": user.get_username()})
        _failures(_PASSWORDS).filter(username=name, ip_address=counted).delete()

    def post_save_access_attempt(self, *_: object, **_more: object) -> None:
        """Do nothing; axes calls this after each save of its own models."""

    post_delete_access_attempt = post_save_access_attempt

    def _who(self, request: Any, credentials: dict[str, Any] | None) -> tuple[str, str | None]:
        """Return the stored hash of the user name, and the address that limits count by."""
        name = key((credentials or {}).get("username") or "")
        return name, _counted(request.axes_ip_address)
