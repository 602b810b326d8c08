"""Show a tray icon with one view: `tray.py ASSETS LANGUAGE VIEW NOTES`. End at `quit`.

VIEW is JSON. Each command that the user picks is a line in the file NOTES.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agent.core.view import Command
from agent.i18n import translation
from agent.windows.tray import WindowsTray
from tests.support.inside.look import notes, view_of


def main() -> None:
    """Run until the user quits."""
    assets, language, text, file = sys.argv[1:]
    tray, write = WindowsTray(Path(assets), translation(language)), notes(file)

    def on_command(command: Command) -> None:
        write(command.value)
        if command is Command.QUIT:
            tray.stop()

    tray.show(view_of(text))
    tray.run(on_command)


if __name__ == "__main__":
    main()
