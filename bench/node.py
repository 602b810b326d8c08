"""The real server program, looked at from inside, and a console without pages.

`python -m bench.node serve` is `python -m server serve` with a heart on the gateway's loop;
`python -m bench.node change` changes passwords as the console does. Both take the commands
of `heart.obey`; settings come from the environment.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from bench import people
from bench.heart import Handler, Heart, obey
from server import __main__ as program
from server import config
from server.commands import serve
from tests.support.pbkdf2 import derived_once

NEW_PASSWORD = "N3w-Passw0rd"


def changing() -> dict[str, Handler]:
    """Commands of a console."""

    def change(username: str) -> dict[str, int]:
        """Change a password and push it to all PCs; when it was committed, in monotonic ns."""
        from django.db import DEFAULT_DB_ALIAS, connections

        from server.console import passwords
        from server.console.models import User

        user = User.objects.get(username=username)
        devices = list(user.devices.all())
        wrapper: Any = connections[DEFAULT_DB_ALIAS]
        commit, stamps = wrapper._commit, {}

        def stamped() -> None:
            stamps["before_ns"] = time.monotonic_ns()
            commit()
            stamps["after_ns"] = time.monotonic_ns()

        wrapper._commit = stamped
        try:
            passwords.change_own(user, new_password=NEW_PASSWORD, push_to=devices, address=None)
        finally:
            del wrapper._commit
        return stamps

    def page(path: str) -> dict[str, float]:
        """Render a page as the administrator sees it; how many queries that took."""
        from django.db import connection
        from django.test import Client
        from django.test.utils import CaptureQueriesContext

        from server.console.models import User

        browser = Client(HTTP_HOST="localhost")
        administrator = User.objects.get(username=people.ADMINISTRATOR)
        browser.force_login(administrator, "django.contrib.auth.backends.ModelBackend")
        with CaptureQueriesContext(connection) as queries:
            answer = browser.get(path)
        return {"status": answer.status_code, "queries": len(queries)}

    return {"change": change, "page": page}


def main(arguments: Sequence[str]) -> int:
    with ExitStack() as stack:
        stack.enter_context(derived_once())
        people.keys()
        if arguments[0] == "change":
            serve.prepare(config.load())
            obey(changing())
            print("ready", flush=True)
            threading.Event().wait()
        prepare = serve.prepare

        def prepare_with_heart(settings: config.Config) -> None:
            prepare(settings)
            _add_heart()

        serve.prepare = prepare_with_heart
        return program.main(arguments)


def _add_heart() -> None:
    """Every gateway of this process gets one."""
    from server.gateway.server import Gateway

    enter = Gateway.__aenter__

    async def enter_with_heart(gateway: Gateway) -> Gateway:
        entered = await enter(gateway)
        heart = Heart(asyncio.get_running_loop())
        obey({"watch": heart.watch, "report": heart.report, **changing()})
        return entered

    Gateway.__aenter__ = enter_with_heart  # type: ignore[assignment] # that is the point


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
