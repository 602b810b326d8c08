"""Shows one dialog: `dialog.py ASSETS LANGUAGE NAME VIEW ANSWERS`.

VIEW is JSON. What happens is appended to the file ANSWERS, one line each; the password `New-Pass1`
is right, every other one wrong. Ends with the dialog.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.dialogs.host import ProcessDialogs
from agent.i18n import translation
from tests.support.inside.look import watch


def main() -> None:
    """Run until the dialog has been closed."""
    assets, language, name, text, answers = sys.argv[1:]
    os.environ["COCONOWORK_LANGUAGE"] = language
    fields = json.loads(text)
    fields["state"] = State(fields["state"])
    if fields.get("reason"):
        fields["reason"] = Reason(fields["reason"])
    if fields.get("valid_until"):
        fields["valid_until"] = datetime.fromisoformat(fields["valid_until"])

    def write(line: str) -> None:
        with Path(answers).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def log_in(server: str, user: str, password: str) -> Future[Reason | None]:
        right = password == "New-Pass1"
        write(f"{server} {user} {'right' if right else 'wrong'}")
        future: Future[Reason | None] = Future()
        future.set_result(None if right else Reason.CREDENTIALS)
        return future

    def on_command(command: Command) -> None:
        write(command.value)

    watch(write)
    dialogs = ProcessDialogs(
        log_in=log_in,
        view=lambda: View(**fields),
        on_command=on_command,
        assets=Path(assets),
        translations=translation(language),
        server="wss://gw.example.com/gateway",
    )
    show = {"password": dialogs.ask_password, "status": dialogs.show_status}
    show.get(name, dialogs.show_about)()
    shown = dialogs._open
    while shown is not None and shown.alive:
        time.sleep(0.1)
    write("closed")


if __name__ == "__main__":
    main()
