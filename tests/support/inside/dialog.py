"""Show one dialog: `dialog.py ASSETS LANGUAGE NAME VIEW NOTES [PROGRAM]`. End with the dialog.

VIEW is JSON. PROGRAM is a script that runs as the client's program. The password `New-Pass1` is
right, every other one wrong. Beside NOTES, a file with the ending `.typed` says that the user
tanaka has typed the code, one with `.expired` that no user has in time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from agent.core.failure import Failure, Reason
from agent.dialogs.host import ProcessDialogs
from agent.i18n import translation
from agent.pairing import Code, PairingFailed
from agent.settings import Settings
from protocol.pairing import words
from tests.support.inside.look import notes, view_of


def main() -> None:
    """Run until the dialog has been closed."""
    assets, language, name, text, file, *program = sys.argv[1:]
    os.environ["COCONOWORK_LANGUAGE"] = language
    write = notes(file)

    def log_in(server: str, user: str, password: str) -> Future[Reason | None]:
        right = password == "New-Pass1"
        write(f"{server} {user} {'right' if right else 'wrong'}")
        future: Future[Reason | None] = Future()
        future.set_result(None if right else Reason.CREDENTIALS)
        return future

    def pair(
        server: str, show: Callable[[Code], None], ask: Callable[[str], Future[None]]
    ) -> Future[Reason | None]:
        write(f"{server} code")
        show(Code("BCDF-2345", words("BCDF2345", f"{'A' * 43}="), 600))
        future: Future[Reason | None] = Future()

        def log_in_by_code(_: Future[None]) -> None:
            write("agreed")
            future.set_result(None)

        def wait_for_user() -> None:
            typed, expired = Path(f"{file}.typed"), Path(f"{file}.expired")
            while not typed.exists() and not expired.exists():
                time.sleep(0.05)
            if expired.exists():
                expired.unlink()
                future.set_exception(PairingFailed(Failure(Reason.EXPIRED)))
            else:
                typed.unlink()
                ask("tanaka").add_done_callback(log_in_by_code)

        threading.Thread(target=wait_for_user, daemon=True).start()
        return future

    dialogs = ProcessDialogs(
        log_in=log_in,
        pair=pair,
        view=lambda: view_of(text),
        on_command=lambda command: write(command.value),
        assets=Path(assets),
        translations=translation(language),
        settings=Settings(server="wss://gw.example.com/gateway"),
        start=[sys.executable, *program] if program else None,
    )
    show: dict[str, Callable[[], None]] = {
        "password": dialogs.ask_password,
        "log in": partial(dialogs.ask_password, change_account=True),
        "status": dialogs.show_status,
        "quiet status": partial(dialogs.show_status, quietly=True),
        "about": dialogs.show_about,
        "log out": dialogs.ask_log_out,
    }
    show[name]()
    shown = dialogs._open
    while shown is not None and shown.alive:
        time.sleep(0.1)
    write("closed")


if __name__ == "__main__":
    main()
