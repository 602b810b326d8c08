"""Change passwords as the console does, by commands: `python -m bench.change`.

The settings in the environment lead to the database. `change(username=…)` changes the user's
password, pushes it to all of the user's PCs, and returns when it was committed (monotonic ns).
"""

from __future__ import annotations

import time

from bench import people
from bench.program import obey
from server import config
from server.commands import serve
from tests.support.pbkdf2 import derived_once

NEW_PASSWORD = "N3w-Passw0rd"


def change(username: str) -> int:
    """Carry out the command."""
    from django.db import transaction

    from server.console import passwords
    from server.console.models import User

    user, committed_ns = User.objects.get(username=username), []
    with transaction.atomic():
        transaction.on_commit(lambda: committed_ns.append(time.monotonic_ns()))
        devices = list(user.devices.all())
        passwords.change_own(user, new_password=NEW_PASSWORD, push_to=devices, address=None)
    return committed_ns[-1]


if __name__ == "__main__":
    with derived_once():
        people.keys()
        serve.prepare(config.load())
        obey({"change": change})
