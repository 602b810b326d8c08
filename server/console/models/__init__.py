"""The tables of the database.

No row ever holds a password: `User.password` and `RetiredPassword.verifier` are SCRAM verifiers,
and only one device can open `PushDelivery.sealed` or `Pairing.sealed`. `passwords.py` says in which
order rows are locked.
"""

from __future__ import annotations

from server.console.models.pcs import (
    DEAD_AFTER,
    Device,
    DeviceQuerySet,
    Gateway,
    Pairing,
    PasswordChange,
    PushDelivery,
    _new_change_id,
    live_gateways,
)
from server.console.models.people import (
    Account,
    RetiredPassword,
    User,
    retired_still_valid,
    temporary_until,
)
from server.console.models.records import (
    AuditEvent,
    FormResult,
    ImportJob,
    ImportLine,
    ServerSecret,
)

__all__ = [
    "DEAD_AFTER", "Account", "AuditEvent", "Device", "DeviceQuerySet", "FormResult", "Gateway",
    "ImportJob", "ImportLine", "Pairing", "PasswordChange", "PushDelivery", "RetiredPassword",
    "ServerSecret", "User", "_new_change_id", "live_gateways", "retired_still_valid",
    "temporary_until",
]  # fmt: skip
