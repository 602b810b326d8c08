"""The tables of the database.

No row ever holds a password: `User.password` and `RetiredPassword.verifier` are SCRAM verifiers,
and only one device can open `PushDelivery.sealed` or `Pairing.sealed`. `passwords.py` says in which
order rows are locked.
"""

from __future__ import annotations

from server.console.models.pcs import *  # noqa: F403 - Django wants all tables here
from server.console.models.people import *  # noqa: F403
from server.console.models.records import *  # noqa: F403
