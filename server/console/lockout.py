"""Counts refused passwords and locks out who guesses: a handler for django-axes.

Its own handler counts one limit for everything and keeps what was typed. Here a user name at one
address, a user name anywhere and an address each have a limit, and names are kept as keyed hashes,
since people type passwords into the wrong field.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any

from axes.handlers.base import AbstractAxesHandler, AxesBaseHandler
from axes.models import AccessAttempt
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from server.console.audit import record
from server.console.events import PageAction
from server.console.models import User

WINDOW = timedelta(minutes=15)
"""Failures count until there was none for this long."""
LIMIT_USER_AND_ADDRESS = 5
LIMIT_USER = 30
"""Higher, so that strangers cannot easily lock a user out who logs in from elsewhere."""
LIMIT_ADDRESS = 50
"""An office behind one address has many people who mistype."""

PATIENCE_S = 10.0
"""How long a login waits for others to be checked before it."""

_users = [BoundedSemaphore() for _ in range(64)]
_cores = BoundedSemaphore(os.cpu_count() or 1)


def key(username: str) -> str:
    """What is kept of a user name."""
    folded = username.strip().casefold()
    return salted_hmac("coconowork.lockout", folded, algorithm="sha256").hexdigest()


@contextmanager
def in_turn(request: Any, username: str) -> Iterator[None]:
    """Check one password of a user at a time, and no more at once than there are cores.

    So a salvo of guesses is counted before it is over, and hashing does not take all threads.
    Raise ValidationError when too many wait already; the answer is then that of a lockout.
    """
    with ExitStack() as held:
        for turn in (_users[int(key(username), 16) % len(_users)], _cores):
            if not turn.acquire(timeout=PATIENCE_S):
                request.axes_locked_out = True
                raise ValidationError("busy")
            held.callback(turn.release)
        yield


class Handler(AbstractAxesHandler, AxesBaseHandler):  # type: ignore[misc]  # axes has no types
    """Named in the settings as `AXES_HANDLER`."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Whether no password is looked at for this user name or address at the moment."""
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

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Axes asks for this number only to compare it, which `is_locked` does itself."""
        raise NotImplementedError

    def user_login_failed(
        self,
        _sender: object,
        credentials: dict[str, Any],
        request: Any = None,
        **_more: object,
    ) -> None:
        """Count a refused password; those during a lockout do not make it longer."""
        if request is None or request.axes_locked_out:
            return
        name, address = self._who(request, credentials)
        now = timezone.now()
        with transaction.atomic():
            AccessAttempt.objects.filter(attempt_time__lt=now - WINDOW).delete()
            AccessAttempt.objects.get_or_create(
                username=name,
                ip_address=address,
                user_agent="",
                defaults={"failures_since_start": 0},
            )
            AccessAttempt.objects.filter(username=name, ip_address=address).update(
                failures_since_start=F("failures_since_start") + 1, attempt_time=now
            )
        if self.is_locked(request, credentials):
            request.axes_locked_out = True
            # Also for a name that nobody has, so that both take the same time.
            subject = User.objects.filter(username=credentials.get("username")).first()
            record(PageAction.LOGIN_LOCKED, actor=None, subject=subject, address=address)

    def user_logged_in(self, _sender: object, request: Any, user: Any, **_more: object) -> None:
        """Forget this user's failures at this address, and nobody else's."""
        AccessAttempt.objects.filter(
            username=key(user.get_username()), ip_address=request.axes_ip_address
        ).delete()

    def user_logged_out(self, _sender: object, request: Any, user: Any, **_more: object) -> None:
        """Nothing is kept of sessions."""

    def post_save_access_attempt(self, instance: AccessAttempt, **_more: object) -> None:
        """Axes calls it; there is nothing more to do."""

    def post_delete_access_attempt(self, instance: AccessAttempt, **_more: object) -> None:
        """Axes calls it; there is nothing more to do."""

    def _who(self, request: Any, credentials: dict[str, Any] | None) -> tuple[str, str | None]:
        return key((credentials or {}).get("username") or ""), request.axes_ip_address
