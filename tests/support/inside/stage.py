"""Show parts of the client on a Windows desktop, and read the screen, by a test's requests.

One program does all, because Wine starts programs slowly. See `answer` in `serve.py`.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

from agent.core import wording
from agent.core.failure import Failure, Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.i18n import translation
from agent.pairing import PairingFailed
from agent.ports import Topic
from agent.windows.session_watcher import logon_session
from agent.windows.toast import WindowsToaster
from agent.windows.tray import WindowsTray
from tests.support.dialogs import ASSETS, CODE, Client
from tests.support.inside import reader
from tests.support.inside.serve import answer
from tests.support.polling import eventually

client = Client()
client.answers = {"New-Pass1": None, "Secret-42": Reason.CREDENTIALS}
notes: list[str] = []
"""The commands that the user has picked, outcomes of toasts, and events for screen readers."""


def view_of(fields: dict[str, Any]) -> View:
    """Return a view with these JSON values in its fields."""
    readers = {"state": State, "reason": Reason, "valid_until": datetime.fromisoformat}
    return View(**{name: readers.get(name, lambda it: it)(it) for name, it in fields.items()})


def dialog(language: str, name: str, view: dict[str, Any], *program: str) -> None:
    """Open a dialog, by a script that runs as the client's program, if one is given."""
    dialogs, before = client.dialogs, client.dialogs._open
    if before is not None:
        before.close()
    os.environ["COCONOWORK_LANGUAGE"] = language
    notes.clear()
    client.submitted.clear()
    client.view = view_of(view)
    dialogs.translate(translation(language))
    dialogs.on_command = lambda command: notes.append(command.value)
    dialogs.start = [sys.executable, *program] if program else None
    show = {
        "password": dialogs.ask_password,
        "status": dialogs.show_status,
        "quiet status": partial(dialogs.show_status, quietly=True),
        "about": dialogs.show_about,
        "log out": dialogs.ask_log_out,
    }
    show[name]()


def closed() -> bool:
    """Return whether the dialog's process has ended."""
    shown = client.dialogs._open
    return shown is None or not shown.alive


def connect() -> None:
    """Let the client lose its connection and connect again."""
    client.dialogs.refresh(replace(client.view, state=State.CONNECTING))


def code(event: str) -> None:
    """Report to the window that its code is `shown`, `expired` or, by tanaka, `typed`."""
    pairing = eventually(lambda: next((p for p in client.pairings if not p.done.done()), None))
    if event == "shown":
        pairing.show(CODE)
    elif event == "expired":
        pairing.done.set_exception(PairingFailed(Failure(Reason.EXPIRED)))
    else:
        agreed = pairing.ask("tanaka")
        agreed.add_done_callback(lambda _: pairing.done.set_result(None))


def tray(language: str, view: dict[str, Any]) -> None:
    """Show the icon, until the user quits."""
    shown = WindowsTray(ASSETS, translation(language))

    def on_command(command: Command) -> None:
        notes.append(command.value)
        if command is Command.QUIT:
            shown.stop()

    shown.show(view_of(view))
    threading.Thread(target=shown.run, args=(on_command,)).start()


def toast(language: str, days: int) -> None:
    """Show the warning that the old password ends in `days` days."""
    notes.clear()
    last_day = date(2026, 12, 5) + timedelta(days=days)
    warning = wording.warning(days, last_day, translation(language))
    toaster = WindowsToaster(ASSETS / "app.ico")
    toaster.show(Topic.WARNING, *warning, lambda outcome: notes.append(outcome.value))


ASKED: dict[str, Any] = {
    "dialog": dialog, "closed": closed, "connect": connect, "code": code, "tray": tray,
    "toast": toast, "notes": lambda: notes, "submitted": lambda: client.submitted,
    "session": logon_session, "elements": reader.elements, "press": reader.press,
}  # fmt: skip

threading.Thread(target=reader.watch, args=(notes.append,), daemon=True).start()
answer(ASKED)
client.dialogs.close()
os._exit(0)  # without waiting for threads
