"""Give a user's password to a new PC that shows a code (docs/protocol.md, "A new PC by a code").

The gateway creates a row for a PC that shows a code, sends the password that is sealed here, and
deletes ended rows. A row is used once: when two users type one code, the second one to lock the row
finds it used. The audit event outlives the row, so the result page is found by the event's number.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from protocol.messages import SealedPassword
from protocol.pairing import CODE_SECONDS
from protocol.sealing import seal
from server import clock
from server.console.audit import Action, record
from server.console.lockout import check_codes, count_wrong_code
from server.console.models import AuditEvent, Pairing, User
from server.console.passwords import lock_as_checked


class UnknownCode(ValidationError):
    """Raised when no PC shows this code (any more), or the code is used; nothing was done."""

    def __init__(self) -> None:
        text = _(
            "No PC shows this code now: it is mistyped, used or has expired. Nothing was done. "
            "Look at the PC, and let it show a new code if need be."
        )
        super().__init__(text)


def find(user: User, code: str, *, address: str | None = None) -> Pairing:
    """Return the new PC that shows `code`. Raise UnknownCode, or TooManyCodes.

    Lock the user's row, so that parallel guesses are all counted, on all nodes.
    """
    check_codes(user, address)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        check_codes(user, address)
        found = Pairing.open(code).first()
        if found is None:
            count_wrong_code(user, address)
    if found is None:
        raise UnknownCode
    return found


def accept(user: User, shown: Pairing, *, password: str) -> AuditEvent:
    """Seal `user`'s current `password` for the new PC of row `shown`; return the audit event.

    `user` must be as it was when `password` was checked. Raise UnknownCode, ConcurrentChange, or
    PermissionDenied when the user is disabled.
    """
    with transaction.atomic():
        row = lock_as_checked(user)
        same = Pairing.open(shown.code).filter(change_id=shown.change_id)
        pc = same.select_for_update(no_key=True).first()
        if pc is None:
            raise UnknownCode
        content = SealedPassword(change_id=pc.change_id, device_id=pc.device_id, password=password)
        pc.user, pc.sealed = row, seal(content, public_key=pc.public_key)
        pc.save(update_fields=["user", "sealed"])
        return record(
            Action.PAIRED,
            actor=row,
            subject=row,
            device=pc.name,
            pc_address=pc.address,
            device_id=pc.device_id,
        )


State = Literal["on_its_way", "to_confirm", "connected", "gone", "expired"]


def state_of(user: User, event: AuditEvent) -> State:
    """Return the state of the new PC that `user` has accepted in `event`."""
    device_id = event.detail["device_id"]
    # If the PC has been this user's before, it keeps its old key, so compare the name.
    known = Q(name=event.detail["device"], waiting_since__gte=event.at)
    if user.devices.filter(Q(device_id=device_id) | known).exists():
        return "connected"
    now, valid_for = clock.now(), timedelta(seconds=CODE_SECONDS)
    row = user.pairings.filter(device_id=device_id).order_by("-expires_at").first()
    if row is None:  # the row was deleted before a delivery
        return "gone" if now < event.at + valid_for else "expired"
    if row.delivered_at is not None:
        return "to_confirm" if now < row.delivered_at + valid_for else "expired"
    return "on_its_way" if now < row.expires_at else "expired"
