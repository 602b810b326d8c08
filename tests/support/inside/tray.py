"""Shows a tray icon with one view: `tray.py ASSETS LANGUAGE VIEW COMMANDS`.

VIEW is JSON; what the user picks is appended to the file COMMANDS, one line each. Ends at `quit`.
"""

from __future__ import annotations

import gettext
import json
import sys
from pathlib import Path

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.i18n import LOCALE_DIR
from agent.windows.tray import WindowsTray
from tests.support.inside.look import watch


def main() -> None:
    """Run until the user quits."""
    assets, language, text, commands = sys.argv[1:]
    fields = json.loads(text)
    fields["state"] = State(fields["state"])
    if fields.get("reason"):
        fields["reason"] = Reason(fields["reason"])
    translation = gettext.translation("agent", LOCALE_DIR, languages=[language], fallback=True)
    tray = WindowsTray(Path(assets), translation)

    def write(line: str) -> None:
        with Path(commands).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def on_command(command: Command) -> None:
        write(command.value)
        if command is Command.QUIT:
            tray.stop()

    watch(write)
    tray.show(View(**fields))
    tray.run(on_command)


if __name__ == "__main__":
    main()
