"""The tables of the database.

No row holds a password: `User.password` and `RetiredPassword.verifier` are SCRAM verifiers, and
only one device can open `PushDelivery.sealed` or `Pairing.sealed`. `passwords.py` explains the
order in which rows are locked.
"""

from __future__ import annotations

from server.console.models.pcs import *  # noqa: F403 - Django looks for all models here
from server.console.models.people import *  # noqa: F403
from server.console.models.records import *  # noqa: F403
