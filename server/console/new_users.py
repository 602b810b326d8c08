"""Create users: check that a name is free, make a temporary password, save with an audit event.

User names are unique in the whole installation, so "taken" tells an administrator that another
account has such a user. Each such answer is an audit event, and an account gets at most
`TAKEN_PER_DAY` of them: then no name is looked up for it, until the first of them is a day old.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from server import clock
from server.console.audit import Action, record
from server.console.models import AuditEvent, User

TAKEN_PER_DAY = 100
"""By account, not by administrator: an administrator can make more administrators."""

_KINDS = ("ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnpqrstuvwxyz", "23456789")
"""Without 0 O o and 1 I l, which look alike on paper."""


def temporary_password() -> str:
    """Return a password such as `kR7m-Xq4t-9hWd`: about 69 bits, within the password rules."""
    while True:
        characters = [secrets.choice("".join(_KINDS)) for _position in range(12)]
        if all(set(kind) & set(characters) for kind in _KINDS):
            return "-".join("".join(characters[start : start + 4]) for start in (0, 4, 8))


def name_refusal(user: User, *, by: User | None, address: str | None) -> str:
    """Return why `user` cannot have its name, or an empty text. `by` is None on the command line.

    A name that differs from another one only in case is refused: people would mix them up.
    """
    if by is not None and _told_today(by) >= TAKEN_PER_DAY:
        return _("Too many user names were taken today. Try again tomorrow.")
    other = User.objects.filter(username__iexact=user.username).first()
    if other is None:
        return ""
    if by is not None and other.account_id != by.account_id:
        record(Action.NAME_TAKEN, actor=by, subject=None, address=address, name=user.username)
    return _("This user name is taken.")


def _told_today(by: User) -> int:
    since = clock.now() - timedelta(days=1)
    return AuditEvent.objects.filter(
        account=by.account_id, at__gt=since, action=Action.NAME_TAKEN
    ).count()


def save(user: User, *, by: User, address: str | None) -> str:
    """Save a new user with its audit event. Return why not, when the name has just been taken."""
    try:
        with transaction.atomic():
            user.save()
            record(Action.USER_CREATED, actor=by, subject=user, address=address, role=user.role)
    except IntegrityError:
        return _("This user name is taken.")
    return ""
